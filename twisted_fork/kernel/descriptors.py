"""
The descriptors of this process: how many are open, and how many there may be.
"""

from __future__ import annotations

import os
import resource

__all__ = ["in_use", "most", "raise_limit"]

_raised_from: dict[int, int] = {}
"""By the limit that it was raised to, the soft limit before: of the process, as limits are, so
that the second service in it gives its children what the first one gives them."""


def in_use() -> int:
    """How many are open."""
    return len(os.listdir("/proc/self/fd"))


def most() -> int:
    """How many there may be: the hard limit on open files (getrlimit(2))."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2**31 - 1 if limit == resource.RLIM_INFINITY else limit


def raise_limit() -> tuple[int, int]:
    """
    Raise this process's soft limit on open files to the hard one (getrlimit(2)).

    :returns: the soft and the hard limit as they were before it was raised, by this call or by
        one before.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _raised_from[hard] = soft
    return _raised_from.get(hard, soft), hard

"""
The descriptors of this process: how many are open, and how many may be.
"""

from __future__ import annotations

import os
import resource

__all__ = ["in_use", "most", "raise_limit"]

_raised_from: dict[int, int] = {}
"""Soft limits before they were raised, by the hard limit that they were raised to.  They belong
to the process: so the children of a second service in it get the same limits."""


def in_use() -> int:
    """How many are open now."""
    return len(os.listdir("/proc/self/fd"))


def most() -> int:
    """How many may be open: the hard limit on open files (getrlimit(2))."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2**31 - 1 if limit == resource.RLIM_INFINITY else limit


def raise_limit() -> tuple[int, int]:
    """
    Raise this process's soft limit on open files to the hard one (getrlimit(2)).

    :returns: the soft limit as it was before the first such call, and the hard limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _raised_from[hard] = soft
    return _raised_from.get(hard, soft), hard

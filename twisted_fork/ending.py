"""
How a process has ended.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from twisted.python.failure import Failure

__all__ = ["Ending"]


class Ending(NamedTuple):
    """
    How a process has ended: one of the two is None.  Both are None if something else in this
    process has waited for it.
    """

    exit: int | None = None
    """Its exit status, 0 to 255; None if a signal ended it."""

    signal: int | None = None
    """The number of the signal that ended it; None if it exited."""

    @staticmethod
    def of(reason: Failure) -> Ending:
        """From the reason that its ProcessProtocol got."""
        ending: Any = reason.value
        return _ending(ending.exitCode, ending.signal)


_ending = cache(Ending)
"""There are few different endings, and one for each child."""

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
    How a process has ended: one of the two is None, and both are where somebody else has waited
    for it.
    """

    exit: int | None = None
    """Its exit status, 0 to 255, if it has ended by itself."""

    signal: int | None = None
    """The number of the signal that has ended it."""

    @staticmethod
    def of(reason: Failure) -> Ending:
        """From what its ProcessProtocol was told."""
        ending: Any = reason.value
        return _ending(ending.exitCode, ending.signal)


_ending = cache(Ending)
"""There are not many, and one for each child."""

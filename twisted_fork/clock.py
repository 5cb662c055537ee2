"""
A reactor whose clock cannot be set.

Twisted's reactors take their time from the wall clock.  When somebody sets that back by an
hour, every delayed call is an hour late, and whatever lasts until a time lasts an hour more;
set forward, all of it is due at once.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.base import ReactorBase

__all__ = ["keep_steady"]


def keep_steady(reactor: Any) -> None:
    """
    Let *reactor* measure time by a clock that cannot be set (CLOCK_MONOTONIC), for everybody
    who uses it.  It begins where the wall clock is now, so that calls that are due already
    stay due when they were.

    Another provider of IReactorTime than one of Twisted's reactors stays as it is; done
    twice, it does nothing.
    """
    if isinstance(reactor, ReactorBase) and "seconds" not in vars(reactor):
        monotonic = time.monotonic
        began = reactor.seconds() - monotonic()

        def seconds() -> float:
            """Seconds since the epoch, if nobody had set the clock since it began."""
            return began + monotonic()

        # the attribute is where every one of Twisted's reactors looks for the time
        setattr(reactor, "seconds", seconds)  # noqa: B010 - it is declared to be a method

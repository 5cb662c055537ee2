"""
A clock for the reactor that cannot be set.

Twisted's reactors take the time from the wall clock.  If that is set back by an hour, every
delayed call is an hour late, and every limit lasts an hour longer; if it is set forward, all of
them are due at once.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.base import ReactorBase

__all__ = ["keep_steady"]


def keep_steady(reactor: Any) -> None:
    """
    Let *reactor* measure time by a clock that cannot be set (CLOCK_MONOTONIC), for all code that
    uses it: its seconds are not those since the epoch any more.  Delayed calls that exist keep
    the time that is left to them.

    Does nothing the second time, or if *reactor* is not one of Twisted's.
    """
    if isinstance(reactor, ReactorBase) and "seconds" not in vars(reactor):
        difference = time.monotonic() - reactor.seconds()
        calls: Any = reactor.getDelayedCalls()
        for call in calls:
            call.time += difference  # the same for all, so their order is kept
        # all of Twisted's reactors look for the time at this attribute; it is asked ten times for
        # each connection, so it is the bare function
        setattr(reactor, "seconds", time.monotonic)  # noqa: B010 - it is declared to be a method

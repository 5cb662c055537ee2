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
    who uses it: its seconds are not those since the epoch any more.  Delayed calls that there
    are stay due when they were.

    Another provider of IReactorTime than one of Twisted's reactors stays as it is; done
    twice, it does nothing.
    """
    if isinstance(reactor, ReactorBase) and "seconds" not in vars(reactor):
        difference = time.monotonic() - reactor.seconds()
        calls: Any = reactor.getDelayedCalls()
        for call in calls:
            call.time += difference  # of all of them, so their order stays
        # the attribute is where every one of Twisted's reactors looks for the time; it is
        # asked ten times for each connection, hence nothing of ours around it
        setattr(reactor, "seconds", time.monotonic)  # noqa: B010 - it is declared to be a method

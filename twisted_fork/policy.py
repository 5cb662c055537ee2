"""
Decisions about children, as functions of what is: no I/O, no clock, no state.
"""

from __future__ import annotations

__all__ = ["Look", "may_accept", "spares_due"]

from typing import NamedTuple

from twisted_fork.settings import Settings


class Look(NamedTuple):
    """
    What there is at a moment.

    :ivar busy: children that serve a connection or have been given one, and places kept.
    :ivar waiting: accepted connections that have to be given to another child.
    :ivar can_take: a child waits, or another can be ordered just now.
    :ivar closed: nothing is accepted any more.
    """

    busy: int
    waiting: int
    can_take: bool
    closed: bool = False


def may_accept(settings: Settings, look: Look) -> bool:
    """Whether there is a place for one more connection than have been accepted."""
    if look.closed or look.waiting or look.busy >= settings.max_children:
        return False
    return look.can_take


def spares_due(settings: Settings, idle: int, ordered: int) -> int:
    """How many children to order so that enough wait; or, negative, how many of those who wait
    are more than were asked for."""
    wanted = settings.spare_children
    return min(0, wanted - idle) or max(0, wanted - idle - ordered)

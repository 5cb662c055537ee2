"""
Decisions about children, as functions of what is: no I/O, no clock, no state.
"""

from __future__ import annotations

__all__ = ["Look", "may_accept", "spares_missing", "surplus"]

from typing import NamedTuple

from twisted_fork.settings import Settings


class Look(NamedTuple):
    """
    What the pool looks like at a moment.

    :ivar busy: children that serve a connection or have been given one.
    :ivar idle: children that wait for one.
    :ivar ordered: children that will wait for one as soon as they live.
    :ivar waiting: accepted connections that have to be given to another child.
    :ivar can_launch: the launcher takes another order just now.
    """

    busy: int
    idle: int
    ordered: int
    waiting: int
    can_launch: bool


def may_accept(settings: Settings, look: Look) -> bool:
    """Whether there is a place for one more connection than have been accepted."""
    if look.waiting or look.busy >= settings.max_children:
        return False
    return look.idle > 0 or look.can_launch


def spares_missing(settings: Settings, idle: int, ordered: int) -> int:
    """How many children to order so that enough wait."""
    return max(0, settings.spare_children - idle - ordered)


def surplus(settings: Settings, idle: int) -> int:
    """How many of those who wait are more than were asked for."""
    return max(0, idle - settings.spare_children)

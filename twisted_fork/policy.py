"""
Decisions about children, as pure functions: no I/O, no clock, no state.
"""

from __future__ import annotations

__all__ = ["Look", "may_accept", "spares_due"]

from typing import NamedTuple

from twisted_fork.settings import Settings


class Look(NamedTuple):
    """
    The state that a decision needs.

    :ivar busy: children that serve a connection or have been given one, and reserved places.
    :ivar waiting: accepted connections that no child has been given yet.
    :ivar can_take: a child is idle, or another can be ordered now.
    :ivar closed: nothing is accepted any more.
    """

    busy: int
    waiting: int
    can_take: bool
    closed: bool = False


def may_accept(settings: Settings, look: Look) -> bool:
    """Whether one more connection may be accepted."""
    if look.closed or look.waiting or look.busy >= settings.max_children:
        return False
    return look.can_take


def spares_due(settings: Settings, idle: int, ordered: int) -> int:
    """How many spares to order; if negative, how many idle children are too many.  *ordered*
    have been ordered and are not idle yet."""
    wanted = settings.spare_children
    return min(0, wanted - idle) or max(0, wanted - idle - ordered)

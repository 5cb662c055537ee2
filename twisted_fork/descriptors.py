"""
The budget of descriptors: how many there may be, and what a setting would need.
"""

from __future__ import annotations

import os
import resource
from functools import cache

from twisted_fork.settings import InvalidSetting, Settings

__all__ = ["check", "most_children", "needed", "raise_limit"]

_SELECT = 1024
"""select(2) cannot watch descriptors from FD_SETSIZE on."""

_OWN = 64
"""For ports, the log, the template, pipes, and what an application opens besides."""

_ON_THEIR_WAY = 64
"""Connections that were accepted and not yet taken: see _MOST_OUTSTANDING."""


@cache
def raise_limit() -> tuple[int, int]:
    """
    Raise this process's soft limit on open files to the hard one (getrlimit(2)).

    :returns: the soft and the hard limit as they were before it was raised, the first time.
    """
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[0] != before[1]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    return before


def _per_child(settings: Settings) -> int:
    """A busy child costs a pidfd; a channel if it lives on or is spawned; and its connection
    if that may not be idle for ever."""
    lives_on = settings.connections_per_child > 1 or settings.launcher == "spawn"
    return 1 + lives_on + (settings.idle_timeout is not None)


def needed(settings: Settings, in_use: int) -> int:
    """How many descriptors the reactor process needs at most."""
    children = settings.max_children * _per_child(settings)
    return in_use + _OWN + _ON_THEIR_WAY + 2 * settings.spare_children + children


def most_children(settings: Settings, in_use: int, limit: int) -> int:
    """How many children fit under *limit*; 0 or less if none does."""
    rest = limit - in_use - _OWN - _ON_THEIR_WAY - 2 * settings.spare_children
    return rest // _per_child(settings)


def check(settings: Settings, uses_select: bool, in_use: int | None = None) -> None:
    """
    See that all children fit.

    :param uses_select: the reactor is Twisted's select reactor.
    :param in_use: descriptors that are open already; by default, this process's.
    :raises InvalidSetting: they do not; it names the number that would.
    """
    if in_use is None:
        in_use = len(os.listdir("/proc/self/fd"))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit == resource.RLIM_INFINITY:
        limit = 2**31 - 1
    if uses_select:
        limit = min(limit, _SELECT)
    if needed(settings, in_use) > limit:
        most = most_children(settings, in_use, limit)
        who = "the select reactor can watch" if uses_select else "this process may open"
        fits = f"--max-children {most} would fit" if most > 0 else "use fewer spare children"
        raise InvalidSetting(
            f"--max-children cannot be {settings.max_children!r}: it needs"
            f" {needed(settings, in_use)} descriptors and {who} {limit}; {fits}"
        )

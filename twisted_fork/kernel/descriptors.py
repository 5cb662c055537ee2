"""
The budget of descriptors: how many there may be, and what a setting would need.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from dataclasses import replace

from twisted_fork.kernel.stderr import MOST_KEPT
from twisted_fork.settings import InvalidSetting, Settings, option_name

__all__ = ["check", "most_children", "needed", "raise_limit"]

_OWN = 64 + MOST_KEPT
"""For ports, the log, the template, pipes, and what an application opens besides; and for the
standard error of who has ended."""

_ON_THEIR_WAY = 64
"""Connections that were accepted and not yet taken: see _MOST_OUTSTANDING."""

_FEW_SPARES = 4
"""As many as there are by default: it is not they who take too much."""


_raised_from: dict[int, int] = {}
"""By the limit that it was raised to, the soft limit before: of the process, as limits are, so
that the second service in it gives its children what the first one gives them."""


def raise_limit() -> tuple[int, int]:
    """
    Raise this process's soft limit on open files to the hard one (getrlimit(2)).

    :returns: the soft and the hard limit as they were before it was raised, by this call or by
        one before.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _raised_from[hard] = soft
    return _raised_from.get(hard, soft), hard


def _per_child(settings: Settings, listens: bool, direct: bool) -> int:
    """A busy child costs a pidfd; a channel if it lives on, is spawned or listened to; and
    its standard error if it is spawned or a program that is executed directly."""
    spawned = settings.launcher == "spawn" and not direct
    lives_on = settings.connections_per_child > 1 or spawned
    return 1 + (lives_on or listens) + (spawned or direct)


def _besides(settings: Settings, direct: bool) -> int:
    """What is open however many children are busy: a spare has a pidfd and a channel, and its
    standard error if it is spawned."""
    spares = 0 if direct else settings.spare_children * _per_spare(settings)
    return _OWN + _ON_THEIR_WAY + spares


def _per_spare(settings: Settings) -> int:
    return 2 + (settings.launcher == "spawn")


def needed(settings: Settings, in_use: int, listens: bool = False, direct: bool = False) -> int:
    """
    How many descriptors the reactor process needs at most.

    :param listens: the application wants the messages of handlers.
    :param direct: children are programs that the reactor process executes.
    """
    children = settings.max_children * _per_child(settings, listens, direct)
    return in_use + _besides(settings, direct) + children


def most_children(
    settings: Settings, in_use: int, limit: int, listens: bool = False, direct: bool = False
) -> int:
    """How many children fit under *limit*; 0 or less if none does.  See needed."""
    rest = limit - in_use - _besides(settings, direct)
    return rest // _per_child(settings, listens, direct)


def check(
    settings: Settings, listens: bool = False, direct: bool = False, in_use: int | None = None
) -> None:
    """
    See that all children fit.

    :param listens: see needed, and *direct* likewise.
    :param in_use: descriptors that are open already; by default, this process's.
    :raises InvalidSetting: they do not; it names the numbers that would.
    """
    if in_use is None:
        in_use = len(os.listdir("/proc/self/fd"))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit == resource.RLIM_INFINITY:
        limit = 2**31 - 1

    def need(settings: Settings) -> int:
        return needed(settings, in_use, listens, direct)

    def most(settings: Settings) -> int:
        return most_children(settings, in_use, limit, listens, direct)

    if need(settings) > limit:
        raise InvalidSetting(_advice(settings, limit, need, most))


def _advice(
    settings: Settings,
    limit: int,
    need: Callable[[Settings], int],
    most: Callable[[Settings], int],
) -> str:
    """
    What is wrong with settings that do not fit, and what would fit.

    :param need: how many descriptors settings need.
    :param most: how many children fit beside the spares of settings.
    """
    wanted = need(settings)
    least = need(replace(settings, max_children=1, spare_children=0))
    raised = f"raise the limit to {wanted} (ulimit -n, or LimitNOFILE= in a unit)"
    if least > limit:
        return (
            f"this process may open {limit} descriptors, and one child alone takes a limit of"
            f" {least}: {raised}"
        )
    few = replace(settings, spare_children=min(settings.spare_children, _FEW_SPARES))
    name = "max_children"
    if most(few) >= settings.max_children:
        name = "spare_children"
        bare = replace(settings, spare_children=0)
        spares = (limit - need(bare)) // _per_spare(settings)
        fits = f"--spare-children {spares} would fit"
    elif most(settings) > 0:
        fits = f"--max-children {most(settings)} would fit"
    elif most(few) > 0:
        fits = f"--max-children {most(few)} --spare-children {few.spare_children} would fit"
    else:
        fits = "--max-children 1 --spare-children 0 would fit"
    return (
        f"--{option_name(name)} cannot be {getattr(settings, name)!r}: it needs {wanted}"
        f" descriptors and this process may open {limit}; {fits}, or {raised}"
    )

"""
What goes together: settings and handler, and what they mean for the children and for the
descriptors of the reactor process.  Pure functions, called before anything is started.

Which settings require another one is declared in twisted_fork.settings.  What the system has to
allow is checked in launchers.limits and in kernel.
"""

from __future__ import annotations

from typing import NamedTuple

from twisted_fork.handler import Handler, Program
from twisted_fork.kernel.stderr import MOST_KEPT
from twisted_fork.settings import InvalidSetting, Settings

__all__ = ["Budget", "budget", "check", "is_direct", "is_limited", "no_new_privileges"]

_LIMITS = (
    *("cpu_seconds", "memory", "open_files", "processes", "file_size", "nice", "umask"),
    *("user", "group", "no_new_privs"),
)
"""Settings that a child applies to itself before it serves."""

_OWN = 64 + MOST_KEPT
"""Descriptors for ports, log, template, pipes, and what an application opens; and for the
standard error of children that have ended."""

_ON_THEIR_WAY = 64
"""Connections that are accepted and not yet taken: see _MOST_OUTSTANDING in launchers.fork."""

_FEW_SPARES = 4
"""The default; up to this many spares the error message blames --max-children."""


def is_limited(settings: Settings) -> bool:
    """Whether children apply limits to themselves, or change their user."""
    return any(getattr(settings, name) != getattr(Settings, name) for name in _LIMITS)


def no_new_privileges(settings: Settings) -> bool:
    """Whether children cannot gain privileges by executing programs: always if they run as
    another user than the server's."""
    return settings.no_new_privs or settings.user is not None


def is_direct(handler: Handler, settings: Settings) -> bool:
    """Whether the reactor process can execute the handler itself: it is a program, and nothing
    has to be done between fork and execution."""
    if not isinstance(handler, Program):
        return False
    return handler.chdir is None and settings.tls_certificate is None and not is_limited(settings)


def check(settings: Settings, handler: Handler, listens: bool, in_use: int, limit: int) -> None:
    """
    Check that settings and handler go together, and that there are enough descriptors.

    :param listens: the application wants the messages of handlers.
    :param in_use: descriptors that the reactor process has open already.
    :param limit: how many descriptors it may have open.
    :raises InvalidSetting: they do not; the message names what would fit.
    """
    if settings.connections_per_child > 1 and isinstance(handler, Program):
        raise InvalidSetting(
            "--connections-per-child has to be 1 with a program: it becomes the child"
        )
    needs = budget(settings, in_use, listens, is_direct(handler, settings))
    if needs.descriptors(settings.max_children, settings.spare_children) > limit:
        raise InvalidSetting(_advice(settings.max_children, settings.spare_children, needs, limit))


class Budget(NamedTuple):
    """
    How many descriptors the reactor process needs at most.

    :ivar child: for each child that serves.
    :ivar spare: for each spare.
    :ivar besides: for everything else.
    """

    child: int
    spare: int
    besides: int

    def descriptors(self, children: int, spares: int) -> int:
        """How many this many children and spares need together."""
        return self.besides + children * self.child + spares * self.spare

    def most_children(self, spares: int, limit: int) -> int:
        """How many children fit beside *spares*; 0 or less if none fits."""
        return (limit - self.descriptors(0, spares)) // self.child

    def most_spares(self, children: int, limit: int) -> int:
        """How many spares fit beside *children*; only where a spare needs a descriptor."""
        return (limit - self.descriptors(children, 0)) // self.spare


def budget(settings: Settings, in_use: int, listens: bool = False, direct: bool = False) -> Budget:
    """
    Count the descriptors.  A child and a spare each need a pidfd.  A spare needs a channel, as
    does a child that serves several connections, is spawned, or whose messages are wanted.
    One that is spawned or executed directly needs another for standard error.

    :param in_use, listens: see check.
    :param direct: see is_direct; there are no spares then.
    """
    spawned = settings.launcher == "spawn" and not direct
    lives_on = settings.connections_per_child > 1 or spawned
    return Budget(
        child=1 + (lives_on or listens) + (spawned or direct),
        spare=0 if direct else 2 + spawned,
        besides=in_use + _OWN + _ON_THEIR_WAY,
    )


def _advice(children: int, spares: int, needs: Budget, limit: int) -> str:
    """The error message for children and spares that do not fit, with what would fit."""
    wanted, least = needs.descriptors(children, spares), needs.descriptors(1, 0)
    raised = f"raise the limit to {wanted} (ulimit -n, or LimitNOFILE= in a unit)"
    if least > limit:
        return (
            f"this process may open {limit} descriptors, and one child alone takes a limit of"
            f" {least}: {raised}"
        )
    few = min(spares, _FEW_SPARES)
    blamed = f"--max-children cannot be {children}"
    if needs.most_children(few, limit) >= children:
        blamed = f"--spare-children cannot be {spares}"
        fits = f"--spare-children {needs.most_spares(children, limit)}"
    elif (most := needs.most_children(spares, limit)) > 0:
        fits = f"--max-children {most}"
    elif (most := needs.most_children(few, limit)) > 0:
        fits = f"--max-children {most} --spare-children {few}"
    else:
        fits = "--max-children 1 --spare-children 0"
    return (
        f"{blamed}: it needs {wanted} descriptors and this process may open {limit}; {fits} would"
        f" fit, or {raised}"
    )

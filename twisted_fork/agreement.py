"""
What goes together: settings and handler, and what they mean for the children and for the
descriptors of the reactor process.  Pure functions, asked before anything is started.

That a setting goes with another one only is said where it is declared, in
twisted_fork.settings; what the system has to allow is asked in launchers.limits and in kernel.
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
"""For ports, the log, the template, pipes, and what an application opens besides; and for the
standard error of who has ended."""

_ON_THEIR_WAY = 64
"""Connections that were accepted and not yet taken: see _MOST_OUTSTANDING."""

_FEW_SPARES = 4
"""As many as there are by default: it is not they who take too much."""


def is_limited(settings: Settings) -> bool:
    """Whether children have limits to apply to themselves, or another user to become."""
    return any(getattr(settings, name) != getattr(Settings, name) for name in _LIMITS)


def no_new_privileges(settings: Settings) -> bool:
    """Whether children cannot gain privileges by executing programs: nor can they as another
    user than the server's."""
    return settings.no_new_privs or settings.user is not None


def is_direct(handler: Handler, settings: Settings) -> bool:
    """Whether the handler is a program that the reactor process can execute without anybody's
    help: nothing has to be done between the fork and the execution."""
    if not isinstance(handler, Program):
        return False
    return handler.chdir is None and settings.tls_certificate is None and not is_limited(settings)


def check(settings: Settings, handler: Handler, listens: bool, in_use: int, limit: int) -> None:
    """
    See that settings and handler go together, and that all children fit.

    :param listens: the application wants the messages of handlers.
    :param in_use: descriptors that the reactor process has open already.
    :param limit: how many it may have open.
    :raises InvalidSetting: they do not; it names what would do.
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

    :ivar child: for a child that serves.
    :ivar spare: for one that waits.
    :ivar besides: however many children there are.
    """

    child: int
    spare: int
    besides: int

    def descriptors(self, children: int, spares: int) -> int:
        """How many so many children and spares need."""
        return self.besides + children * self.child + spares * self.spare

    def most_children(self, spares: int, limit: int) -> int:
        """How many children fit beside spares; 0 or less if none does."""
        return (limit - self.descriptors(0, spares)) // self.child

    def most_spares(self, children: int, limit: int) -> int:
        """How many spares fit beside children, where spares need any."""
        return (limit - self.descriptors(children, 0)) // self.spare


def budget(settings: Settings, in_use: int, listens: bool = False, direct: bool = False) -> Budget:
    """
    What descriptors are needed for: of a child and of a spare a pidfd; a channel, which a spare
    has, and a child that lives on, is spawned or is listened to; and standard error, if it is
    spawned or a program that is executed directly.

    :param listens: see check, and *in_use* likewise.
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
    """What is wrong with so many children and spares, which do not fit, and what would fit."""
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

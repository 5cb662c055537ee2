"""
The interface between the pool and a launcher: what the pool asks for, and what it is told.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_fork.pool.child import Child
from twisted_fork.wire.messages import Message
from twisted_fork.wire.orders import Orders

__all__ = ["Impossible", "Launcher", "Owner"]


class Impossible(Exception):
    """A child for this connection cannot be made, now or later; the message says why."""


class Owner(Protocol):
    """What a launcher calls; see Pool."""

    def alive(self, child: Child, took: bool = False) -> None: ...

    def said(self, child: Child, message: Message) -> None: ...

    def channel_lost(self, child: Child) -> None: ...

    def ended(self, child: Child, reason: Failure) -> None: ...

    def failed(self, child: Child, number: int) -> None: ...

    def never_was(self, child: Child) -> None: ...

    def dismiss(self, child: Child) -> None: ...

    def fault(self, child: Child) -> None: ...

    def renew(self) -> None: ...

    def launcher_changed(self) -> None: ...


class Launcher(Protocol):
    """
    Makes children, and tells the pool what happens to each.

    :ivar has_spares: it can make children that wait for a connection.
    """

    has_spares: bool

    def start(self, pool: Owner) -> None:
        """Get ready; from then on *pool* is called."""

    def ready(self) -> bool:
        """Whether another child may be ordered now."""

    def launch(self, child: Child) -> None:
        """
        Order a child, with its connection if it has one.

        :raises OSError: it cannot be ordered now.
        :raises Impossible: it can never be ordered.
        """

    def expects(self, child: Child) -> bool:
        """Whether *child* has been ordered and may still come to life."""

    def stuck(self, child: Child, seconds: float) -> None:
        """*child* was ordered *seconds* ago and does not live yet: act, if that is too long."""

    def reload(self, orders: Orders) -> Deferred[bool]:
        """
        Use *orders*, and the handler as it is on the disk now, for children from now on.  Call it
        again only when it is over.

        :returns: a Deferred that fires with whether it succeeded; with False if the launcher is
            stopped before.
        """

    def reload_failed(self, reason: str) -> object:
        """Log that a reload has failed, before a launcher could try it."""

    def stop(self) -> Deferred[None]:
        """
        Finish what was ordered; then end all processes but the children.  Order nothing more.

        :returns: a Deferred that fires when they have ended.
        """

    def kill(self) -> None:
        """Kill these processes now."""

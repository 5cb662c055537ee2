"""
What the pool asks of a launcher, whichever it is, and what that tells the pool.
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
    """A child for a connection cannot be made, now or later; the message says why."""


class Owner(Protocol):
    """What a launcher tells the pool; see Pool."""

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
    How children come to be.  It tells the pool what becomes of each.

    :ivar has_spares: it can make children that wait for a connection.
    """

    has_spares: bool

    def start(self, pool: Owner) -> None:
        """Get ready; from then on call the pool."""

    def ready(self) -> bool:
        """Whether another child may be ordered just now."""

    def launch(self, child: Child) -> None:
        """
        Order a child, with its connection if it has been given one.

        :raises OSError: it cannot be ordered just now.
        :raises Impossible: nor will it be later.
        """

    def expects(self, child: Child) -> bool:
        """Whether *child* has been ordered, and may come to life without having been heard of."""

    def stuck(self, child: Child, seconds: float) -> None:
        """An ordered child has not come to life for so long: do something."""

    def reload(self, orders: Orders) -> Deferred[bool]:
        """
        Use *orders*, and what is on the disk now, for the children to come; never called
        again before that is over.

        :returns: fires when that is over, which it is when the launcher has been stopped; with
            whether it went well.
        """

    def reload_failed(self, reason: str) -> object:
        """Log that there is nothing to reload with, and what goes on."""

    def stop(self) -> Deferred[None]:
        """
        No more children will be ordered: do what was ordered, then end whatever was
        needed for that.

        :returns: fires when it has ended.
        """

    def kill(self) -> None:
        """End it now."""

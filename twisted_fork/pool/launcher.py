"""
What the pool asks of a launcher, whichever it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from twisted_fork.pool.child import Child
    from twisted_fork.pool.pool import Pool

__all__ = ["Impossible", "Launcher"]


class Impossible(Exception):
    """A child for a connection cannot be made, now or later; the message says why."""


class Launcher(Protocol):
    """How children come to be.  It tells the pool what becomes of each."""

    def start(self, pool: Pool) -> None:
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

    def reload(self, orders: dict[str, Any]) -> Deferred[bool]:
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

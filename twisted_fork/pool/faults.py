"""
Faults: an unexpected exception costs the connection that it is about, and the child that has it;
never the service.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted_fork.journal import Journal
from twisted_fork.places.connection import Connection
from twisted_fork.places.places import Places
from twisted_fork.pool.child import Child
from twisted_fork.pool.children import Children
from twisted_fork.pool.deadlines import end_group

__all__ = ["Faults"]


class Faults:
    """
    Closes and kills what an exception was about, while the exception is being handled.

    :param repair: is called after each, to finish what was interrupted.
    """

    def __init__(
        self,
        journal: Journal,
        children: Children,
        places: Places,
        repair: Callable[[], object],
    ) -> None:
        self._journal = journal
        self._children = children
        self._places = places
        self._repair = repair

    def fault(self, child: Child) -> None:
        """Log the exception; kill *child*, and close the connection that it has."""
        self._journal.fault(child.peer, child.pid)
        self.write_off(child)

    def abandon(self, connection: Connection) -> None:
        """Log the exception; close *connection*, and kill the child that has it, if any."""
        self._journal.fault(connection.peer)
        for child in self._children:
            if child.connection is connection:
                self.write_off(child)
                break
        self._places.forget(connection)
        self._repair()

    def write_off(self, child: Child) -> None:
        """Kill *child*, and close its connection."""
        connection, child.connection = child.connection, None
        self._children.give_up(child)
        if connection is not None:
            self._places.release(connection)
        self._repair()

    # What is done with many children: an exception about one does not stop it

    def signal(self, name: str) -> int:
        """
        Send a signal, such as ``TERM``, to the process group of every child that has not ended.

        :returns: how many children have not ended.
        """
        number = signal.Signals[f"SIG{name}"]
        for child in list(self._children):
            try:
                end_group(child, number)
            except BaseException:
                self.fault(child)
        return len(self._children)

    def dismiss_idle(self) -> None:
        """Dismiss all idle children."""
        for child in self._children.longest_idle(self._children.idle):
            try:
                self._children.dismiss(child)
            except BaseException:
                self.fault(child)

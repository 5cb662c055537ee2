"""
A service that runs: its parts, put together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from twisted.internet.defer import inlineCallbacks, maybeDeferred
from twisted.python.failure import Failure

from twisted_fork.entrance.admission import Admission
from twisted_fork.entrance.gate import Gate
from twisted_fork.entrance.ports import Port
from twisted_fork.handler import Handler
from twisted_fork.journal import Journal
from twisted_fork.kernel import descriptors
from twisted_fork.kernel.orphans import Orphans
from twisted_fork.kernel.stderr import StandardError
from twisted_fork.kernel.watcher import Watcher
from twisted_fork.launchers.choice import choose
from twisted_fork.pool.child import ChildProtocol, State
from twisted_fork.pool.drain import Drain
from twisted_fork.pool.pool import Pool
from twisted_fork.settings import Settings
from twisted_fork.wire.orders import Orders

__all__ = ["ChildInfo", "Runtime"]

_RAISED = object()
"""The result of a step of a stop that raised."""

_SHOWN = {
    State.IDLE: "idle",
    State.GIVEN: "given",
    State.SERVING: "serving",
    State.OVERDUE: "serving",
    State.LEAVING: "leaving",
}
"""How ChildInfo shows the states of children that are alive."""


class ChildInfo(NamedTuple):
    """
    A snapshot of a child.

    :ivar peer: of its connection, or of its last one; None before the first.
    :ivar state: idle, given, serving or leaving; see twisted_fork.pool.child.State.
    :ivar since: when it was started, was given its connection, or became idle: seconds since
        the epoch.
    """

    pid: int
    peer: str | None
    state: str
    since: float


class Runtime:
    """
    A service that has been started: its ports, its children, and what watches them.

    :param orders: for templates and spawned children; see Orders.
    :param ports: open ports.
    :param alone: see Orphans.
    :param accepting: is called when connections are accepted for the first time.
    :ivar launcher: makes children.
    :ivar pool: has the children, and the places for connections.
    :ivar gate: accepts connections.
    :ivar watcher: watches channels and the ends of children.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        handler: Handler,
        protocol: type[ChildProtocol],
        journal: Journal,
        orders: Orders,
        ports: Sequence[Port],
        alone: bool,
        accepting: Callable[[], object],
    ) -> None:
        self._clock = reactor
        self._journal = journal
        self._accepting = accepting
        open_files = descriptors.raise_limit()
        self.watcher = Watcher(reactor, reactor, journal)
        self._stderr = StandardError(reactor, self.watcher, journal)
        self.launcher = choose(
            handler, settings, orders, reactor, self.watcher, journal, self._stderr, open_files
        )
        if not self.launcher.has_spares:
            settings = replace(settings, spare_children=0)
        self._orphans = Orphans(reactor, alone)
        self.pool = Pool(
            settings,
            reactor,
            self.launcher,
            journal,
            protocol,
            room=self._let_in,
            last_words=self._stderr.child_ended,
            crashed=self._penalize,
            told=self._stderr.account_of,
        )
        self._admission = Admission(reactor, self.watcher, settings, self.pool)
        self.gate = Gate(
            reactor,
            ports,
            journal,
            self.pool.places.may_accept,
            self._admission.accepted,
            self._admission.fault,
            self.pool.shed,
        )
        self._drain = Drain(reactor, self.pool, journal, settings.grace)

    def start(self) -> None:
        """Start the launcher; connections are accepted as soon as one can be served."""
        self._orphans.watch()
        self.launcher.start(self.pool)

    def children(self) -> list[ChildInfo]:
        """The children that are alive now."""
        now, wall = self._clock.seconds(), time.time()
        return [
            ChildInfo(child.pid, child.peer or None, _SHOWN[child.state], wall - now + child.since)
            for child in self.pool.children
            if child.pid is not None and child.state in _SHOWN
        ]

    def hurry(self) -> None:
        """While stopping: do not wait for the rest of the grace."""
        self._drain.hurry()

    @inlineCallbacks
    def stop(self) -> Any:
        """
        Close the ports, and end all children: see Drain.

        :returns: a Deferred that fires when the last child has been waited for.
        """
        steps: list[Callable[[], Any]] = [
            self.gate.finish,
            self._admission.stop,
            self._drain.begin,
            self._stderr.close,
            self.watcher.close,
            self._orphans.stop,
        ]
        for step in steps:
            # whatever one of them raises, it is tried once more, and the others are done
            if (yield maybeDeferred(step).addErrback(self._raised)) is _RAISED:
                yield maybeDeferred(step).addErrback(self._journal.raised)
        self._journal.stopped()

    def _raised(self, failure: Failure) -> object:
        self._journal.raised(failure)
        return _RAISED

    def _let_in(self) -> None:
        if self.gate.open():
            self._accepting()

    def _penalize(self, source: str) -> None:
        penalties = self._admission.judge.penalties
        if penalties is not None:
            seconds = penalties.offended(source, self._clock.seconds())
            self._journal.penalized(source, seconds)

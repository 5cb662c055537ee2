"""
The service: its life, from what it is made of to its stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python.failure import Failure

from twisted_fork import agreement
from twisted_fork.arguments import protocol_from, settings_from
from twisted_fork.entrance.descriptions import listed
from twisted_fork.entrance.ports import Port, close_all, open_all
from twisted_fork.handler import Handler, InvalidHandler, handler_from
from twisted_fork.journal import Journal
from twisted_fork.kernel import descriptors, system
from twisted_fork.kernel.clock import keep_steady
from twisted_fork.launchers import check
from twisted_fork.launchers.orders import orders_for
from twisted_fork.pool.child import ChildProtocol
from twisted_fork.runtime import ChildInfo, Runtime
from twisted_fork.settings import InvalidSetting, Settings
from twisted_fork.timers import OneAtATime
from twisted_fork.wire.orders import Orders

__all__ = ["NEXT", "ForkingService", "Stage", "Step"]


class Stage(Enum):
    """
    Where a service is in its life.

    It is NEW until its handler and settings have been CHECKED.  Then its ports are opened: from
    OPEN on the kernel queues connections.  Once started it is RUNNING, and all that runs is one
    object, which is let go when, STOPPING, the last child has been waited for.  Then it is as
    new.
    """

    NEW = "new"
    CHECKED = "checked"
    OPEN = "open"
    RUNNING = "running"
    STOPPING = "stopping"


class Step(Enum):
    """What is done to a service, or has come to its end."""

    CHECK = "check"
    OPEN = "open"
    START = "start"
    STOP = "stop"
    STOPPED = "stopped"


NEXT = {
    (Stage.NEW, Step.CHECK): Stage.CHECKED,
    (Stage.CHECKED, Step.CHECK): Stage.CHECKED,
    (Stage.CHECKED, Step.OPEN): Stage.OPEN,
    (Stage.OPEN, Step.CHECK): Stage.OPEN,
    (Stage.OPEN, Step.START): Stage.RUNNING,
    (Stage.OPEN, Step.STOP): Stage.NEW,
    (Stage.RUNNING, Step.CHECK): Stage.RUNNING,
    (Stage.RUNNING, Step.STOP): Stage.STOPPING,
    (Stage.STOPPING, Step.CHECK): Stage.STOPPING,
    (Stage.STOPPING, Step.STOPPED): Stage.NEW,
}
"""All of a service's life.  What is not in here cannot be done."""


class Observer(Protocol):
    """Who wants to know of a service's beginning."""

    def starting(self) -> object:
        """It is about to start; nobody has been told of it, and it has no processes."""

    def accepting(self, service: ForkingService) -> object:
        """It has been started, and accepts connections for the first time since."""


class ForkingService(Service):
    """
    Accepts connections and has each served by a process of its own.

    :param endpoints: what to listen on: descriptions, or endpoints of plain sockets.
    :param handler: what serves a connection: an import path ``module:name``, a function or
        class that has one, or one of twisted_fork.handler's objects.
    :param protocol: the class of each child's ProcessProtocol.
    :param reactor: one of Twisted's for POSIX systems; by default the global one.
    :ivar alone: nobody else has child processes in this process; see Orphans.
    :raises InvalidHandler: *handler* is none.
    :raises CannotListen: *endpoints* are none.
    :raises TypeError: *settings* or *protocol* is none.
    :ivar observer: is told of its beginning.
    """

    alone = False

    def __init__(
        self,
        endpoints: str | IStreamServerEndpoint | Iterable[str | IStreamServerEndpoint],
        handler: Handler | str | Callable[..., Any],
        settings: Settings | None = None,
        *,
        protocol: type[ChildProtocol] = ChildProtocol,
        reactor: Any = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.settings = settings_from(settings)
        self.observer: Observer | None = None
        self.stage = Stage.NEW
        self._reactor = reactor
        self._endpoints = listed(endpoints)
        self._handler = handler_from(handler)
        self._protocol = protocol_from(protocol)
        self._journal = Journal(self.settings.quiet)
        self._clone = "clone3"
        self._reloads = OneAtATime(self._reload)
        # from CHECKED, OPEN and RUNNING on
        self._orders: Orders
        self._ports: list[Port]
        self._running: Runtime

    def _step(self, step: Step) -> None:
        """
        Go on in the service's life.

        :raises RuntimeError: not from where it is.
        """
        try:
            self.stage = NEXT[self.stage, step]
        except KeyError:
            raise RuntimeError(f"{step.value}: the service is {self.stage.value}") from None

    def check(self, uid: int | None = None, gid: int | None = None) -> None:
        """
        See that the handler can be loaded, and children made, by trying it in a process
        of its own; it blocks for as long as that takes.

        :param uid: as whom to try; by default as who we are.
        :raises InvalidHandler: it cannot; one line says why.
        :raises InvalidSetting: settings and handler do not go together, the children
            would need too many descriptors, or the system denies what they need.
        """
        system.check()
        listens, in_use, most = self._protocol.listens(), descriptors.in_use(), descriptors.most()
        agreement.check(self.settings, self._handler, listens, in_use, most)
        told = self._new_orders(uid)
        wrong = check.check(told, uid, gid)
        if wrong is not None:
            raise InvalidHandler(wrong)
        self._step(Step.CHECK)
        self._orders = told
        self._clone = told["clone"]

    def children(self) -> list[ChildInfo]:
        """The children that are alive now: see ChildInfo."""
        if self.stage not in (Stage.RUNNING, Stage.STOPPING):
            return []
        return self._running.children()

    def _new_orders(self, uid: int | None = None) -> Orders:
        listens = self._protocol.listens()
        return orders_for(self._handler, self.settings, listens, uid, self._clone)

    def open_ports(self) -> None:
        """
        Open the ports, after check if that has not been done.  Connections are queued by the
        kernel from then on, and accepted once the service has started.  Called again, it does
        nothing.

        :raises CannotListen: one cannot be opened; none is open then.
        :raises InvalidHandler, InvalidSetting: see check.
        """
        if self.stage is Stage.NEW:
            self.check()
        if self.stage is not Stage.CHECKED:
            return
        self._ports = open_all(self._reactor, self._endpoints, self.settings)
        self._step(Step.OPEN)

    def privilegedStartService(self) -> None:
        """Open the ports while there may be privileges that it takes; see startService."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self.open_ports()

    def startService(self) -> None:
        """
        Start the template, or whatever the launcher needs; then accept connections.

        :raises CannotListen, InvalidHandler, InvalidSetting: see open_ports and check.
        :raises RuntimeError: it has been started already, and has not stopped since.
        """
        self.open_ports()
        self._step(Step.START)
        super().startService()  # type: ignore[no-untyped-call]
        keep_steady(self._reactor)
        if self.observer is not None:
            self.observer.starting()
        self._running = Runtime(
            self._reactor,
            self.settings,
            self._handler,
            self._protocol,
            self._journal,
            self._orders,
            self._ports,
            self.alone,
            self._accepting,
        )
        self._running.start()

    def _accepting(self) -> None:
        if self.observer is not None:
            self.observer.accepting(self)

    def stopService(self) -> Deferred[None]:
        """
        Close the ports, and end all children: see Drain.

        :returns: fires when the last child has been waited for.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return maybeDeferred(self._stop).addErrback(self._stop_anyway)

    def _stop(self) -> Deferred[None]:
        if self.stage is Stage.OPEN:
            close_all(self._ports)
            self._step(Step.STOP)
        if self.stage is Stage.RUNNING:
            self._step(Step.STOP)
        if self.stage is not Stage.STOPPING:
            return succeed(None)
        stopped: Deferred[None] = self._running.stop()
        return stopped.addCallback(lambda _: self._step(Step.STOPPED))

    def _stop_anyway(self, failure: Failure) -> Deferred[None]:
        """Whatever has raised, the rest is still to be done."""
        self._journal.raised(failure)
        return self._stop()

    def hurry(self) -> None:
        """While stopping: do not wait for the grace to pass."""
        if self.stage is Stage.STOPPING:
            self._running.hurry()

    def reload(self) -> Deferred[bool]:
        """
        Load the handler and the certificates anew: a new template is started, and takes
        over when it is ready.  Spares of the old one go, busy children finish.  If it cannot
        be started, or does not become ready, the old one goes on, and the log says so.

        One is done at a time; those that are asked for meanwhile are one more.

        :returns: fires when it is over, with whether it went well.
        """
        return self._reloads.ask()

    def _reload(self) -> Deferred[bool]:
        if self.stage is not Stage.RUNNING:
            return succeed(False)
        self._journal.reloading()
        launcher = self._running.launcher
        try:
            told = self._new_orders()
        except (InvalidHandler, InvalidSetting, OSError) as why:
            launcher.reload_failed(str(why))
            return succeed(False)
        return launcher.reload(told)

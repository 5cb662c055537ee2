"""
The service and its life: checks, ports, start, reload, stop.
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

    NEW until its handler and settings are CHECKED.  OPEN: its ports are open, and the kernel
    queues connections.  RUNNING: started; all that runs belongs to one Runtime object.
    STOPPING until the last child has been waited for.  Then it is NEW again.
    """

    NEW = "new"
    CHECKED = "checked"
    OPEN = "open"
    RUNNING = "running"
    STOPPING = "stopping"


class Step(Enum):
    """What happens to a service; STOPPED: its last child has been waited for."""

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
"""All transitions of a service.  Any other raises RuntimeError."""


class Observer(Protocol):
    """Is called when a service starts."""

    def starting(self) -> object:
        """The service is about to start.  It has no processes yet; systemd was not notified yet."""

    def accepting(self, service: ForkingService) -> object:
        """The service accepts connections for the first time since it was started."""


class ForkingService(Service):
    """
    Accepts connections and has each served by a process of its own.

    :param endpoints: what to listen on: one or several descriptions, or endpoints of plain
        sockets.
    :param handler: what serves a connection: an import path ``module:name``, a function or
        class that has one, or an object of a class of twisted_fork.handler.
    :param protocol: the class of each child's ProcessProtocol.
    :param reactor: one of Twisted's for POSIX systems; by default the global one.
    :ivar alone: nothing else in this process has child processes; see Orphans.
    :ivar observer: an Observer, or None.
    :raises InvalidHandler: *handler* is not a handler.
    :raises CannotListen: *endpoints* is not something to listen on.
    :raises TypeError: *settings* or *protocol* is of the wrong type.
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
        self._reloads = OneAtATime(self._reload)
        # set from CHECKED, OPEN and RUNNING on
        self._orders: Orders
        self._ports: list[Port]
        self._running: Runtime

    def _step(self, step: Step) -> None:
        """
        Make a transition.

        :raises RuntimeError: NEXT does not have it.
        """
        try:
            self.stage = NEXT[self.stage, step]
        except KeyError:
            raise RuntimeError(f"{step.value}: the service is {self.stage.value}") from None

    def check(self, uid: int | None = None, gid: int | None = None) -> None:
        """
        Check that the handler can be loaded and children can be made, by trying it in a process
        of its own.  Blocks until that is done.

        :param uid: the user to try it as; by default that of this process.
        :param gid: the group to try it as; only with *uid*.
        :raises InvalidHandler: it cannot be loaded, or children cannot be made.
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

    def children(self) -> list[ChildInfo]:
        """The children that are alive now."""
        if self.stage not in (Stage.RUNNING, Stage.STOPPING):
            return []
        return self._running.children()

    def _new_orders(self, uid: int | None = None) -> Orders:
        return orders_for(self._handler, self.settings, self._protocol.listens(), uid)

    def open_ports(self) -> None:
        """
        Open the ports; check first, unless that has been done.  From then on the kernel queues
        connections; they are accepted when the service has started.  Does nothing if the ports are
        open already.

        :raises CannotListen: one cannot be opened; all others are closed again.
        :raises InvalidHandler, InvalidSetting: see check.
        """
        if self.stage is Stage.NEW:
            self.check()
        if self.stage is not Stage.CHECKED:
            return
        self._ports = open_all(self._reactor, self._endpoints, self.settings)
        self._step(Step.OPEN)

    def privilegedStartService(self) -> None:
        """Open the ports, before twistd drops its privileges."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self.open_ports()

    def startService(self) -> None:
        """
        Start the launcher; accept connections as soon as children can serve them.

        :raises CannotListen, InvalidHandler, InvalidSetting: see open_ports and check.
        :raises RuntimeError: the service is running or stopping.
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

        :returns: a Deferred that fires with None when the last child has been waited for.
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
        """Log an error of a stop, and do the rest."""
        self._journal.raised(failure)
        return self._stop()

    def hurry(self) -> None:
        """Do not wait for the rest of the grace; does nothing unless the service is stopping."""
        if self.stage is Stage.STOPPING:
            self._running.hurry()

    def reload(self) -> Deferred[bool]:
        """
        Load the handler and the certificates again.  A new template is started, and replaces the
        old one when it is ready.  Then spares of the old one are ended; busy children finish.  If
        the new one does not become ready, the old one stays, and the log says why.

        One reload runs at a time; all calls during a reload together cause one more.

        :returns: a Deferred that fires with whether the reload succeeded.
        """
        return self._reloads.ask()

    def _reload(self) -> Deferred[bool]:
        if self.stage is not Stage.RUNNING:
            return succeed(False)
        self._journal.reloading()
        launcher = self._running.launcher
        try:
            told = self._new_orders()
            told["clone"] = self._orders["clone"]
        except (InvalidHandler, InvalidSetting, OSError) as why:
            launcher.reload_failed(str(why))
            return succeed(False)
        return launcher.reload(told)

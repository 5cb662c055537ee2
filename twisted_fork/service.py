"""
The service: puts the parts together, starts them, stops them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred, succeed
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python.failure import Failure

from twisted_fork.arguments import protocol_from, settings_from
from twisted_fork.entrance.admission import Admission
from twisted_fork.entrance.descriptions import described, endpoint_from, listed, require_plain
from twisted_fork.entrance.gate import Gate
from twisted_fork.entrance.ports import Port, open_port
from twisted_fork.handler import Echo, Handler, InvalidHandler, Program, handler_from
from twisted_fork.journal import Journal
from twisted_fork.kernel import descriptors, system, traffic
from twisted_fork.kernel.clock import keep_steady
from twisted_fork.kernel.orphans import Orphans
from twisted_fork.kernel.stderr import StandardError
from twisted_fork.kernel.watcher import Watcher
from twisted_fork.later import OneAtATime
from twisted_fork.launchers import interpreter
from twisted_fork.launchers.execute import ExecLauncher
from twisted_fork.launchers.fork import ForkLauncher
from twisted_fork.launchers.spawn import SpawnLauncher
from twisted_fork.pool.child import ChildProtocol, State
from twisted_fork.pool.drain import Drain
from twisted_fork.pool.launcher import Launcher
from twisted_fork.pool.pool import Pool
from twisted_fork.settings import InvalidSetting, Settings

__all__ = ["ChildInfo", "ForkingService"]


_RAISED = object()
"""The result of a step of a stop that has raised."""

_SHOWN = {
    State.IDLE: "idle",
    State.GIVEN: "given",
    State.SERVING: "serving",
    State.OVERDUE: "serving",
    State.LEAVING: "leaving",
}
"""The states of those that are alive, as ChildInfo has them."""


class ChildInfo(NamedTuple):
    """
    A child at a moment.

    :ivar peer: of the connection that it has or had last; None before the first.
    :ivar state: see twisted_fork.pool.child.State: idle, given, serving, leaving.
    :ivar since: when it was started, was given what it has, or became idle: seconds since
        the epoch.
    """

    pid: int
    peer: str | None
    state: str
    since: float


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
        self._reactor = reactor
        self._endpoints = listed(endpoints)
        self._handler = handler_from(handler)
        self._protocol = protocol_from(protocol)
        self._journal = Journal(self.settings.quiet)
        self._orders: dict[str, Any] | None = None
        self._ports: list[Port] = []
        self._stderr: StandardError | None = None
        self._watcher: Watcher | None = None
        self._pool: Pool | None = None
        self._gate: Gate | None = None
        self._admission: Admission | None = None
        self._drain: Drain | None = None
        self._orphans: Orphans | None = None
        self._reloads = OneAtATime(self._reload)

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
        direct = isinstance(self._handler, Program) and self._handler.direct(self.settings)
        descriptors.check(self.settings, self._protocol.listens(), direct)
        if self.settings.connections_per_child > 1 and not self._handler.reusable:
            raise InvalidSetting(
                "--connections-per-child has to be 1 with a program: it becomes the child"
            )
        self._orders = self._new_orders(uid)
        wrong = interpreter.check(self._orders, uid, gid)
        if wrong is not None:
            raise InvalidHandler(wrong)

    def children(self) -> list[ChildInfo]:
        """The children that are alive now: see ChildInfo."""
        if self._pool is None:
            return []
        now, wall = self._reactor.seconds(), time.time()
        return [
            ChildInfo(child.pid, child.peer or None, _SHOWN[child.state], wall - now + child.since)
            for child in self._pool.children
            if child.pid is not None and child.state in _SHOWN
        ]

    def _new_orders(self, uid: int | None = None) -> dict[str, Any]:
        known = {} if self._orders is None else {"clone": self._orders["clone"]}
        return interpreter.orders(
            self._handler, self.settings, self._protocol.listens(), uid, **known
        )

    def open_ports(self) -> None:
        """
        Open the ports.  Connections are queued by the kernel from then on, and
        accepted once the service has started.  Called again, it does nothing.

        :raises CannotListen: one cannot be opened; none is open then.
        """
        if self._ports:
            return
        try:
            for wanted in self._endpoints:
                description = described(wanted)
                if isinstance(wanted, str):
                    endpoint = endpoint_from(self._reactor, wanted)
                else:
                    endpoint = wanted
                    require_plain(endpoint, description)
                self._ports.append(open_port(endpoint, description, self._ports))
            for port in self._ports:
                port.configure(self.settings.keepalive, self.settings.nodelay)
            if self.settings.idle_timeout is not None:
                traffic.require_told([port.socket for port in self._ports])
        except Exception:
            for port in self._ports:
                with suppress(OSError):
                    port.close()
            self._ports = []
            raise

    def privilegedStartService(self) -> None:
        """Open the ports while there may be privileges that it takes; see startService."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        if not self._ports:
            self.check()
            self.open_ports()

    def startService(self) -> None:
        """
        Start the template, or whatever the launcher needs; then accept connections.

        :raises CannotListen, InvalidHandler, InvalidSetting: see open_ports and check.
        """
        if not self._ports or self._orders is None:
            self.check()
        self.open_ports()
        super().startService()  # type: ignore[no-untyped-call]
        keep_steady(self._reactor)
        if self.observer is not None:
            self.observer.starting()
        open_files = descriptors.raise_limit()
        self._watcher = Watcher(self._reactor, self._reactor, self._journal)
        self._stderr = stderr = StandardError(self._reactor, self._watcher, self._journal)
        # ours may be the log itself, and children are not to write that
        stdout = 1 if isinstance(self._handler, Echo) and self._handler.print else None
        starter = interpreter.Starter(self._reactor, self._watcher, stderr, open_files, stdout)
        settings = self.settings
        launcher: Launcher
        program = self._handler if isinstance(self._handler, Program) else None
        if program is not None and self._executes(program):
            settings = replace(settings, spare_children=0)
            launcher = ExecLauncher(self._reactor, self._watcher, program, stderr, open_files)
        else:
            assert self._orders is not None
            given = (self._watcher, self._journal, self._orders, starter)
            if settings.launcher == "fork":
                launcher = ForkLauncher(self._reactor, *given)
            else:
                launcher = SpawnLauncher(self._reactor, *given)
        self._orphans = Orphans(self._reactor, self.alone)
        self._orphans.watch()
        self._pool = Pool(
            settings,
            self._reactor,
            launcher,
            self._journal,
            self._protocol,
            room=self._let_in,
            last_words=stderr.child_ended,
            crashed=self._penalize,
            told=stderr.account_of,
        )
        self._admission = Admission(self._reactor, self._watcher, self.settings, self._pool)
        self._gate = Gate(
            self._reactor,
            self._ports,
            self._journal,
            self._pool.places.may_accept,
            self._admission.accepted,
            self._admission.fault,
            self._pool.shed,
        )
        # not only when it is needed: there is no stop without it
        self._drain = Drain(self._reactor, self._pool, self._journal, settings.grace)
        launcher.start(self._pool)

    def _executes(self, program: Program) -> bool:
        """Whether the reactor process executes *program*, without a child's help."""
        if not program.direct(self.settings):
            return False
        able = system.can_begin_sessions()
        if not able:
            self._journal.indirect()
        return able

    def _penalize(self, source: str) -> None:
        assert self._admission is not None
        penalties = self._admission.judge.penalties
        if penalties is not None:
            seconds = penalties.offended(source, self._reactor.seconds())
            self._journal.penalized(source, seconds)

    def _let_in(self) -> None:
        if self._gate is not None and self._gate.open() and self.observer is not None:
            self.observer.accepting(self)

    @inlineCallbacks
    def stopService(self) -> Any:
        """
        Close the ports, and end all children: see Drain.

        :returns: a Deferred that fires when the last child has been waited for.
        """
        yield super().stopService()  # type: ignore[no-untyped-call]
        if (
            self._pool is None
            or self._gate is None
            or self._stderr is None
            or self._watcher is None
        ):
            return
        steps: list[Callable[[], Any]] = [self._gate.finish]
        if self._admission is not None:
            steps.append(self._admission.stop)
        if self._drain is not None:
            steps.append(self._drain.begin)
        steps += [self._stderr.close, self._watcher.close]
        if self._orphans is not None:
            steps.append(self._orphans.stop)
        for step in steps:
            # whatever one of them raises, it and the others are still to be done
            if (yield maybeDeferred(step).addErrback(self._raised)) is _RAISED:
                yield maybeDeferred(step).addErrback(self._journal.raised)
        self._journal.stopped()
        self._pool = self._gate = self._stderr = self._watcher = self._admission = self._drain = (
            None
        )
        self._ports = []

    def _raised(self, failure: Failure) -> object:
        self._journal.raised(failure)
        return _RAISED

    def hurry(self) -> None:
        """While stopping: do not wait for the grace to pass."""
        if self._drain is not None:
            self._drain.hurry()

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
        if self._pool is None or not self.running:
            return succeed(False)
        self._journal.reloading()
        launcher = self._pool.launcher
        try:
            orders = self._new_orders()
        except (InvalidHandler, InvalidSetting, OSError) as why:
            launcher.reload_failed(str(why))
            return succeed(False)
        return launcher.reload(orders)

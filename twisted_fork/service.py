"""
The service: puts the parts together, starts them, stops them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IStreamServerEndpoint

from twisted_fork import descriptors, starting
from twisted_fork.child import ChildProtocol
from twisted_fork.forking import ForkLauncher
from twisted_fork.journal import Journal
from twisted_fork.listening import Gate, Port, endpoint_from, open_port, require_plain
from twisted_fork.pool import Launcher, Pool
from twisted_fork.settings import Settings
from twisted_fork.spawning import SpawnLauncher
from twisted_fork.stderr import StandardError

__all__ = ["ForkingService"]


class ForkingService(Service):
    """
    Accepts connections and has each served by a process of its own.

    :param reactor: the reactor; it has to be one of Twisted's for POSIX systems.
    :param endpoints: what to listen on: descriptions, or endpoints of plain sockets.
    :param handler: what the children run; see twisted_fork.inside.handlers.
    :param protocol: makes the ProcessProtocol of each child.
    """

    def __init__(
        self,
        reactor: Any,
        endpoints: Iterable[str | IStreamServerEndpoint],
        handler: Mapping[str, Any],
        settings: Settings | None = None,
        protocol: type[ChildProtocol] = ChildProtocol,
    ) -> None:
        self.settings = settings or Settings()
        self._reactor = reactor
        self._endpoints = list(endpoints)
        self._handler = handler
        self._protocol = protocol
        self._journal = Journal(self.settings.quiet)
        self._ports: list[Port] = []
        self._stderr: StandardError | None = None
        self._pool: Pool | None = None
        self._gate: Gate | None = None
        self._step: IDelayedCall | None = None

    def open_ports(self) -> None:
        """
        Open the ports.  Connections are queued by the kernel from then on, and
        accepted once the service has started.  Called again, it does nothing.

        :raises CannotListen: one cannot be opened; none is open then.
        :raises InvalidSetting: the children would need too many descriptors.
        """
        if self._ports:
            return
        descriptors.check(self.settings, _uses_select(self._reactor))
        try:
            for wanted in self._endpoints:
                if isinstance(wanted, str):
                    endpoint, description = endpoint_from(self._reactor, wanted), wanted
                else:
                    endpoint, description = wanted, repr(wanted)
                    require_plain(endpoint, description)
                self._ports.append(open_port(endpoint, description))
        except Exception:
            for port in self._ports:
                port.close()
            self._ports = []
            raise

    def privilegedStartService(self) -> None:
        """Open the ports while there may be privileges that it takes."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self.open_ports()

    def startService(self) -> None:
        """
        Start the template, or whatever the launcher needs; then accept connections.

        :raises CannotListen, InvalidSetting: see open_ports.
        """
        self.open_ports()
        super().startService()  # type: ignore[no-untyped-call]
        open_files = descriptors.raise_limit()
        self._stderr = StandardError(self._reactor, self._journal)
        orders = starting.orders(self._handler, self.settings.connections_per_child)
        starter = starting.Starter(self._reactor, self._stderr.theirs, open_files)
        made = ForkLauncher if self.settings.launcher == "fork" else SpawnLauncher
        launcher: Launcher = made(self._reactor, self._journal, orders, starter)
        self._pool = Pool(
            self.settings,
            self._reactor,
            launcher,
            self._journal,
            self._protocol,
            room=self._let_in,
            last_words=self._stderr.child_ended,
        )
        self._gate = Gate(
            self._reactor, self._ports, self._journal, self._pool.may_accept, self._pool.serve
        )
        launcher.start(self._pool)

    def _let_in(self) -> None:
        if self._gate is not None:
            self._gate.open()

    @inlineCallbacks
    def stopService(self) -> Any:
        """
        Close the ports, let busy children finish, then make them.

        :returns: a Deferred that fires when the last child has been waited for.
        """
        yield super().stopService()  # type: ignore[no-untyped-call]
        if self._pool is None or self._gate is None or self._stderr is None:
            return
        yield self._gate.finish()
        empty = self._pool.stop()
        if not empty.called:
            self._journal.stopping(len(self._pool), self.settings.grace)
            self._step = self._reactor.callLater(self.settings.grace, self._terminate)
        yield empty
        if self._step is not None and self._step.active():
            self._step.cancel()
        self._stderr.close()
        self._journal.stopped()
        self._pool = self._gate = self._stderr = None
        self._ports = []

    def hurry(self) -> None:
        """While stopping: do not wait for the grace to pass."""
        if self._step is not None and self._step.active():
            self._step.reset(0)

    def _terminate(self) -> None:
        assert self._pool is not None
        self._journal.signalled("SIGTERM", self._pool.signal("TERM"))
        self._step = self._reactor.callLater(self.settings.grace, self._kill)

    def _kill(self) -> None:
        assert self._pool is not None
        self._journal.signalled("SIGKILL", self._pool.signal("KILL"))
        self._pool.launcher.kill()


def _uses_select(reactor: Any) -> bool:
    return type(reactor).__name__ == "SelectReactor"

"""
The spawn launcher: each child a fresh interpreter, from ``reactor.spawnProcess``.

Slower than a fork by an order of magnitude, but no child shares another's memory
layout.  Twisted would wait for these children in its own way; it is taken over from it
where that is possible, see reaping.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from twisted_fork import starting, wire
from twisted_fork.channels import open_channel
from twisted_fork.child import Child
from twisted_fork.journal import Journal
from twisted_fork.reaping import take_over
from twisted_fork.starting import Starter
from twisted_fork.watching import Watching

if TYPE_CHECKING:
    from twisted_fork.pool import Pool

__all__ = ["SpawnLauncher"]

_MOST_STARTING = 8
"""Interpreters that start at the same time: more would only be slower."""

_PATIENCE = 60.0
"""Seconds for an interpreter to start and import its handler."""


class _Spawned(ProcessProtocol):
    """
    What Twisted tells of a spawned child.

    :param ended: is called when it has ended, once it is launched.
    :ivar launched: spawnProcess has returned.
    :ivar pid: kept when it has ended.
    :ivar early: how it ended, if spawnProcess has already waited for it.
    """

    def __init__(self, ended: Callable[[Failure], object]) -> None:
        self._ended = ended
        self.launched = False
        self.pid: int | None = None
        self.early: Failure | None = None

    def makeConnection(self, process: IProcessTransport) -> None:
        self.pid = process.pid

    def processEnded(self, reason: Failure) -> None:
        if self.launched:
            self._ended(reason)
        else:
            self.early = reason


class SpawnLauncher:
    """
    Children that are fresh interpreters.

    :param watcher: watches them.
    :param orders: what they are to do; plain values.
    :param starter: starts them.
    """

    def __init__(
        self,
        reactor: Any,
        watcher: Watching,
        journal: Journal,
        orders: dict[str, Any],
        starter: Starter,
    ) -> None:
        self._reactor = reactor
        self._watcher = watcher
        self._journal = journal
        self._orders = orders
        self._starter = starter
        self._pool: Pool
        self._starting: set[Child] = set()
        self._stopped: Deferred[None] | None = None

    def start(self, pool: Pool) -> None:
        self._pool = pool
        pool.launcher_changed()

    def ready(self) -> bool:
        return len(self._starting) < _MOST_STARTING

    def launch(self, child: Child) -> None:
        channel, theirs = open_channel(
            self._watcher,
            partial(self._received, child),
            partial(self._pool.channel_lost, child),
        )
        ended = partial(self._ended, child)
        spawned = _Spawned(ended)
        try:
            starting.give_orders(channel.send, self._orders)
            process = self._starter.start("child", spawned, theirs)
            if spawned.early is None:
                child.lives(take_over(self._watcher, self._reactor, process, ended))
        except OSError:
            channel.close()
            raise
        finally:
            theirs.close()
        spawned.launched = True
        child.channel = channel
        self._starting.add(child)
        if spawned.early is not None:
            self._reactor.callLater(0, self._ended_early, child, spawned.pid, spawned.early)

    def stuck(self, child: Child, seconds: float) -> None:
        if seconds > _PATIENCE:
            self._journal.child_stuck(child.pid, child.peer, seconds)
            child.kill()

    def reload(self, orders: dict[str, Any]) -> Deferred[bool]:
        """Every new child loads its handler anyway; those that wait have the old one, and go
        if the new one can be loaded."""
        looked = deferToThread(starting.check, orders)
        return looked.addCallback(self._checked, orders)

    def _checked(self, wrong: str | None, orders: dict[str, Any]) -> bool:
        if wrong is None:
            self._orders = orders
            self._pool.renew()
            self._journal.reloaded(None)
        else:
            self._journal.reload_failed(f"reason={wrong!r}")
        return wrong is None

    def streams_changed(self) -> None:
        """Each has what there is when it is started."""

    def stop(self) -> Deferred[None]:
        self._stopped = Deferred()
        for child in self._starting:
            if child.connection is None:
                self._pool.dismiss(child)
        self._look_whether_stopped()
        return self._stopped

    def kill(self) -> None:
        for child in self._starting:
            child.kill()

    def _received(self, child: Child, message: wire.Message) -> None:
        if child in self._starting:
            self._starting.remove(child)
            self._pool.alive(child)
            self._pool.launcher_changed()
            self._look_whether_stopped()
        else:
            self._pool.said(child, message)

    def _ended(self, child: Child, reason: Failure) -> None:
        self._starting.discard(child)
        self._pool.ended(child, reason)
        self._look_whether_stopped()

    def _ended_early(self, child: Child, pid: int | None, reason: Failure) -> None:
        child.pid = pid
        self._ended(child, reason)

    def _look_whether_stopped(self) -> None:
        if self._stopped is not None and not self._stopped.called and not self._starting:
            self._stopped.callback(None)

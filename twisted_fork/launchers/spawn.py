"""
The spawn launcher: each child is a fresh interpreter, from ``reactor.spawnProcess``.

Much slower than a fork (tens of milliseconds of CPU for each child), but no two children have the
same memory layout.
"""

from __future__ import annotations

import os
from functools import partial

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from twisted_fork.journal import Journal
from twisted_fork.kernel.channels import open_channel
from twisted_fork.kernel.watcher import Watching
from twisted_fork.launchers import interpreter
from twisted_fork.launchers.check import Check
from twisted_fork.launchers.interpreter import Starter
from twisted_fork.launchers.orders import give_orders
from twisted_fork.pool.child import Child
from twisted_fork.pool.launcher import Owner
from twisted_fork.wire import messages
from twisted_fork.wire.orders import Orders

__all__ = ["SpawnLauncher"]

_MOST_STARTING = 8
"""Interpreters that start at the same time: more would only be slower."""


class SpawnLauncher:
    """
    Children that are fresh interpreters.

    :param watcher: watches them.
    :param orders: what they do; plain values.
    :param starter: starts them.
    """

    has_spares = True

    def __init__(
        self,
        clock: IReactorTime,
        watcher: Watching,
        journal: Journal,
        orders: Orders,
        starter: Starter,
    ) -> None:
        self._clock = clock
        self._watcher = watcher
        self._journal = journal
        self._orders = orders
        self._starter = starter
        self._pool: Owner
        self._starting: set[Child] = set()
        self._check: Check | None = None
        self._stopped: Deferred[None] | None = None

    def start(self, pool: Owner) -> None:
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
        try:
            give_orders(channel.send, self._orders)
            child.lives(self._starter.start("child", theirs, partial(self._ended, child)))
            child.channel = channel
            self._starting.add(child)
        except BaseException:
            channel.close()
            raise
        finally:
            theirs.close()

    def expects(self, child: Child) -> bool:
        return False  # it has a process when launch returns

    def stuck(self, child: Child, seconds: float) -> None:
        if seconds > interpreter.PATIENCE:
            self._journal.child_stuck(child.pid, child.peer, seconds)
            child.kill()

    def reload(self, orders: Orders) -> Deferred[bool]:
        """New children load the handler anyway.  Check that it loads; if so, dismiss spares, which
        have the old one."""
        over: Deferred[bool] = Deferred()
        checked = partial(self._checked, orders, over)
        try:
            self._check = Check(self._clock, self._watcher, self._starter, orders, checked)
        except OSError as failure:
            self.reload_failed(os.strerror(failure.errno or 0))
            return succeed(False)
        return over

    def _checked(self, orders: Orders, over: Deferred[bool], wrong: str | None) -> None:
        self._check = None
        well = wrong is None and self._stopped is None
        if well:
            self._orders = orders
            self._pool.renew()
            self._journal.reloaded()
        elif wrong is not None and self._stopped is None:
            self.reload_failed(wrong)
        over.callback(well)
        self._look_whether_stopped()

    def reload_failed(self, reason: str) -> None:
        self._journal.reload_failed(reason)

    def stop(self) -> Deferred[None]:
        self._stopped = Deferred()
        for child in self._starting:
            if child.connection is None:
                self._pool.dismiss(child)
        if self._check is not None:
            self._check.kill()
        self._look_whether_stopped()
        return self._stopped

    def kill(self) -> None:
        for child in self._starting:
            child.kill()
        if self._check is not None:
            self._check.kill()

    def _received(self, child: Child, message: messages.Message) -> None:
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

    def _look_whether_stopped(self) -> None:
        if self._stopped is None or self._starting or self._check is not None:
            return
        if not self._stopped.called:
            self._stopped.callback(None)

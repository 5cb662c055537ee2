"""
Chooses the launcher of a service.
"""

from __future__ import annotations

from typing import Any

from twisted_fork import agreement
from twisted_fork import handler as handlers
from twisted_fork.journal import Journal
from twisted_fork.kernel import system
from twisted_fork.kernel.stderr import StandardError
from twisted_fork.kernel.watcher import Watching
from twisted_fork.launchers.fork import ForkLauncher
from twisted_fork.launchers.interpreter import Starter
from twisted_fork.launchers.program import ExecLauncher
from twisted_fork.launchers.spawn import SpawnLauncher
from twisted_fork.pool.launcher import Launcher
from twisted_fork.settings import Settings
from twisted_fork.wire.orders import Orders

__all__ = ["choose"]


def choose(
    handler: handlers.Handler,
    settings: Settings,
    orders: Orders,
    reactor: Any,
    watcher: Watching,
    journal: Journal,
    stderr: StandardError,
    open_files: tuple[int, int],
) -> Launcher:
    """
    Make the launcher for a handler.

    :param orders: for templates and spawned children.
    :param open_files: limits on open files for children, soft and hard.
    """
    if isinstance(handler, handlers.Program) and agreement.is_direct(handler, settings):
        if system.can_begin_sessions():
            return ExecLauncher(reactor, watcher, journal, handler, stderr, open_files)
        journal.indirect()
    # the reactor process's standard output may be the log, which children must not write to
    stdout = 1 if isinstance(handler, handlers.Echo) and handler.print else None
    starter = Starter(reactor, watcher, stderr, open_files, stdout)
    made = ForkLauncher if settings.launcher == "fork" else SpawnLauncher
    return made(reactor, watcher, journal, orders, starter)

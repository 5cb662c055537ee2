"""
What the twistd plugins have in common: a service with its ports open, under twistd's
signals.
"""

from __future__ import annotations

import os
import pwd
import signal
import sys
from typing import Any

from twisted_fork.command.options import ServerOptions, refuse
from twisted_fork.command.signals import take_signals
from twisted_fork.entrance.ports import CannotListen
from twisted_fork.handler import Handler, Imported, InvalidHandler
from twisted_fork.service import ForkingService
from twisted_fork.settings import InvalidSetting

__all__ = ["make", "own_process"]


def make(options: ServerOptions, handler: Handler) -> ForkingService:
    """
    Make the service, see that its handler loads, and open its ports: before twistd writes
    its pid file or becomes a daemon, so that whatever is wrong is told in one line and
    leaves nothing behind.

    The handler is tried as the user that twistd's --uid names.

    :raises SystemExit: something is wrong; told in one line.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError:
        refuse(options.command, "the working directory does not exist any more; start in another")
    if isinstance(handler, Imported) and here not in sys.path:
        sys.path.insert(0, here)
    try:
        service = ForkingService(options.endpoints, handler, options.settings)
        service.check(*_whom(options))
        service.open_ports()
    except (CannotListen, InvalidHandler, InvalidSetting) as why:
        refuse(options.command, why)
    own_process(service)
    return service


def _whom(options: ServerOptions) -> tuple[int | None, int | None]:
    """The user and group that twistd will become."""
    twistd: Any = options.parent or {}
    uid, gid = twistd.get("uid"), twistd.get("gid")
    if uid is not None and gid is None:
        gid = pwd.getpwuid(uid).pw_gid
    return uid, gid


def own_process(service: ForkingService) -> None:
    """
    Have *service* be all that this process is for: see take_signals.

    Nothing in it is waited for by SIGCHLD then, and for each child that costs as much as a line
    of the log.
    """
    from twisted.internet import reactor

    service.alone = True
    take_signals(service)
    running: Any = reactor
    running.callWhenRunning(signal.signal, signal.SIGCHLD, signal.SIG_DFL)

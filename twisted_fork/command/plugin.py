"""
What both twistd commands share: they make the service with its ports open, and take twistd's
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
    Make the service, check that its handler loads, and open its ports.  This is before twistd
    writes its pid file or becomes a daemon: so a mistake is reported in one line, and nothing
    is left behind.

    The handler is tried as the user of twistd's --uid.

    :raises SystemExit: something is wrong; it has been reported.
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
    """The user and group that twistd will change to; None if it stays as it is."""
    twistd: Any = options.parent or {}
    uid, gid = twistd.get("uid"), twistd.get("gid")
    if uid is not None and gid is None:
        gid = pwd.getpwuid(uid).pw_gid
    return uid, gid


def own_process(service: ForkingService) -> None:
    """
    Let *service* have this process for itself: see take_signals, and ForkingService.alone.

    Then nothing in it is waited for by SIGCHLD, so its handler is removed: for each child it
    would cost as much as a line of the log.
    """
    from twisted.internet import reactor

    service.alone = True
    take_signals(service)
    running: Any = reactor
    running.callWhenRunning(signal.signal, signal.SIGCHLD, signal.SIG_DFL)

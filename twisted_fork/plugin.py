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

from twisted.internet.error import ReactorNotRunning

from twisted_fork.handler import Handler, Imported, InvalidHandler
from twisted_fork.listening import CannotListen
from twisted_fork.notify import Notifier
from twisted_fork.options import ServerOptions, refuse
from twisted_fork.service import ForkingService
from twisted_fork.settings import InvalidSetting

__all__ = ["make"]


def make(options: ServerOptions, handler: Handler) -> ForkingService:
    """
    Make the service, see that its handler loads, and open its ports: before twistd writes
    its pid file or becomes a daemon, so that whatever is wrong is told in one line and
    leaves nothing behind.

    The handler is tried as the user that twistd's --uid names.

    :raises SystemExit: something is wrong; told in one line.
    """
    here = os.getcwd()
    if isinstance(handler, Imported) and here not in sys.path:
        sys.path.insert(0, here)
    try:
        service = TwistdService(options.endpoints, handler, options.settings)
        service.check(*_whom(options))
        service.open_ports()
    except (CannotListen, InvalidHandler, InvalidSetting) as why:
        refuse(options.command, why)
    return service


def _whom(options: ServerOptions) -> tuple[int | None, int | None]:
    """The user and group that twistd will become."""
    twistd: Any = options.parent or {}
    uid, gid = twistd.get("uid"), twistd.get("gid")
    if uid is not None and gid is None:
        gid = pwd.getpwuid(uid).pw_gid
    return uid, gid


class TwistdService(ForkingService):
    """
    A ForkingService that is all that its process is for: SIGTERM and SIGINT stop it, with
    exit status 0, and the second one hurries it; SIGHUP reloads it; systemd is told.
    """

    def startService(self) -> None:
        """Start, and take the signals as soon as the reactor has installed its own."""
        self._notifier = Notifier(self._reactor)
        super().startService()
        self._reactor.callWhenRunning(self._take_signals)

    def stopService(self) -> Any:
        """Stop; see ForkingService."""
        try:
            self._notifier.stopping()
        except BaseException:
            self._journal.fault()
        return super().stopService().addBoth(self._said_goodbye)

    def reload(self) -> None:
        """Reload; see ForkingService."""
        self._notifier.reloading()
        super().reload()

    def settled(self) -> None:
        """Connections are accepted, or a reload is over."""
        self._notifier.ready()

    def _said_goodbye(self, result: Any) -> Any:
        self._notifier.close()
        return result

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        # nothing here is waited for by SIGCHLD, and for each child it costs as much as a line
        # of the log
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _signalled(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._act, signal.Signals(number))

    def _act(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self.reload()
        elif self.running:
            try:
                self._reactor.stop()
            except ReactorNotRunning:
                pass
            self._journal.stop_asked_for(number.name)  # not before: if it raises, we stop
        else:
            self.hurry()

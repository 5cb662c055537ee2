"""
What the twistd plugins have in common: a service with its ports open, under twistd's
signals.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from twisted_fork import starting
from twisted_fork.listening import CannotListen
from twisted_fork.options import ServerOptions, refuse
from twisted_fork.service import ForkingService
from twisted_fork.settings import InvalidSetting

__all__ = ["make"]


def make(options: ServerOptions, handler: Mapping[str, Any]) -> ForkingService:
    """
    Make the service, and open its ports: before twistd writes its pid file or becomes
    a daemon, so that a port that cannot be opened is told in one line and leaves
    nothing behind.

    :raises SystemExit: it cannot be; told in one line.
    """
    from twisted.internet import reactor

    service = TwistdService(reactor, options.endpoints, handler, options.settings)
    if options.settings.launcher == "fork":
        looked = starting.check()
        if looked is not None:
            refuse(options.command, looked)
    try:
        service.open_ports()
    except (CannotListen, InvalidSetting) as why:
        refuse(options.command, why)
    return service


class TwistdService(ForkingService):
    """
    A ForkingService that is all that its process is for: SIGTERM and SIGINT stop it,
    with exit status 0, and the second one hurries it.
    """

    def startService(self) -> None:
        """Start, and take the signals as soon as the reactor has installed its own."""
        super().startService()
        self._reactor.callWhenRunning(self._take_signals)

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._stop, signal.Signals(number).name)

    def _stop(self, name: str) -> None:
        if self.running:
            self._journal.stop_asked_for(name)
            self._reactor.stop()
        else:
            self.hurry()

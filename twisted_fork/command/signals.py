"""
Signals of a process that serves: SIGTERM and SIGINT stop it, a second one hurries it, SIGHUP
reloads it.  systemd is notified.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ReactorNotRunning

from twisted_fork.command.systemd import Event, Notifier
from twisted_fork.journal import Journal
from twisted_fork.service import ForkingService
from twisted_fork.timers import OneAtATime

__all__ = ["Signals", "take_signals"]

_TAKEN = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def take_signals(service: ForkingService, *others: ForkingService, reactor: Any = None) -> None:
    """
    Take the signals of this process as ``twistd forkserve`` does, and notify systemd, for all
    these services together.

    SIGTERM and SIGINT stop the reactor, and the process ends with status 0; the next one hurries
    the services (see ForkingService.hurry).  SIGHUP reloads them.  The signals are taken when
    the first of the services starts.

    Call it once in the life of a process, in its main thread, before the services start.

    :param reactor: by default the global one.
    :raises RuntimeError: one of them runs already, or was given to another call.
    """
    services = (service, *others)
    if any(each.running or each.observer is not None for each in services):
        raise RuntimeError("call take_signals once, before the services are started")
    if reactor is None:
        from twisted.internet import reactor
    signals = Signals(reactor, services, Journal())
    for each in services:
        each.observer = signals


class Signals:
    """
    Takes signals for services; is their Observer.

    :param reactor: is stopped by a signal; twistd then stops all its services.
    """

    def __init__(self, reactor: Any, services: Sequence[ForkingService], journal: Journal) -> None:
        self._reactor = reactor
        self._services = services
        self._journal = journal
        self._not_accepting = set(services)
        self._reloads = OneAtATime(self._reload)
        self._notifier: Notifier | None = None

    def starting(self) -> None:
        """
        Install the signal handlers when the first service is about to start.

        The reactor installs its own when it begins to run, so they are installed once more then.
        Signals that come before are handled when the reactor runs.
        """
        if self._notifier is not None:
            return  # another service was the first
        # not earlier: a process that becomes a daemon gets another pid
        self._notifier = Notifier(self._reactor)
        self._take()
        self._reactor.callWhenRunning(self._take)
        for phase, what in (("before", self._stopping), ("during", self._notifier.close)):
            self._reactor.addSystemEventTrigger(phase, "shutdown", what)

    def accepting(self, service: ForkingService) -> None:
        """*service* accepts connections; systemd is told when all do."""
        self._not_accepting.discard(service)
        if not self._not_accepting:
            self._tell(Event.ACCEPTING)

    def _tell(self, event: Event) -> None:
        if self._notifier is not None:
            self._notifier.happens(event)

    def _stopping(self) -> None:
        self._tell(Event.STOP)

    def _take(self) -> None:
        for number in _TAKEN:
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._act, signal.Signals(number))

    def _act(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self._reloads.ask()
            return
        try:
            self._reactor.stop()
        except ReactorNotRunning:  # it is already stopping
            for service in self._services:
                service.hurry()
        else:
            self._journal.stop_asked_for(number.name)

    def _reload(self) -> Deferred[Any]:
        self._tell(Event.RELOAD_BEGINS)
        reloads = [service.reload().addErrback(self._journal.raised) for service in self._services]
        return DeferredList(reloads).addCallback(lambda _: self._tell(Event.RELOAD_ENDS))

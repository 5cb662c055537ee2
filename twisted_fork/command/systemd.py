"""
Notifications for systemd: ready, reloading, stopping, alive (sd_notify(3)).

There are four phases, and a table of what each event changes.  Events may come in any order: a
reload may begin before connections are accepted, and end while the service stops.  An event that
is not in the table for the present phase sends nothing.
"""

from __future__ import annotations

import enum
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Any

from twisted_fork.timers import Later

__all__ = ["Event", "Notifier", "Phase", "after"]


_NOT_FOR_CHILDREN = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "JOURNAL_STREAM")
"""About this process's descriptors, which children do not have: sd_listen_fds(3),
systemd.exec(5)."""


class Phase(enum.Enum):
    """What systemd was told last."""

    STARTING = ""
    READY = "READY=1"
    RELOADING = "RELOADING=1"
    STOPPING = "STOPPING=1"


class Event(enum.Enum):
    """What may change the phase."""

    ACCEPTING = enum.auto()
    RELOAD_BEGINS = enum.auto()
    RELOAD_ENDS = enum.auto()
    STOP = enum.auto()


_PHASES = {
    (Phase.STARTING, Event.ACCEPTING): Phase.READY,
    (Phase.READY, Event.RELOAD_BEGINS): Phase.RELOADING,
    (Phase.RELOADING, Event.RELOAD_ENDS): Phase.READY,
    (Phase.STARTING, Event.STOP): Phase.STOPPING,
    (Phase.READY, Event.STOP): Phase.STOPPING,
    (Phase.RELOADING, Event.STOP): Phase.STOPPING,
}


def after(phase: Phase, event: Event) -> Phase:
    """The phase after *event*; the same one if there is nothing to send."""
    return _PHASES.get((phase, event), phase)


class Notifier:
    """
    Sends states to the process that started this one, if it has asked for them.

    :param environment: has NOTIFY_SOCKET and WATCHDOG_USEC.  They are removed, with
        everything else that children must not inherit.
    """

    def __init__(self, clock: Any, environment: MutableMapping[str, str] = os.environ) -> None:
        for name in _NOT_FOR_CHILDREN:
            environment.pop(name, None)
        self._address = environment.pop("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        self._interval = _watchdog_interval(environment)
        self._watchdog = Later(clock, self._alive)
        self._phase = Phase.STARTING

    def happens(self, event: Event) -> None:
        """Send what *event* changes."""
        before, self._phase = self._phase, after(self._phase, event)
        if self._phase is before:
            return
        since = ""
        if self._phase is Phase.RELOADING:
            since = f"\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
        self._send(self._phase.value + since)
        if self._phase is Phase.READY and self._address and self._interval:
            self._watchdog.arm(0)

    def close(self) -> None:
        """Send no more signs of life."""
        self._watchdog.cancel()

    def _alive(self) -> None:
        self._send("WATCHDOG=1")
        self._watchdog.arm(self._interval)

    def _send(self, state: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            try:
                channel.sendto(state.encode(), self._address)
            except OSError:
                pass  # nobody listens


def _watchdog_interval(environment: MutableMapping[str, str]) -> float:
    """Seconds between signs of life: half of WATCHDOG_USEC, as sd_watchdog_enabled(3) advises; 0
    if none are asked for."""
    microseconds = environment.pop("WATCHDOG_USEC", "")
    meant_for = environment.pop("WATCHDOG_PID", "")
    if not microseconds.isdigit() or meant_for not in ("", str(os.getpid())):
        return 0.0
    return int(microseconds) / 2_000_000

"""
Telling systemd: ready, reloading, stopping, alive (sd_notify(3)).

What has been said is one of four phases, and a table says what an event makes of each.  Events
may come in any order: a reload may begin before connections are accepted, and end while the
service stops.  Where the table has nothing for an event, nothing is said.
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
"""Told of this process's descriptors, which children do not have: sd_listen_fds(3),
systemd.exec(5)."""


class Phase(enum.Enum):
    """What systemd has been told last."""

    STARTING = ""
    READY = "READY=1"
    RELOADING = "RELOADING=1"
    STOPPING = "STOPPING=1"


class Event(enum.Enum):
    """What systemd may want to know."""

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
    """The phase that *event* leads to; the same if there is nothing to say."""
    return _PHASES.get((phase, event), phase)


class Notifier:
    """
    Sends states to whoever started this process, if it wants to know.

    :param environment: where NOTIFY_SOCKET and WATCHDOG_USEC are; they are taken out, with
        whatever else is not meant for our children.
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
        """Say what there is to say about *event*."""
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
        """Say nothing more."""
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
                pass  # who does not listen need not be told


def _watchdog_interval(environment: MutableMapping[str, str]) -> float:
    """Seconds between signs of life: half of what is asked for, as sd_watchdog_enabled(3)
    advises; 0 if none is asked for."""
    microseconds = environment.pop("WATCHDOG_USEC", "")
    meant_for = environment.pop("WATCHDOG_PID", "")
    if not microseconds.isdigit() or meant_for not in ("", str(os.getpid())):
        return 0.0
    return int(microseconds) / 2_000_000

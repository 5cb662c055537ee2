"""
Telling systemd: ready, reloading, stopping, alive (sd_notify(3)).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from typing import Any

from twisted_fork.later import Later

__all__ = ["Notifier"]


_NOT_FOR_CHILDREN = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "JOURNAL_STREAM")
"""Told of this process's descriptors, which children do not have: sd_listen_fds(3),
systemd.exec(5)."""


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

    def ready(self) -> None:
        """Connections are accepted, after a start or a reload."""
        self._send("READY=1")
        if self._address and self._interval:
            self._watchdog.arm(0)

    def reloading(self) -> None:
        """A new template is being started."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Ports are closed; children finish."""
        self._send("STOPPING=1")

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

"""
Start a process of ours: a template, or a spawned child.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol

from twisted_fork import inside
from twisted_fork.inside.start import CHANNEL, EAGER_BINDING

__all__ = ["Starter", "check", "orders"]

_INSIDE = os.path.dirname(inside.__file__)


class Starter:
    """
    Starts fresh interpreters: templates and spawned children.

    :param stderr: the descriptor of their standard error.
    :param open_files: the limits on open files that they shall have, soft and hard: not
        those that the reactor process has raised its own to, since programs that use
        select(2) cannot live with more than 1024.
    """

    def __init__(self, reactor: Any, stderr: int, open_files: tuple[int, int]) -> None:
        self._reactor = reactor
        self._stderr = stderr
        self._open_files = open_files

    def start(
        self, role: str, protocol: ProcessProtocol, channel: socket.socket
    ) -> IProcessTransport:
        """
        Start one in *role*, ``template`` or ``child``.

        Its standard input is empty, its standard output ours, both unbuffered.

        :param channel: its end of its channel; still the caller's to close.
        :raises OSError: no process can be made just now.
        """
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            transport: IProcessTransport = self._reactor.spawnProcess(
                protocol,
                sys.executable,
                [sys.executable, "-u", _INSIDE, role],
                env={**os.environ, EAGER_BINDING: "1"},
                childFDs={0: nothing, 1: 1, 2: self._stderr, CHANNEL: channel.fileno()},
            )
        finally:
            os.close(nothing)
        with suppress(OSError):
            resource.prlimit(transport.pid, resource.RLIMIT_NOFILE, self._open_files)
        return transport


def check() -> str | None:
    """
    Look in a process of its own, and wait for it, whether a template could work here.

    :returns: one line that says what is wrong; None if nothing is.
    """
    looked = subprocess.run(
        [sys.executable, _INSIDE, "check"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if looked.returncode == 0:
        return None
    *_, line = looked.stderr.strip().splitlines() or ["the check ended without a word"]
    return line


def orders(handler: Mapping[str, Any], connections_per_child: int) -> dict[str, Any]:
    """What a template or a spawned child is told, once: plain values."""
    return {
        "handler": dict(handler),
        "connections_per_child": connections_per_child,
        "path": sys.path,
    }

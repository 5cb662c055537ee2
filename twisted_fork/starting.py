"""
Start a process of ours: a template, or a spawned child.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol

from twisted_fork import inside

__all__ = ["check", "orders", "start"]

_INSIDE = os.path.dirname(inside.__file__)

_CHANNEL = 3


def start(
    role: str, reactor: Any, protocol: ProcessProtocol, channel: socket.socket, stderr: int
) -> IProcessTransport:
    """
    Start a fresh interpreter in *role* (``template`` or ``child``).

    Its standard input is empty, its standard output ours.

    :param channel: its end of its channel; still the caller's to close.
    :param stderr: the descriptor of its standard error.
    :raises OSError: no process can be made just now.
    """
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        transport: IProcessTransport = reactor.spawnProcess(
            protocol,
            sys.executable,
            [sys.executable, _INSIDE, role],
            env=None,
            childFDs={0: nothing, 1: 1, 2: stderr, _CHANNEL: channel.fileno()},
        )
    finally:
        os.close(nothing)
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


def orders(
    handler: Mapping[str, Any], connections_per_child: int, open_files: tuple[int, int]
) -> dict[str, Any]:
    """
    What a template or a spawned child is told, once: plain values.

    :param open_files: the limits on open files that it shall have, soft and hard;
        not those that the reactor process has raised its own to, since programs
        that use select(2) cannot live with more than 1024.
    """
    return {
        "handler": dict(handler),
        "connections_per_child": connections_per_child,
        "open_files": open_files,
        "path": sys.path,
    }

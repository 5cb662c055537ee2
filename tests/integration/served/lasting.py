"""A handler that takes its time, in the way that it is told to."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any, NoReturn


def multiplies(connection: socket.socket) -> NoReturn:
    """Three generations that do not listen to SIGTERM, and hold the connection."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    read, write = os.pipe()
    for _ in range(2):
        os.write(write, b"%d " % os.getpid())
        if os.fork():
            break
    else:
        os.write(write, b"%d" % os.getpid())
        connection.sendall(os.read(read, 1000) + b"\n")
    while True:
        signal.pause()


def leads(connection: socket.socket) -> NoReturn:
    """Ends at SIGTERM itself, but its child does not."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        connection.sendall(b"%d %d\n" % (os.getppid(), os.getpid()))
    while True:
        signal.pause()


def swallows(connection: socket.socket) -> None:
    """Reads, and sends nothing."""
    while connection.recv(65536):
        pass


def pours(connection: socket.socket) -> None:
    """Sends a byte for each that comes, and one before."""
    while True:
        connection.sendall(b"x")
        if not connection.recv(1):
            return


def obeys(connection: socket.socket, peer: Any) -> None:
    """Does what the first line names; sends what follows back in upper case if it is empty."""
    what = connection.makefile("rb", buffering=0).readline().decode().strip()
    if what:
        globals()[what](connection)
    else:
        while data := connection.recv(65536):
            connection.sendall(data.upper())

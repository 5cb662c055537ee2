"""Handlers that fail, in every way there is."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from typing import Any


def raises(connection: socket.socket, peer: Any) -> None:
    """Raises what nobody catches."""
    raise KeyError("no such key")


def raises_badly(connection: socket.socket, peer: Any) -> None:
    """Raises what has a newline and a control character in it."""
    raise ValueError("first\n\x1b[31msecond")


def fail_late(connection: socket.socket, peer: Any) -> None:
    """Raises when it has served its peer."""
    while data := connection.recv(65536):
        connection.sendall(data.upper())
    raise KeyError("no such key")


def exits(connection: socket.socket, peer: Any) -> None:
    """sys.exit with a number."""
    sys.exit(3)


def exits_with_words(connection: socket.socket, peer: Any) -> None:
    """sys.exit with words."""
    sys.exit("the last words")


def exits_at_once(connection: socket.socket, peer: Any) -> None:
    """os._exit."""
    os._exit(4)


def aborts(connection: socket.socket, peer: Any) -> None:
    """As a failed assertion in C does."""
    os.abort()


def crashes(connection: socket.socket, peer: Any) -> None:
    """As a bug in C does."""
    ctypes.string_at(0)


def closes_everything(connection: socket.socket, peer: Any) -> None:
    """Every descriptor that it has, standard streams and all."""
    os.closerange(0, 1024)


def forks(connection: socket.socket, peer: Any) -> None:
    """Has a child of its own, which ends before it."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    connection.sendall(b"its child ended with %d" % status)


def prints(connection: socket.socket, peer: Any) -> None:
    """To both streams, without an end at last."""
    print("this is printed")
    print("this is an error", file=sys.stderr)
    sys.stderr.write("this has no end")
    connection.sendall(b"printed")


def floods(connection: socket.socket, peer: Any) -> None:
    """More than anybody wants to read."""
    for _ in range(1024):
        os.write(2, (b"x" * 63 + b"\n") * 16)
    connection.sendall(b"flooded")


def forks_and_leaves(connection: socket.socket, peer: Any) -> None:
    """Leaves a child behind, which serves until its peer has had enough."""
    if os.fork() == 0:
        while data := connection.recv(65536):
            connection.sendall(data.upper())
        os._exit(0)
    connection.sendall(b"left")
    connection.close()


def obeys(connection: socket.socket, peer: Any) -> None:
    """Does what it is told: either fails, or sends everything back in upper case."""
    while data := connection.recv(65536):
        name = data.decode().strip()
        if name in globals():
            globals()[name](connection, peer)
            return
        connection.sendall(data.upper())

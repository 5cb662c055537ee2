"""Handlers that are plain functions of a connection and its peer."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import Any

import twisted_fork

IMPORTED = os.urandom(8).hex()
"""Another one whenever the module is imported."""


def who(connection: socket.socket, peer: Any) -> None:
    """Says who it is, and who it thinks the peer is."""
    info = twisted_fork.connection()
    told = {
        "pid": os.getpid(),
        "peer": peer,
        "getpeername": connection.getpeername(),
        "info_peer": info.peer,
        "info_local": info.local,
        "number": info.number,
        "extras": {str(kind): value.hex() for kind, value in info.extras.items()},
        "imported": IMPORTED,
    }
    connection.sendall(json.dumps(told).encode())


def who_in_repr(connection: socket.socket, peer: Any) -> None:
    """Says who the peer is, as Python writes it."""
    connection.sendall(ascii(peer).encode())


def upper(connection: socket.socket, peer: Any) -> None:
    """Sends everything back in upper case."""
    while data := connection.recv(65536):
        connection.sendall(data.upper())


class Upper:
    """Callables need not be functions."""

    def __call__(self, connection: socket.socket, peer: Any) -> None:
        upper(connection, peer)

    def method(self, connection: socket.socket, peer: Any) -> None:
        """So will a bound method do."""
        upper(connection, peer)


made = Upper()


def close_and_wait(connection: socket.socket, peer: Any) -> None:
    """Closes its connection after one answer, and goes on until SIGUSR1 comes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    upper_once(connection)
    connection.close()
    signal.sigwait([signal.SIGUSR1])


def redirect(connection: socket.socket, peer: Any) -> None:
    """Puts a file in the place of standard error."""
    with open(os.environ["INTO"], "wb") as into:
        os.dup2(into.fileno(), 2)
    upper(connection, peer)


def upper_once(connection: socket.socket) -> None:
    """Sends back in upper case what comes first."""
    connection.sendall(connection.recv(65536).upper())


def closes(connection: socket.socket, peer: Any) -> None:
    """Closes its connection itself."""
    connection.sendall(b"bye")
    connection.close()

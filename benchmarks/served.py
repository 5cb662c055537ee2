"""What ``forkserve --handler benchmarks.served:echo`` serves: the echo, as a plain callable."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket


def echo(connection: socket, peer: object) -> None:
    """Echo in upper case until the end of input or a read that begins with ``quit``."""
    while (data := connection.recv(65536)) and not data.startswith(b"quit"):
        connection.sendall(data.upper())

"""
The time of day: a server in one call, with its handler in the same script.

The children import this file once more, under another name than ``__main__``: so what
starts the server stands under the last ``if``.

    $ python daytime.py

It serves until Ctrl-C or SIGTERM, and logs to standard error.
"""

from __future__ import annotations

import socket
import time

import twisted_fork


def tell_time(connection: socket.socket, peer: tuple[str, int]) -> None:
    """Send the time, as RFC 867 would have it."""
    connection.sendall(time.strftime("%A, %d %B %Y %H:%M:%S %Z\r\n").encode())


if __name__ == "__main__":
    twisted_fork.serve(tell_time, "tcp:8000", max_children=50)

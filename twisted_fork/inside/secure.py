"""
TLS, ended in the child: the certificates are loaded once, the handshake is the child's.

A peer that stalls its handshake keeps one child busy for so long, and nobody else.
Children forked from one template share the keys of their session tickets, so a session
begun with one is resumed with any other.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

__all__ = ["context", "end", "wrap"]

_PATIENCE = 2.0
"""Seconds for the peer to answer our close_notify."""


def context(order: dict[str, Any]) -> ssl.SSLContext:
    """
    Load certificate, key, and the certificates that clients' are checked against.

    :raises OSError: a file cannot be read; ssl.SSLError, which is one, if it is no
        certificate or does not fit.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(order["certificate"], order["key"])
    if order["client_ca"]:
        made.load_verify_locations(order["client_ca"])
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def wrap(connection: socket.socket, made: ssl.SSLContext, timeout: float) -> ssl.SSLSocket:
    """
    Shake hands.

    :param timeout: seconds for all of it.
    :raises OSError: the peer failed to, or took too long (TimeoutError).
    """
    import time

    deadline = time.monotonic() + timeout
    wrapped = made.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    wrapped.setblocking(False)
    import select

    poll = select.poll()
    poll.register(wrapped, select.POLLIN)
    while True:
        try:
            wrapped.do_handshake()
        except ssl.SSLWantReadError:
            poll.modify(wrapped, select.POLLIN)
        except ssl.SSLWantWriteError:
            poll.modify(wrapped, select.POLLOUT)
        else:
            wrapped.setblocking(True)
            return wrapped
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError("the TLS handshake took too long")


def end(connection: ssl.SSLSocket) -> socket.socket:
    """
    Say close_notify, and wait a moment for the peer's.

    :returns: the plain socket, to be closed.
    """
    try:
        connection.settimeout(_PATIENCE)
        return connection.unwrap()
    except (OSError, ValueError):
        return connection

"""
TLS, ended in the child: certificates are loaded once, and each child does its handshake.

A peer that stalls its handshake keeps only its own child busy, for at most --handshake-timeout.
Children of one template share the keys of their session tickets, so a session that one of them
began can be resumed with any other.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from twisted_fork.inside.handlers.imports import BadHandler
from twisted_fork.wire.calls import memory_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from twisted_fork.wire.orders import Certificates, PemFile

__all__ = ["context", "end", "wrap"]

_PATIENCE = 2.0
"""Seconds for the peer to answer our close_notify."""


def context(order: Certificates) -> ssl.SSLContext:
    """
    Load the certificate, its key, and the certificates that clients' are checked against.

    :param order: path and contents of each file.
    :raises BadHandler: a file is not a PEM file, or does not match; the message names it.
    :raises OSError: out of descriptors or memory.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate, key, client_ca = order["certificate"], order["key"], order["client_ca"]
    with _in_memory(certificate) as chain, _in_memory(key or certificate) as its_key:
        try:
            made.load_cert_chain(chain, its_key, password="")
        except (OSError, ValueError) as failure:
            raise BadHandler(
                f"{certificate[0]} and {(key or certificate)[0]} are no PEM certificate with its"
                f" private key, without a passphrase: {failure}"
            ) from None
    if client_ca:
        with _in_memory(client_ca) as authorities:
            try:
                made.load_verify_locations(authorities)
            except (OSError, ValueError) as failure:
                raise BadHandler(f"{client_ca[0]} holds no PEM certificate: {failure}") from None
        made.verify_mode = ssl.CERT_REQUIRED
    return made


@contextmanager
def _in_memory(file: PemFile) -> Iterator[str]:
    """The path of a file that exists only in memory: ssl loads keys only from files."""
    with open(memory_file("pem"), "wb") as made:
        made.write(file[1])
        made.flush()
        yield f"/proc/self/fd/{made.fileno()}"


def wrap(connection: socket.socket, made: ssl.SSLContext, timeout: float) -> ssl.SSLSocket:
    """
    Do the TLS handshake.

    :param timeout: seconds for all of it.
    :raises OSError: the peer has failed to, or took too long (TimeoutError).
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
    Send close_notify, and wait for the peer's, at most _PATIENCE seconds.

    :returns: the plain socket, which has to be closed.
    """
    try:
        connection.settimeout(_PATIENCE)
        return connection.unwrap()
    except (OSError, ValueError):
        return connection

"""
What went over a TCP connection, and when, as the kernel tells it: the connection is not
read for that.

For that the reactor process keeps its descriptor of a connection until it is over; it
does not where nobody asks: with ``--quiet``, and no ``--idle-timeout``.  While it is kept,
a child that wants its peer to see the end and goes on itself has to shut the connection
down (shutdown(2)), not only close it, as the children's own code does.
"""

from __future__ import annotations

import _socket
import struct
from typing import NamedTuple

from twisted_fork.settings import Settings

__all__ = ["Amount", "Traffic", "kept"]

_ALL = 256
"""Bytes of struct tcp_info (linux/tcp.h) that are asked for, more than are looked at."""

_LAST_DATA = struct.Struct("=44xI4xI")
"""tcpi_last_data_sent and tcpi_last_data_recv, in milliseconds."""

_COUNTED = struct.Struct("=B119xQQ64xQQ")
"""tcpi_state, tcpi_bytes_acked, tcpi_bytes_received, tcpi_bytes_sent, tcpi_bytes_retrans."""

_CLOSED = 7
_PEER_HAS_ENDED = frozenset((6, 8, 9, 11))
"""TCP_TIME_WAIT, TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_CLOSING (net/tcp_states.h)."""


def kept(settings: Settings) -> bool:
    """Whether accounts are kept of TCP connections."""
    return settings.idle_timeout is not None or not settings.quiet


class Amount(NamedTuple):
    """Bytes that went over a connection."""

    received: int
    sent: int


class Traffic:
    """
    One TCP connection's accounts.

    :param connection: its socket; it is taken over.
    """

    __slots__ = ("_socket",)

    def __init__(self, connection: _socket.socket) -> None:
        self._socket = connection

    def idle(self) -> float:
        """Seconds since the last byte came or went."""
        sent, received = _LAST_DATA.unpack_from(self._info())
        return float(min(sent, received)) / 1000

    def amount(self) -> Amount | None:
        """What has been received and sent by now; None if this kernel does not tell all."""
        try:
            info = self._info()
        except OSError:
            return None
        if len(info) < _COUNTED.size:
            return None
        state, acknowledged, received, sent, again = _COUNTED.unpack_from(info)
        sent -= again
        # the kernel counts the peer's FIN, and ours once it is acknowledged, as a byte
        orderly = state == _CLOSED and acknowledged > sent
        if received and (orderly or state in _PEER_HAS_ENDED):
            received -= 1
        return Amount(received, sent)

    def close(self) -> None:
        """Let the connection go."""
        self._socket.close()

    def _info(self) -> bytes:
        return self._socket.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, _ALL)

"""
Reading ``struct tcp_info`` (linux/tcp.h): what the kernel knows of a TCP connection.

A child asks for it when it closes its connection (inside/handlers/linger.py); the reactor process
asks for that of a connection that it has handed over (kernel/traffic.py).
"""

from __future__ import annotations

import struct

from twisted_fork.wire.messages import ACCOUNT_SIZE

__all__ = ["amount", "idle"]

_IDLE = struct.Struct("=44xI4xI")
"""tcpi_last_data_sent and tcpi_last_data_recv, in milliseconds."""

_COUNTED = struct.Struct("=B119xQQ8xI52xQQ")
"""tcpi_state, tcpi_bytes_acked, tcpi_bytes_received, tcpi_notsent_bytes, tcpi_bytes_sent,
tcpi_bytes_retrans."""

_CLOSED = 7
_PEER_HAS_ENDED = (6, 8, 9, 11)
"""TCP_TIME_WAIT, TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_CLOSING (net/tcp_states.h)."""

_NOT_ENDED = (1, 8)
"""TCP_ESTABLISHED, TCP_CLOSE_WAIT: this side may still write."""


def idle(info: bytes) -> float:
    """Seconds since the last byte was received or sent."""
    sent, received = _IDLE.unpack_from(info)
    return float(min(sent, received)) / 1000


def amount(info: bytes) -> tuple[int, int] | None:
    """
    Count bytes.

    :returns: bytes received, and bytes sent or waiting to be sent; None if this kernel does not
        tell all of it.
    """
    if len(info) < ACCOUNT_SIZE:
        return None
    state, acknowledged, received, waiting, sent, again = _COUNTED.unpack_from(info)
    sent -= again
    # the kernel counts the peer's FIN as a byte; and ours, once it is acknowledged
    orderly = state == _CLOSED and acknowledged > sent
    if received and (orderly or state in _PEER_HAS_ENDED):
        received -= 1
    if waiting and state not in _NOT_ENDED:
        waiting -= 1  # our FIN, which is last
    return received, sent + waiting

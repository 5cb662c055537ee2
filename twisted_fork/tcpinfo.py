"""
What the kernel tells of a TCP connection: ``struct tcp_info`` (linux/tcp.h), read where it
stands.

A child asks for it when it closes its connection (inside/closing.py), the reactor process for
that of one that it has handed over (traffic.py).
"""

from __future__ import annotations

import sys

from twisted_fork.wire import ACCOUNT_SIZE

__all__ = ["amount", "idle"]

_ORDER = sys.byteorder

_LAST_DATA_SENT = 44
_LAST_DATA_RECV = 52
_BYTES_ACKED = 120
_BYTES_RECEIVED = 128
_NOTSENT_BYTES = 144
_BYTES_SENT = 200
_BYTES_RETRANS = 208
_CLOSED = 7
_PEER_HAS_ENDED = (6, 8, 9, 11)
"""TCP_TIME_WAIT, TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_CLOSING (net/tcp_states.h)."""

_NOT_ENDED = (1, 8)
"""TCP_ESTABLISHED, TCP_CLOSE_WAIT: this side may still write."""


def _u32(info: bytes, offset: int) -> int:
    return int.from_bytes(info[offset : offset + 4], _ORDER)


def _u64(info: bytes, offset: int) -> int:
    return int.from_bytes(info[offset : offset + 8], _ORDER)


def idle(info: bytes) -> float:
    """Seconds since the last byte came or went."""
    return min(_u32(info, _LAST_DATA_SENT), _u32(info, _LAST_DATA_RECV)) / 1000


def amount(info: bytes) -> tuple[int, int] | None:
    """
    Bytes that were received, and bytes that were sent or wait to be; None if this kernel does
    not tell all.
    """
    if len(info) < ACCOUNT_SIZE:
        return None
    state = info[0]
    received = _u64(info, _BYTES_RECEIVED)
    sent = _u64(info, _BYTES_SENT) - _u64(info, _BYTES_RETRANS)
    # the kernel counts the peer's FIN, and ours once it is acknowledged, as a byte
    orderly = state == _CLOSED and _u64(info, _BYTES_ACKED) > sent
    if received and (orderly or state in _PEER_HAS_ENDED):
        received -= 1
    waiting = _u32(info, _NOTSENT_BYTES)
    if waiting and state not in _NOT_ENDED:
        waiting -= 1  # our FIN, which is behind them
    return received, sent + waiting

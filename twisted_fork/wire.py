"""
The wire between the two worlds: messages, and descriptors passed along.

Imported on both sides, by the reactor process and by the template and the
children; so it uses the standard library alone and nothing that slows a fork.

Every channel is a Unix socket pair of type ``SOCK_SEQPACKET``: a message
arrives whole or not at all, and two processes may send on the same end without
mixing their bytes.  A message is a header of 13 bytes and a payload::

    kind      1 byte, one of the constants below
    ticket    8 bytes, unsigned: which request this is about
    number    4 bytes, signed: a pid, an errno, or a count of descriptors

What goes towards a child may be marshalled Python (we trust the reactor
process); what comes from a child is never more than the header and plain bytes,
because a child may be hostile.
"""

from __future__ import annotations

import marshal
import socket
import struct
from array import array
from typing import Any, NamedTuple

__all__ = [
    "ALIVE",
    "CONNECTION",
    "FAILED",
    "FORK",
    "MAX_PAYLOAD",
    "ORDERS",
    "READY",
    "TAKEN",
    "TELL",
    "Message",
    "channel_pair",
    "pack",
    "receive",
    "send",
    "unpack",
]

ORDERS = b"O"
"""Reactor process to template or spawned child, once: what to run and how."""

FORK = b"F"
"""Reactor process to template: fork a child.  ``number`` says which descriptors
come along: bit 0 a connection to serve, bit 1 a channel of the child's own."""

CONNECTION = b"C"
"""Reactor process to child: serve the connection whose descriptor comes along."""

ALIVE = b"A"
"""Child to reactor process, over the template's channel: the child that
``ticket`` asked for runs, ``number`` is its pid, and what came along is its own."""

READY = b"R"
"""Template or child to reactor process: ready for work."""

FAILED = b"X"
"""Template to reactor process: no child for ``ticket``; ``number`` is the errno.
From a template that has not been ready yet: it cannot serve at all."""

TAKEN = b"T"
"""Child to reactor process: the connection has been received and will be served."""

TELL = b"M"
"""Child to reactor process: a message from the handler, in the payload."""

CARRIES_CONNECTION = 1
CARRIES_CHANNEL = 2

MAX_PAYLOAD = 64 * 1024
"""The most bytes that a child may put into one message."""

_HEADER = struct.Struct("=cQi")
_MOST_DESCRIPTORS = 2
LONGEST = _HEADER.size + MAX_PAYLOAD
"""Bytes of the longest message."""
_ANCILLARY = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array("i").itemsize)


class Message(NamedTuple):
    """A message as it was received.

    ``descriptors`` belong to the receiver, who closes them.
    """

    kind: bytes
    ticket: int
    number: int
    payload: bytes
    descriptors: list[int]

    @property
    def details(self) -> Any:
        """The payload, unmarshalled; only for messages from the reactor process."""
        return marshal.loads(self.payload)


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """
    Make a channel: the reactor process's end, which never blocks, and the other,
    which does.

    :raises OSError: the process or the system is out of descriptors (``EMFILE``,
        ``ENFILE``) or of memory.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


def pack(kind: bytes, ticket: int = 0, number: int = 0, payload: bytes = b"") -> bytes:
    """Put a message's bytes together."""
    return _HEADER.pack(kind, ticket, number) + payload


def unpack(data: bytes, descriptors: list[int] | None = None) -> Message:
    """
    Take a message's bytes apart.

    :raises ValueError: these bytes are no message; it says why.
    """
    if len(data) < _HEADER.size:
        raise ValueError(f"{len(data)} bytes are too few for a message")
    kind, ticket, number = _HEADER.unpack_from(data)
    return Message(kind, ticket, number, data[_HEADER.size :], descriptors or [])


def marshalled(value: Any) -> bytes:
    """Put a plain value into a payload for the way towards a child."""
    return marshal.dumps(value)


def send(
    channel: socket.socket, data: bytes, descriptors: tuple[int, ...] | list[int] = ()
) -> None:
    """
    Send a packed message and copies of *descriptors*.

    :raises BlockingIOError: the channel is full (on the reactor process's side).
    :raises OSError: the other side is gone (``EPIPE``, ``ECONNRESET``), or the kernel
        holds too many descriptors on their way (``ETOOMANYREFS``, see unix(7)).
    """
    if descriptors:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))]
        channel.sendmsg([data], rights, socket.MSG_NOSIGNAL)
    else:
        channel.send(data, socket.MSG_NOSIGNAL)


def receive(channel: socket.socket) -> Message | None:
    """
    Receive one message and its descriptors, which are closed on exec.

    This is the template's and the child's side: the call blocks.

    :returns: the message; None when the other side is gone.
    :raises ValueError: what came is no message.
    """
    data, ancillary, _flags, _address = channel.recvmsg(
        LONGEST, _ANCILLARY, socket.MSG_CMSG_CLOEXEC
    )
    descriptors = array("i")
    for level, kind, rights in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(rights[: len(rights) - len(rights) % descriptors.itemsize])
    if not data:
        return None
    return unpack(data, descriptors.tolist())

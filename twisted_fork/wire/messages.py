"""
The wire between the two worlds: messages, and descriptors passed along.

Imported on both sides, by the reactor process and by the template and the
children; so it uses the standard library alone, and little of it: each extension
module and each page of objects makes every fork slower.  Hence ``_socket``, not
``socket``; no ``struct``, ``array`` or ``typing``.

Every channel is a Unix socket pair of type ``SOCK_SEQPACKET``: a message
arrives whole or not at all, and two processes may send on the same end without
mixing their bytes.  A message is a header of 13 bytes and a payload::

    kind      1 byte, one of the constants below
    ticket    8 bytes, unsigned: which request this is about
    number    4 bytes, unsigned: a pid, an errno, or a count of descriptors

What goes towards a child may be marshalled Python (we trust the reactor
process); what comes from a child is never more than the header and plain bytes,
because a child may be hostile."""

from __future__ import annotations

import _socket
import marshal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from twisted_fork.wire.orders import Details

__all__ = [
    "ACCOUNT",
    "ACCOUNT_SIZE",
    "ALIVE",
    "CONNECTION",
    "EXIT_HANDSHAKE",
    "EXIT_MEMORY",
    "FAILED",
    "FORK",
    "MAX_PAYLOAD",
    "ORDERS",
    "READY",
    "STREAMS",
    "TAKEN",
    "TELL",
    "Message",
    "pack",
    "receive",
    "reply",
    "send",
]

ORDERS = b"O"
"""Reactor process to template or spawned child, once: what to run and how, marshalled in
the file that comes along."""

FORK = b"F"
"""Reactor process to template: fork a child.  ``number`` says which descriptors
come along: bit 0 a connection to serve, bit 1 a channel of the child's own."""

STREAMS = b"E"
"""Reactor process to template: the standard error of its own, and of children to come, comes
along; if ``number`` is not 0 it is their standard output as well."""

CONNECTION = b"C"
"""Reactor process to child: serve the connection whose descriptor comes along."""

ALIVE = b"A"
"""Child to reactor process, over the template's channel: the child that
``ticket`` asked for runs, ``number`` is its pid, and what came along is its own."""

READY = b"R"
"""Template or child to reactor process: ready for work.  The payload of a child that has served
is what the kernel knew of that connection when it closed it, as ACCOUNT_SIZE says."""

FAILED = b"X"
"""Template to reactor process: no child for ``ticket``; ``number`` is the errno.
From a template that has not been ready yet: it cannot serve at all."""

TAKEN = b"T"
"""Child to reactor process: the connection has been received and will be served."""

TELL = b"M"
"""Child to reactor process: a message from the handler, in the payload."""

CARRIES_CONNECTION = 1
CARRIES_CHANNEL = 2

ACCOUNT = b"\0account "
"""Child to reactor process, over its standard error, where the kernel says who writes: what the
kernel knew of its connection when it closed it.  The next ACCOUNT_SIZE bytes are that."""

ACCOUNT_SIZE = 216
"""Bytes of ``struct tcp_info`` (linux/tcp.h) that count both ways: Linux 4.19.  A kernel that
tells less is not told of."""

EXIT_MEMORY = 250
"""Exit status of a child whose handler ran out of memory.  This one and the next are numbers
that neither sysexits.h, shells nor systemd use, so that programs hardly do."""

EXIT_HANDSHAKE = 251
"""Exit status of a child whose peer took too long to shake hands."""

MAX_PAYLOAD = 64 * 1024
"""The most bytes that a child may put into one message."""

_HEADER = 13

LONGEST = _HEADER + MAX_PAYLOAD
"""Bytes of the longest message."""

_INWARD = memoryview(bytearray(LONGEST + 4096))
"""Where messages towards a template or a child are received, only for as long as it takes to
copy them: the longest tell all TLVs of a PROXY header, and addresses."""

_DESCRIPTOR = 4
"""Bytes of a descriptor in a control message: a C int."""

_ANCILLARY = _socket.CMSG_SPACE(2 * _DESCRIPTOR)

_ORDER = sys.byteorder


class Message:
    """
    A message as it was received.

    :param descriptors: belong to the receiver, who closes them.
    :raises ValueError: *data* is no message.
    """

    __slots__ = ("data", "descriptors", "kind")

    def __init__(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        if len(data) < _HEADER:
            raise ValueError(f"{len(data)} bytes are too few for a message")
        self.kind = data[:1]
        self.data = data
        self.descriptors = descriptors

    @property
    def ticket(self) -> int:
        """Which request this is about."""
        return int.from_bytes(self.data[1:9], _ORDER)

    @property
    def number(self) -> int:
        """A pid, an errno, or a set of CARRIES_ bits."""
        return int.from_bytes(self.data[9:13], _ORDER)

    @property
    def payload(self) -> bytes:
        """Whatever follows the header."""
        return self.data[_HEADER:]

    @property
    def details(self) -> Details:
        """The payload, unmarshalled; only for messages from the reactor process."""
        details: Details = marshal.loads(self.data[_HEADER:])
        return details


def pack(kind: bytes, ticket: int = 0, number: int = 0, payload: bytes = b"") -> bytes:
    """Put a message's bytes together."""
    return kind + ticket.to_bytes(8, _ORDER) + number.to_bytes(4, _ORDER) + payload


def reply(message: Message, kind: bytes, number: int) -> bytes:
    """Pack an answer to *message*: it has its ticket."""
    return kind + message.data[1:9] + number.to_bytes(4, _ORDER)


def marshalled(value: Any) -> bytes:
    """Put a plain value into a payload for the way towards a child."""
    return marshal.dumps(value)


def send(channel: _socket.socket, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
    """
    Send a packed message and copies of *descriptors*.

    :raises BlockingIOError: the channel is full (on the reactor process's side).
    :raises OSError: the other side is gone (``EPIPE``, ``ECONNRESET``), or the kernel
        holds too many descriptors on their way (``ETOOMANYREFS``, see unix(7)).
    """
    if descriptors:
        rights = b""
        for descriptor in descriptors:
            rights += descriptor.to_bytes(_DESCRIPTOR, _ORDER)
        control = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)]
        channel.sendmsg([data], control, _socket.MSG_NOSIGNAL)
    else:
        channel.send(data, _socket.MSG_NOSIGNAL)


def receive(channel: _socket.socket) -> Message | None:
    """
    Receive one message and its descriptors, which are closed on exec.

    This is the template's and the child's side: the call blocks.

    :returns: the message; None when the other side is gone.
    :raises ValueError: what came is no message.
    """
    try:
        length, ancillary, _flags, _address = channel.recvmsg_into(
            (_INWARD,), _ANCILLARY, _socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:
        return None
    if not length:
        return None
    data = bytes(_INWARD[:length])
    descriptors = []
    for _level, _kind, rights in ancillary:
        for start in range(0, len(rights), _DESCRIPTOR):
            descriptors.append(int.from_bytes(rights[start : start + _DESCRIPTOR], _ORDER))
    return Message(data, descriptors)

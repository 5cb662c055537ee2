"""
The wire between the two worlds: messages, and descriptors sent with them.

The reactor process, the template and the children all import this.  So it uses the standard
library alone, and little of it: each extension module and each page of objects makes every fork
slower.  Hence ``_socket``, not ``socket``; no ``struct``, ``array`` or ``typing``.

Every channel is a Unix socket pair of type ``SOCK_SEQPACKET``: a message arrives whole or not
at all, and two processes may send on the same end without mixing their bytes.  A message is a
header of 13 bytes and a payload::

    kind      1 byte, one of the constants below
    ticket    8 bytes, unsigned: which request this is about
    number    4 bytes, unsigned: a pid, an errno, or a set of bits

Towards a child the payload may be marshalled Python, because children trust the reactor process.
From a child, which may be hostile, it is plain bytes."""

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
"""Reactor process to template or spawned child, once: what to run and how, marshalled in the
file whose descriptor is sent with it."""

FORK = b"F"
"""Reactor process to template: fork a child.  ``number`` says which descriptors are sent with
it: bit 0 a connection to serve, bit 1 a channel for the child."""

STREAMS = b"E"
"""Reactor process to template, with a descriptor: the new standard error of the template and of
later children; also their standard output if ``number`` is not 0."""

CONNECTION = b"C"
"""Reactor process to child: serve the connection whose descriptor is sent with it."""

ALIVE = b"A"
"""Child to reactor process, over the template's channel: the child that ``ticket`` asked for
runs, ``number`` is its pid, and the descriptors of the request are its own now."""

READY = b"R"
"""Template or child to reactor process: ready for work.  From a child that has served, the
payload is what the kernel knew of that connection when it was closed; see ACCOUNT_SIZE."""

FAILED = b"X"
"""Template to reactor process: no child for ``ticket``; ``number`` is the errno.  From a
template that has not been ready yet: it cannot serve at all."""

TAKEN = b"T"
"""Child to reactor process: the connection has been received and will be served."""

TELL = b"M"
"""Child to reactor process: the payload is a message from the handler."""

CARRIES_CONNECTION = 1
CARRIES_CHANNEL = 2

ACCOUNT = b"\0account "
"""Child to reactor process, over standard error, where the kernel reports the sender.  The next
ACCOUNT_SIZE bytes are what the kernel knew of its connection when it was closed."""

ACCOUNT_SIZE = 216
"""Bytes of ``struct tcp_info`` (linux/tcp.h) up to the last counter that is needed: Linux 4.19.
If a kernel has less, nothing is sent."""

EXIT_MEMORY = 250
"""Exit status of a child whose handler ran out of memory.  Neither sysexits.h nor shells nor
systemd use this number or the next, so few programs do."""

EXIT_HANDSHAKE = 251
"""Exit status of a child whose peer took too long for the TLS handshake."""

MAX_PAYLOAD = 64 * 1024
"""Most bytes in a payload from a child."""

_HEADER = 13

LONGEST = _HEADER + MAX_PAYLOAD
"""Bytes of the longest message."""

_INWARD = memoryview(bytearray(LONGEST + 4096))
"""Buffer of a template or a child for messages that it receives, which are copied at once.  The
longest have all TLVs of a PROXY header, and addresses."""

_DESCRIPTOR = 4
"""Bytes of a descriptor in a control message: a C int."""

_ANCILLARY = _socket.CMSG_SPACE(2 * _DESCRIPTOR)

_ORDER = sys.byteorder


class Message:
    """
    A received message.

    :param descriptors: belong to the receiver, who has to close them.
    :raises ValueError: *data* is shorter than a header.
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
        """What follows the header."""
        return self.data[_HEADER:]

    @property
    def details(self) -> Details:
        """The payload, unmarshalled; only for messages from the reactor process."""
        details: Details = marshal.loads(self.data[_HEADER:])
        return details


def pack(kind: bytes, ticket: int = 0, number: int = 0, payload: bytes = b"") -> bytes:
    """The bytes of a message."""
    return kind + ticket.to_bytes(8, _ORDER) + number.to_bytes(4, _ORDER) + payload


def reply(message: Message, kind: bytes, number: int) -> bytes:
    """The bytes of an answer to *message*: they have its ticket."""
    return kind + message.data[1:9] + number.to_bytes(4, _ORDER)


def marshalled(value: Any) -> bytes:
    """A plain value as a payload; only towards a child."""
    return marshal.dumps(value)


def send(channel: _socket.socket, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
    """
    Send a packed message and copies of *descriptors*.

    :raises BlockingIOError: the channel is full; only on the reactor process's side.
    :raises OSError: the other side is gone (``EPIPE``, ``ECONNRESET``), or too many
        descriptors are in flight (``ETOOMANYREFS``, see unix(7)).
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

    Only for the template and the children: it blocks.

    :returns: the message; None when the other side is gone.
    :raises ValueError: what came is shorter than a header.
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

"""
How many bytes went over a TCP connection that a child serves, and when.  The kernel is asked by
the connection's addresses (sock_diag(7)), since the reactor process has no descriptor of it.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket
import struct
from collections.abc import Iterable

from twisted_fork.settings import InvalidSetting
from twisted_fork.wire import tcpinfo

__all__ = ["Traffic", "require_told"]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
"""linux/netlink.h, linux/sock_diag.h"""

_NLMSG_ERROR = 2
_NLM_F_REQUEST = 1
_INET_DIAG_INFO = 2
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = 0xFFFFFFFF

_HEADER = struct.Struct("=IHHII")
"""``struct nlmsghdr``, see netlink(7)."""

_REQUEST = struct.Struct("=BBBxI2s2s16s16sIII")
"""``struct inet_diag_req_v2``, see sock_diag(7)."""

_MESSAGE = struct.Struct("=BB70x")
"""``struct inet_diag_msg``: family and state of what was found."""

_ATTRIBUTE = struct.Struct("=HH")

_LISTENS = 10
_ERROR = struct.Struct("=i")
_LONGEST = 4096


class Traffic:
    """
    Asks the kernel about one TCP connection.

    :param descriptor: of the connection, for its addresses; it is not kept.
    :raises OSError: the peer is already gone.
    """

    __slots__ = ("_family", "_local", "_peer")

    def __init__(self, descriptor: int) -> None:
        connection = socket.socket(fileno=descriptor)
        try:
            self._family = int(connection.family)
            self._local = connection.getsockname()[:2]
            self._peer = connection.getpeername()[:2]
        finally:
            connection.detach()

    def idle(self) -> float | None:
        """
        Seconds since the last byte was received or sent; None if the connection is over.

        :raises OSError: the kernel does not tell now.
        """
        info = self._info()
        return None if info is None else tcpinfo.idle(info)

    def amount(self) -> tuple[int, int] | None:
        """Bytes received and sent so far; None if the kernel does not tell."""
        try:
            info = self._info()
        except OSError:
            return None
        return None if info is None else tcpinfo.amount(info)

    def _info(self) -> bytes | None:
        state, info = _look_up(self._family, self._local, self._peer)
        return None if state == _LISTENS else info


def require_told(listeners: Iterable[_socket.socket]) -> None:
    """
    Check that the kernel reports when bytes went over connections of *listeners*.

    :raises InvalidSetting: it does not.
    """
    try:
        for listener in listeners:
            if listener.family == socket.AF_UNIX:
                raise InvalidSetting(
                    "--idle-timeout cannot be kept on Unix sockets, where the kernel does not"
                    " tell when something was sent; --session-timeout can"
                )
            family = int(listener.family)
            nobody = ("0.0.0.0" if family == socket.AF_INET else "::", 0)
            if _look_up(family, listener.getsockname()[:2], nobody)[0] != _LISTENS:
                raise OSError(errno.ENOENT, "it knows no TCP sockets")
    except OSError as failure:
        raise InvalidSetting(
            "--idle-timeout cannot be kept here: the kernel does not tell when something was"
            f" sent (sock_diag: {failure.strerror}); --session-timeout can"
        ) from None


def _look_up(
    family: int, local: tuple[str, int], peer: tuple[str, int]
) -> tuple[int, bytes | None]:
    """
    Ask for the socket that has these addresses.

    :returns: its state, and its ``struct tcp_info``; of a listening socket if there is no such
        connection; 0 and None if there is none either.
    :raises OSError: the kernel does not tell.
    """
    request = _REQUEST.pack(
        family,
        socket.IPPROTO_TCP,
        1 << (_INET_DIAG_INFO - 1),
        _ALL_STATES,
        *(end[1].to_bytes(2, "big") for end in (local, peer)),
        *(_packed(family, end[0]) for end in (local, peer)),
        _scope(peer[0]),
        _NO_COOKIE,
        _NO_COOKIE,
    )
    size = _HEADER.size + len(request)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as netlink:
        netlink.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0) + request)
        # the kernel has answered when send returns
        answer = netlink.recv(_LONGEST, socket.MSG_DONTWAIT)
    if _HEADER.unpack_from(answer)[1] == _NLMSG_ERROR:
        (number,) = _ERROR.unpack_from(answer, _HEADER.size)
        if -number == errno.ENOENT:
            return 0, None
        raise OSError(-number, os.strerror(-number))
    _family, state = _MESSAGE.unpack_from(answer, _HEADER.size)
    return state, _attribute(answer, _HEADER.size + _MESSAGE.size, _INET_DIAG_INFO)


def _packed(family: int, host: str) -> bytes:
    return socket.inet_pton(family, host.partition("%")[0]).ljust(16, b"\0")


def _scope(host: str) -> int:
    """The interface of a link-local address, which accept(2) puts behind a percent sign."""
    name = host.partition("%")[2]
    if not name:
        return 0
    return int(name) if name.isdigit() else socket.if_nametoindex(name)


def _attribute(answer: bytes, offset: int, wanted: int) -> bytes | None:
    """The payload of an attribute behind a message, see netlink(7); None if there is none."""
    while offset + _ATTRIBUTE.size <= len(answer):
        length, kind = _ATTRIBUTE.unpack_from(answer, offset)
        if length < _ATTRIBUTE.size:
            return None
        if kind == wanted:
            return answer[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return None

"""Handlers that say which session they are in, and what they have of that."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
from typing import Any

from twisted_fork.inside import limits

KEYCTL = limits._SYS_KEYCTL.get(os.uname().machine)

_KEYCTL_SEARCH = 10
_SESSION_KEYRING = -3


def told() -> dict[str, Any]:
    """Who we are, the session, and what becomes of a try to open the terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        terminal = "opened"
    except OSError as failure:
        terminal = errno.errorcode[failure.errno or 0]
    return {"pid": os.getpid(), "session": os.getsid(0), "terminal": terminal}


def tells(connection: socket.socket, peer: Any) -> None:
    """Says so."""
    connection.recv(1)
    connection.sendall(json.dumps(told()).encode())


def keyctl(*arguments: object) -> int:
    """
    See keyctl(2).

    :raises OSError: what the call said.
    """
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    wrapped = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(library.syscall(ctypes.c_long(KEYCTL or 0), *wrapped))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def find_key(name: str) -> str:
    """What comes of looking for a key by way of the session."""
    try:
        keyctl(_KEYCTL_SEARCH, _SESSION_KEYRING, b"user", name.encode(), 0)
    except OSError as failure:
        return errno.errorcode[failure.errno or 0]
    return "found"


def looks_for_the_key(connection: socket.socket, peer: Any) -> None:
    """Says who we are, and whether we find the key that the peer names."""
    name = connection.recv(100).decode()
    told = {"uid": os.getuid(), "key": find_key(name)}
    connection.sendall(json.dumps(told).encode())

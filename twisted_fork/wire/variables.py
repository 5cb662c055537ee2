"""
The environment of a program that is the handler; for whichever process executes it.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from twisted_fork.wire.orders import ProgramOrder

__all__ = ["environment"]


def environment(
    order: ProgramOrder, peer: Any, local: Any, number: int, ours: dict[str, str]
) -> dict[str, str]:
    """
    Make the program's environment: *ours*, or nothing with ``clear``; then what describes the
    connection (https://cr.yp.to/proto/ucspi.txt, and "Accept=" in systemd.socket(5)); then
    what the order sets.
    """
    result = {} if order["clear"] else ours.copy()
    result.update(_of_connection(peer, local, number))
    result.update(order["env"])
    return result


def _of_connection(peer: Any, local: Any, number: int) -> dict[str, str]:
    if not isinstance(peer, tuple):
        told = {
            "PROTO": "UNIX",
            "UNIXLOCALPATH": _text(local),
            "UNIXREMOTEPATH": _text(peer),
            "UNIXCONNNUM": str(number),
        }
        return told
    return {
        "PROTO": "TCP",
        "TCPLOCALIP": local[0],
        "TCPLOCALPORT": str(local[1]),
        "TCPREMOTEIP": peer[0],
        "TCPREMOTEPORT": str(peer[1]),
        "TCPCONNNUM": str(number),
        "REMOTE_ADDR": peer[0],
        "REMOTE_PORT": str(peer[1]),
    }


def _text(path: Any) -> str:
    """The text of a path.  The first NUL of an abstract name becomes ``@``; any other NUL, which no
    variable can hold, is escaped as in the log.  Bytes that are not text are kept (PEP 383)."""
    text = os.fsdecode(path)
    if text[:1] == "\0":
        text = "@" + text[1:]
    return text.replace("\0", "\\x00")

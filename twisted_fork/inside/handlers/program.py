"""
A program as the handler: executed with the connection as its standard input and output,
as inetd does it, and told about it as UCSPI and systemd do.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

from twisted_fork.inside import about

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from twisted_fork.wire.orders import ProgramOrder

__all__ = ["environment", "execute"]


def environment(
    order: ProgramOrder, info: about.ConnectionInfo, ours: dict[str, str]
) -> dict[str, str]:
    """
    The program's environment: *ours*, or nothing with ``clear``; then what describes the
    connection (https://cr.yp.to/proto/ucspi.txt, and "Accept=" in systemd.socket(5));
    then what the order sets.
    """
    result = {} if order["clear"] else ours.copy()
    result.update(_of_connection(info))
    result.update(order["env"])
    return result


def _of_connection(info: about.ConnectionInfo) -> dict[str, str]:
    if not isinstance(info.peer, tuple):
        told = {
            "PROTO": "UNIX",
            "UNIXLOCALPATH": _text(info.local),
            "UNIXREMOTEPATH": _text(info.peer),
            "UNIXCONNNUM": str(info.number),
        }
        return told
    return {
        "PROTO": "TCP",
        "TCPLOCALIP": info.local[0],
        "TCPLOCALPORT": str(info.local[1]),
        "TCPREMOTEIP": info.peer[0],
        "TCPREMOTEPORT": str(info.peer[1]),
        "TCPCONNNUM": str(info.number),
        "REMOTE_ADDR": info.peer[0],
        "REMOTE_PORT": str(info.peer[1]),
    }


def _text(path: Any) -> str:
    """A path; of an abstract name, the first NUL as ``@``.  No variable can hold another NUL: it
    is escaped, as in the log.  Bytes that are no text stay what they are (PEP 383)."""
    text = os.fsdecode(path)
    if text[:1] == "\0":
        text = "@" + text[1:]
    return text.replace("\0", "\\x00")


def execute(order: ProgramOrder, descriptor: int, info: about.ConnectionInfo) -> NoReturn:
    """
    Become the program.

    :param descriptor: the connection; a blocking socket.
    :raises OSError: it cannot be executed.
    """
    env = environment(order, info, dict(os.environ))
    if order["chdir"]:
        os.chdir(order["chdir"])
    # what is ignored or blocked here, by the interpreter or by whoever started us, would
    # stay so in the program
    for number in _signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP}:
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    os.dup2(descriptor, 0)
    os.dup2(descriptor, 1)
    argv = order["argv"]
    os.execve(order["path"], argv, env)

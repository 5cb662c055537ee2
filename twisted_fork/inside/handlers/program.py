"""
A program as the handler: it is executed with the connection as its standard input and output, as
inetd does, and gets the environment of UCSPI and systemd.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

from twisted_fork.wire.variables import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from twisted_fork.inside.handlers import api
    from twisted_fork.wire.orders import ProgramOrder

__all__ = ["execute"]


def execute(order: ProgramOrder, descriptor: int, info: api.ConnectionInfo) -> NoReturn:
    """
    Become the program.

    :param descriptor: the connection, a blocking socket.
    :raises OSError: it cannot be executed.
    """
    env = environment(order, info.peer, info.local, info.number, dict(os.environ))
    if order["chdir"]:
        os.chdir(order["chdir"])
    # signals that this process ignores or blocks, from the interpreter or inherited, would be
    # ignored or blocked in the program too
    for number in _signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP}:
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    os.dup2(descriptor, 0)
    os.dup2(descriptor, 1)
    argv = order["argv"]
    os.execve(order["path"], argv, env)

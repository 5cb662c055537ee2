"""
serve(): a server in one call, for scripts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from twisted.logger import globalLogBeginner, textFileLogObserver

from twisted_fork.command.plugin import own_process
from twisted_fork.entrance.descriptions import listed
from twisted_fork.handler import Handler
from twisted_fork.service import ForkingService
from twisted_fork.settings import Settings
from twisted_fork.wire.names import MAIN

__all__ = ["serve"]


def serve(
    handler: Handler | str | Callable[..., Any],
    listen: str | Iterable[str] = "tcp:8000",
    **settings: Any,
) -> None:
    """
    Serve connections until SIGTERM or SIGINT comes, logging to standard error.

    It runs the global reactor: call it once in the life of a process, in its main thread.

    :param handler: see ForkingService; it may be a function of the script itself, if the
        script calls serve under ``if __name__ == "__main__":``.
    :param listen: one description of what to listen on, or several.
    :param settings: fields of Settings, such as ``max_children=50``.
    :raises CannotListen, InvalidHandler, InvalidSetting: before anything is started.
    :raises RuntimeError: the script is being imported for its handler.
    """
    if MAIN in sys.modules:
        raise RuntimeError('put the call of serve under if __name__ == "__main__":')
    endpoints = listed(listen, "listen")
    from twisted.internet import reactor

    service = ForkingService(endpoints, handler, Settings(**settings))
    service.check()
    service.open_ports()
    own_process(service)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    service.startService()
    running: Any = reactor
    running.addSystemEventTrigger("before", "shutdown", service.stopService)
    running.run()

"""
``twistd forkserve``: any handler, a process for every connection.
"""

from __future__ import annotations

from twisted.python import usage

from twisted_fork.command import plugin
from twisted_fork.command.options import ServerOptions
from twisted_fork.handler import Handler, Imported, InvalidHandler, Program
from twisted_fork.service import ForkingService

__all__ = ["Options", "makeService"]


class Options(ServerOptions):
    """
    The options of ``twistd forkserve``.

    :ivar handler: serves the connections.
    """

    command = "forkserve"
    synopsis = "[options] --handler MODULE:NAME | [options] -- PROGRAM [ARGUMENT ...]"
    longdesc = (
        "Serves every connection with a handler of yours in a process of its own. MODULE:NAME"
        " is a callable(connection, peer), a socketserver.BaseRequestHandler subclass, an"
        " async callable(reader, writer), or a Twisted protocol factory. A PROGRAM is executed"
        " with the connection as its standard input and output, as inetd does."
    )
    optParameters = [
        *ServerOptions.optParameters,
        ["handler", None, None, "what to serve connections with: MODULE:NAME"],
        ["chdir", None, None, "folder that a program starts in"],
    ]
    optFlags = [
        *ServerOptions.optFlags,
        ["clear-env", None, "a program has none of this process's environment"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.handler: Handler
        self._program: tuple[str, ...] = ()
        self._env: dict[str, str] = {}

    def opt_env(self, assignment: str) -> None:
        """NAME=VALUE, a variable for a program's environment; may be given several times"""
        name, equals, value = assignment.partition("=")
        if not name or not equals:
            raise usage.UsageError(f"--env cannot be {assignment!r}: it takes NAME=VALUE")
        self._env[name] = value

    def parseArgs(self, *program: str) -> None:
        """A program and its arguments."""
        self._program = program

    def postOptions(self) -> None:
        """
        Make the settings and the handler.

        :raises UsageError, InvalidHandler: there is no handler, or there are two.
        """
        super().postOptions()
        if bool(self._program) == bool(self["handler"]):
            raise usage.UsageError("it takes either --handler MODULE:NAME or -- PROGRAM")
        if self._program:
            self.handler = Program(self._program, self._env, bool(self["clear-env"]), self["chdir"])
            return
        if self._env or self["clear-env"] or self["chdir"]:
            raise InvalidHandler("--env, --clear-env and --chdir go with a program only")
        self.handler = Imported.parse(self["handler"])


def makeService(options: Options) -> ForkingService:
    """Make the service that the command line asks for; see plugin.make."""
    return plugin.make(options, options.handler)

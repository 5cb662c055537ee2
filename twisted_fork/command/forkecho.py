"""
``twistd forkecho``: the uppercase echo, a process for every connection.
"""

from __future__ import annotations

import sys

from twisted_fork.command import plugin
from twisted_fork.command.options import ServerOptions, refuse
from twisted_fork.handler import Echo
from twisted_fork.service import ForkingService

__all__ = ["Options", "makeService"]


class Options(ServerOptions):
    """The options of ``twistd forkecho``."""

    command = "forkecho"
    synopsis = "[options]"
    longdesc = (
        "Answers every connection with what it sends, in upper case, from a process of its"
        " own. A line that begins with 'quit' ends the connection."
    )
    optFlags = [
        *ServerOptions.optFlags,
        ["print", None, "children also write what they receive to standard output"],
    ]


def makeService(options: Options) -> ForkingService:
    """Make the service that the command line asks for; see plugin.make."""
    if options["print"] and sys.__stdout__ is None:
        # the first file that this process opened has that descriptor now
        refuse(options.command, "--print takes a standard output that is open")
    return plugin.make(options, Echo(print=bool(options["print"])))

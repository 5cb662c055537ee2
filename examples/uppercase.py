"""
Lines in upper case: the handler is a class of the socketserver module's kind.

A class written for socketserver.ForkingTCPServer runs here as it is.

    $ twistd -n forkserve --handler uppercase:Uppercase --listen tcp:8000
"""

from __future__ import annotations

import socketserver


class Uppercase(socketserver.StreamRequestHandler):
    """Answers the first line with the same in upper case, and ends the connection."""

    timeout = 60

    def handle(self) -> None:
        line = self.rfile.readline(1000)
        self.wfile.write(line.upper())

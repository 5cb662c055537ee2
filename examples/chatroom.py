"""
The children's part of the chat room, see chatroom.tac.

Every line that somebody says is told to the reactor process, which is the only one that
knows them all.
"""

from __future__ import annotations

import socketserver

import twisted_fork


class Visitor(socketserver.StreamRequestHandler):
    """Somebody in the chat room."""

    def handle(self) -> None:
        self.wfile.write(b"Say something.\n")
        while line := self.rfile.readline(1000):
            if not twisted_fork.tell(line.strip()):
                break
            self.wfile.write(b"Said.\n")

"""Request handlers of socketserver, as they are written for its own servers."""

from __future__ import annotations

import json
import os
import socketserver


class Who(socketserver.BaseRequestHandler):
    """Says who it is, and who it thinks the peer is."""

    def handle(self) -> None:
        told = {
            "pid": os.getpid(),
            "peer": self.client_address,
            "local": self.server.server_address,
            "handler": self.server.RequestHandlerClass.__name__,
        }
        self.request.sendall(json.dumps(told).encode())


class Upper(socketserver.StreamRequestHandler):
    """Sends every line back in upper case, between two of its own."""

    def setup(self) -> None:
        super().setup()
        self.wfile.write(b"welcome\n")

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())

    def finish(self) -> None:
        self.wfile.write(b"goodbye\n")
        super().finish()


class UpperBytes(socketserver.StreamRequestHandler):
    """Sends everything back in upper case."""

    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.wfile.write(data.upper())

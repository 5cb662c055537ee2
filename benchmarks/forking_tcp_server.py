"""A peer: the standard library's ``ForkingTCPServer`` with the uppercase echo.

Run as a script of its own, ``python forking_tcp_server.py [-q] PORT``, so that the
process imports nothing but what it needs.
"""

import sys
from socket import socket
from socketserver import BaseRequestHandler, ForkingTCPServer
from typing import Any


class UppercaseEcho(BaseRequestHandler):
    """Echo in upper case until the end of input or a read that begins with ``quit``."""

    request: socket

    def handle(self) -> None:
        while (data := self.request.recv(65536)) and not data.startswith(b"quit"):
            self.request.sendall(data.upper())


class Server(ForkingTCPServer):
    """``ForkingTCPServer`` with the limits lifted that a benchmark would run into."""

    allow_reuse_address = True
    request_queue_size = 4096
    max_children = 10_000


class LoggingServer(Server):
    """The same with a log line for each connection, as the C program prints it."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        host, port = client_address
        print(f"package received from {host}:{port}", flush=True)
        return True


def main(arguments: list[str], handler: type[BaseRequestHandler] = UppercaseEcho) -> None:
    quiet = arguments[:1] == ["-q"]
    server = Server if quiet else LoggingServer
    with server(("127.0.0.1", int(arguments[-1])), handler) as listening:
        listening.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])

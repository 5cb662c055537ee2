"""A peer: ``ForkingTCPServer`` with the module of 100 MiB, ``benchmarks.served_heavy``.

Run with ``python -m benchmarks.forking_heavy [-q] PORT``.
"""

import sys
from socketserver import BaseRequestHandler

from benchmarks.forking_tcp_server import main
from benchmarks.served_heavy import echo


class HeavyEcho(BaseRequestHandler):
    """Echo with the module's own function."""

    def handle(self) -> None:
        echo(self.request, self.client_address)


if __name__ == "__main__":
    main(sys.argv[1:], HeavyEcho)

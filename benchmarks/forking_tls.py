"""A peer: ``ForkingTCPServer`` with the echo over TLS, the handshake done in the child.

Run with ``python -m benchmarks.forking_tls CERTIFICATE [-q] PORT``.
"""

import ssl
import sys

from benchmarks.forking_tcp_server import UppercaseEcho, main

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
HANDSHAKE_LIMIT = 10.0


class SecuredEcho(UppercaseEcho):
    """Shake hands, echo, say that this was all."""

    request: ssl.SSLSocket

    def setup(self) -> None:
        self.request.settimeout(HANDSHAKE_LIMIT)
        self.request = CONTEXT.wrap_socket(self.request, server_side=True)
        self.request.settimeout(None)

    def finish(self) -> None:
        self.request.unwrap().close()


if __name__ == "__main__":
    CONTEXT.minimum_version = ssl.TLSVersion.TLSv1_2
    CONTEXT.load_cert_chain(sys.argv[1])
    main(sys.argv[2:], SecuredEcho)

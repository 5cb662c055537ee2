r"""
TLS: the child does the handshake, and the handler gets an ssl.SSLSocket.

    $ openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost \
          -addext subjectAltName=DNS:localhost -keyout key.pem -out certificate.pem
    $ twistd -n forkserve --handler cipher:tell_cipher --listen tcp:8000 \
          --tls-certificate certificate.pem --tls-key key.pem

Then: openssl s_client -connect localhost:8000 -CAfile certificate.pem -quiet
"""

from __future__ import annotations

import ssl


def tell_cipher(connection: ssl.SSLSocket, peer: tuple[str, int]) -> None:
    """Tell the peer how this connection is encrypted."""
    cipher = connection.cipher()
    assert cipher is not None
    connection.sendall(f"{connection.version()} {cipher[0]}\n".encode())

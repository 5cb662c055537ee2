"""
Certificates that the tests make for themselves, and clients that check them.
"""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.servers.serving import need

from .clients import Address, connect

_KEY: list[str | Path] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Authority:
    """
    A certificate authority, with a certificate for a server and one for a client.

    :ivar certificate: its own.
    :ivar server: the server's certificate.
    :ivar server_key: the server's key.
    :ivar client: certificate and key of a client called alice, in one file.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._openssl = need("openssl")
        self._folder = folder
        self._name = name
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._run("req", "-x509", *_KEY, "-keyout", self._key, *self._about(name, self.certificate))
        self.server, self.server_key = self._issue("server", "subjectAltName=IP:127.0.0.1")
        certificate, key = self._issue("alice", "subjectAltName=DNS:alice")
        self.client = folder / f"{name}-alice-both.pem"
        self.client.write_text(certificate.read_text() + key.read_text())

    def options(self, *more: str) -> list[str]:
        """A server's options, and *more* of them."""
        return [f"--tls-certificate={self.server}", f"--tls-key={self.server_key}", *more]

    def context(self) -> ssl.SSLContext:
        """A client's, that checks the server's certificate as it should."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def _issue(self, whom: str, extension: str) -> tuple[Path, Path]:
        certificate = self._folder / f"{self._name}-{whom}.pem"
        key = certificate.with_suffix(".key")
        extensions = ["-addext", extension, "-addext", "basicConstraints=critical,CA:FALSE"]
        signed: list[str | Path] = ["-CA", self.certificate, "-CAkey", self._key, *extensions]
        about = self._about(whom, certificate)
        self._run("req", "-x509", *_KEY, "-keyout", key, *about, *signed)
        return certificate, key

    def _about(self, name: str, certificate: Path) -> list[str | Path]:
        return ["-subj", f"/CN={name}", "-days", "2", "-out", certificate]

    def _run(self, *words: str | Path) -> None:
        subprocess.run([self._openssl, *words], check=True, capture_output=True)


@contextmanager
def secured(
    address: Address, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    """A connection that has shaken hands; its end has to be said by both sides."""
    with (
        connect(address) as plain,
        context.wrap_socket(
            plain, server_hostname="127.0.0.1", session=session, suppress_ragged_eofs=False
        ) as connection,
    ):
        yield connection

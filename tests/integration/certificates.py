"""
Certificates that the tests make for themselves.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from .serving import need

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


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

    def _issue(self, whom: str, extension: str) -> tuple[Path, Path]:
        certificate = self._folder / f"{self._name}-{whom}.pem"
        key = certificate.with_suffix(".key")
        signed = ["-CA", self.certificate, "-CAkey", self._key, "-addext", extension]
        plain = ["-addext", "basicConstraints=critical,CA:FALSE"]
        self._run(
            *("req", "-x509", *_KEY, "-keyout", key, *self._about(whom, certificate)),
            *signed,
            *plain,
        )
        return certificate, key

    def _about(self, name: str, certificate: Path) -> list[str | Path]:
        return ["-subj", f"/CN={name}", "-days", "2", "-out", certificate]

    def _run(self, *words: str | Path) -> None:
        subprocess.run([self._openssl, *words], check=True, capture_output=True)

"""
Certificates and keys that cannot be used are refused at once: one line on standard error that
says why, exit status 1, and no port has been opened.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.peers.certificates import Authority
from tests.integration.servers.serving import refused

pytestmark = pytest.mark.usefixtures("nobody_left")


def refused_tls(folder: Path, *words: str) -> str:
    """What is said of these options for TLS."""
    return refused(folder, "--handler", "served.plain:upper", *words)


@pytest.mark.parametrize("option", ["--tls-certificate", "--tls-key", "--tls-client-ca"])
def test_a_file_for_tls_that_is_missing(folder: Path, authority: Authority, option: str) -> None:
    files = {
        "--tls-certificate": str(authority.server),
        "--tls-key": str(authority.server_key),
        "--tls-client-ca": str(authority.certificate),
        option: "/no/such.pem",
    }
    line = refused_tls(folder, *(f"{name}={path}" for name, path in files.items()))
    assert "/no/such.pem: No such file or directory" in line


def test_a_certificate_that_does_not_match_its_key(folder: Path, authority: Authority) -> None:
    line = refused_tls(
        folder, f"--tls-certificate={authority.server}", f"--tls-key={authority.client}"
    )
    assert "key values mismatch" in line


@pytest.mark.parametrize("option", ["--tls-certificate", "--tls-key", "--tls-client-ca"])
def test_a_file_for_tls_that_is_not_pem(folder: Path, authority: Authority, option: str) -> None:
    path = folder / "junk.pem"
    path.write_text("this is no certificate\n")
    files = {
        "--tls-certificate": str(authority.server),
        "--tls-key": str(authority.server_key),
        "--tls-client-ca": str(authority.certificate),
        option: str(path),
    }
    line = refused_tls(folder, *(f"{name}={path}" for name, path in files.items()))
    assert str(path) in line


def test_a_certificate_without_its_key(folder: Path, authority: Authority) -> None:
    assert str(authority.server) in refused_tls(folder, f"--tls-certificate={authority.server}")


@pytest.mark.parametrize("option", ["--tls-key", "--tls-client-ca"])
def test_a_file_for_tls_without_a_certificate(folder: Path, option: str) -> None:
    line = refused_tls(folder, f"{option}=/etc/hostname")
    assert f"{option} goes with --tls-certificate only" in line

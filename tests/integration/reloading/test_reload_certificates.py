"""
Reloading, by SIGHUP: the certificates anew.
"""

from __future__ import annotations

import os
import signal
import ssl
from pathlib import Path

import pytest

from tests.integration.peers.certificates import Authority
from tests.integration.peers.clients import connect, read
from tests.integration.servers.serving import Serve


def trusting(address: tuple[str, int], authority: Authority) -> bool:
    """Whether somebody who trusts this authority alone is served."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with connect(address) as connection:
        try:
            with context.wrap_socket(connection, server_hostname="127.0.0.1") as secured:
                secured.sendall(b"hello")
                return read(secured, 5) == b"HELLO"
        except ssl.SSLError:
            return False


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """Two, who know nothing of each other."""
    folder = tmp_path_factory.mktemp("authorities")
    return Authority(folder, "first"), Authority(folder, "second")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the certificates of shared servers are."""
    return tmp_path_factory.mktemp("installed")


def options(folder: Path) -> list[str]:
    """Of a server whose certificate is in files that can be replaced."""
    return [f"--tls-certificate={folder}/certificate", f"--tls-key={folder}/key"]


def install(folder: Path, authority: Authority) -> None:
    """Replace the server's certificate and key."""
    (folder / "certificate").write_bytes(authority.server.read_bytes())
    (folder / "key").write_bytes(authority.server_key.read_bytes())


def test_certificates_are_read_anew(
    serve: Serve, folder: Path, launcher: str, authorities: tuple[Authority, Authority]
) -> None:
    first, second = authorities
    install(folder, first)
    server = serve(*options(folder), handler="plain:upper", launcher=launcher)
    assert (trusting(server.address, first), trusting(server.address, second)) == (True, False)
    install(folder, second)
    server.kill(signal.SIGHUP)
    server.wait_for(r"reloaded( pid=\d+)?\n")
    assert (trusting(server.address, first), trusting(server.address, second)) == (False, True)


@pytest.mark.parametrize("wrong", ["nonsense", "missing", "mismatch"])
def test_certificates_that_will_not_do_leave_the_old_ones(
    serve: Serve,
    place: Path,
    launcher: str,
    wrong: str,
    authorities: tuple[Authority, Authority],
) -> None:
    first, second = authorities
    install(place, first)
    server = serve.shared(*options(place), handler="plain:upper", launcher=launcher)
    if wrong == "nonsense":
        (place / "certificate").write_text("nonsense")
    elif wrong == "missing":
        (place / "certificate").unlink()
    else:
        (place / "key").write_bytes(second.server_key.read_bytes())
    server.kill(signal.SIGHUP)
    server.wait_for("reload failed")
    for _ in range(6):  # more than there were spares
        assert trusting(server.address, first)


def test_certificates_are_not_read_before_a_reload(
    serve: Serve, folder: Path, launcher: str, authorities: tuple[Authority, Authority]
) -> None:
    first, second = authorities
    install(folder, first)
    server = serve(*options(folder), handler="plain:upper", launcher=launcher)
    install(folder, second)
    if launcher == "fork":  # another has what the first had
        os.kill(server.template(), signal.SIGKILL)
        server.wait_for("template ready", 2)
    for _ in range(6):
        assert trusting(server.address, first)

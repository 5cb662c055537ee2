"""
Children of another user, who may not enter the folders where Python and its packages are, as
in root's home: whatever they need has been imported before.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import twisted
import twisted_fork
from tests.integration.peers.certificates import Authority, secured
from tests.integration.peers.clients import read, read_to_end
from tests.integration.servers.commands import HERE
from tests.integration.servers.harness import Server
from tests.integration.servers.serving import Serve, need

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can make others serve")

Start = Callable[..., Server]

MUCH = b"much of it\n" * 1_000_000
"""More than a connection holds."""

KINDS = ["plain:upper", "requests_of:UpperBytes", "coroutines:upper", "protocols:Upper"]
SERVED: list[dict[str, Any]] = [{}, *({"handler": kind} for kind in KINDS), {"program": ["cat"]}]


@pytest.fixture
def start(serve: Serve, folder: Path) -> Start:
    """
    Start a server whose children are nobody.

    All that Python has is where only root may look: it is mounted there, for this server alone.
    """
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    homes = [Path(str(package.__file__)).parents[1] for package in (twisted_fork, twisted)]
    base = Path(sys.base_prefix)
    python = Path(os.path.realpath(sys.executable)).relative_to(base)
    mounts: list[tuple[str, str]] = []
    for place in (*dict.fromkeys((*homes, HERE)), base):
        mount = closed / str(len(mounts))
        mount.mkdir()
        mounts.append((str(place), str(mount)))
    script = "".join(f"mount --bind {shlex.join(each)} && " for each in mounts)
    *path, prefix = [mounted for _, mounted in mounts]

    def there(command: list[str]) -> list[str]:
        script = next(word for word in command if word.endswith("twistd"))
        return [str(Path(prefix) / python), "-S", script]

    def start(*options: str, **more: Any) -> Server:
        return serve(
            "--user=nobody",
            *options,
            before=[need("unshare"), "--mount", "sh", "-c", script + 'exec "$@"', "sh"],
            env={"PYTHONPATH": os.pathsep.join((*path, str(folder)))},
            wrap=there,
            **more,
        )

    return start


@pytest.mark.parametrize(
    "kind", SERVED, ids=lambda kind: "".join(map(str, kind.values())) or "echo"
)
def test_every_kind_of_handler_serves(start: Start, launcher: str, kind: dict[str, Any]) -> None:
    server = start(launcher=launcher, **kind)
    with server.connect() as connection:
        connection.sendall(b"HELLO")
        assert read(connection, 5) == b"HELLO"
        connection.shutdown(socket.SHUT_WR)
        server.wait_for(r"child ended PEER pid=\d+ exit=0", of=connection)


@pytest.mark.parametrize(
    "kind", SERVED, ids=lambda kind: "".join(map(str, kind.values())) or "echo"
)
def test_every_kind_of_handler_serves_with_tls(
    start: Start, launcher: str, kind: dict[str, Any], authority: Authority
) -> None:
    server = start(*authority.options(), launcher=launcher, **kind)
    with secured(server.address, authority.context()) as connection:
        connection.sendall(b"HELLO")
        assert read(connection, 5) == b"HELLO"
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=0")


def test_the_echo_waits_for_a_peer_that_reads_late(start: Start, launcher: str) -> None:
    server = start(launcher=launcher)
    with server.connect() as connection:
        connection.sendall(MUCH)
        assert read(connection, len(MUCH)) == MUCH.upper()
        connection.shutdown(socket.SHUT_WR)
        server.wait_for(r"child ended PEER pid=\d+ exit=0", of=connection)


@pytest.mark.parametrize("handler", [".bare:raises", "coroutines:raises", "protocols:Unbuildable"])
def test_what_a_handler_raises_is_told(
    start: Start, folder: Path, launcher: str, handler: str
) -> None:
    # it has imported nothing that we need as well
    (folder / "bare.py").write_text("def raises(c, p): raise KeyError('no such key')\n")
    server = start(handler=handler, launcher=launcher)
    server.expects_traceback = True
    with server.connect() as connection:
        pid = server.child_of(connection)
        connection.sendall(b"\n")
        assert read_to_end(connection) == b""
        told = "(KeyError: 'no such key'|RuntimeError: .* own)"
        server.wait_for(rf"child wrote pid={pid} text=.{told}")
        server.wait_for(r"child ended PEER pid=\d+ exit=1", of=connection)

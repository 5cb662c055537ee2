"""
What cannot be done is refused at once: one line on standard error that says what and why,
exit status 1, and nothing left behind.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integration.peers.clients import ask
from tests.integration.servers.commands import Unprivileged, limited
from tests.integration.servers.harness import LOOPBACK
from tests.integration.servers.serving import Serve, forked_refusal, refusal

pytestmark = pytest.mark.usefixtures("nobody_left")


def refused(
    folder: Path,
    *words: str,
    daemon: bool = True,
    twistd_options: Sequence[str] = (),
    limits: tuple[int, int] | None = None,
) -> str:
    """
    The one line that twistd says about these options of forkecho.

    :param daemon: with a pid file and a log file in the folder, which twistd would write.
    """
    options = [*([] if daemon else ["-n"]), *twistd_options]
    return forked_refusal(folder, "forkecho", [*options, "forkecho", *words], limits)


def refused_to(user: Unprivileged, folder: Path, *words: str, daemon: bool = True) -> str:
    """Likewise, when somebody else runs the command."""
    command = [*user.twistd(), *([] if daemon else ["-n"]), "forkecho", *words]
    return refusal(folder, "forkecho", command, **user.popen)


@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--no-such-option"], "no-such-option"),
        (["-z"], "-z"),
        (["--max-children"], "max-children"),
        (["stray"], "stray"),
        (["--launcher=rocket"], "--launcher cannot be 'rocket': it takes fork or spawn"),
        (["--max-children=0"], "it takes a whole number from 1 to "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "refused",
)
def test_options_that_do_not_exist_or_do_not_do(
    folder: Path, words: list[str], told: str, daemon: bool
) -> None:
    assert told in refused(folder, *words, daemon=daemon)


@pytest.mark.parametrize(
    "word",
    [
        "--max-children=abc",
        "--max-children=-1",
        "--max-children=1.5",
        "--max-children=",
        "--max-children=9999999999999999999999",
        "--spare-children=-1",
        "--connections-per-child=0",
        "--grace=x",
        "--grace=-1",
        "--grace=nan",
        "--grace=inf",
    ],
)
def test_numbers_that_do_not_do(folder: Path, word: str) -> None:
    name, _, value = word.partition("=")
    line = refused(folder, word)
    assert f"{name} cannot be" in line
    assert value in line
    assert re.search("it takes a (whole )?number .*from [01] to 10+;", line)
    assert "see twistd forkecho --help" in line


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("", "not an endpoint but an empty text; it takes one like tcp:8000"),
        ("nonsense", "not an endpoint that can be understood; it takes one like tcp:8000"),
        ("tcp", "port is missing; it takes one like tcp:8000"),
        ("tcp:x", "port cannot be 'x': it takes a whole number from 0 to 65535"),
        ("tcp:-1", "port cannot be '-1': it takes a whole number from 0 to 65535"),
        ("tcp:99999", "port cannot be '99999': it takes a whole number from 0 to 65535"),
        ("tcp:8000:backlog=x", "backlog cannot be 'x': it takes a whole number"),
        ("tcp:8000:bogus=1", "no argument 'bogus'; tcp: takes port, interface, backlog"),
        ("tcp:0:interface=192.0.2.1", "Cannot assign requested address; it takes an interface="),
        ("tcp:0:interface=no such host", "interface cannot be 'no such host': "),
        ("tcp6:0:interface=::1", r"have to be escaped; it takes 'tcp6:0:interface=\:\:1'"),
        ("unix:", "address is missing; it takes one like unix:/run/socket"),
        ("unix:/x:mode=9", "mode cannot be '9': it takes an octal number from 0 to 777"),
        ("systemd:domain=INET:index=0", "no inherited socket"),
        ("systemd:domain=INET:name=web", "no inherited socket 'web'"),
        ("ssl:8000", "ssl:"),
        ("tls:example.org:8000", "tls:"),
        ("haproxy:tcp:8000", "haproxy:"),
        ("stdio:", "stdio:"),
    ],
)
def test_endpoints_that_do_not_do(folder: Path, endpoint: str, told: str) -> None:
    line = refused(folder, "-l", endpoint)
    assert told in line
    assert line.startswith(f"twistd forkecho: {endpoint or repr('')}: ")


def test_an_endpoint_whose_bytes_the_reactor_would_touch_is_told_why(folder: Path) -> None:
    line = refused(folder, "-l", "haproxy:tcp:0")
    assert "the reactor process would have to read and write the bytes" in line
    assert "it takes tcp:, tcp6:, unix: or systemd:" in line


@pytest.mark.parametrize("daemon", [True, False])
def test_a_port_in_use(folder: Path, daemon: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        endpoint = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        # The first one can be opened, and must not stay open.
        line = refused(folder, "-l", f"unix:{folder}/socket", "-l", endpoint, daemon=daemon)
    assert f"{endpoint}: Address already in use; stop what listens there" in line


@pytest.mark.parametrize("daemon", [True, False])
def test_a_port_that_the_server_has_itself(folder: Path, daemon: bool) -> None:
    # Nobody else can take the port: this one has it, but does not listen.
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        first = f"tcp:{port}:interface=127.0.0.1"
        line = refused(folder, "-l", first, "-l", f"tcp6:{port}", daemon=daemon)
    assert f"tcp6:{port}: this server itself listens there already, at tcp 127" in line


@pytest.fixture
def user() -> Unprivileged:
    """Somebody who may not do everything."""
    return Unprivileged()


@pytest.mark.skipif(
    int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < 1024,
    reason="everybody may open port 1023 here",
)
@pytest.mark.parametrize("daemon", [True, False])
def test_a_port_that_takes_privileges(folder: Path, user: Unprivileged, daemon: bool) -> None:
    folder.chmod(0o777)
    endpoint = "tcp:1023:interface=127.0.0.1"
    line = refused_to(user, folder, "-l", endpoint, daemon=daemon)
    assert f"{endpoint}: Permission denied; ports below 1024" in line


def test_a_unix_socket_where_there_is_a_file(folder: Path) -> None:
    path = folder / "file"
    path.write_text("mine")
    line = refused(folder, "-l", f"unix:{path}")
    assert f"unix:{path}: there is a file that is no socket; it takes a path where" in line
    assert path.read_text() == "mine"


def test_a_unix_socket_where_there_is_a_folder(folder: Path) -> None:
    path = folder / "folder"
    path.mkdir()
    line = refused(folder, "-l", f"unix:{path}")
    assert f"unix:{path}: there is a folder; it takes a path where" in line


def test_a_unix_socket_that_the_server_has_itself(folder: Path) -> None:
    endpoint = f"unix:{folder / 'socket'}"
    line = refused(folder, "-l", endpoint, "-l", endpoint)
    assert f"{endpoint}: this server itself listens there already; leave one of them" in line


def test_a_unix_socket_in_a_missing_folder(folder: Path) -> None:
    path = folder / "missing" / "socket"
    line = refused(folder, "-l", f"unix:{path}")
    assert f"unix:{path}: there is no folder {path.parent}; it takes a path in" in line


def test_a_unix_socket_in_somebody_elses_folder(folder: Path, user: Unprivileged) -> None:
    folder.chmod(0o755 if os.getuid() == 0 else 0o555)
    path = folder / "socket"
    line = refused_to(user, folder, "-l", f"unix:{path}")
    assert f"unix:{path}: Permission denied; it takes a path in a folder where" in line


@pytest.mark.skipif(os.getuid() != 0, reason="it takes root to be somebody else")
def test_a_unix_socket_that_somebody_else_keeps_to_himself(
    folder: Path, user: Unprivileged
) -> None:
    folder.chmod(0o777)
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        path.chmod(0o600)
        line = refused_to(user, folder, "-l", f"unix:{path}")
    assert f"unix:{path}: there is a socket that this user may not connect to; remove it" in line


def test_a_unix_socket_whose_path_is_too_long(folder: Path) -> None:
    path = folder / ("long" * 30)
    line = refused(folder, "-l", f"unix:{path}")
    assert f"unix:{path}: its path has {len(str(path))} bytes; it takes a path of at most" in line


@pytest.mark.parametrize(
    "options", [[], ["--connections-per-child=2"], ["--launcher=spawn"], ["--quiet"]]
)
def test_children_that_do_not_fit_are_counted_and_those_that_do_are_served(
    folder: Path, serve: Serve, options: list[str]
) -> None:
    limits = 200, 500
    line = refused(folder, *("-l", LOOPBACK, "--max-children=5000", *options), limits=limits)
    told = re.search(r"cannot be 5000: it needs \d+ descriptors and .*--max-children (\d+) ", line)
    assert told, line
    assert "this process may open 500" in line
    most = int(told[1])
    assert f"--max-children {most} would fit" in refused(
        folder,
        *("-l", LOOPBACK, f"--max-children={most + 1}", *options),
        limits=limits,
    )
    launcher = "spawn" if "--launcher=spawn" in options else "fork"
    # The default number of spares, with which it was counted.
    server = serve(
        f"--max-children={most}", *options, before=limited(*limits), spares=4, launcher=launcher
    )
    assert ask(server.address, b"hello") == b"HELLO"
    server.stop()


def test_spares_that_do_not_fit_are_blamed_themselves(folder: Path) -> None:
    limits = 200, 1000
    line = refused(folder, "-l", LOOPBACK, "-s", "100000", limits=limits)
    told = re.search(
        r"--spare-children cannot be 100000: .* --spare-children (\d+) would fit", line
    )
    assert told, line
    assert f"--spare-children {told[1]} would fit" in refused(
        folder, "-l", LOOPBACK, "-s", str(int(told[1]) + 1), limits=limits
    )


def test_a_limit_under_which_nobody_fits_is_to_be_raised(folder: Path) -> None:
    line = refused(folder, "-l", LOOPBACK, limits=(64, 64))
    assert "this process may open 64 descriptors" in line
    told = re.search(r"raise the limit to \d+ \(ulimit -n, or LimitNOFILE= in a unit\)", line)
    assert told, line
    assert "would fit" not in line


def test_what_twistd_cannot_do_for_us_is_told(folder: Path) -> None:
    line = refused(folder, twistd_options=["--chroot=/"])
    assert "--chroot cannot be used: " in line
    assert "RootDirectory=" in line

"""
A program as the handler: it finds the connection where inetd would have put it, what it
ought to know in its environment, and nothing else that it might stumble over.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.peers.clients import ask, read, read_to_end
from tests.integration.servers.harness import LOOPBACK, Server
from tests.integration.servers.serving import Serve, ask_json, python_program

WAYS: dict[str, dict[str, Any]] = {
    "direct": {},
    "fork": {"launcher": "fork", "more_options": ["--chdir=."]},
    "spawn": {"launcher": "spawn", "more_options": ["--chdir=."]},
}
"""A program is executed by the reactor process, or where that cannot do it by a child."""

TELL = (
    "print(json.dumps({"
    "'env': dict(os.environ), 'pid': os.getpid(), 'blocking': os.get_blocking(0)}))"
)
"""A program that says how it was started."""

OBEY = ["sh", "-c", 'read -r line; eval "$line"', "sh", "an argument", "-x"]
"""A program that does what it is told in a line."""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Every way that a program may be executed."""
    return WAYS[str(request.param)]


def telling(serve: Serve) -> Server:
    """A server of programs that say so, on three endpoints."""
    listen = [LOOPBACK, r"tcp6:0:interface=\:\:1", "unix:socket"]
    return serve.shared(program=python_program(TELL), listen=listen)


def obedient(serve: Serve, way: dict[str, Any]) -> Server:
    """A server of programs that obey, with an environment of its own."""
    return serve.shared(program=OBEY, env={"COLOUR": "green", "LISTEN_FDS": "0"}, **way)


def test_a_program_talks_over_its_standard_input_and_output(
    serve: Serve, way: dict[str, Any]
) -> None:
    server = serve.shared(program=["cat"], **way)
    with server.connect() as connection:
        for word in (b"one", b"two", b"x" * 100_000):
            connection.sendall(word)
            assert read(connection, len(word)) == word
        pid = server.child_of(connection)
        assert Path(f"/proc/{pid}/comm").read_text() == "cat\n"
    server.wait_for(rf"child ended PEER pid={pid} exit=0", of=connection)


def test_many_connections_have_a_program_each(serve: Serve) -> None:
    server = serve("-c20", program=["cat"])
    clients = [server.connect() for _ in range(20)]
    assert len({server.child_of(client) for client in clients}) == 20
    for number, client in enumerate(clients):
        client.sendall(b"%d\n" % number)
    assert [client.recv(10) for client in clients] == [b"%d\n" % n for n in range(20)]
    for client in clients:
        client.close()


def test_a_program_is_told_about_its_connection(serve: Serve) -> None:
    server = telling(serve)
    with server.connect() as connection:
        host, port = connection.getsockname()
        told = json.loads(read_to_end(connection))
    expected = {
        "PROTO": "TCP",
        "TCPLOCALIP": server.address[0],
        "TCPLOCALPORT": str(server.address[1]),
        "TCPREMOTEIP": host,
        "TCPREMOTEPORT": str(port),
        "TCPCONNNUM": "1",
        "REMOTE_ADDR": host,
        "REMOTE_PORT": str(port),
    }
    assert expected.items() <= told["env"].items()
    server.wait_for(rf"child ended PEER pid={told['pid']} exit=0", of=connection)


def test_a_program_is_told_how_many_come_from_its_host(serve: Serve) -> None:
    server = obedient(serve, WAYS["direct"])
    tell = b"echo $TCPCONNNUM; exec cat\n"
    with server.connect() as first, server.connect() as second:
        for client in (first, second):
            client.sendall(tell)
        assert {read(client, 2) for client in (first, second)} == {b"1\n", b"2\n"}
    server.wait_for("child ended peer", 2)
    with server.connect() as third:
        third.sendall(tell)
        assert read(third, 2) == b"1\n"


def test_a_program_on_ipv6_is_told_so(serve: Serve) -> None:
    server = telling(serve)
    port = server.addresses[1].removeprefix("tcp6 [::1]:")
    told = ask_json(("::1", int(port)))["env"]
    assert (told["PROTO"], told["TCPLOCALIP"], told["TCPREMOTEIP"]) == ("TCP", "::1", "::1")
    assert told["TCPLOCALPORT"] == port


def test_a_program_on_a_unix_socket_is_told_so(serve: Serve) -> None:
    told = ask_json(str(telling(serve).folder / "socket"))["env"]
    assert told["PROTO"] == "UNIX"
    assert told["UNIXLOCALPATH"] == "socket"
    assert told["UNIXREMOTEPATH"] == ""
    assert told["UNIXCONNNUM"] == "1"
    assert not [name for name in told if name.startswith(("TCP", "REMOTE"))]


def test_a_program_has_its_arguments_and_the_servers_environment(
    serve: Serve, way: dict[str, Any]
) -> None:
    server = obedient(serve, way)
    told = ask(server.address, b"exec cat /proc/self/environ\n").decode().split("\0")
    assert "COLOUR=green" in told
    assert f"PATH={os.environ['PATH']}" in told
    assert not [each for each in told if each.startswith("LD_BIND_NOW=")]
    assert ask(server.address, b'printf "%s|" "$@"\n') == b"an argument|-x|"


def test_a_program_has_variables_of_its_own(serve: Serve) -> None:
    options = ["--env", "COLOUR=red", "--env", "EMPTY=", "--env", "EQUAL=a=b", "--env=PROTO=mine"]
    env = {"COLOUR": "green", "SHAPE": "round"}
    server = serve(*options, program=python_program(TELL), env=env)
    told = ask_json(server.address)["env"]
    given = {name: told[name] for name in ("COLOUR", "EMPTY", "EQUAL", "PROTO", "SHAPE")}
    assert given == {
        "COLOUR": "red",
        "EMPTY": "",
        "EQUAL": "a=b",
        "PROTO": "mine",
        "SHAPE": "round",
    }


def test_a_program_may_have_nothing_of_the_servers_environment(serve: Serve) -> None:
    server = serve("--clear-env", "--env", "COLOUR=red", program=["env"], env={"SHAPE": "round"})
    names = {line.partition(b"=")[0].decode() for line in ask(server.address, b"").splitlines()}
    addresses = {"TCPLOCALIP", "TCPLOCALPORT", "TCPREMOTEIP", "TCPREMOTEPORT", "TCPCONNNUM"}
    assert names == {"PROTO", "REMOTE_ADDR", "REMOTE_PORT", "COLOUR", *addresses}


def test_a_program_named_by_a_relative_path_is_found_and_starts_in_the_folder_that_was_named(
    serve: Serve, folder: Path
) -> None:
    script = folder / "script"
    script.write_text("#!/bin/sh\nexec pwd\n")
    script.chmod(0o755)
    place = folder / "somewhere" / "else"
    place.mkdir(parents=True)
    server = serve("--chdir", str(place), program=["../script"], launcher="fork")
    assert ask(server.address, b"") == f"{place}\n".encode()


def test_what_a_program_writes_to_standard_error_is_logged(
    serve: Serve, way: dict[str, Any]
) -> None:
    server = obedient(serve, way)
    with server.connect() as connection:
        pid = server.child_of(connection)
        connection.sendall(b"echo oh no >&2; exit 3\n")
        assert read_to_end(connection) == b""
    server.wait_for(rf"child wrote pid={pid} text='oh no'\n")
    server.wait_for(rf"child ended PEER pid={pid} exit=3", of=connection)


def test_the_log_tells_a_programs_peak_memory_where_that_is_not_the_servers(
    serve: Serve,
) -> None:
    mebibytes = 128
    code = f"block = b'x' * ({mebibytes} << 20) if sys.stdin.read(1) == 'm' else b''"
    server = serve(program=python_program(code))
    assert ask(server.address, b"more") == ask(server.address, b"less") == b""
    server.wait_for("child ended", times=2)
    lines = [line for line in server.log().splitlines() if "child ended" in line]
    much, little = (re.search(r" cpu=\d+\.\d{3}(?: memory=(\d+))?$", line) for line in lines)
    assert much
    assert little
    assert mebibytes << 20 < int(much[1]) < 2 * mebibytes << 20
    # less than the server itself has, whose memory it was started in
    assert little[1] is None


def test_a_program_that_dies_of_a_signal_is_told_so(serve: Serve) -> None:
    server = obedient(serve, WAYS["direct"])
    assert ask(server.address, b"kill -TERM $$\n") == b""
    server.wait_for(r"child ended peer=\S+ pid=\d+ signal=SIGTERM")


@pytest.mark.parametrize(
    "before", [[], ["env", "--ignore-signal=HUP,QUIT,RTMAX", "--block-signal=USR2"]]
)
def test_signals_are_as_at_the_start_of_the_world(
    serve: Serve, way: dict[str, Any], before: list[str]
) -> None:
    """Python ignores SIGPIPE, and a program would inherit that: ``yes | head`` were endless."""
    server = serve(program=OBEY, before=before, **way) if before else obedient(serve, way)
    lines = ask(server.address, b"exec cat /proc/self/status\n").decode()
    masks = {name: int(mask, 16) for name, mask in re.findall(r"Sig(\w+):\s+(\w+)", lines)}
    # posix_spawn(3) leaves two signals ignored that are the C library's own
    masks["Ign"] &= ~(1 << 31 | 1 << 32)
    assert (masks["Blk"], masks["Ign"], masks["Cgt"]) == (0, 0, 0)


def test_a_program_whose_client_has_gone_dies_of_sigpipe(serve: Serve) -> None:
    # a reset comes first, which the shell does not mind
    server = obedient(serve, WAYS["direct"])
    with server.connect() as connection:
        connection.sendall(b"while :; do echo y; done\n")
        assert read(connection, 4) == b"y\ny\n"
    server.wait_for(r"child ended PEER pid=\d+ signal=SIGPIPE", of=connection)


def test_a_program_holds_its_standard_streams_and_nothing_else(
    serve: Serve, way: dict[str, Any]
) -> None:
    server = serve.shared(program=["cat"], **way)
    with server.connect() as connection:
        connection.sendall(b"x")
        assert read(connection, 1) == b"x"
        folder = Path(f"/proc/{server.child_of(connection)}/fd")
        held = {path.name: os.readlink(path) for path in folder.iterdir()}
    assert set(held) == {"0", "1", "2"}
    assert held["0"] == held["1"] != held["2"]


def test_a_program_has_a_blocking_connection(serve: Serve) -> None:
    assert ask_json(telling(serve).address)["blocking"]


def test_a_program_that_was_removed_is_told_and_nothing_else_happens(
    serve: Serve, folder: Path
) -> None:
    script = folder / "script"
    script.write_text("#!/bin/sh\necho here\n")
    script.chmod(0o755)
    server = serve(program=[str(script)])
    assert ask(server.address, b"") == b"here\n"
    script.rename(folder / "away")
    assert ask(server.address, b"") == b""
    server.wait_for(r"connection refused peer=\S+ reason='.*/script: No such file or directory'")
    (folder / "away").rename(script)
    assert ask(server.address, b"") == b"here\n"


def test_at_shutdown_a_program_is_terminated_after_the_grace(serve: Serve) -> None:
    server = serve("--grace=0.1", program=["cat"])
    with server.connect() as connection:
        pid = server.child_of(connection)
        server.kill()
        assert read_to_end(connection) == b""
    server.wait_until_over()
    assert server.find(rf"child ended PEER pid={pid} signal=SIGTERM\b", of=connection)

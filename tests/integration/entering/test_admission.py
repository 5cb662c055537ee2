"""
Who may connect: networks, rates, penalties, how many at once; and what the log says of those
who were refused.
"""

from __future__ import annotations

import errno
import re
import socket
from pathlib import Path

import pytest

from tests.integration.peers.clients import connect, read_to_end, talk
from tests.integration.servers.harness import LOOPBACK, Server
from tests.integration.servers.processes import children, wait_until
from tests.integration.servers.serving import Serve, refused

LOOPBACK6 = r"tcp6:0:interface=\:\:1"

HOME, AWAY, FAR = "127.0.0.1", "127.0.0.2", "127.9.9.9"
"""Addresses that clients come from; all of them are this machine's."""


def is_served(server: Server, source: str = HOME) -> bool:
    """Whether somebody serves a connection from *source*; it is closed then."""
    with server.connect(source) as connection:
        try:
            connection.sendall(b"hello")
            connection.shutdown(socket.SHUT_WR)
            return read_to_end(connection) == b"HELLO"
        except OSError as failure:
            # whoever is refused may be gone before we have said anything
            if failure.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                raise
            return False


def wait_until_ended(server: Server, times: int) -> None:
    """So many connections were served, and do not count any more."""
    server.wait_for("child ended peer=", times)


def reasons(server: Server, source: str = HOME) -> list[str]:
    """Why connections from *source* were refused, one for each line."""
    pattern = rf"connection refused peer={re.escape(source)}:\d+ reason='?(.*?)'?\n"
    return [reason for (reason,) in server.find(pattern)]


def denying(serve: Serve, launcher: str = "fork") -> Server:
    """
    A server that has no time for 127.2.0.0/16, nor for ::1; its last port takes both kinds.

    Refusals of one source within a second share a line, so each test comes from another one.
    """
    listen = [LOOPBACK, LOOPBACK6, r"tcp6:0:interface=\:\:"]
    return serve.shared("--deny=127.2.0.0/16", "--deny=::1", listen=listen, launcher=launcher)


def allowing(serve: Serve) -> Server:
    """One that serves nobody else."""
    listen = [LOOPBACK, "unix:socket"]
    return serve.shared(f"--allow={AWAY}/32", "--allow=192.0.2.0/24", listen=listen)


def port(server: Server, index: int) -> int:
    """That of its endpoint with this index."""
    return int(server.addresses[index].rpartition(":")[2])


def test_by_default_everybody_may_connect(serve: Serve) -> None:
    server = serve.shared()
    assert all(is_served(server, source) for source in (HOME, AWAY, FAR))


def test_whoever_is_denied_is_closed_and_told_of_in_the_log(serve: Serve, launcher: str) -> None:
    server = denying(serve, launcher)
    with server.connect("127.2.0.1") as connection:
        assert connection.recv(1) == b""
    server.wait_for("connection refused PEER reason='not allowed'", of=connection)
    assert is_served(server, HOME)
    assert server.find("handed over PEER", of=connection) == []


def test_where_some_are_allowed_everybody_else_is_out(serve: Serve) -> None:
    server = allowing(serve)
    assert is_served(server, AWAY)
    assert not is_served(server, HOME)
    assert reasons(server) == ["not allowed"]


def test_the_most_specific_network_decides_and_at_a_tie_the_one_that_denies(serve: Serve) -> None:
    server = serve(
        "--allow=127.0.0.0/8", "--deny=127.0.0.0/24", f"--allow={AWAY}", "--deny=127.9.0.0/16",
        "--allow=127.9.0.0/16",
    )  # fmt: skip
    assert is_served(server, AWAY)
    assert is_served(server, "127.1.1.1")
    assert not is_served(server, "127.0.0.3")
    assert not is_served(server, FAR)


def test_ipv6_networks_decide_about_ipv6_peers_and_no_others(serve: Serve) -> None:
    server = denying(serve)
    with connect(("::1", port(server, 1))) as connection:
        assert connection.recv(1) == b""
    server.wait_for("connection refused PEER reason='not allowed'", of=connection)
    assert is_served(server)


def test_an_allowed_ipv6_network_lets_its_peers_in_and_nobody_else(serve: Serve) -> None:
    server = serve("--allow=::/64", listen=[LOOPBACK, LOOPBACK6])
    with connect(("::1", port(server, 1))) as connection:
        talk(connection)
    assert not is_served(server)


def test_an_ipv4_peer_of_an_ipv6_port_is_an_ipv4_peer(serve: Serve) -> None:
    server = denying(serve)
    for source, served in ((HOME, True), ("127.2.0.2", False)):
        with connect((HOME, port(server, 2)), source) as connection:
            if served:
                talk(connection)
            else:
                assert connection.recv(1) == b""


def test_peers_of_unix_sockets_are_in_no_network(serve: Serve) -> None:
    server = allowing(serve)
    with connect(str(server.folder / "socket")) as connection:
        talk(connection)
    assert "connection refused" not in server.log()


def test_the_real_peer_decides_where_a_proxy_tells_who_it_is(serve: Serve) -> None:
    server = serve("--proxy-protocol", "--allow=203.0.113.0/24", "--banner-refused=out")
    for real, answer in (("203.0.113.9", b"HELLO"), ("198.51.100.1", b"out")):
        with server.connect() as connection:
            connection.sendall(b"PROXY TCP4 %b 192.0.2.1 1234 80\r\n" % real.encode())
            if answer == b"HELLO":
                talk(connection)
            else:
                assert read_to_end(connection) == answer
    server.wait_for("connection refused peer=198.51.100.1:1234 reason='not allowed'")


def test_a_source_is_served_so_many_times_at_once(serve: Serve, launcher: str) -> None:
    server = serve("--max-per-source=2", launcher=launcher)
    with server.connect(AWAY) as first, server.connect(AWAY) as second:
        talk(first)
        talk(second)
        assert not is_served(server, AWAY)
        assert reasons(server, AWAY) == ["has 2 connections"]
        assert is_served(server, HOME)
    wait_until_ended(server, 3)
    assert is_served(server, AWAY)


def one_each(serve: Serve) -> Server:
    """A server that serves a source once at a time."""
    listen = [LOOPBACK, "unix:socket"]
    return serve.shared("--max-per-source=1", "--source-prefix=24:48", listen=listen)


def test_a_user_of_a_unix_socket_is_a_source_too(serve: Serve) -> None:
    server = one_each(serve)
    path = str(server.folder / "socket")
    with connect(path) as first, connect(path) as second:
        talk(first)
        assert second.recv(1) == b""
    server.wait_for(r"connection refused peer=unix:uid=\d+,pid=\d+ reason='has 1 connections'")


def test_all_hosts_of_a_prefix_are_one_source(serve: Serve) -> None:
    server = one_each(serve)
    with server.connect(HOME) as first:
        talk(first)
        assert not is_served(server, "127.0.0.200")
        assert is_served(server, "127.0.1.1")
    assert reasons(server, "127.0.0.200") == ["has 1 connections"]


def test_when_full_others_are_refused_if_that_is_wanted(serve: Serve, launcher: str) -> None:
    server = serve(
        "--max-children=1", "--when-full=refuse", "--banner-refused=come later\n",
        launcher=launcher,
    )  # fmt: skip
    with server.connect() as first:
        talk(first)
        for _ in range(3):
            with server.connect(AWAY) as other:
                assert read_to_end(other) == b"come later\n"
        talk(first, b"still here")
    assert reasons(server, AWAY)[0] == "full"
    wait_until_ended(server, 1)
    assert is_served(server, AWAY)


def test_when_full_others_wait_by_default(serve: Serve) -> None:
    server = serve("--max-children=1")
    with server.connect() as first, server.connect(AWAY) as other:
        talk(first)
        first.close()
        talk(other)
    assert "connection refused" not in server.log()


def test_a_banner_which_may_have_escapes_is_all_that_a_refused_peer_gets(serve: Serve) -> None:
    server = serve(f"--deny={AWAY}", r"--banner-refused=421 caf\xc3\xa9: no\\\x00\t\r\n")
    with server.connect(AWAY) as connection:
        assert read_to_end(connection) == b"421 caf\xc3\xa9: no\\\0\t\r\n"
    assert is_served(server)


def test_a_refused_peer_costs_no_child(serve: Serve) -> None:
    server = denying(serve)
    before = children(server.pid)
    for _ in range(10):
        assert not is_served(server, "127.2.0.3")
    server.wait_for("connection refused peer=127.2.0.3:")
    # nor any that is gone by now
    server.wait_until_idle()
    assert children(server.pid) == before
    assert not server.find("handed over|child ended")


def test_a_flood_of_refusals_is_few_lines_that_count_them_all(serve: Serve) -> None:
    server = serve(f"--deny={AWAY}", "--quiet")
    flood = 200
    for _ in range(flood):
        server.connect(AWAY).close()

    def counted() -> int:
        more = server.find(rf"connections refused source={AWAY} more=(\d+)")
        return len(reasons(server, AWAY)) + sum(int(each) for (each,) in more)

    wait_until(lambda: counted() == flood, "the count of all refusals")
    seconds = server.find(rf"(?m)^(\S+ \d+:\d+:\d+)\S* .*connection refused peer={AWAY}")
    assert len(seconds) == len(set(seconds)) < flood / 4


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--deny", "localhost", "a network such as 192.0.2.0/24"),
        ("--rate", "10", "connections per seconds, such as 10/60"),
    ],
)
def test_a_mistake_is_told_before_anything_is_started(
    folder: Path, option: str, value: str, told: str
) -> None:
    line = refused(folder, "--handler=served.plain:upper", option, value)
    assert line.startswith(f"twistd forkserve: {option} cannot be {value!r}: it takes {told}")

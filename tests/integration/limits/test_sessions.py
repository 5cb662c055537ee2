"""
What a child has of the server's session: neither the terminal that the server was started
at, nor the keys of whoever started it.
"""

from __future__ import annotations

import errno
import functools
import os
import pty
import pwd
import sys
from typing import Any

import pytest

from tests.integration.handling.test_programs import WAYS
from tests.integration.served import sessions
from tests.integration.servers.commands import HERE, at_a_terminal, environment
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import children, has_terminal, session
from tests.integration.servers.serving import Serve, ask_json, python_program

pytestmark = pytest.mark.command

TELLING = python_program(f"sys.path.insert(0, {str(HERE)!r}); from served import sessions")
TELLING[-1] += "; print(json.dumps(sessions.told()))"
"""A program that says which session it is in, and whether it can open the terminal."""


@functools.cache
def terminal(*whose: object) -> list[str]:
    """A command to put before another, which then has a controlling terminal, that of one
    server.  It is open as long as there may be shared servers: one that nobody has open is
    gone."""
    _, theirs = pty.openpty()
    return at_a_terminal(os.ttyname(theirs))


def at_our_terminal(serve: Serve, launcher: str, spares: int) -> Server:
    """A server of handlers that say which session they are in."""
    before = terminal(launcher, spares)
    return serve.shared(handler="sessions:tells", launcher=launcher, before=before, spares=spares)


def assert_leads_a_session_without_a_terminal(server: Server, told: dict[str, Any]) -> None:
    assert has_terminal(server.pid), "there is no terminal to be kept from"
    assert told["session"] == told["pid"]
    assert told["terminal"] == "ENXIO"


@pytest.mark.parametrize("spares", [0, 2])
def test_a_child_has_a_session_of_its_own_and_cannot_open_the_servers_terminal(
    serve: Serve, launcher: str, spares: int
) -> None:
    server = at_our_terminal(serve, launcher, spares)
    assert_leads_a_session_without_a_terminal(server, ask_json(server.address, b"?"))


@pytest.mark.parametrize("way", WAYS)
def test_a_program_has_a_session_of_its_own_and_cannot_open_the_servers_terminal(
    serve: Serve, way: str
) -> None:
    server = serve(program=TELLING, before=terminal(way), **WAYS[way])
    assert_leads_a_session_without_a_terminal(server, ask_json(server.address))


def test_template_and_spares_have_sessions_of_their_own_and_no_terminal(
    serve: Serve, launcher: str
) -> None:
    server = at_our_terminal(serve, launcher, 2)
    with server.connect() as client:
        server.child_of(client)
        server.wait_until_idle(serving=1)
        everybody = children(server.pid)
        assert len(everybody) >= server.idle_children
        assert {pid: session(pid) for pid in everybody} == {pid: pid for pid in everybody}
        assert [pid for pid in (server.pid, *everybody) if has_terminal(pid)] == [server.pid]


KEY = "twisted-fork-test"

_WITH_A_KEY = f"""
import ctypes, os, sys
from served import sessions
assert ctypes.CDLL(None).syscall(sessions.KEYCTL, 1, None) > 0
assert ctypes.CDLL(None).syscall(sessions.KEYCTL - 2, b"user", b"{KEY}", b"secret", 6, -3) > 0
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""add_key(2) is two before keyctl(2) on every machine."""


@pytest.fixture
def with_a_key() -> list[str]:
    """A command to put before another, which then has a session keyring with a key in it."""
    try:
        sessions.keyctl(0, -3, 1)
    except OSError as failure:
        if failure.errno in (errno.ENOSYS, errno.EPERM):
            pytest.skip(f"there are no keyrings here: {failure.strerror}")
    return [*environment(), sys.executable, "-c", _WITH_A_KEY]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make others serve")
def test_somebody_elses_child_does_not_find_the_keys_of_the_servers_session(
    with_a_key: list[str], serve: Serve, launcher: str
) -> None:
    given: dict[str, Any] = {"before": with_a_key, "launcher": launcher, "steered": True}
    found = {}
    for options in ([], ["--user=nobody"], ["--user=nobody", "-k2"]):
        server = serve(*options, handler="sessions:looks_for_the_key", **given)
        for _ in range(2):
            told = ask_json(server.address, KEY.encode())
            found[told["uid"], told["key"]] = True
    assert set(found) == {(0, "found"), (pwd.getpwnam("nobody").pw_uid, "ENOKEY")}

"""
How much a connection may use: the system's limits, and as whom it is served.
"""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path

import pytest

from tests.integration.peers.clients import read_to_end, talk
from tests.integration.servers.processes import status
from tests.integration.servers.serving import Serve, order, python_program

from .hungry import StartLimited, answer, tell

# The system's limits


def test_cpu_time_is_limited(limited: StartLimited, launcher: str) -> None:
    server = limited("--cpu-seconds=1", launcher=launcher)
    with order(server, "spins") as connection, order(server, "") as other:
        assert connection.recv(1) == b""
        talk(other)
        line = server.ending_of(connection)
    assert line.startswith("signal=SIGXCPU")
    assert line.endswith(" limit=cpu-seconds")


def test_memory_is_limited(limited: StartLimited, launcher: str) -> None:
    server = limited("--memory=1G", launcher=launcher)
    server.expects_traceback = True
    with order(server, "eats") as connection:
        pid = server.child_of(connection)
        assert connection.recv(1) == b""
        line = server.ending_of(connection)
    assert line.startswith("exit=250 ")
    assert line.endswith(" limit=memory")
    server.wait_for(f"child wrote pid={pid} text=MemoryError")
    assert tell(server)["memory"] == [1 << 30, 1 << 30]


def test_open_files_are_limited(limited: StartLimited, launcher: str) -> None:
    server = limited("--open-files=20", launcher=launcher)
    assert answer(server, "opens") == b"24 20"


def test_the_size_of_files_is_limited(limited: StartLimited, folder: Path, launcher: str) -> None:
    server = limited("--file-size=64K", launcher=launcher)
    server.expects_traceback = True
    with order(server, "writes") as connection:
        pid = server.child_of(connection)
        assert connection.recv(1) == b""
        assert server.ending_of(connection).startswith("exit=1")
    server.wait_for(f"child wrote pid={pid} text=.OSError: .*File too large")
    assert (folder / "scratch").stat().st_size == 64 * 1024


def test_files_that_may_not_grow_at_all_do_not(limited: StartLimited, folder: Path) -> None:
    server = limited("--file-size=0")
    server.expects_traceback = True
    with order(server, "writes") as connection:
        server.wait_for("OSError: .*File too large")
        connection.close()
    assert (folder / "scratch").stat().st_size == 0


def test_a_program_that_writes_too_much_is_told_of_by_the_limits_name(
    serve: Serve, folder: Path
) -> None:
    path = folder / "written"
    server = serve("--file-size=64K", program=["dd", "if=/dev/zero", f"of={path}", "bs=4096"])
    with server.connect() as connection:
        assert connection.recv(1) == b""
        line = server.ending_of(connection)
    assert line.startswith("signal=SIGXFSZ")
    assert line.endswith(" limit=file-size")
    assert path.stat().st_size == 64 * 1024


def test_priority_and_umask_are_the_childs_alone(limited: StartLimited, launcher: str) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    server = limited("--nice=7", "--umask=027", launcher=launcher)
    told = tell(server)
    assert (told["nice"], told["umask"]) == (7, 0o27)
    assert os.getpriority(os.PRIO_PROCESS, server.pid) == before


def test_a_umask_of_nothing_is_one_too(limited: StartLimited) -> None:
    server = limited("--umask=000")
    assert tell(server)["umask"] == 0


def test_without_options_nothing_is_limited(limited: StartLimited, launcher: str) -> None:
    told = tell(limited(launcher=launcher))
    assert told["memory"] == [-1, -1]
    assert told["no_new_privs"] == "0"
    assert told["uids"] == [os.getuid()] * 3


def test_no_new_privileges_may_be_had_alone(limited: StartLimited, launcher: str) -> None:
    told = tell(limited("--no-new-privs", launcher=launcher))
    assert told["no_new_privs"] == "1"
    assert told["uids"] == [os.getuid()] * 3


def test_limits_bind_programs_too(serve: Serve) -> None:
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE), os.umask(0))"
    server = serve("--open-files=33", "--umask=77", "--nice=5", program=python_program(code))
    with server.connect() as connection:
        assert read_to_end(connection) == b"(33, 33) 63\n"


def test_limits_bind_every_connection_of_a_child_that_lives_on(
    limited: StartLimited,
) -> None:
    server = limited("--open-files=30", "--umask=027", "-k3", steered=True)
    assert [tell(server)["open_files"] for _ in range(4)] == [[30, 30]] * 4


# What the log says


def test_the_log_tells_what_each_connection_has_used(limited: StartLimited) -> None:
    server = limited()
    with order(server, "burns") as busy, order(server, "") as lazy:
        assert busy.recv(1) == b""
        talk(lazy)
        lazy.shutdown(socket.SHUT_WR)
        assert lazy.recv(1) == b""
        used = [
            re.search(r" cpu=(\d+\.\d{3}) memory=(\d+)", server.ending_of(each))
            for each in (busy, lazy)
        ]
    assert all(used), server.tell()
    seconds = [float(each[1]) for each in used if each]
    assert 1 <= seconds[0] < 3
    assert seconds[1] < 0.5
    # more than nothing, less than a gigabyte
    assert all(1_000_000 < int(each[2]) < 1_000_000_000 for each in used if each)


# As whom

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can make others serve")


@as_root
def test_children_are_somebody_else_for_good(limited: StartLimited, launcher: str) -> None:
    server = limited("--user=nobody", launcher=launcher)
    told = tell(server)
    assert told["uids"] == [65534] * 3
    assert told["gids"] == [65534] * 3
    assert told["groups"] == []
    assert told["no_new_privs"] == "1"
    assert int(told["capabilities"], 16) == 0
    assert json.loads(answer(server, "regains")) == [1, 1, 1]
    # and the server stays who it was
    assert status(server.pid, "Uid").split() == ["0"] * 4


@as_root
def test_a_group_may_be_another_than_the_users(limited: StartLimited, launcher: str) -> None:
    told = tell(limited("--user=nobody", "--group=daemon", launcher=launcher))
    assert (told["uids"], told["gids"], told["groups"]) == ([65534] * 3, [1] * 3, [])


@as_root
def test_a_group_alone_leaves_the_user(limited: StartLimited) -> None:
    told = tell(limited("--group=daemon"))
    assert (told["uids"], told["gids"], told["groups"]) == ([0] * 3, [1] * 3, [])


@as_root
def test_programs_are_somebody_else_too(serve: Serve) -> None:
    server = serve("--user=nobody", program=["/usr/bin/id"])
    with server.connect() as connection:
        said = read_to_end(connection).decode()
    assert re.fullmatch(r"uid=65534\(nobody\) gid=65534\(\w+\) groups=65534\(\w+\)\n", said)


@as_root
def test_every_connection_of_a_child_that_lives_on_is_the_users(
    limited: StartLimited,
) -> None:
    server = limited("--user=nobody", "-k3", steered=True)
    assert [tell(server)["uids"][0] for _ in range(4)] == [65534] * 4


@as_root
def test_what_a_child_of_another_user_says_last_is_logged(
    limited: StartLimited, launcher: str
) -> None:
    server = limited("--user=nobody", launcher=launcher)
    server.expects_traceback = True
    with order(server, "raises_something_unknown") as connection:
        pid = server.child_of(connection)
        assert connection.recv(1) == b""
        assert server.ending_of(connection).startswith("exit=1")
    server.wait_for(f"child wrote pid={pid} text=.KeyError: 'raises_something_unknown'")


@as_root
def test_the_number_of_a_users_processes_is_limited(limited: StartLimited, launcher: str) -> None:
    # a user that nobody else is: there may be other processes of nobody's
    server = limited("--user=games", "--processes=1", launcher=launcher)
    assert answer(server, "forks") == b"11"


@as_root
def test_without_that_limit_a_user_may_fork(limited: StartLimited) -> None:
    assert answer(limited("--user=games"), "forks") == b"forked"

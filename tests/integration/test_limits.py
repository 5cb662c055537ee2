"""
How much a connection may use: the system's limits, and as whom it is served.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from .clients import read_to_end, talk
from .commands import Unprivileged, environment, twistd
from .harness import Server
from .processes import DEADLINE, status
from .serving import Serve, ask_json, need, order, python_program, refused

HANDLER = '''
"""Uses more than it should, in the way that it is told to."""

import json, os, resource, signal, time

def who(connection):
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\\n").split(":\\t", 1) for line in file if ":\\t" in line)
    mask = os.umask(0)
    os.umask(mask)
    told = {
        "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(),
        "no_new_privs": status["NoNewPrivs"], "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "umask": mask, "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "memory": resource.getrlimit(resource.RLIMIT_AS),
        "processes": resource.getrlimit(resource.RLIMIT_NPROC),
        "capabilities": status["CapEff"] + status["CapPrm"],
    }
    connection.sendall(json.dumps(told).encode())

def spins(connection):
    while True:
        pass

def burns(connection):
    while time.process_time() < 1:
        pass
    os.kill(os.getpid(), signal.SIGKILL)

def eats(connection):
    hoard = []
    while True:
        hoard.append(bytearray(16 * 1024 * 1024))

def opens(connection):
    opened = []
    try:
        while len(opened) < 5000:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as failure:
        said = f"{failure.errno} {opened[-1] + 1}"
    for each in opened:
        os.close(each)
    connection.sendall(said.encode())

def writes(connection):
    with open(os.environ["SCRATCH"], "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

def forks(connection):
    try:
        pid = os.fork()
    except OSError as failure:
        connection.sendall(str(failure.errno).encode())
        return
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    connection.sendall(b"forked")

def regains(connection):
    said = []
    for what in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
        try:
            what()
        except OSError as failure:
            said.append(failure.errno)
    connection.sendall(json.dumps(said).encode())

def obeys(connection, peer):
    what = connection.makefile("rb", buffering=0).readline().decode().strip()
    if what:
        globals()[what](connection)
    else:
        while data := connection.recv(65536):
            connection.sendall(data.upper())
'''


StartLimited = Callable[..., Server]
"""Starts a server with the handler above; its options are given."""


@pytest.fixture
def limited(serve: Serve, folder: Path) -> StartLimited:
    """Start a server with the handler above; its options are given."""
    (folder / "hungry.py").write_text(HANDLER)
    scratch = folder / "scratch"
    scratch.touch()
    scratch.chmod(0o666)

    def start(*options: str, **more: Any) -> Server:
        variables = {"PYTHONPATH": str(folder), "SCRATCH": str(scratch)}
        return serve(*options, handler=".hungry:obeys", env=variables, **more)

    return start


def answer(server: Server, what: str) -> bytes:
    """What a handler says then."""
    with order(server, what) as connection:
        return read_to_end(connection)


def tell(server: Server) -> dict[str, Any]:
    """What a handler is."""
    return ask_json(server.address, b"who\n")


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


# What cannot be


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--user", "no-such-user", "there is no such user"),
        ("--group", "no-such-group", "there is no such group"),
        ("--memory", "1K", "it takes a number of bytes from 1048576"),
        ("--memory", "much", "it takes a number of bytes"),
        ("--memory", "1GK", "it takes a number of bytes"),
        ("--open-files", "3", "it takes a whole number from 8"),
        ("--cpu-seconds", "0.5", "it takes a whole number from 1"),
        ("--umask", "999", "it takes an octal number"),
        ("--nice", "20", "it takes a whole number from -20 to 19"),
        ("--idle-timeout", "0", "it takes a number of seconds"),
        ("--session-timeout", "inf", "it takes a number of seconds"),
    ],
)
def test_a_mistake_is_told_before_anything_is_started(
    folder: Path, option: str, value: str, told: str
) -> None:
    line = refused(folder, "--handler=served.plain:upper", option, value)
    assert line.startswith(f"twistd forkserve: {option} cannot be {value!r}: {told}")


def refused_unprivileged(folder: Path, *words: str, before: Iterable[str] = ()) -> str:
    """The one line that twistd says to somebody without privileges."""
    somebody = Unprivileged()
    folder.chmod(0o777)
    command = [*before, *somebody.twistd(), "-n", "forkecho", "-l", f"unix:{folder}/s"]
    ended = subprocess.run(
        [*command, *words], cwd=folder, capture_output=True, timeout=DEADLINE, **somebody.popen
    )
    line = str(ended.stderr.decode())
    assert (ended.returncode, line.count("\n")) == (1, 1), line
    return line


@pytest.mark.parametrize("option", ["--user=nobody", "--group=nogroup"])
def test_another_user_takes_root(folder: Path, option: str) -> None:
    line = refused_unprivileged(folder, option)
    assert "--user and --group need a server that runs as root, and stays so" in line


@as_root
def test_a_server_that_does_not_stay_root_cannot_make_others_serve(folder: Path) -> None:
    somebody = Unprivileged()
    command = [*somebody.twistd(), "-n", "--pidfile=", "--uid=65534", "--gid=65534"]
    ended = subprocess.run(
        [*command, "forkecho", "-l", f"unix:{folder}/s", "--user=nobody"],
        cwd=folder, env=somebody.environment, capture_output=True, timeout=DEADLINE,
    )  # fmt: skip
    assert ended.returncode == 1, ended
    assert b"need a server that runs as root, and stays so" in ended.stderr


_LIMIT = "import os, resource, sys; resource.setrlimit(resource.{}, ({}, {})); "
_EXEC = "os.execv(sys.argv[1], sys.argv[1:])"


@pytest.mark.parametrize(
    ("kind", "hard", "option"),
    [
        ("RLIMIT_NOFILE", 2000, "--open-files=3000"),
        ("RLIMIT_NPROC", 3000, "--processes=4000"),
        ("RLIMIT_FSIZE", 1 << 24, "--file-size=32M"),
        ("RLIMIT_CPU", 1000, "--cpu-seconds=2000"),
        ("RLIMIT_AS", 1 << 34, "--memory=32G"),
    ],
)
def test_more_than_the_system_allows_is_refused(
    folder: Path, kind: str, hard: int, option: str
) -> None:
    somebody = Unprivileged()
    before = [somebody.python, "-c", _LIMIT.format(kind, hard, hard) + _EXEC]
    line = refused_unprivileged(folder, option, "--max-children=20", before=before)
    assert f"the system allows {hard}" in line


def test_a_better_priority_takes_root(folder: Path) -> None:
    assert "--nice cannot be -5" in refused_unprivileged(folder, "--nice=-5")


@as_root
@pytest.mark.parametrize("option", ["--nice=-5", "--user=nobody"])
def test_a_root_without_its_capabilities_is_refused_what_takes_them(
    folder: Path, option: str
) -> None:
    """As in most containers."""
    before = [need("setpriv"), "--bounding-set=-sys_nice,-setuid,-setgid", "--inh-caps=-all"]
    command = [*before, *environment(), *twistd(), "-n", "--pidfile=", "forkecho"]
    ended = subprocess.run(
        [*command, "-l", f"unix:{folder}/s", option],
        cwd=folder, capture_output=True, timeout=DEADLINE,
    )  # fmt: skip
    assert ended.returncode == 1, ended
    assert option.partition("=")[0].encode() in ended.stderr

"""
A system that denies what is needed: one line at start, exit status 1; or the server works as
well as anywhere.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.integration.peers.clients import ask, inode_of_servers_end, read
from tests.integration.servers.applications import Application
from tests.integration.servers.commands import denied, twistd
from tests.integration.servers.harness import LOOPBACK
from tests.integration.servers.processes import descriptors
from tests.integration.servers.serving import Serve, need, refusal

pytestmark = pytest.mark.command

CLONE3 = 435
PIDFD_OPEN = 434
"""The same on every architecture."""

SERVERS = {
    "fork": ["forkecho", "--launcher=fork"],
    "spawn": ["forkecho", "--launcher=spawn"],
    "program": ["forkserve", "--", "cat"],
}

_LOST = "import os, sys; os.mkdir('lost'); os.chdir('lost'); os.rmdir('../lost'); "
_EXEC = "os.execv(sys.argv[1], sys.argv[1:])"


def refused(folder: Path, before: list[str], words: list[str]) -> str:
    """The one line that a server ends with before it has opened its port."""
    command, *options = words
    listen = ["-l", f"unix:{folder / 'socket'}"]
    words = [*before, *twistd(), "-n", "--pidfile=", command, *listen, *options]
    return refusal(folder, command, words)


@pytest.mark.parametrize("words", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS])
def test_where_ends_of_children_cannot_be_seen_the_server_is_refused(
    folder: Path, words: list[str], error: int
) -> None:
    line = refused(folder, denied(PIDFD_OPEN, error), words)
    assert f"pidfd_open(2): {os.strerror(error)}; it takes Linux 5.3 or newer" in line


WITHOUT_CLONE3 = denied(CLONE3, errno.EPERM)


@cache
def posix_spawn_needs_clone3() -> bool:
    """Newer C libraries use it, and older ones do not."""
    code = "import os; os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)"
    command = [*WITHOUT_CLONE3, sys.executable, "-c", code]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode != 0


@pytest.mark.parametrize("words", SERVERS.values(), ids=SERVERS)
def test_where_clone3_is_not_permitted_the_server_is_refused_or_works(
    serve: Serve, folder: Path, words: list[str]
) -> None:
    if posix_spawn_needs_clone3():
        line = refused(folder, WITHOUT_CLONE3, words)
        assert "posix_spawn(3): Operation not permitted; a seccomp filter has to" in line
    elif words[0] == "forkecho":
        server = serve(before=WITHOUT_CLONE3, launcher=words[1].partition("=")[2])
        assert ask(server.address, b"hello") == b"HELLO"
    else:
        server = serve(program=["cat"], before=WITHOUT_CLONE3)
        assert ask(server.address, b"hello") == b"hello"


def test_where_clone3_does_not_exist_handlers_serve(serve: Serve, launcher: str) -> None:
    server = serve(before=denied(CLONE3, errno.ENOSYS), launcher=launcher)
    assert ask(server.address, b"hello") == b"HELLO"


def test_where_clone3_does_not_exist_programs_serve(serve: Serve) -> None:
    server = serve(program=["cat"], before=denied(CLONE3, errno.ENOSYS))
    assert ask(server.address, b"hello") == b"hello"


@pytest.mark.parametrize("words", SERVERS.values(), ids=SERVERS)
def test_in_a_folder_that_does_not_exist_any_more_the_server_is_refused(
    folder: Path, words: list[str]
) -> None:
    before = [sys.executable, "-c", _LOST + _EXEC]
    line = refused(folder, before, words)
    assert "the working directory does not exist any more; start in another" in line


@pytest.mark.parametrize("words", SERVERS.values(), ids=SERVERS)
def test_without_proc_the_server_is_refused(folder: Path, words: list[str]) -> None:
    before = [need("unshare"), "--mount", "--pid", "--fork"]
    before += [] if os.geteuid() == 0 else ["--map-root-user"]
    before += ["sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    line = refused(folder, before, words)
    assert "/proc has to be mounted, and readable: /proc/self/fd: No such file" in line


def test_printing_to_a_standard_output_that_is_closed_is_refused(folder: Path) -> None:
    before = ["sh", "-c", 'exec "$@" >&-', "sh"]
    line = refused(folder, before, ["forkecho", "--print"])
    assert line.endswith("--print takes a standard output that is open")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make others serve")
def test_under_a_umask_that_denies_everything_another_user_serves_all_the_same(
    serve: Serve, folder: Path, launcher: str
) -> None:
    (folder / "mine.py").write_text("def upper(c, p):\n    c.sendall(c.recv(9).upper())\n")
    (folder / "mine.py").chmod(0o600)
    socket = folder / "socket"
    server = serve(
        "--user=nobody",
        handler=".mine:upper",
        launcher=launcher,
        before=["sh", "-c", 'umask 077; exec "$@"', "sh"],
        env={"PYTHONPATH": str(folder)},
        listen=[LOOPBACK, f"unix:{socket}:mode=666"],
    )
    assert ask(server.address, b"hello") == b"HELLO"
    assert socket.stat().st_mode & 0o777 == 0o666


def test_on_a_read_only_file_system_all_is_well_without_a_pid_file(serve: Serve) -> None:
    before = [need("unshare"), "--mount"]
    before += [] if os.geteuid() == 0 else ["--map-root-user"]
    before += ["sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh"]
    server = serve(before=before)
    assert ask(server.address, b"hello") == b"HELLO"
    with pytest.raises(OSError, match="Read-only file system"):
        Path(f"/proc/{server.pid}/root/written").touch()


SPEAKING = ["forkserve", "--", "sh", "-c", "echo in passing >&2; exec cat"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", [*SERVERS.values(), SPEAKING], ids=[*SERVERS, "speaking"])
def test_standard_streams_may_be_closed(serve: Serve, words: list[str], closed: str) -> None:
    def start(folder: Path) -> Application:
        command, *options = words
        before = ["sh", "-c", f'exec "$@" {closed}', "sh", *twistd(), "-n", "--pidfile="]
        listen = ["--logfile=log", command, "-l", LOOPBACK]
        return Application(folder, *before, *listen, *options)

    server = serve.application(start)
    with server.connect() as client:
        client.sendall(b"HELLO")
        assert read(client, 5) == b"HELLO"
        held = descriptors(server.child_of(client))
        assert sorted(held)[:3] == [0, 1, 2]
        assert len(held) == (4 if words[0] == "forkecho" else 3)
        # standard error is where the log comes from
        assert held[2].startswith("socket:")
        # and of the rest the peer's connection alone is shared with nobody else
        connection = inode_of_servers_end(client)
        where = [number for number, target in held.items() if target == connection]
        assert len(where) == (1 if words[0] == "forkecho" else 2)
    if words is SPEAKING:
        server.wait_for(r"child wrote pid=\d+ text='in passing")
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=0")

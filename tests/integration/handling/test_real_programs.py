"""
Programs that were written for inetd, served as they are, and used by their own clients.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.servers.harness import Server
from tests.integration.servers.processes import DEADLINE
from tests.integration.servers.serving import Serve, need

FILES = {"README": "read me\n", "empty": "", "long": "a line of many\n" * 100_000}
"""What is fetched."""


@pytest.fixture
def shelf(folder: Path) -> Path:
    """A folder with these files."""
    made = folder / "shelf"
    made.mkdir()
    for name, text in FILES.items():
        (made / name).write_text(text)
    return made


def run(folder: Path, *command: str) -> str:
    """Run a client's command; what it says."""
    env = {**os.environ, "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    ended = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=DEADLINE
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def fetched(folder: Path) -> dict[str, str]:
    """The files that a client has now."""
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def git_server(serve: Serve, folder: Path, shelf: Path) -> Server:
    """A git daemon that serves the shelf."""
    git = need("git")
    run(shelf, git, "init", "-q")
    run(shelf, git, "add", ".")
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    run(shelf, git, *who, "commit", "-q", "-m", "all of it")
    daemon = [git, "daemon", "--inetd", "--export-all", f"--base-path={folder}"]
    return serve(
        "--env", f"HOME={folder}", program=[*daemon, *("--log-destination=stderr", "--verbose")]
    )


def test_git_clones_from_its_daemon(serve: Serve, folder: Path, shelf: Path) -> None:
    server = git_server(serve, folder, shelf)
    host, port = server.address
    for number in range(3):
        copy = folder / f"copy{number}"
        run(folder, need("git"), "clone", "-q", f"git://{host}:{port}/shelf", str(copy))
        assert fetched(copy) == FILES
    # it reads from its environment who the peer is
    (peer,) = server.wait_for(r"handed over peer=(\S+)")
    server.wait_for(rf"child wrote pid=(\d+) text='\[\1\] Connection from {peer}'\n")
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=0", 3)


def test_a_client_of_git_is_told_what_its_daemon_refuses(
    serve: Serve, folder: Path, shelf: Path
) -> None:
    server = git_server(serve, folder, shelf)
    address = "git://{}:{}/nothing".format(*server.address)
    ended = subprocess.run(
        [need("git"), "clone", "-q", address, "copy"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert ended.returncode != 0
    assert "access denied or repository not exported: /nothing" in ended.stderr


def test_rsync_lists_and_fetches_from_its_daemon(serve: Serve, folder: Path, shelf: Path) -> None:
    rsync = need("rsync")
    config = folder / "rsyncd.conf"
    # who is not root stays who they are, and must not be told to
    who = "" if os.getuid() else "uid = 0\ngid = 0\n"
    config.write_text(
        f"use chroot = no\n{who}"
        f"log file = {folder}/rsyncd.log\n"
        f"[shelf]\npath = {shelf}\ncomment = all there is\n"
    )
    server = serve(program=[rsync, "--daemon", f"--config={config}"])
    url = "rsync://{}:{}/".format(*server.address)
    # a daemon whose standard input is a socket serves it, and does not listen itself
    assert run(folder, rsync, url).split() == ["shelf", "all", "there", "is"]
    copy = folder / "copy"
    run(folder, rsync, "-a", f"{url}shelf/", str(copy))
    assert fetched(copy) == FILES
    # which says so by its status when it was only asked what there is
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=255")
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=0")

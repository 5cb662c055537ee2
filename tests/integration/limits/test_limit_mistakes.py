"""
Limits that cannot be put on children, and users that these cannot be, are refused at once: one
line on standard error that says why, exit status 1.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.integration.servers.commands import Unprivileged, environment, twistd
from tests.integration.servers.processes import DEADLINE
from tests.integration.servers.serving import need, refused

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can make others serve")


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

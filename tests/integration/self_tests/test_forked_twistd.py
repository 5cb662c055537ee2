"""
twistd in a fork of a process that has imported Twisted says what the command says; most tests of
refusals rely on it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.peers.certificates import Authority
from tests.integration.servers.commands import HERE, environment, limited, twistd, variables
from tests.integration.servers.forked_twistd import FORKED, ForkedTwistd
from tests.integration.servers.processes import DEADLINE, children
from tests.integration.servers.serving import forked_refusal, refusal

pytestmark = pytest.mark.usefixtures("nobody_left")

SOCKET = ("-l", "unix:socket")
FORKSERVE = ("-n", "forkserve", *SOCKET)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("forkecho", "--no-such-option"), "no-such-option"),
        (("forkecho", "--max-children=0"), "--max-children cannot be '0'"),
        (("-n", "--chroot=/", "forkecho"), "--chroot cannot be used"),
        (("forkecho", "-l", "tcp:99999"), "port cannot be '99999'"),
        (("-n", "forkecho", "-l", "unix:file"), "there is a file that is no socket"),
        ((*FORKSERVE, "--handler", "served.unfit.mistaken:NUMBER"), "7 is no handler"),
        ((*FORKSERVE, "--handler", "mine:handle"), "mine has no handle"),
        ((*FORKSERVE, "--handler", "served.unfit.threaded:handle"), "starts 2 threads"),
        ((*FORKSERVE, "--launcher=spawn", "--handler", "served.unfit.shapes:three"), "missing"),
        ((*FORKSERVE, "--", "no-such-program"), "no-such-program is not found"),
        ((*FORKSERVE, "--", "./file"), "it is no file with permission"),
        ((*FORKSERVE, "--env", "NAME", "--", "cat"), "--env cannot be 'NAME'"),
    ],
)
def test_the_command_and_the_fork_say_the_same(
    folder: Path, words: tuple[str, ...], told: str
) -> None:
    (folder / "file").touch()
    (folder / "mine.py").touch()
    plugin = next(word for word in words if word in ("forkecho", "forkserve"))
    by_fork = forked_refusal(folder, plugin, words)
    assert told in by_fork
    assert refusal(folder, plugin, [*environment(), *twistd(), *words]) == by_fork


def test_both_say_the_same_of_files_for_tls(folder: Path, authority: Authority) -> None:
    options = [f"--tls-certificate={authority.server}", f"--tls-key={authority.client}"]
    words = ["-n", "forkecho", *SOCKET, *options]
    by_fork = forked_refusal(folder, "forkecho", words)
    assert "key values mismatch" in by_fork
    assert refusal(folder, "forkecho", [*twistd(), *words]) == by_fork


@pytest.mark.parametrize(
    ("limits", "option"), [((200, 500), "-c5000"), ((200, 1000), "-s100000"), ((64, 64), "-c1")]
)
def test_both_count_what_fits_under_limits(
    folder: Path, limits: tuple[int, int], option: str
) -> None:
    words = ["-n", "forkecho", *SOCKET, option]
    by_fork = forked_refusal(folder, "forkecho", words, limits)
    assert f"this process may open {limits[1]}" in by_fork
    assert refusal(folder, "forkecho", [*limited(*limits), *twistd(), *words]) == by_fork


@pytest.mark.parametrize("words", [("--version",), ("forkecho", "--version"), ("--help",)])
def test_both_write_to_standard_output_and_end_well(folder: Path, words: tuple[str, ...]) -> None:
    forked = FORKED.run(words, folder, variables())
    real = subprocess.run([*twistd(), *words], cwd=folder, capture_output=True, timeout=DEADLINE)
    assert (forked.returncode, forked.stderr) == (0, b"")
    assert (real.returncode, real.stdout, real.stderr) == (0, forked.stdout, b"")


REPORT = """
import json, os, resource, sys
about = {
    "argv": sys.argv,
    "path": sys.path,
    "environ": dict(os.environ),
    "cwd": os.getcwd(),
    "open": sorted(os.listdir("/proc/self/fd")),
    "kinds": [os.readlink(f"/proc/self/fd/{number}").partition(":")[0] for number in range(3)],
    "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
    "group": os.getpgid(0) == os.getpgid(os.getppid()),
    "ours": sorted(name for name in sys.modules if name.startswith("twisted_fork")),
}
os.write(2, json.dumps(about).encode())
"""


@pytest.fixture
def reporting(folder: Path) -> list[str]:
    """Words with which twistd says in what surroundings it is."""
    (folder / "report.py").write_text(REPORT + "import twisted_fork\nsys.exit(5)\n")
    return ["-n", "--logfile=log", "-oy", "report.py"]


def test_both_are_in_the_same_surroundings(folder: Path, reporting: list[str]) -> None:
    env = {**os.environ, **variables(NAME="value \udcff", PYTHONPATH=f"{HERE}{os.pathsep}/else")}
    real = subprocess.run(
        [*twistd(), *reporting], cwd=folder, capture_output=True, env=env, timeout=DEADLINE
    )
    assert real.returncode == 5
    # the second has nothing of the first, although both import our package
    for _ in range(2):
        forked = FORKED.run(reporting, folder, env)
        assert json.loads(forked.stderr) == json.loads(real.stderr)
        assert (forked.returncode, forked.stdout) == (5, real.stdout)


def test_a_command_that_is_killed_is_told_as_killed(folder: Path) -> None:
    (folder / "ends.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    ended = FORKED.run(["-n", "--logfile=log", "-oy", "ends.py"], folder, variables())
    assert ended.returncode == -signal.SIGKILL


def test_a_server_that_is_started_is_a_child_of_ours(folder: Path) -> None:
    words = [twistd()[-1], "-n", "forkecho", "--no-such-option"]
    streams = [(folder / name).open("wb") for name in ("stdout", "stderr")]
    pid = FORKED.start(words, folder, variables(), [each.fileno() for each in streams])
    for each in streams:
        each.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert (folder / "stdout").read_bytes() == b""
    assert "no-such-option" in (folder / "stderr").read_text()


@pytest.fixture
def another() -> Iterator[ForkedTwistd]:
    """One that is the test's own."""
    made = ForkedTwistd()
    yield made
    made.stop()


def test_when_the_process_that_forks_is_killed_the_next_command_has_another(
    another: ForkedTwistd, folder: Path
) -> None:
    before = children(os.getpid())
    # if it ended first, its parent might still wait for it before it is gone
    (folder / "ends.py").write_text(
        "import os\nparent = os.getppid()\nos.kill(parent, 9)\n"
        "while os.getppid() == parent:\n    pass\nraise SystemExit\n"
    )
    with pytest.raises(AssertionError, match="its process has ended"):
        another.run(["-n", "--logfile=log", "-oy", "ends.py"], folder, variables())
    # as anything that loses its parent, it has become our child
    (left,) = children(os.getpid()) - before
    os.waitpid(left, 0)
    assert another.run(["--version"], folder, variables()).returncode == 0

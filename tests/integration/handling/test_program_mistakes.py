"""
A program that cannot be executed is refused at once: one line on standard error that says
why, exit status 1, and no port has been opened.
"""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.integration.peers.clients import ask
from tests.integration.servers.commands import Unprivileged
from tests.integration.servers.serving import Serve, refusal, refused

pytestmark = pytest.mark.usefixtures("nobody_left")


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("no-such-program", "no-such-program is not found; it takes a path or a name found in"),
        ("/no/such/program", "/no/such/program is not found"),
        ("./file", "./file cannot be executed: it is no file with permission to"),
        ("/etc", "/etc cannot be executed: it is no file with permission to"),
    ],
)
def test_a_program_that_cannot_be_executed(folder: Path, program: str, told: str) -> None:
    (folder / "file").write_text("#!/bin/sh\n")
    assert told in refused(folder, program=["--", program])


def written(path: Path, contents: bytes, mode: int = 0o755) -> Path:
    """A program in a file."""
    path.write_bytes(contents)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        (b"echo hello\n", "is no program that this system executes: a script needs a first line"),
        (b"", "is no program that this system executes: a script needs a first line"),
        (b"#!\n", "is no program that this system executes: a script needs a first line"),
        (b"#!/no/such/shell -e\n", "its first line names '/no/such/shell', which does not exist"),
        (b"#!/bin/sh\r\n", "its first line names '/bin/sh\\r', which does not exist"),
        (b"#! ./file\n", "cannot be executed: Permission denied"),
    ],
)
def test_a_program_that_the_kernel_would_not_execute(
    folder: Path, contents: bytes, told: str
) -> None:
    written(folder / "program", contents)
    written(folder / "file", b"#!/bin/sh\n", 0o644)
    line = refused(folder, program=["--", "./program"])
    assert line.startswith("twistd forkserve: ./program ")
    assert told in line


def elf(folder: Path, name: str, offset: int, value: bytes) -> None:
    """A program of the system's with something else in its header."""
    found = shutil.which("true")
    assert found is not None
    contents = bytearray(Path(found).read_bytes())
    contents[offset : offset + len(value)] = value
    written(folder / name, bytes(contents))


def test_a_program_for_another_processor(folder: Path) -> None:
    # e_machine, see elf(5): one that was never built
    elf(folder, "program", 18, struct.pack("=H", 0x7FFF))
    line = refused(folder, program=["--", "./program"])
    assert "./program is no program that this system executes" in line


def test_a_program_without_its_dynamic_linker(folder: Path) -> None:
    contents = Path(str(shutil.which("true"))).read_bytes()
    elf(folder, "program", contents.index(b"/ld-linux"), b"/no-linux")
    line = refused(folder, program=["--", "./program"])
    assert "./program cannot be executed: its dynamic linker does not exist" in line


def test_a_program_is_tried_without_being_run(serve: Serve, folder: Path) -> None:
    script = written(folder / "count", b"#!/bin/sh\necho run >> %s/runs\n" % bytes(folder))
    server = serve(program=[str(script)])
    assert not (folder / "runs").exists()
    ask(server.address, b"")
    server.wait_for("child ended")
    assert (folder / "runs").read_text() == "run\n"


@pytest.fixture
def user() -> Unprivileged:
    """Somebody who may not do everything."""
    return Unprivileged()


as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can make others serve")


def test_a_folder_for_a_program_that_is_closed_to_us(folder: Path, user: Unprivileged) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0)
    command = [*user.twistd(), "-n", "--pidfile=", "forkserve", "--chdir=closed"]
    told = refusal(folder, "forkserve", [*command, "--", "cat"], **user.popen)
    closed.chmod(0o700)  # to be removed
    assert "chdir (--chdir) cannot be 'closed': Permission denied" in told


@as_root
def test_a_folder_for_a_program_that_is_closed_to_its_user(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    line = refused(folder, "--user=nobody", "--chdir=closed", program=["--", "cat"])
    assert "chdir (--chdir) cannot be 'closed': Permission denied" in line


@as_root
def test_a_program_that_is_closed_to_its_user(folder: Path) -> None:
    written(folder / "program", b"#!/bin/sh\n", 0o700)
    line = refused(folder, "--user=nobody", program=["--", "./program"])
    assert "./program cannot be executed: Permission denied" in line


@pytest.mark.parametrize("program", ["", "./", "\x1b[2J"])
def test_a_programs_name_is_told_as_it_is(folder: Path, program: str) -> None:
    line = refused(folder, program=["--", program])
    assert {
        "": "twistd forkserve: the program's name is empty: it takes a path or a name found in",
        "./": "twistd forkserve: ./ cannot be executed: it is no file with permission to",
        "\x1b[2J": "twistd forkserve: \\x1b[2J is not found",
    }[program] in line


def test_neither_a_handler_nor_a_program(folder: Path) -> None:
    assert "it takes either --handler MODULE:NAME or -- PROGRAM" in refused(folder)


def test_both_a_handler_and_a_program(folder: Path) -> None:
    line = refused(folder, "--handler", "served.plain:upper", program=["--", "cat"])
    assert "it takes either --handler MODULE:NAME or -- PROGRAM" in line


@pytest.mark.parametrize("assignment", ["NAME", "=value", ""])
def test_an_environment_variable_without_name_or_value(folder: Path, assignment: str) -> None:
    line = refused(folder, "--env", assignment, program=["--", "cat"])
    assert f"--env cannot be {assignment!r}: it takes NAME=VALUE" in line


@pytest.mark.parametrize("option", ["--env=A=B", "--clear-env", "--chdir=/"])
def test_an_option_that_goes_with_a_program_only(folder: Path, option: str) -> None:
    line = refused(folder, "--handler", "served.plain:upper", option)
    assert "--env, --clear-env and --chdir go with a program only" in line


def test_a_folder_for_a_program_that_is_none(folder: Path) -> None:
    line = refused(folder, "--chdir", "/no/such", program=["--", "cat"])
    assert "chdir (--chdir) cannot be '/no/such': it is no folder" in line


def test_a_program_cannot_serve_two_connections(folder: Path) -> None:
    line = refused(folder, "-k2", program=["--", "cat"])
    assert "--connections-per-child has to be 1 with a program" in line

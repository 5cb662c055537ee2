"""
A handler that cannot be served is refused at once: one line on standard error that says
why, exit status 1, and no port has been opened.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
from pathlib import Path

import pytest

from .certificates import Authority
from .clients import ask
from .commands import Unprivileged
from .serving import Serve, refusal, refused

pytestmark = pytest.mark.usefixtures("nobody_left")


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        ("no_such_module:handle", "no_such_module does not import: ModuleNotFoundError"),
        ("served.no_such:handle", "served.no_such does not import: ModuleNotFoundError"),
        ("served.leaving:handle", "served.leaving does not import: SystemExit: not today"),
        ("served.mistaken:handle", "served.mistaken has no handle"),
        ("served.plain:made.no_such", "served.plain has no made.no_such"),
        ("served.mistaken:NUMBER", "7 is no handler: it takes a callable(connection, peer), an"),
        ("served.mistaken", "'served.mistaken' names no handler: it takes MODULE:NAME"),
        (":handle", "':handle' names no handler: it takes MODULE:NAME"),
        ("served.mistaken:", "'served.mistaken:' names no handler: it takes MODULE:NAME"),
        ("served.threaded:handle", "served.threaded starts 2 threads when it is imported"),
        ("served.reacting:handle", "served.reacting installs a reactor when it is imported"),
    ],
)
def test_a_handler_that_does_not_do(folder: Path, handler: str, told: str) -> None:
    assert told in refused(folder, "--handler", handler)


def test_a_module_that_does_not_import_says_what_it_raised(folder: Path) -> None:
    line = refused(folder, "--handler", "served.broken:handle")
    told = "served.broken does not import: RuntimeError: the setting colour is missing"
    assert told in line


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nothing", "cannot be called with (connection, peer): too many positional arguments"),
        ("three", "cannot be called with (connection, peer): missing a required argument: 'more'"),
        ("by_name", "cannot be called with (connection, peer): too many positional arguments"),
        ("yields", "is a generator function: calling it does nothing"),
        ("reads", "cannot be called with (reader, writer): too many positional arguments"),
        ("Plain", "cannot be called with (connection, peer): too many positional arguments"),
        ("Streams", "is an asyncio protocol: it takes an async callable(reader, writer) instead"),
        ("Threading", "is a server: it takes the class of its request handlers instead"),
        ("Demanding", "cannot be called with (request, client_address, server): missing"),
        ("Named", "cannot be called without arguments: missing a required argument: 'name'"),
        ("Shop", "cannot be called without arguments: missing a required argument: 'shop'"),
        ("empty", "is a factory whose protocol is not set"),
    ],
)
@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_a_handler_of_a_shape_that_cannot_serve(
    folder: Path, launcher: str, name: str, told: str
) -> None:
    line = refused(folder, f"--launcher={launcher}", "--handler", f"served.shapes:{name}")
    assert line.startswith(f"twistd forkserve: served.shapes:{name} {told}")


@pytest.mark.parametrize(
    ("name", "answer"), [("greets", b"welcome"), ("tells", b"so it is"), ("Greeting", b"")]
)
def test_a_partial_of_a_handler_is_one_of_its_kind(serve: Serve, name: str, answer: bytes) -> None:
    server = serve(handler=f"shapes:{name}")
    assert ask(server.address, b"") == answer


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
@pytest.mark.parametrize(
    ("status", "how"),
    [
        (0, ""),
        (7, " with exit status 7"),
        (-signal.SIGSEGV, " by SIGSEGV"),
    ],
)
def test_a_module_that_ends_its_process_is_told_from_one_that_imports(
    folder: Path, monkeypatch: pytest.MonkeyPatch, launcher: str, status: int, how: str
) -> None:
    monkeypatch.setenv("ENDS_BY", str(int(status)))
    line = refused(folder, f"--launcher={launcher}", "--handler", "served.ending:handle")
    assert f"the handler ends the process{how} when it is imported" in line


def test_limits_on_children_do_not_bind_whoever_tries_the_handler(serve: Serve) -> None:
    server = serve("--file-size=0", "--open-files=8", "--memory=1M")
    assert server.find("child wrote") == []


def test_threads_of_a_spawned_handlers_module_are_noticed_as_well(folder: Path) -> None:
    line = refused(folder, "--launcher=spawn", "--handler", "served.threaded:handle")
    assert "served.threaded starts 2 threads when it is imported" in line


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_threads_that_ended_again_harm_nobody(serve: Serve, launcher: str) -> None:
    server = serve(handler="joining:handle", launcher=launcher)
    assert ask(server.address, b"") == b"here"


def test_what_a_module_raises_cannot_move_the_cursor(folder: Path) -> None:
    line = refused(folder, "--handler", "served.escaping:handle")
    told = r"served.escaping does not import: RuntimeError: \x1b[2J\x9b1A café \x1b\udcff"
    assert told in line


def test_a_file_in_a_modules_place_is_told_what_it_is(folder: Path) -> None:
    (folder / "good.py").write_text("def handle(connection, peer): pass\n")
    for path in ("./good.py", "good.py", str(folder / "good.py"), "./good"):
        line = refused(folder, "--handler", f"{path}:handle")
        assert f"'{path}:handle' names a file: it takes MODULE:NAME, such as good:handle" in line


def test_a_module_with_a_mistake_in_its_syntax(folder: Path) -> None:
    (folder / "mistyped.py").write_text("def handle(connection, peer:\n    pass\n")
    line = refused(folder, "--handler", "mistyped:handle")
    assert "mistyped does not import: SyntaxError: " in line
    assert "never closed" in line or "invalid syntax" in line


def test_what_is_wrong_with_a_spawned_handler_is_told_as_well(folder: Path) -> None:
    line = refused(folder, "--launcher=spawn", "--handler", "served.mistaken:NUMBER")
    assert "7 is no handler" in line


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
    (folder / "closed").mkdir(mode=0)
    command = [*user.twistd(), "-n", "--pidfile=", "forkserve", "--chdir=closed"]
    told = refusal(folder, "forkserve", [*command, "--", "cat"], **user.popen)
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


@pytest.mark.parametrize("handler", ["served.protocols:Upper", "served.protocols:who"])
def test_a_factory_cannot_serve_two_connections_in_one_process(folder: Path, handler: str) -> None:
    line = refused(folder, "-k2", "--handler", handler)
    assert "--connections-per-child has to be 1 with a Twisted factory" in line


# Certificates


def refused_tls(folder: Path, *words: str) -> str:
    """What is said of these options for TLS."""
    return refused(folder, "--handler", "served.plain:upper", *words)


@pytest.mark.parametrize("option", ["--tls-certificate", "--tls-key", "--tls-client-ca"])
def test_a_file_for_tls_that_is_missing(folder: Path, authority: Authority, option: str) -> None:
    files = {
        "--tls-certificate": str(authority.server),
        "--tls-key": str(authority.server_key),
        "--tls-client-ca": str(authority.certificate),
        option: "/no/such.pem",
    }
    line = refused_tls(folder, *(f"{name}={path}" for name, path in files.items()))
    assert "/no/such.pem: No such file or directory" in line


def test_a_certificate_that_does_not_match_its_key(folder: Path, authority: Authority) -> None:
    line = refused_tls(
        folder, f"--tls-certificate={authority.server}", f"--tls-key={authority.client}"
    )
    assert "key values mismatch" in line


@pytest.mark.parametrize("option", ["--tls-certificate", "--tls-key", "--tls-client-ca"])
def test_a_file_for_tls_that_is_not_pem(folder: Path, authority: Authority, option: str) -> None:
    path = folder / "junk.pem"
    path.write_text("this is no certificate\n")
    files = {
        "--tls-certificate": str(authority.server),
        "--tls-key": str(authority.server_key),
        "--tls-client-ca": str(authority.certificate),
        option: str(path),
    }
    line = refused_tls(folder, *(f"{name}={path}" for name, path in files.items()))
    assert str(path) in line


def test_a_certificate_without_its_key(folder: Path, authority: Authority) -> None:
    assert str(authority.server) in refused_tls(folder, f"--tls-certificate={authority.server}")


@pytest.mark.parametrize("option", ["--tls-key", "--tls-client-ca"])
def test_a_file_for_tls_without_a_certificate(folder: Path, option: str) -> None:
    line = refused_tls(folder, f"{option}=/etc/hostname")
    assert f"{option} goes with --tls-certificate only" in line


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--handshake-timeout=0", "--handshake-timeout cannot be '0': it takes a number of sec"),
        ("--proxy-from=anybody", "--proxy-from cannot be 'anybody': it takes a network such as"),
        ("--proxy-from=192.0.2.1/24", "--proxy-from cannot be '192.0.2.1/24': it has host bits"),
        ("--allow=127.0.0.1/8", "--allow cannot be '127.0.0.1/8': it has host bits set, it takes"),
        ("--proxy-from=192.0.2.0/24", "--proxy-from goes with --proxy-protocol only"),
        ("--banner-refused=a\\q", r"--banner-refused cannot be 'a\\q': it takes a text"),
    ],
)
def test_options_that_do_not_do(folder: Path, option: str, told: str) -> None:
    assert told in refused(folder, "--handler", "served.plain:upper", option)

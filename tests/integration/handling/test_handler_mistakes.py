"""
A handler that cannot be served is refused at once: one line on standard error that says
why, exit status 1, and no port has been opened.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.integration.peers.clients import ask
from tests.integration.servers.serving import Serve, refused

pytestmark = pytest.mark.usefixtures("nobody_left")


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        ("no_such_module:handle", "no_such_module does not import: ModuleNotFoundError"),
        ("served.no_such:handle", "served.no_such does not import: ModuleNotFoundError"),
        (
            "served.unfit.leaving:handle",
            "served.unfit.leaving does not import: SystemExit: not today",
        ),
        ("served.unfit.mistaken:handle", "served.unfit.mistaken has no handle"),
        ("served.plain:made.no_such", "served.plain has no made.no_such"),
        (
            "served.unfit.mistaken:NUMBER",
            "7 is no handler: it takes a callable(connection, peer), an",
        ),
        ("served.unfit.mistaken", "'served.unfit.mistaken' names no handler: it takes MODULE:NAME"),
        (":handle", "':handle' names no handler: it takes MODULE:NAME"),
        (
            "served.unfit.mistaken:",
            "'served.unfit.mistaken:' names no handler: it takes MODULE:NAME",
        ),
        (
            "served.unfit.threaded:handle",
            "served.unfit.threaded starts 2 threads when it is imported",
        ),
        (
            "served.unfit.reacting:handle",
            "served.unfit.reacting installs a reactor when it is imported",
        ),
    ],
)
def test_a_handler_that_does_not_do(folder: Path, handler: str, told: str) -> None:
    assert told in refused(folder, "--handler", handler)


def test_a_module_that_does_not_import_says_what_it_raised(folder: Path) -> None:
    line = refused(folder, "--handler", "served.unfit.broken:handle")
    told = "served.unfit.broken does not import: RuntimeError: the setting colour is missing"
    assert told in line


WITH = "cannot be called with (connection, peer):"
WITHOUT = "cannot be called without arguments: missing a required argument:"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("shapes:nothing", f"{WITH} too many positional arguments"),
        ("shapes:three", f"{WITH} missing a required argument: 'more'"),
        ("shapes:by_name", f"{WITH} too many positional arguments"),
        ("shapes:yields", "is a generator function: calling it does nothing"),
        ("shapes:reads", "cannot be called with (reader, writer): too many positional arguments"),
        ("shapes:Plain", f"{WITH} too many positional arguments"),
        ("shapes:Threading", "is a server: it takes the class of its request handlers instead"),
        ("shapes:Demanding", "cannot be called with (request, client_address, server): missing"),
        (
            "protocol_shapes:Streams",
            "is an asyncio protocol: it takes an async callable(reader, writer) instead",
        ),
        ("protocol_shapes:Named", f"{WITHOUT} 'name'"),
        ("protocol_shapes:Shop", f"{WITHOUT} 'shop'"),
        ("protocol_shapes:empty", "is a factory whose protocol is not set"),
    ],
)
@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_a_handler_of_a_shape_that_cannot_serve(
    folder: Path, launcher: str, name: str, told: str
) -> None:
    line = refused(folder, f"--launcher={launcher}", "--handler", f"served.unfit.{name}")
    assert line.startswith(f"twistd forkserve: served.unfit.{name} {told}")


@pytest.mark.parametrize(
    ("name", "answer"), [("greets", b"welcome"), ("tells", b"so it is"), ("Greeting", b"")]
)
def test_a_partial_of_a_handler_is_one_of_its_kind(serve: Serve, name: str, answer: bytes) -> None:
    server = serve(handler=f"unfit.shapes:{name}")
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
    line = refused(folder, f"--launcher={launcher}", "--handler", "served.unfit.ending:handle")
    assert f"the handler ends the process{how} when it is imported" in line


def test_limits_on_children_do_not_bind_whoever_tries_the_handler(serve: Serve) -> None:
    server = serve("--file-size=0", "--open-files=8", "--memory=1M")
    assert server.find("child wrote") == []


def test_threads_of_a_spawned_handlers_module_are_noticed(folder: Path) -> None:
    line = refused(folder, "--launcher=spawn", "--handler", "served.unfit.threaded:handle")
    assert "served.unfit.threaded starts 2 threads when it is imported" in line


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_threads_that_ended_again_harm_nobody(serve: Serve, launcher: str) -> None:
    server = serve(handler="unfit.joining:handle", launcher=launcher)
    assert ask(server.address, b"") == b"here"


def test_what_a_module_raises_cannot_move_the_cursor(folder: Path) -> None:
    line = refused(folder, "--handler", "served.unfit.escaping:handle")
    told = r"served.unfit.escaping does not import: RuntimeError: \x1b[2J\x9b1A café \x1b\udcff"
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


def test_what_is_wrong_with_a_spawned_handler_is_told(folder: Path) -> None:
    line = refused(folder, "--launcher=spawn", "--handler", "served.unfit.mistaken:NUMBER")
    assert "7 is no handler" in line


@pytest.mark.parametrize("handler", ["served.protocols:Upper", "served.protocols:who"])
def test_a_factory_cannot_serve_two_connections_in_one_process(folder: Path, handler: str) -> None:
    line = refused(folder, "-k2", "--handler", handler)
    assert "--connections-per-child has to be 1 with a Twisted factory" in line


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

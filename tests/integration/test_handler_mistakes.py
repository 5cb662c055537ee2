"""
A handler that cannot be served is refused at once: one line on standard error that says
why, exit status 1, and no port has been opened.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .certificates import Authority
from .serving import refused

pytestmark = pytest.mark.usefixtures("nobody_left")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


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
    assert "--chdir cannot be '/no/such': it is no folder" in line


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
        ("--proxy-from=192.0.2.1/24", "--proxy-from cannot be '192.0.2.1/24'"),
    ],
)
def test_options_that_do_not_do(folder: Path, option: str, told: str) -> None:
    assert told in refused(folder, "--handler", "served.plain:upper", option)

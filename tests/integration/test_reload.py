"""
Reloading, by SIGHUP: the handler and the certificates anew, and no connection lost.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from .certificates import Authority
from .clients import Crowd, connect, read, read_to_end, talk
from .commands import environment, twistd
from .harness import Server, with_twisted
from .processes import children, state, status, until, wait_until
from .serving import Serve, refusal

HANDLER = """
VERSION = {version!r}

def serve(connection, peer):
    connection.sendall(VERSION.encode())
    while data := connection.recv(65536):
        connection.sendall(VERSION.encode() if data == b"?" else data.upper())
"""


class Changing:
    """A server whose handler is changed while it runs."""

    def __init__(self, serve: Serve, folder: Path, *options: str, **more: Any) -> None:
        self._module = folder / "changing.py"
        self.write("a")
        variables = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        self.server = serve(*options, handler=".changing:serve", env=variables, **more)

    def write(self, version: str, first: str = "") -> None:
        """Install another version, one letter, which does something *first*."""
        self._install(first + HANDLER.format(version=version))

    def break_it(self, how: str = "import no_such_module") -> None:
        """Install one that cannot be imported."""
        self._install(f"VERSION = 'broken'\n{how}\n")

    def hang(self) -> Path:
        """Install one whose import does not end; a file that says which processes try."""
        tried = self._module.with_name("tried")
        tried.touch()
        self._install(
            f"import os, time\nwith open({str(tried)!r}, 'a') as file:\n"
            "    file.write(f'{os.getpid()}\\n')\ntime.sleep(1000)\n"
        )
        return tried

    def _install(self, text: str) -> None:
        """At once: a spawned child may import it at any moment."""
        newer = self._module.with_suffix(".new")
        newer.write_text(text)
        newer.replace(self._module)

    def reload(self, times: int = 1) -> None:
        """SIGHUP, and wait until it has been done; *times* counts all until now."""
        self.server.kill(signal.SIGHUP)
        self.server.wait_for(r"reloaded( pid=\d+)?\n", times)

    def fail(self) -> None:
        """SIGHUP, and wait until it has failed."""
        self.server.kill(signal.SIGHUP)
        self.server.wait_for("reload failed")

    def version(self) -> str:
        """What a new connection is served with."""
        with self.server.connect() as connection:
            return read(connection, 1).decode()


@pytest.fixture(params=["1", "3"])
def each(request: pytest.FixtureRequest) -> str:
    """Connections for each child."""
    return f"-k{request.param}"


def test_after_a_reload_the_new_code_serves(
    serve: Serve, folder: Path, launcher: str, each: str
) -> None:
    changing = Changing(serve, folder, each, launcher=launcher)
    assert changing.version() == "a"
    for times, version in enumerate("bcd", 1):
        changing.write(version)
        changing.reload(times)
        assert [changing.version() for _ in range(5)] == [version] * 5


def test_without_a_reload_the_old_code_serves(serve: Serve, folder: Path) -> None:
    changing = Changing(serve, folder)
    changing.write("b")
    assert [changing.version() for _ in range(5)] == ["a"] * 5


def test_busy_children_finish_with_the_old_code(
    serve: Serve, folder: Path, launcher: str, each: str
) -> None:
    changing = Changing(serve, folder, each, launcher=launcher)
    with changing.server.connect() as old:
        assert read(old, 1) == b"a"
        pid = changing.server.child_of(old)
        changing.write("b")
        changing.reload()
        with changing.server.connect() as new:
            assert read(new, 1) == b"b"
            talk(old, b"still here")
            old.sendall(b"?")
            assert read(old, 1) == b"a"
    # and when its connection is over it goes, and is given no other
    wait_until(lambda: state(pid) == "", "the end of the old child")
    assert changing.version() == "b"
    assert "sent to children" not in changing.server.log()


def test_spares_and_the_old_template_go(serve: Serve, folder: Path) -> None:
    changing = Changing(serve, folder, spares=3)
    before = children(changing.server.pid)
    changing.write("b")
    changing.reload()
    wait_until(lambda: not before & children(changing.server.pid), "the end of all that were old")
    changing.server.wait_until_idle()
    assert changing.version() == "b"


def test_a_handler_that_cannot_be_imported_leaves_the_old_template_serving(
    serve: Serve, folder: Path, each: str
) -> None:
    changing = Changing(serve, folder, each)
    template = changing.server.template()
    changing.break_it()
    with changing.server.connect() as connection:
        assert read(connection, 1) == b"a"
        changing.fail()
        talk(connection, b"still here")
    server = changing.server
    server.wait_for(r"reload failed exit=1: the old template goes on\n")
    server.wait_for(r"child wrote pid=\d+: .*no_such_module")
    assert [changing.version() for _ in range(5)] == ["a"] * 5
    assert server.template() == template
    assert "reloaded" not in server.log()
    assert len(server.find("reload failed")) == 1
    # once it has been mended the next one succeeds
    changing.write("c")
    changing.reload()
    assert changing.version() == "c"


def test_a_reload_that_fails_loses_no_spare(serve: Serve, folder: Path) -> None:
    changing = Changing(serve, folder, spares=3)
    before = changing.server.spares()
    changing.break_it()
    changing.fail()
    changing.server.wait_until_idle()
    assert changing.server.spares() == before


def test_with_fresh_interpreters_too_a_broken_handler_is_told_of_and_loses_nobody(
    serve: Serve, folder: Path
) -> None:
    changing = Changing(serve, folder, launcher="spawn")
    changing.server.expects_traceback = True  # of a spare that is started meanwhile
    changing.break_it()
    changing.fail()
    assert changing.version() == "a"
    changing.write("c")
    changing.reload()
    assert changing.version() == "c"


def test_many_signals_are_one_reload_at_least_and_the_last_code_serves(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changing = Changing(serve, folder, launcher=launcher)
    for version in "bcdefg":
        changing.write(version)
        changing.server.kill(signal.SIGHUP)
    changing.server.wait_for("reloaded")
    wait_until(lambda: changing.version() == "g", "the last version")
    assert [changing.version() for _ in range(5)] == ["g"] * 5
    assert "reload failed" not in changing.server.log()


def test_a_reload_that_has_not_ended_does_not_keep_the_server_from_stopping(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changing = Changing(serve, folder, launcher=launcher)
    changing.server.kill(signal.SIGHUP)
    changing.server.wait_for("reloading\n")
    changing.server.stop()
    assert "reload failed" not in changing.server.log()


def test_while_it_stops_nothing_is_reloaded(serve: Serve, folder: Path, launcher: str) -> None:
    changing = Changing(serve, folder, "--grace=1000", launcher=launcher)
    with changing.server.connect() as connection:
        assert read(connection, 1) == b"a"
        changing.server.kill()
        changing.server.wait_for("stopping children=")
        changing.server.kill(signal.SIGHUP)
        talk(connection, b"still here")
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == b""
    changing.server.wait_until_over()
    assert "reloading" not in changing.server.log()


def test_the_built_in_echo_can_be_reloaded_too(serve: Serve, launcher: str) -> None:
    server = serve(launcher=launcher)
    before = children(server.pid)
    server.kill(signal.SIGHUP)
    server.wait_for(r"reloaded( pid=\d+)?\n")
    wait_until(lambda: not before & children(server.pid), "the end of all that were old")
    with server.connect() as connection:
        talk(connection)


def test_programs_are_always_executed_as_they_are(serve: Serve, folder: Path) -> None:
    program = folder / "program"
    program.write_text("#!/bin/sh\necho old\n")
    program.chmod(0o755)
    server = serve(program=[str(program)], spares=0, launcher="spawn")

    def says() -> bytes:
        with server.connect() as connection:
            return read_to_end(connection)

    assert says() == b"old\n"
    newer = folder / "newer"
    newer.write_text("#!/bin/sh\necho new\n")
    newer.chmod(0o755)
    newer.rename(program)
    assert says() == b"new\n"
    server.kill(signal.SIGHUP)
    server.wait_for("nothing to reload: programs are executed as they are on the disk\n")
    assert says() == b"new\n"
    assert "reloaded" not in server.log()


# Reloads that hang, and storms of them


def waiting(tried: Path) -> int:
    """The process that tries to import a handler that hangs."""
    return int(wait_until(tried.read_text, "an import that hangs").splitlines()[-1])


def test_a_reload_that_hangs_keeps_neither_connections_nor_the_stop(
    serve: Serve, folder: Path, launcher: str
) -> None:
    # one that hangs as it is started anew, too, would not end by itself
    changing = Changing(serve, folder, "--grace=1000", launcher=launcher, spares=3)
    tried = changing.hang()
    changing.server.kill(signal.SIGHUP)
    waiting(tried)
    assert [changing.version() for _ in range(2)] == ["a"] * 2
    changing.server.stop()
    assert changing.server.find("reload(?:ed| failed)") == []


def test_a_reload_that_hangs_does_not_keep_those_who_are_served_from_finishing(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changing = Changing(serve, folder, "--grace=1000", launcher=launcher)
    with changing.server.connect() as connection:
        assert read(connection, 1) == b"a"
        tried = changing.hang()
        changing.server.kill(signal.SIGHUP)
        pid = waiting(tried)
        changing.server.kill()
        wait_until(lambda: state(pid) == "", "the end of the import that hung")
        talk(connection, b"still here")
    changing.server.wait_until_over()


IN_FIVE_SECONDS = """
import runpy, sys
from twisted_fork import starting
starting.PATIENCE = 5.0
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""To be put before a command, which then gives imports five seconds, and not sixty."""


def test_a_reload_that_hangs_fails_in_its_time_and_the_next_goes_well(
    serve: Serve, folder: Path, launcher: str
) -> None:
    impatient = [sys.executable, "-c", IN_FIVE_SECONDS]
    changing = Changing(serve, folder, launcher=launcher, wrap=lambda twistd: [*impatient, *twistd])
    tried = changing.hang()
    changing.server.kill(signal.SIGHUP)
    pid = waiting(tried)
    changing.server.wait_for("reload failed reason='the handler was not imported within 5 seconds'")
    wait_until(lambda: state(pid) == "", "the end of the import that hung")
    changing.write("b")
    changing.reload()
    assert changing.version() == "b"


def test_a_handler_that_hangs_when_it_is_imported_is_refused_in_its_time(
    folder: Path, launcher: str
) -> None:
    (folder / "hanging.py").write_text("import time\ntime.sleep(1000)\n")
    command = [*environment(PYTHONPATH=str(folder), PYTHONDONTWRITEBYTECODE="1"), sys.executable]
    command += ["-c", IN_FIVE_SECONDS, *twistd(), "-n", "--pidfile=", "forkserve"]
    command += [f"--launcher={launcher}", "-l", f"unix:{folder}/socket", "--handler", "hanging:x"]
    told = refusal(folder, "forkserve", command)
    assert told == "twistd forkserve: the handler was not imported within 5 seconds"


def test_reloads_that_are_asked_for_meanwhile_become_one(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changing = Changing(serve, folder, launcher=launcher)
    server = changing.server
    tried = changing.hang()
    server.kill(signal.SIGHUP)
    pid = waiting(tried)
    for _ in range(20):
        server.kill(signal.SIGHUP)
        # it is seen to have taken the signal
        wait_until(lambda: status(server.pid, "SigPnd") == "0" * 16, "no signal that waits")
        wait_until(lambda: status(server.pid, "ShdPnd") == "0" * 16, "no signal that waits")
    changing.write("b")
    os.kill(pid, signal.SIGKILL)
    server.wait_for("reload failed")
    server.wait_for(r"reloaded( pid=\d+)?\n")
    assert changing.version() == "b"
    assert len(server.find("reloading\n")) == 2


def test_a_storm_of_signals_leaves_a_server_that_serves_and_stops(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changing = Changing(serve, folder, launcher=launcher)
    changing.write("a", "import time\ntime.sleep(1)")
    for number in range(731):
        changing.server.kill(signal.SIGHUP)
        time.sleep(0.005)
        if number % 100 == 0:
            assert changing.version() == "a"
    changing.write("b")
    changing.server.kill(signal.SIGHUP)
    wait_until(lambda: changing.version() == "b", "the last version")
    changing.server.stop()
    events = [event for (event,) in changing.server.find(r"(reloading|reloaded|reload failed)")]
    assert len(events) >= 4
    assert set(events[::2]) == {"reloading"}, "no reload begins before the last is over"
    assert set(events[1::2]) == {"reloaded"}


def test_a_handler_that_ends_the_process_when_it_is_imported_is_not_taken(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changing = Changing(serve, folder, launcher=launcher, spares=6)
    before = changing.server.spares()
    changing.break_it("import os\nos._exit(0)")
    changing.fail()
    assert changing.server.spares() == before
    assert changing.version() == "a"
    assert "reloaded" not in changing.server.log()
    changing.write("a")


def test_an_old_template_that_is_stopped_does_not_stay(serve: Serve, folder: Path) -> None:
    changing = Changing(serve, folder, "--grace=1000")
    old = changing.server.template()
    os.kill(old, signal.SIGSTOP)
    changing.reload()
    wait_until(lambda: state(old) == "", "the end of the old template")
    changing.server.stop()


# Certificates


def trusting(address: tuple[str, int], authority: Authority) -> bool:
    """Whether somebody who trusts this authority alone is served."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with connect(address) as connection:
        try:
            with context.wrap_socket(connection, server_hostname="127.0.0.1") as secured:
                secured.sendall(b"hello")
                return read(secured, 5) == b"HELLO"
        except ssl.SSLError:
            return False


def secured(serve: Serve, folder: Path, authority: Authority, **more: Any) -> Server:
    """A server with that authority's certificate, in files that can be replaced."""
    install(folder, authority)
    options = [f"--tls-certificate={folder}/certificate", f"--tls-key={folder}/key"]
    return serve(*options, handler="plain:upper", **more)


def install(folder: Path, authority: Authority) -> None:
    """Replace the server's certificate and key."""
    (folder / "certificate").write_bytes(authority.server.read_bytes())
    (folder / "key").write_bytes(authority.server_key.read_bytes())


def test_certificates_are_read_anew(serve: Serve, folder: Path, launcher: str) -> None:
    first, second = Authority(folder, "first"), Authority(folder, "second")
    server = secured(serve, folder, first, launcher=launcher)
    assert (trusting(server.address, first), trusting(server.address, second)) == (True, False)
    install(folder, second)
    server.kill(signal.SIGHUP)
    server.wait_for(r"reloaded( pid=\d+)?\n")
    assert (trusting(server.address, first), trusting(server.address, second)) == (False, True)


@pytest.mark.parametrize("wrong", ["nonsense", "missing", "mismatch"])
def test_certificates_that_will_not_do_leave_the_old_ones(
    serve: Serve, folder: Path, launcher: str, wrong: str
) -> None:
    first = Authority(folder, "first")
    server = secured(serve, folder, first, launcher=launcher)
    if wrong == "nonsense":
        (folder / "certificate").write_text("nonsense")
    elif wrong == "missing":
        (folder / "certificate").unlink()
    else:
        (folder / "key").write_bytes(Authority(folder, "second").server_key.read_bytes())
    server.kill(signal.SIGHUP)
    server.wait_for("reload failed")
    for _ in range(6):  # more than there were spares
        assert trusting(server.address, first)


def test_certificates_are_not_read_before_a_reload(
    serve: Serve, folder: Path, launcher: str
) -> None:
    first, second = Authority(folder, "first"), Authority(folder, "second")
    server = secured(serve, folder, first, launcher=launcher)
    install(folder, second)
    if launcher == "fork":  # another has what the first had
        os.kill(server.template(), signal.SIGKILL)
        server.wait_for("template ready", 2)
    for _ in range(6):
        assert trusting(server.address, first)


# Under load


@with_twisted
@pytest.mark.parametrize("options", [(), ("-k5",), ("--max-children=4",)])
async def test_no_connection_is_lost_or_refused_during_reloads(
    serve: Serve, launcher: str, options: tuple[str, ...]
) -> None:
    server = await deferToThread(lambda: serve(*options, handler="plain:upper", launcher=launcher))
    crowd = Crowd(reactor, server.address, 12)
    await crowd.next_round()
    for times in range(1, 5):
        server.kill(signal.SIGHUP)
        await server.logs(r"reloaded( pid=\d+)?\n", times)
        await crowd.next_round()
    await crowd.leave()
    assert crowd.broken == []
    assert "connection refused" not in server.log()
    assert "without serving" not in server.log()
    await all_that_were_handed_over_ended(server)


@with_twisted
async def test_no_connection_is_lost_or_refused_while_reloads_fail(
    serve: Serve, folder: Path
) -> None:
    changing = await deferToThread(lambda: Changing(serve, folder))
    changing.break_it()
    server = changing.server
    served = 0
    for times in range(1, 5):
        server.kill(signal.SIGHUP)
        while len(server.find("reload failed")) < times:
            assert await deferToThread(changing.version) == "a"
            served += 1
    assert served > 0
    assert "connection refused" not in server.log()


async def all_that_were_handed_over_ended(server: Server) -> None:
    """As many connections were served to their end as were handed over."""

    def counts() -> tuple[int, int]:
        ends = server.find(r"(?:child ended|served) peer=\S+ pid=\d+")
        return len(server.find("handed over peer=")), len(ends)

    await until(reactor, lambda: counts()[0] == counts()[1], f"the end of all: {counts()}")
    assert not re.search(r"child ended peer=\S+ pid=\d+ (?!exit=0)", server.log())

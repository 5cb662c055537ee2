"""
An application that takes the signals, as twistd forkserve does: they reload and stop all its
services.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.peers.clients import ask, connect, read, talk
from tests.integration.peers.systemd import Listener
from tests.integration.servers.applications import Application
from tests.integration.servers.commands import twistd
from tests.integration.servers.processes import wait_until

pytestmark = pytest.mark.command

TAC = """
import os, signal
from twisted.application.service import Application, Service
from twisted_fork import ForkingService, Settings, take_signals

application = Application("test")
services = [
    ForkingService("tcp:0:interface=127.0.0.1", "mine:serve", Settings(**each))
    for each in {settings!r}
]
for service in services:
    service.setServiceParent(application)
take_signals(*services)

class Signals(Service):
    def startService(self):
        for number in {at_start!r}:
            os.kill(os.getpid(), number)

Signals().setServiceParent(application)
"""

HANDLER = """
def serve(connection, peer):
    connection.sendall({version!r})
    while data := connection.recv(1000):
        connection.sendall(data.upper())
"""

LONG = {"grace": 1000.0, "spare_children": 1}


class Taking(Application):
    """
    An application of two services, or more.

    :param at_start: signals that come when the services have started, and before the reactor runs.
    """

    def __init__(
        self,
        folder: Path,
        *settings: Mapping[str, object],
        before: list[str] | None = None,
        at_start: list[int] | None = None,
    ) -> None:
        self.module = folder / "mine.py"
        self.write(b"a")
        file = folder / "application.tac"
        file.write_text(
            TAC.format(settings=[*map(dict, settings)], at_start=[*map(int, at_start or [])])
        )
        variables = ["env", f"PYTHONPATH={folder}", "PYTHONDONTWRITEBYTECODE=1"]
        command = [*twistd(), "-n", "--pidfile=", "-y", str(file)]
        self.count = len(settings)
        super().__init__(folder, *(before or []), *variables, *command)

    def write(self, version: bytes) -> None:
        """Install another version of the handler."""
        newer = self.module.with_suffix(".new")
        newer.write_text(HANDLER.format(version=version))
        newer.replace(self.module)

    def ports(self) -> list[tuple[str, int]]:
        """Where all of them accept connections."""
        self.wait_for("accepting connections", self.count)
        found = self.find(r"accepting connections address='tcp (\S+):(\d+)")
        return [(host, int(port)) for host, port in found]


@pytest.fixture
def applications(nobody_left: None) -> Iterator[list[Application]]:
    """Those that are in here are ended, however the test ends."""
    made: list[Application] = []
    yield made
    for application in made:
        if not application.is_over():
            application.kill(signal.SIGKILL)
            wait_until(application.is_over, "the end of an application that was killed")


def test_a_hangup_reloads_all_services(folder: Path, applications: list[Application]) -> None:
    application = Taking(folder, LONG, {**LONG, "launcher": "spawn"})
    applications.append(application)
    ports = application.ports()
    assert [ask(port, b"") for port in ports] == [b"a", b"a"]
    application.write(b"b")
    application.kill(signal.SIGHUP)
    application.wait_for("reloaded", 2)
    assert [ask(port, b"") for port in ports] == [b"b", b"b"]
    application.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_connections_finish_and_the_next_hurries_all(
    folder: Path, applications: list[Application], number: signal.Signals
) -> None:
    application = Taking(folder, LONG, LONG)
    applications.append(application)
    one, two = application.ports()
    with connect(one) as first, connect(two) as second:
        for connection in (first, second):
            assert read(connection, 1) == b"a"
        application.kill(number)
        application.wait_for("stopping children=", 2)
        for connection in (first, second):
            talk(connection, b"still here")
        application.kill(number)
        application.wait_until_over()
    assert len(application.find("child ended .* signal=SIGTERM ")) == 2
    assert len(application.find(f"signal received signal={number.name}\n")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_before_the_reactor_runs_ends_an_application_as_any_other(
    folder: Path, applications: list[Application], number: signal.Signals
) -> None:
    application = Taking(folder, LONG, at_start=[number])
    applications.append(application)
    application.wait_until_over()
    assert application.find(f"signal received signal={number.name}\n")
    assert application.find(r"\] stopped\n")


def test_a_hangup_that_comes_before_the_reactor_runs_is_a_reload(
    folder: Path, applications: list[Application]
) -> None:
    application = Taking(folder, LONG, at_start=[signal.SIGHUP])
    applications.append(application)
    application.wait_for(r"reloaded pid=\d+\n")
    (port,) = application.ports()
    assert ask(port, b"") == b"a"
    application.stop()


def test_systemd_is_told_of_all_services_of_an_application_together(
    folder: Path, applications: list[Application], listener: Listener
) -> None:
    application = Taking(folder, LONG, LONG, before=listener.told())
    applications.append(application)
    listener.wait_for("READY=1")
    assert len(application.ports()) == 2
    application.kill(signal.SIGHUP)
    listener.wait_for("READY=1", 2)
    assert len(application.find("reloaded")) == 2
    application.stop()
    assert listener.all_said() == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


def test_who_takes_the_signals_can_still_wait_for_processes_of_its_own(
    folder: Path, applications: list[Application]
) -> None:
    """Twisted's own way to wait for processes needs SIGCHLD."""
    application = Taking(folder, LONG)
    applications.append(application)
    application.ports()
    caught = int(re.findall(r"SigCgt:\s*(\w+)", _status(application.pid))[0], 16)
    assert caught >> (signal.SIGCHLD - 1) & 1
    application.stop()


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()

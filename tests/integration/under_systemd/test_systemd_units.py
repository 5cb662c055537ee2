"""
The units for systemd: understood by it, and their commands serve.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.peers.clients import connect, talk
from tests.integration.peers.systemd import Manager
from tests.integration.servers.processes import DEADLINE
from tests.integration.servers.serving import need

pytestmark = pytest.mark.command

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"

HANDLER = """
def handle(connection, peer):
    while data := connection.recv(100):
        connection.sendall(data.upper())
"""


def command_of(unit: Path) -> list[str]:
    """The options in a unit's ExecStart, from the plugin's name on."""
    (line,) = re.findall(r"(?m)^ExecStart=(.*)$", unit.read_text())
    words = str(line).split()
    assert words[:3] == ["/opt/twisted-fork/bin/twistd", "--nodaemon", "--pidfile="]
    return words[3:]


def services() -> list[Path]:
    """All of them."""
    return sorted(UNITS.glob("*.service"))


def test_systemd_understands_the_units(folder: Path) -> None:
    verify = need("systemd-analyze")
    units = sorted(UNITS.iterdir())
    assert len(units) == 4
    for unit in units:
        # there need not be an installation where the units expect it
        text = unit.read_text().replace("/opt/twisted-fork/bin/twistd", "/bin/true")
        (folder / unit.name).write_text(text)
    ended = subprocess.run(
        [verify, "verify", "--man=no", *(str(folder / unit.name) for unit in units)],
        capture_output=True, text=True, timeout=DEADLINE,
    )  # fmt: skip
    ours = [line for line in ended.stderr.splitlines() if "fork" in line]
    assert (ended.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", services(), ids=lambda unit: str(unit.name))
def test_a_units_command_serves(manager: Manager, unit: Path, folder: Path) -> None:
    if os.getuid() != 0 and "--user=" in unit.read_text():
        pytest.skip("only root can make others serve")
    words = [word.replace("INET6", "INET") for word in command_of(unit)]
    listen = [word.removeprefix("--listen=") for word in words if word.startswith("--listen=")]
    options = [word for word in words[1:] if not word.startswith("--listen=")]
    more: dict[str, Any] = {}
    if words[0] == "forkserve":
        (handler,) = (word for word in options if word.startswith("--handler="))
        options.remove(handler)
        (folder / "mypackage").mkdir()
        (folder / "mypackage" / "server.py").write_text(HANDLER)
        more = {
            "handler": handler.replace("--handler=", "."),
            "env": {"PYTHONPATH": str(folder)},
        }
    server = manager.start(*options, listen=listen, **more)
    with connect(manager.address) as connection:
        talk(connection)
    server.stop()


@pytest.mark.parametrize("unit", services(), ids=lambda unit: str(unit.name))
def test_a_unit_gives_the_server_the_time_that_it_takes_to_stop(unit: Path) -> None:
    text = unit.read_text()
    (grace,) = (
        float(word.removeprefix("--grace="))
        for word in command_of(unit)
        if word.startswith("--grace=")
    )
    (timeout,) = re.findall(r"(?m)^TimeoutStopSec=(\d+)$", text)
    assert float(timeout) > 2 * grace
    assert "KillMode=mixed" in text, "systemd's SIGTERM is for the reactor process alone"

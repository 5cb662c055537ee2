"""
A reactor that drops what it was to watch: the service goes on, and says so.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

from tests.integration.peers.clients import Address, ask
from tests.integration.servers.applications import Application
from tests.integration.servers.commands import twistd
from tests.integration.servers.serving import Serve

_TAC = """
import signal
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.error import ConnectionLost
from twisted_fork import ForkingService, Settings
from twisted_fork.kernel.guard import GuardedReader

application = Application("test")
endpoints = ["tcp:0:interface=127.0.0.1", "unix:socket"]
service = ForkingService(endpoints, "served.plain:upper", Settings(spare_children=0))
service.setServiceParent(application)

def drop():
    # As reactors do with a reader that has raised, or whose descriptor is of no use.
    for reader in reactor.getReaders():
        if isinstance(reader, GuardedReader):
            reactor._disconnectSelectable(reader, ConnectionLost(), True)

signal.signal(signal.SIGUSR2, lambda number, frame: reactor.callFromThread(drop))
"""


def dropping(folder: Path) -> Application:
    """An application whose reactor drops its ports, and its children's ends, at SIGUSR2."""
    (folder / "application.tac").write_text(_TAC)
    return Application(folder, *twistd(), "-n", "--pidfile=", "-y", "application.tac")


def test_ports_that_the_reactor_has_dropped_are_open_again_and_ends_of_children_seen(
    serve: Serve, folder: Path
) -> None:
    application = serve.application(dropping)
    application.wait_for("accepting connections", 2)
    addresses: list[Address] = [application.address, str(folder / "socket")]
    for turn in range(1, 4):
        application.kill(signal.SIGUSR2)
        for name in (*application.addresses, "children"):
            name = name if name == "children" else f"'port {name}'"
            application.wait_for(f"reader dropped name={re.escape(name)}\n", turn)
        for address in addresses:
            assert ask(address, b"hello") == b"HELLO"
        application.wait_for("child ended peer=.* exit=0", len(addresses) * turn)

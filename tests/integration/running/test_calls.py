"""
How many calls of the project's own functions a connection costs in the reactor process, from
its acceptance until its child has been waited for.

They are what the reactor process can be made slower by without anybody noticing.  Calls have no
noise: the smallest count of some connections is what one takes that meets no other.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.integration.peers.clients import talk
from tests.integration.servers.commands import through
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import wait_until
from tests.integration.servers.serving import Serve

pytestmark = pytest.mark.command

PROGRAM = Path(__file__).with_name("counted.py")

CONNECTIONS = 9

OF_ANOTHER_CHILD = ("launchers/fork.py:answered", "pool/upkeep.py:_refill_if_quiet")
"""What is called to have the spare replaced: no connection waits for that."""


class Counted:
    """A server whose calls are counted."""

    def __init__(self, serve: Serve, folder: Path, *options: str, spares: int) -> None:
        self._file = folder / "calls"
        self.server: Server = serve(
            *options,
            spares=spares,
            launcher="fork",
            wrap=lambda command: through(command, PROGRAM, str(self._file)),
            forked=False,
        )
        self.server.wait_until_idle()

    def calls(self) -> list[list[list[str]]]:
        """Since this was asked last."""
        self.server.kill(signal.SIGRTMIN)
        wait_until(self._file.exists, "the calls")
        found: list[list[list[str]]] = json.loads(self._file.read_text())
        self._file.unlink()
        return found

    def of_one_connection(self, ends: str) -> list[str]:
        """What one connection has called, until *ends* is logged and the server is idle."""
        self.calls()
        with self.server.connect() as connection:
            talk(connection, b"hello")
        self.server.wait_for(ends, of=connection)
        self.server.wait_until_idle()
        return [name for root in self.calls() for name in of_the_connection(root)]

    def fewest(self, ends: str) -> list[str]:
        """Of several connections, what that has called that has called least."""
        self.of_one_connection(ends)  # the first is not like those that follow
        return min((self.of_one_connection(ends) for _ in range(CONNECTIONS)), key=len)


def of_the_connection(root: list[list[str]]) -> list[str]:
    """Without what was called for another child."""
    own, *readers = root
    kept = [names for names in readers if not set(names) & set(OF_ANOTHER_CHILD)]
    if set(own) & set(OF_ANOTHER_CHILD) or (readers and not kept):
        return []
    return own + [name for names in kept for name in names]


def require_at_most(most: int, names: list[str]) -> None:
    """Fail with what was called."""
    lines = "\n".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
    assert len(names) <= most, f"{len(names)} calls, not {most}: is something asked twice?\n{lines}"
    assert len(names) > most / 2, f"only {len(names)} calls were seen:\n{lines}"


def test_a_connection_that_a_spare_waits_for(serve: Serve, folder: Path) -> None:
    counted = Counted(serve, folder, spares=2)
    require_at_most(70, counted.fewest("child ended PEER"))


def test_a_connection_that_a_child_is_forked_for(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # here the other child is its own
    monkeypatch.setattr(f"{__name__}.OF_ANOTHER_CHILD", ())
    counted = Counted(serve, folder, spares=0)
    require_at_most(95, counted.fewest("child ended PEER"))


def test_a_connection_whose_child_is_used_again(serve: Serve, folder: Path) -> None:
    counted = Counted(serve, folder, "-k1000", spares=1)
    require_at_most(70, counted.fewest("served PEER"))

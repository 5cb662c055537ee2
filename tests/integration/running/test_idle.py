"""
A server that has nothing to do does nothing: no process of it wakes up.
"""

from __future__ import annotations

import time

import pytest

from tests.integration.peers.clients import ask
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import children, status, ticks, wait_until
from tests.integration.servers.serving import Serve

pytestmark = pytest.mark.command

WINDOW = 6.0
"""Seconds of observation.  Whether somebody sleeps can only be seen by watching for a
while, so here time itself is waited for; it is more than the longest period at which the
server looks for anything (5 seconds)."""


def activity(servers: list[Server]) -> dict[int, tuple[int, str, str]]:
    """Of every process: CPU time, and how often it was woken."""
    return {
        pid: (
            ticks(pid),
            status(pid, "voluntary_ctxt_switches"),
            status(pid, "nonvoluntary_ctxt_switches"),
        )
        for server in servers
        for pid in (server.pid, *children(server.pid))
    }


def test_an_idle_server_sleeps(serve: Serve) -> None:
    servers = [serve(launcher=launcher, spares=3, steered=True) for launcher in ("fork", "spawn")]
    servers.append(serve("-k2", spares=3, steered=True))
    for server in servers:
        assert ask(server.address, b"hello") == b"HELLO"
        # What the connection has left to do, such as letting a spare go that is one too many, is
        # done when the clock has been moved, twice since some of it leads to more.
        server.check_nothing_is_left()
        server.check_nothing_is_left()

    def a_quiet_window() -> bool:
        before = activity(servers)
        time.sleep(WINDOW)
        return activity(servers) == before

    # somebody else, such as a kernel that swaps, may have a part in the first window
    wait_until(a_quiet_window, f"{WINDOW} seconds in which nobody wakes up")

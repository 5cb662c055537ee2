"""
The faults of the soak.  Each is bounded in number and in time, and goes to loopback only.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import processes

PATIENCE = 60.0
"""Seconds until a peer of ours gives up; a soak with such a one has failed."""

DENIED = "127.66"
"""Peers whose address begins like that are refused."""

HANDLERS_FAIL = (
    *("raises", "exits", "exits_at_once", "aborts", "crashes", "recurses", "recurses_in_c"),
    *("allocates", "spins", "sleeps", "ignores_sigterm", "blocks_signals", "resists_in_company"),
    *("closes_everything", "floods_newlines", "sends_descriptors", "answers_slowly"),
)
"""What the handler is told to do wrong: see tests/integration/faults/handlers.py."""


@dataclass
class Target:
    """
    The server that is soaked.

    :ivar made: connections made to it by faults.
    :ivar silent: how many connect at once and say nothing.
    """

    pid: int
    port: int
    silent: int
    made: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    template_killed: float = 0.0

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """A connection of a peer that does not wait for ever."""
        made = socket.create_connection(
            ("127.0.0.1", self.port), PATIENCE, source_address=(source, 0)
        )
        self.made += 1
        return made


def reset(connection: socket.socket) -> None:
    """Close with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _read_to_end(connection: socket.socket, most: int = 1 << 24) -> int:
    size = 0
    with contextlib.suppress(ConnectionResetError):
        while size < most and (piece := connection.recv(65536)):
            size += len(piece)
    return size


@contextlib.contextmanager
def _several(target: Target, number: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(target.connect()) for _ in range(number)]


def handlers_fail(target: Target, rng: random.Random) -> None:
    """One of each, or nearly."""
    orders = rng.sample(HANDLERS_FAIL, 8)
    with _several(target, len(orders)) as victims:
        for order, victim in zip(orders, victims, strict=True):
            victim.sendall(b"!" + order.encode())
        for victim in victims:
            _read_to_end(victim)


def children_are_killed(target: Target, rng: random.Random) -> None:
    """Those that serve us, and us alone."""
    with _several(target, 10) as victims:
        for victim in victims:
            victim.sendall(b"x")
            victim.recv(1)
        for pid in [p for p in processes.children(target.pid) if _serves_one_of(p, victims)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, rng.choice([signal.SIGKILL, signal.SIGSEGV]))
        for victim in victims:
            victim.shutdown(socket.SHUT_WR)
            _read_to_end(victim)


def _serves_one_of(pid: int, victims: list[socket.socket]) -> bool:
    """Whether a process has the other end of one of these connections."""
    ports = {victim.getsockname()[1] for victim in victims}
    try:
        links = {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")}
        with open("/proc/net/tcp") as table:
            rows = [line.split() for line in table][1:]
    except OSError:
        return False
    return any(
        f"socket:[{row[9]}]" in links and int(row[2].rpartition(":")[2], 16) in ports
        for row in rows
    )


def the_template_is_killed(target: Target, rng: random.Random) -> None:
    """Not too often, since one that dies young makes the next wait."""
    now = time.monotonic()
    if now - target.template_killed < 15:
        return
    target.template_killed = now
    template = _template(target.pid)
    if template in processes.children(target.pid):
        os.kill(template, signal.SIGKILL)


def _template(server: int) -> int:
    """The newest one's pid, from the log, or from what was rotated away of it."""
    place = Path(f"/proc/{server}/cwd")
    number = 0
    while (log := place / (f"log.{number}" if number else "log")).exists():
        if found := re.findall(r"template ready pid=(\d+)", log.read_text(errors="replace")):
            return int(found[-1])
        number += 1
    raise AssertionError("there is no template")


def peers_say_nothing(target: Target, rng: random.Random) -> None:
    """Very many, for a while; then half of them leave politely."""
    with _several(target, target.silent) as silent:
        time.sleep(rng.uniform(0.1, 0.5))
        for connection in silent[::2]:
            reset(connection)


def peers_are_slow(target: Target, rng: random.Random) -> None:
    """A byte now and then."""
    with _several(target, 20) as slow:
        for _ in range(3):
            for connection in slow:
                connection.sendall(b"s")
                if connection.recv(1) != b"S":
                    raise AssertionError("a slow peer was not answered")
            time.sleep(0.1)


def peers_reset(target: Target, rng: random.Random) -> None:
    """At once, and in mid-answer."""
    for _ in range(50):
        connection = target.connect()
        if rng.random() < 0.5:
            connection.sendall(b"!answers_slowly")
            connection.recv(65536)
        reset(connection)


def peers_half_close(target: Target, rng: random.Random) -> None:
    """And get everything."""
    with _several(target, 10) as connections:
        for connection in connections:
            connection.sendall(b"h" * 100_000)
            connection.shutdown(socket.SHUT_WR)
        for connection in connections:
            if _read_to_end(connection) != 100_000:
                raise AssertionError("a peer that had closed its side did not get everything")


def peers_are_greedy(target: Target, rng: random.Random) -> None:
    """Send as much as is taken, and read nothing."""
    with target.connect() as greedy:
        greedy.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for _ in range(1024):
                greedy.sendall(b"g" * 65536)


def peers_are_refused(target: Target, rng: random.Random) -> None:
    """From many addresses, in a tight loop."""
    for _ in range(500):
        source = f"{DENIED}.{rng.randrange(4)}.{rng.randrange(1, 251)}"
        with target.connect(source) as connection:
            _read_to_end(connection)


FAULTS: tuple[Callable[[Target, random.Random], None], ...] = (
    handlers_fail,
    children_are_killed,
    the_template_is_killed,
    peers_say_nothing,
    peers_are_slow,
    peers_reset,
    peers_half_close,
    peers_are_greedy,
    peers_are_refused,
)


def inject(target: Target, rng: random.Random, enough: threading.Event) -> None:
    """One fault after the other, until there have been enough."""
    while not enough.is_set():
        fault = rng.choice(FAULTS)
        try:
            fault(target, rng)
        except (OSError, AssertionError) as failure:
            raise AssertionError(f"{fault.__name__}: {failure!r}") from failure
        target.counts[fault.__name__] = target.counts.get(fault.__name__, 0) + 1

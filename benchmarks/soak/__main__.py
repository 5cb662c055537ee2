"""``python -m benchmarks.soak``: soak a server, print the table, say whether it leaked."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import processes
from benchmarks.load import LoadError
from benchmarks.peers import TWISTD, Peer
from benchmarks.running import Bench, compile_programs
from benchmarks.soak.faults import DENIED, Target, inject
from benchmarks.soak.state import State, complaints, look, table, too_long_away
from tests.integration.faults import metered
from tests.integration.faults.metered import read_meter

SPARES = 4
CLIENTS = 32
AWAY = "away"
"""Where the server writes how long its reactor was away from accepting connections."""
SLICE = 10.0
"""Seconds of load between two lines that say how far it has come."""

SERVER = Peer(
    "soaked",
    "ours",
    "the server that is soaked",
    "{python}",
    (
        *(metered.__file__, AWAY, str(Path(sys.executable).with_name("twistd"))),
        *TWISTD,
        "forkserve",
        *(
            "--listen",
            "tcp:{port}:interface=127.0.0.1",
            "--handler",
            "benchmarks.soak.served:obeys",
        ),
        *(f"--spare-children={SPARES}", "--max-children=2500", "--grace=1"),
        *("--memory=200M", "--cpu-seconds=1", "--session-timeout=10", f"--deny={DENIED}.0.0/16"),
    ),
)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--connections", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the choice of faults")
    parser.add_argument(
        "--silent", type=int, default=2000, metavar="N", help="peers that say nothing at once"
    )
    return parser.parse_args(arguments)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Soak:
    """
    One run.

    :ivar wrong: what has gone wrong, in words.
    """

    def __init__(self, bench: Bench, options: argparse.Namespace) -> None:
        self.wrong: list[str] = []
        self._load = bench.load
        self._scratch = bench.scratch
        self._options = options
        self._rng = random.Random(options.seed)
        self._answered = 0

    def run(self, target: Target) -> tuple[State, State]:
        """
        A thousand connections, a look, then all the others, mixed with faults, and a look.
        """
        while self._answered < 1000:
            self._press(target, 1.0)
        before = self._look(target)
        enough = threading.Event()
        hand = threading.Thread(target=self._inject, args=(target, enough))
        hand.start()
        try:
            while (left := self._left(target)) > 0 and not self.wrong:
                self._press(target, min(SLICE, 1 + left / 500))
                say(f"{self._answered + target.made:,} connections")
        finally:
            enough.set()
            hand.join()
        return before, self._look(target)

    def _left(self, target: Target) -> int:
        return int(self._options.connections) - self._answered - target.made

    def _look(self, target: Target) -> State:
        made = self._answered + target.made
        return look(target.pid, target.port, self._load, made, SPARES, self.report())

    def report(self) -> Path:
        """Of the meter."""
        (report,) = self._scratch.glob(f"*/{AWAY}")
        return report

    def _press(self, target: Target, seconds: float) -> None:
        """Clients that keep coming."""
        answer = self._load.closed(target.port, CLIENTS, 0.0, seconds)
        self._answered += int(answer.fields["total"])
        if answer.errors:
            self.wrong.append(f"clients were not answered: {answer.complaint()}")

    def _inject(self, target: Target, enough: threading.Event) -> None:
        try:
            inject(target, self._rng, enough)
        except AssertionError as failure:
            self.wrong.append(f"a fault could not be injected, or did harm: {failure}")


def end(pid: int) -> int:
    """SIGTERM; the exit status, which whoever has started the process may still wait for."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if ended is not None:
            return ended.si_status
        time.sleep(0.05)
    return -1


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if not compile_programs():
        say("the soak needs a C compiler, cc, and there is none")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    processes.adopt_orphans()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="twisted-fork-soak-") as scratch:
        bench = Bench(Path(scratch))
        soak = Soak(bench, options)
        try:
            with bench.serving(SERVER) as server:
                target = Target(server.pid, server.port, options.silent)
                before, after = soak.run(target)
                soak.wrong += complaints(before, after)
                # a server that stops accepts nobody
                soak.wrong += too_long_away(read_meter(soak.report()))
                if status := end(server.pid):
                    soak.wrong.append(f"the server ended with status {status}")
        except LoadError as failure:
            for each in [*soak.wrong, str(failure)]:
                say(f"WRONG: {each}")
            return 1
    print(table(before, after))
    print(f"\n{time.monotonic() - begun:.0f} seconds, seed {options.seed}; faults:")
    for name, count in sorted(target.counts.items()):
        print(f"- {name.replace('_', ' ')}: {count}")
    for each in soak.wrong:
        print(f"WRONG: {each}")
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

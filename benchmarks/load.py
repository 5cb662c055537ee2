"""The load generator's modes as functions; its answers as records."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import processes

GRACE = 60.0
"""Seconds beyond its plan after which a load generator is taken to hang."""
TLS_PROGRAM = Path(__file__).with_name("tls_load.py")


class LoadError(Exception):
    """The load generator gave no answer."""


@dataclass(frozen=True)
class Answer:
    """What one run of the load generator found."""

    errors: int
    fields: dict[str, Any]

    @classmethod
    def parse(cls, line: str) -> Answer:
        try:
            fields = json.loads(line)
            return cls(int(fields["errors"]), fields)
        except (ValueError, KeyError, TypeError) as error:
            raise LoadError("the load generator gave no answer") from error

    def number(self, name: str) -> float | None:
        """A figure, where there is one: no latency without an exchange."""
        value = self.fields.get(name)
        return None if value is None else float(value)

    def complaint(self) -> str:
        kinds = self.fields.get("kinds", {})
        return ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)


@dataclass(frozen=True)
class Load:
    """The load generator, ready to run against a port."""

    program: Path

    def closed(self, port: int, clients: int, warmup: float, seconds: float) -> Answer:
        """Clients that connect, ask, read and close, again and again."""
        options = ("-n", str(clients), "-w", str(warmup), "-s", str(seconds))
        return self._run("closed", port, options, warmup + seconds)

    def open(self, port: int, rate: float, warmup: float, seconds: float) -> Answer:
        """Connections on a fixed schedule, however long each takes."""
        options = ("-r", str(rate), "-w", str(warmup), "-s", str(seconds))
        return self._run("open", port, options, warmup + seconds)

    def bulk(self, port: int, count: int, seconds: float) -> Answer:
        """One connection that carries ``count`` bytes there and back, within ``seconds``."""
        return self._run("bulk", port, ("-b", str(count), "-s", str(seconds)), seconds)

    def tls(self, port: int, clients: int, warmup: float, seconds: float) -> Answer:
        """As ``closed``, with TLS and a process for each client; in Python."""
        words = [str(word) for word in (port, clients, warmup, seconds)]
        process = self._started((sys.executable, "-I", TLS_PROGRAM, *words))
        return self._answer(process, warmup + seconds)

    def _start(self, mode: str, port: int, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
        return self._started((self.program, mode, str(port), *options))

    def _started(self, command: tuple[str | Path, ...]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def _run(self, mode: str, port: int, options: tuple[str, ...], seconds: float) -> Answer:
        return self._answer(self._start(mode, port, options), seconds)

    def _answer(self, process: subprocess.Popen[bytes], seconds: float) -> Answer:
        try:
            output, _ = process.communicate(timeout=seconds + GRACE)
        except subprocess.TimeoutExpired as error:
            raise LoadError("the load generator hung") from error
        finally:
            processes.end(process)
        return Answer.parse(output.decode())

    @contextmanager
    def idle(self, port: int, connections: int, seconds: float = 120.0) -> Iterator[Crowd]:
        """Connections that were served once and now wait, for the length of a block."""
        process = self._start("idle", port, ("-n", str(connections), "-s", str(seconds)))
        assert process.stdout is not None
        try:
            crowd = Crowd(Answer.parse(process.stdout.readline().decode()))
            yield crowd
            output, _ = process.communicate(timeout=GRACE)
            crowd.alive = int(Answer.parse(output.decode()).fields["alive"])
        except subprocess.TimeoutExpired as error:
            raise LoadError("the load generator hung") from error
        finally:
            processes.end(process)
            process.stdout.close()


@dataclass
class Crowd:
    """Idle connections: how opening them went, and at the end how many still lived."""

    opened: Answer
    alive: int = 0

    @property
    def errors(self) -> int:
        """Those that could not be opened, and those that were lost; after the block."""
        return self.opened.errors + max(0, int(self.opened.fields["open"]) - self.alive)

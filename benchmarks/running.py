"""Compiling the C sources; starting a server, waiting for it, ending it."""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import certificate, processes
from benchmarks.load import Load
from benchmarks.peers import Peer
from benchmarks.tls_load import insecure_context

HERE = Path(__file__).parent
BUILD = HERE / "build"
CERTIFICATE = BUILD / "certificate.pem"
PROGRAMS = {
    "forkserver": ("forkserver.c",),
    "upper": ("upper.c",),
    "load": ("load.c", "connection.c", "bulk.c"),
}
PORTS = range(20000, 32000)
"""Below the ports that Linux gives to clients, so that no client holds one of them."""
START_LIMIT = 20.0
QUESTION, REPLY = b"ready?\n", b"READY?\n"


class Unavailable(Exception):
    """A server is not installed, or does not work here; the message says why."""


def compile_programs() -> bool:
    """Compile the C sources; false where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return False
    BUILD.mkdir(exist_ok=True)
    for program, sources in PROGRAMS.items():
        paths = [HERE / "c" / source for source in sources]
        flags = ("-O2", "-Wall", "-Wextra")
        subprocess.run([compiler, *flags, "-o", BUILD / program, *paths], check=True)
    return True


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port


def answers(port: int, tls: bool) -> bool:
    """Whether a server on that port echoes in upper case."""
    try:
        with contextlib.ExitStack() as stack:
            address = ("127.0.0.1", port)
            connection = stack.enter_context(socket.create_connection(address, timeout=5))
            if tls:
                connection = stack.enter_context(insecure_context().wrap_socket(connection))
            connection.sendall(QUESTION)
            return stack.enter_context(connection.makefile("rb")).read(len(REPLY)) == REPLY
    except OSError:
        return False


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    pid: int
    port: int


def environment(scratch: Path) -> dict[str, str]:
    """For servers: they find ``benchmarks`` and nothing else beside it, and keep bytecode."""
    modules = scratch / "modules"
    modules.mkdir()
    (modules / "benchmarks").symlink_to(HERE)
    kept = {"PYTHONPATH": str(modules), "PYTHONPYCACHEPREFIX": str(scratch / "bytecode")}
    found = {**os.environ, **kept}
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return found


class Bench:
    """Starts servers, each in a place of its own under a scratch directory."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.load = Load(BUILD / "load")
        self._started = 0
        self._environment = environment(scratch)

    @contextmanager
    def serving(self, peer: Peer, options: Sequence[str] = ()) -> Iterator[Server]:
        """A server for the length of a block; raises :class:`Unavailable`."""
        place = self.scratch / f"{self._started}-{peer.name}"
        self._started += 1
        place.mkdir()
        port = free_port()
        command = self._command(peer, options, place, port)
        with (place / "output").open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=place,
                env=self._environment,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(peer, process, port, place)
            yield Server(process.pid, port)
        finally:
            processes.end(process)
            processes.end_orphans()
            shutil.rmtree(place, ignore_errors=True)

    def _command(self, peer: Peer, options: Sequence[str], place: Path, port: int) -> list[str]:
        words = {
            "port": str(port),
            "config": str(place / "config"),
            "log": str(place / "log"),
            "user": getpass.getuser(),
            "here": str(HERE),
            "build": str(BUILD),
            "upper": str(BUILD / "upper"),
            "python": sys.executable,
            "certificate": str(CERTIFICATE),
        }
        places = (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin")
        path = os.pathsep.join(places)
        executable = shutil.which(peer.executable.format(**words), path=path)
        if executable is None:
            raise Unavailable("not installed")
        if peer.tls and not certificate.make(CERTIFICATE):
            raise Unavailable("there is no openssl to make a certificate")
        if peer.config:
            (place / "config").write_text(peer.config.format(**words))
        command = [executable]
        for word in peer.argv:
            command += options if word == "{options}" else [word.format(**words)]
        return command

    def _wait_until_ready(
        self, peer: Peer, process: subprocess.Popen[bytes], port: int, place: Path
    ) -> None:
        deadline = time.monotonic() + START_LIMIT
        while not answers(port, peer.tls):
            if process.poll() is not None:
                raise Unavailable(f"ended with status {process.returncode}{self._words(place)}")
            if time.monotonic() > deadline:
                raise Unavailable(f"gave no answer within {START_LIMIT:g} s{self._words(place)}")
            time.sleep(0.02)

    def _words(self, place: Path) -> str:
        """The last line that a server left, without the paths of this machine."""
        for name in ("output", "log"):
            with contextlib.suppress(OSError):
                lines = (place / name).read_text(errors="replace").split("\n")
                said = [line.strip() for line in lines if line.strip()]
                if said:
                    last = said[-1].replace(f"{place}/", "").replace(f"{HERE.parent}/", "")
                    return f": {last[:200]}"
        return ""

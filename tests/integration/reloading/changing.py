"""
A server whose handler is changed while it runs, and reloaded.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.integration.peers.clients import read
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import wait_until
from tests.integration.servers.serving import Serve

HANDLER = """
VERSION = {version!r}

def serve(connection, peer):
    connection.sendall(VERSION.encode())
    while data := connection.recv(65536):
        connection.sendall(VERSION.encode() if data == b"?" else data.upper())
"""


class Changing:
    """
    Such a server.

    :param module: where its handler is.
    """

    def __init__(self, module: Path, server: Server) -> None:
        self.server = server
        self._module = module

    def write(self, version: str, first: str = "") -> None:
        """Install another version, one letter, which does something *first*."""
        install(self._module, first + HANDLER.format(version=version))

    def break_it(self, how: str = "import no_such_module") -> None:
        """Install one that cannot be imported."""
        install(self._module, f"VERSION = 'broken'\n{how}\n")

    def hang(self) -> Path:
        """Install one whose import does not end; a file that says which processes try."""
        tried = self._module.with_name("tried")
        tried.touch()
        install(
            self._module,
            f"import os, time\nwith open({str(tried)!r}, 'a') as file:\n"
            "    file.write(f'{os.getpid()}\\n')\ntime.sleep(1000)\n",
        )
        return tried

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

    def others(self) -> str:
        """Versions other than that."""
        return "abcdefgh".replace(self.version(), "")


def install(module: Path, text: str) -> None:
    """At once: a spawned child may import it at any moment."""
    newer = module.with_suffix(".new")
    newer.write_text(text)
    newer.replace(module)


def prepare(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The module of a handler, first of version a, and what a server needs that serves it."""
    module = folder / "changing.py"
    if not module.exists():
        install(module, HANDLER.format(version="a"))
    variables = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return module, {"handler": ".changing:serve", "env": variables}


def start(serve: Serve, folder: Path, *options: str, **more: Any) -> Changing:
    """A server of the test's own, with version a."""
    module, settings = prepare(folder)
    return Changing(module, serve(*options, **settings, **more))


def shared(serve: Serve, folder: Path, options: Sequence[str] = (), **more: Any) -> Changing:
    """
    A server that other tests have as well, with any version.  A test leaves nothing of it but
    another version: so it has waited for all reloads that it has asked for.

    :param folder: the same for all tests.
    """
    place = folder / "".join([*options, *map(str, more.values())])
    place.mkdir(exist_ok=True)
    module, settings = prepare(place)
    return Changing(module, serve.shared(*options, steered=True, **settings, **more))


def waiting(tried: Path) -> int:
    """The process that tries to import a handler that hangs."""
    return int(wait_until(tried.read_text, "an import that hangs").splitlines()[-1])

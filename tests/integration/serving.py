"""
``twistd forkserve`` under test: the harness's server with a handler of our own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from .clients import Address, ask
from .commands import twistd
from .harness import LOOPBACK, Server
from .processes import DEADLINE

HERE = Path(__file__).parent
"""Where the handlers are found that the tests serve: the folder ``served``."""

_FORKSERVE = """
import os, sys
words = sys.argv[1:]
words[words.index("forkecho")] = "forkserve"
os.execv(words[0], words)
"""

Serve = Callable[..., Server]


def environment(**variables: str) -> list[str]:
    """A command to put before another, which then finds our handlers and has *variables*."""
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    found = {"PYTHONPATH": path, **variables}
    return ["env", *(f"{name}={value}" for name, value in found.items())]


def forkserve(
    serve: Serve, handler: str, *options: str, env: Mapping[str, str] | None = None, **more: Any
) -> Server:
    """
    Start a server with a handler of ours, ``module:name`` in the folder ``served``, or with
    any other whose module's name begins with a dot.

    :param serve: the fixture.
    :param env: what it has besides in its environment.
    :param more: see harness.Server; *then* is a command that is put before it last.
    """
    path = handler[1:] if handler.startswith(".") else f"served.{handler}"
    return serve("--handler", path, *options, **_as_forkserve(env, more))


def forkserve_program(
    serve: Serve,
    *program: str,
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    **more: Any,
) -> Server:
    """
    As forkserve does, with a program and its arguments.

    A program is executed by the reactor process itself, without template and spares, unless
    there is something to do before it is; then there has to be a launcher among *more*.
    """
    if "launcher" not in more:
        # which has no template for the harness to look for
        more = {"launcher": "spawn", "spares": 0, **more}
    return serve(*options, "--", *program, **_as_forkserve(env, more))


def _as_forkserve(env: Mapping[str, str] | None, more: dict[str, Any]) -> dict[str, Any]:
    before = [*more.pop("before", ()), *environment(**(env or {}))]
    before += [sys.executable, "-c", _FORKSERVE, *more.pop("then", ())]
    return {**more, "before": before}


def python_program(code: str) -> list[str]:
    """A program, and its arguments, that runs *code* with what it needs imported."""
    return [sys.executable, "-u", "-c", f"import json, os, sys, time; {code}"]


def ask_json(address: Address, question: bytes = b"") -> dict[str, Any]:
    """What a handler says of itself."""
    answer = ask(address, question)
    found: dict[str, Any] = json.loads(answer)
    return found


def refused(folder: Path, *words: str, program: Sequence[str] = ()) -> str:
    """
    The one line that twistd says about these options of forkserve; the port that it was
    to listen on has not been opened.
    """
    listen = ["-l", f"unix:{folder / 'socket'}"]
    command = [*environment(), *twistd(), "-n", "forkserve", *listen, *words, *program]
    return refusal(folder, "forkserve", command)


def refusal(folder: Path, plugin: str, command: Sequence[str], **more: Any) -> str:
    """
    The one line that a command of twistd ends with; it leaves nothing behind.

    :param folder: where it is run.
    :param more: for the Popen object.
    """
    before = sorted(folder.rglob("*"))
    ended: subprocess.CompletedProcess[bytes] = subprocess.run(
        command, cwd=folder, capture_output=True, timeout=DEADLINE, check=False, **more
    )
    line = ended.stderr.decode()
    assert ended.stdout == b""
    assert line.startswith(f"twistd {plugin}: "), line
    assert line.endswith("\n")
    assert line.count("\n") == 1, line
    assert "Traceback" not in line
    assert ended.returncode == 1
    assert sorted(folder.rglob("*")) == before
    return line.removesuffix("\n")


def need(program: str) -> str:
    """
    The path of a program that a test cannot do without: it is skipped where there is none,
    but for the project's own checks, which have to install it.
    """
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{program} is not installed")
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


__all__ = [
    "HERE",
    "LOOPBACK",
    "Serve",
    "ask_json",
    "environment",
    "forkserve",
    "forkserve_program",
    "need",
    "python_program",
    "refusal",
    "refused",
]

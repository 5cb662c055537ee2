"""
Applications under test: a ``.tac`` file run by twistd, or a script, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .commands import environment, twistd
from .processes import DEADLINE, wait_until
from .server_process import ServerProcess

_TAC = """
from twisted.application.service import Application
from served import reporting

application = Application("test")
service = reporting.watched({handler!r}, reporting.{protocol}, **{settings!r})
service.setServiceParent(application)
"""


class Application(ServerProcess):
    """
    A process that finds our handlers, and says what served/reporting.py says.

    :param command: what to run.
    :param logs_to: its standard output or its standard error, ``log`` or ``stderr``.
    """

    def __init__(self, folder: Path, *command: str, logs_to: str = "log") -> None:
        super().__init__(folder, [*environment(), *command], logs_to=logs_to)

    def said(self, kind: str) -> list[list[Any]]:
        """What reporting.py has said of that kind."""
        lines = self.log().splitlines(keepends=True)
        said = [json.loads(each[5:]) for each in lines if each[:5] == "said " and each[-1] == "\n"]
        return [rest for what, *rest in said if what == kind]

    def says(self, kind: str, times: int = 1) -> list[Any]:
        """The same for the nth time, as soon as it is said."""

        def enough() -> list[list[Any]]:
            said = self.said(kind)
            return said if len(said) >= times else []

        return wait_until(enough, f"{kind} {times} times in {self.log()}")[times - 1]

    def says_last(self, kind: str, *rest: Any) -> None:
        """The last that is said of that kind is this, sooner or later."""

        def last() -> bool:
            return self.said(kind)[-1:] == [list(rest)]

        wait_until(last, f"{kind} {rest} last in {self.log()}")


def tac(folder: Path, handler: str, protocol: str, **settings: Any) -> Application:
    """An application of served/reporting.py, run by twistd."""
    file = folder / "application.tac"
    file.write_text(_TAC.format(handler=handler, protocol=protocol, settings=settings))
    return Application(folder, *twistd(), "-n", "--pidfile=", "-y", str(file))


def script(folder: Path, *lines: str) -> Application:
    """A script, run by Python."""
    return Application(folder, *script_command(folder, *lines), logs_to="stderr")


def module(folder: Path, name: str) -> Application:
    """A module, run by Python."""
    return Application(folder, sys.executable, "-m", name, logs_to="stderr")


def script_command(folder: Path, *lines: str) -> list[str]:
    """The command that runs a script."""
    file = folder / "script.py"
    file.write_text("\n".join(lines) + "\n")
    return [sys.executable, str(file)]


def run_script(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end."""
    command: Sequence[str] = [*environment(), *script_command(folder, *lines)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, check=False, timeout=DEADLINE
    )

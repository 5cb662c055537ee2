"""
The command line: options made from the settings; mistakes are reported in one line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import Field, fields
from typing import Any, NoReturn

from twisted.python import usage

from twisted_fork import __version__
from twisted_fork.handler import InvalidHandler
from twisted_fork.logformat import printable
from twisted_fork.settings import InvalidSetting, Settings, option_name, parse, repeatable

__all__ = ["ServerOptions", "refuse"]

_DEFAULT_ENDPOINT = "tcp:8000"


def refuse(command: str, why: object) -> NoReturn:
    """
    Print one line on standard error and exit with status 1; only before the reactor runs.

    :raises SystemExit: always.
    """
    print(f"twistd {command}: {printable(' '.join(str(why).split()))}", file=sys.stderr)
    raise SystemExit(1)


def _is_flag(setting: Field[Any]) -> bool:
    return isinstance(setting.default, bool)


def _parameters() -> list[list[Any]]:
    return [
        [option_name(s.name), s.metadata["short"], _shown(s.default), s.metadata["help"]]
        for s in fields(Settings)
        if not _is_flag(s) and not repeatable(s)
    ]


def _shown(default: Any) -> Any:
    """A default as usage.Options shows it; for tuples, the help text says it."""
    return None if isinstance(default, tuple) else default


def _flags() -> list[list[Any]]:
    return [
        [option_name(s.name), s.metadata["short"], s.metadata["help"]]
        for s in fields(Settings)
        if _is_flag(s)
    ]


class ServerOptions(usage.Options):
    """
    What forkecho and forkserve have in common.

    :ivar endpoints: descriptions of what to listen on.
    :ivar settings: made from the other options.
    """

    command = "twistd"

    optParameters = _parameters()
    optFlags = _flags()

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.endpoints: list[str] = []
        self.settings = Settings()
        self._repeated: dict[str, list[Any]] = {}

    def opt_listen(self, description: str) -> None:
        """endpoint to accept from: tcp:PORT, tcp6:PORT, unix:PATH or systemd:...; may be given several times [default: tcp:8000]"""  # noqa: E501
        self.endpoints.append(description)

    opt_l = opt_listen

    def opt_version(self) -> NoReturn:
        """Display the version of Twisted Fork and exit."""
        print(f"Twisted Fork {__version__}")
        raise SystemExit(0)

    def parseArgs(self, *rest: str) -> None:
        """Refuse arguments: only options are expected."""
        if rest:
            raise usage.UsageError(f"unexpected argument {rest[0]!r}: there are only options")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse the command line; a mistake is reported in one line.

        :raises SystemExit: with status 1, after a mistake.
        """
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except (usage.UsageError, InvalidSetting, InvalidHandler) as mistake:
            refuse(self.command, f"{mistake}; see twistd {self.command} --help")

    def postOptions(self) -> None:
        """
        Make the settings.

        :raises UsageError: twistd was given --chroot, which is not possible here.
        :raises InvalidSetting: an option has a wrong value.
        """
        if self.parent and self.parent.get("chroot"):
            raise usage.UsageError(
                "twistd --chroot cannot be used: children are new processes of Python, which the"
                " new root does not have; start twistd in it (chroot(8), or RootDirectory= in a"
                " unit)"
            )
        if not self.endpoints:
            self.endpoints.append(_DEFAULT_ENDPOINT)
        given: dict[str, Any] = {}
        for setting in fields(Settings):
            name = option_name(setting.name)
            if repeatable(setting):
                if name in self._repeated:
                    given[setting.name] = tuple(self._repeated[name])
            elif _is_flag(setting):
                given[setting.name] = bool(self[name])
            elif isinstance(self[name], str):
                given[setting.name] = parse(setting, self[name])
        self.settings = Settings(**given)


def _repeatable_option(setting: Field[Any]) -> Any:
    def take(self: ServerOptions, text: str) -> None:
        values = self._repeated.setdefault(option_name(setting.name), [])
        values.append(parse(setting, text))

    take.__doc__ = setting.metadata["help"]
    return take


for _setting in filter(repeatable, fields(Settings)):
    setattr(ServerOptions, f"opt_{_setting.name}", _repeatable_option(_setting))

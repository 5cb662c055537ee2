"""
The command line of the interactive client.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from twisted_fork import __version__

__all__ = ["failed", "parsed"]

PROGRAM = "forkecho-client"


def failed(message: str) -> SystemExit:
    """The exception that prints one line on standard error and exits with status 1."""
    return SystemExit(f"{PROGRAM}: {' '.join(message.split())}")


class Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, with exit status 1."""

    def error(self, message: str) -> NoReturn:
        raise failed(f"{message} (see {PROGRAM} --help)")


def port_number(text: str) -> int:
    """A TCP port number; raises ArgumentTypeError for anything else."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 65535")


def parsed(words: list[str]) -> argparse.Namespace:
    """Parse *words*; the result has ``connect``, or ``host`` and ``port``."""
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [HOST [PORT]]\n       {PROGRAM} --connect ENDPOINT",
        description="Send the lines of standard input to a server and print its answers, "
        "until the input ends or a line starts with 'quit'.",
        epilog="Exit status: 0, or 1 after a line on standard error that says why.",
        allow_abbrev=False,
    )
    parser.add_argument("host", nargs="?", metavar="HOST", help="default: 127.0.0.1")
    parser.add_argument("port", nargs="?", type=port_number, metavar="PORT", help="default: 8000")
    parser.add_argument(
        "--connect",
        metavar="ENDPOINT",
        help="a Twisted client endpoint, such as unix:/run/echo.sock or tls:example.com:8443",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    found = parser.parse_args(words)
    if found.connect is not None and found.host is not None:
        parser.error(f"--connect {found.connect!r} and HOST {found.host!r}: give one of them")
    found.host = "127.0.0.1" if found.host is None else found.host
    found.port = found.port or 8000
    return found

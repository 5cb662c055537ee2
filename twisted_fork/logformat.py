"""
The format of the log: an event, then ``name=value`` pairs, and nothing behind them.

A text of one plain word is written as it is.  Any other text is quoted and escaped as Python's
repr does it.  So no peer, child or handler can forge a line or a pair.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Callable
from time import time
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from twisted_fork.ending import Ending

__all__ = ["how_ended", "printable", "signal_name", "what_was_raised", "why_failed", "writer"]

_no_word = re.compile(r"[^!#-&(-z|~]").search
"""Finds what is not allowed in a plain word: spaces, quotes, braces, and all but ASCII."""

_ESCAPES = {number: repr(chr(number))[1:-1] for number in (*range(0x20), *range(0x7F, 0xA0))}
_ESCAPES.update({0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)})
"""Escapes of the most likely characters, for str.translate."""


def writer(log: Logger, level: Any = LogLevel.info) -> Callable[..., None]:
    """
    Make a function that writes lines of one *level* to *log*.

    Each line is an event of Twisted's logger.  Its text has a pair for each field, in their
    order; a float has three decimals; a field that is None has no pair.  The log event has all
    fields by their names, unchanged, and the words before them as *event*.

    The function does what Logger.emit does, without the search for the level: that counts with
    two lines for each connection.

    :returns: ``write(event, fields, failure=None)``.  *event* is the words.  *fields* is a dict of
        int, float, str, or None if a value is not known; it becomes the log event.  *failure*
        has the traceback, if there is one.
    """
    observer = log.observer
    constant: dict[str, Any] = {
        "log_logger": log,
        "log_level": level,
        "log_namespace": log.namespace,
        "log_source": log.source,
        # the format has no fields; with this, Twisted does not parse it to find that out
        "log_flattened": {},
    }

    def write(event: str, fields: dict[str, Any], failure: Failure | None = None) -> None:
        line = event
        for name, value in fields.items():
            kind = type(value)
            if kind is int:
                line = f"{line} {name}={value}"
            elif kind is float:
                line = f"{line} {name}={value:.3f}"
            elif value is not None:
                if _no_word(value) or not value:
                    value = _quoted(value)
                line = f"{line} {name}={value}"
        fields.update(constant)
        fields["event"] = event
        fields["log_format"] = line
        fields["log_time"] = time()
        if failure is not None:
            fields["log_failure"] = failure
        observer(fields)

    return write


def _quoted(text: str) -> str:
    """In quotes, with braces doubled: the text is part of a format."""
    return repr(text).replace("{", "{{").replace("}", "}}")


def printable(text: str) -> str:
    """Escape the characters that are not printable, as repr does; a byte that *text* has through
    ``surrogateescape`` becomes ``\\xNN``."""
    if text.isprintable():
        return text
    text = text.translate(_ESCAPES)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def how_ended(ending: Ending) -> dict[str, int | str | None]:
    """The fields for the ending of a process."""
    number = ending.signal
    return {"exit": ending.exit, "signal": None if number is None else signal_name(number)}


def signal_name(number: int) -> str:
    """The signal's name, such as ``SIGKILL``; its number if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def why_failed(number: int) -> dict[str, str | None]:
    """The fields for an error of the system, by its errno."""
    return {"errno": errno.errorcode.get(number), "reason": os.strerror(number)}


def what_was_raised(failure: Failure) -> dict[str, str | None]:
    """The fields for an exception: its text, and where it was raised, such as ``file.py:12``."""
    where = None
    raised: Any = failure.value
    trace = raised.__traceback__
    if trace is not None:
        while trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
    return {"where": where, "reason": f"{type(raised).__name__}: {raised}"}

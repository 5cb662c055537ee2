"""Tests for the format of the log: what can be read out of a line, and who can forge one."""

from __future__ import annotations

import ast
import io
import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import (
    LegacyLogObserverWrapper,
    LogEvent,
    Logger,
    LogLevel,
    eventAsJSON,
    eventAsText,
    eventFromJSON,
    formatEvent,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from twisted.python.log import FileLogObserver

from twisted_fork.logformat import printable, writer

from .cases import Case

ANY_TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    )
)
"""Of bytes that were no text too, as "surrogateescape" decodes them."""

VALUES = st.one_of(st.none(), st.integers(), st.floats(0, 1e9), ANY_TEXT)

FIELDS = st.dictionaries(st.sampled_from("abcdefgh"), VALUES)

PAIR = re.compile(r""" ([a-z]+)=('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^ '"]+)""")


def written(event: str, fields: dict[str, Any], failure: Failure | None = None) -> LogEvent:
    """The log event that it is."""
    events: list[LogEvent] = []
    log = Logger("test", observer=events.append)  # type: ignore[arg-type]
    writer(log, LogLevel.warn)(event, dict(fields), failure)
    (found,) = events
    return found


def line_of(**fields: Any) -> str:
    """The text of an event with these fields."""
    return formatEvent(written("event", fields))


def shown(value: Any) -> str:
    """A value as a line has it."""
    return line_of(x=value).removeprefix("event x=")


class ValueTests(Case):
    """One rule for each kind of value."""

    def test_numbers(self) -> None:
        for value, text in [
            (0, "0"),
            (-7, "-7"),
            (0.0, "0.000"),
            (2.5, "2.500"),
            (1e6, "1000000.000"),
        ]:
            self.assertEqual(shown(value), text)

    def test_one_plain_word_is_as_it_is(self) -> None:
        for text in ["SIGKILL", "[2001:db8::7]:80", "unix:uid=0,pid=1", "a\\x20b", "!#$%&()*+-./"]:
            self.assertEqual(shown(text), text)

    def test_everything_else_is_quoted_as_python_does(self) -> None:
        for text in [
            "",
            " ",
            "a b",
            "it's",
            'a"b',
            "{}",
            "a\n",
            "\x7f",
            "\u00e4",
            "\udcff",
            "a\tb",
        ]:
            self.assertEqual(shown(text), repr(text))

    def test_what_is_not_known_is_left_out_of_the_line_and_none_in_the_event(self) -> None:
        self.assertEqual(line_of(a=None, b=1, c=None), "event b=1")
        self.assertIsNone(written("event", {"a": None})["a"])

    def test_braces_are_only_braces(self) -> None:
        for text in ["{x} {} {log_time!r} }{ {{", "{x}", "}"]:
            self.assertEqual(shown(text), repr(text))

    @given(FIELDS)
    def test_the_fields_can_be_read_out_of_the_line(self, fields: dict[str, Any]) -> None:
        line = line_of(**fields).removeprefix("event")
        self.assertEqual(PAIR.sub("", line), "")
        read = {
            name: ast.literal_eval(value) if value[0] in "'\"" else value
            for name, value in PAIR.findall(line)
        }
        known = {name: value for name, value in fields.items() if value is not None}
        self.assertEqual(list(read), list(known))
        for name, value in known.items():
            if isinstance(value, str):
                self.assertEqual(read[name], value)
            else:
                self.assertLess(abs(float(read[name]) - value), 0.001)

    @given(FIELDS)
    def test_nobody_writes_a_line_of_ours(self, fields: dict[str, Any]) -> None:
        line = line_of(**fields)
        self.assertTrue(line.isprintable())
        self.assertTrue(line.isascii() or "'" in line or '"' in line)


class EventTests(Case):
    """What observers of Twisted's logger get."""

    @given(FIELDS)
    def test_it_has_every_field_and_the_words_before_them(self, fields: dict[str, Any]) -> None:
        event = written("some event", fields)
        own = {name: value for name, value in event.items() if not name.startswith("log_")}
        self.assertEqual(own, {"event": "some event", **fields})
        self.assertEqual(json.loads(json.dumps(own)), own)

    def test_it_has_what_events_of_twisted_have(self) -> None:
        events: list[LogEvent] = []
        log = Logger("test", observer=events.append)  # type: ignore[arg-type]
        writer(log, LogLevel.warn)("event", {})
        log.emit(LogLevel.warn, "event")
        ours, theirs = events
        self.assertEqual(set(ours) - set(theirs), {"event", "log_flattened"})
        self.assertEqual(set(theirs) - set(ours), set())
        for name in ("log_level", "log_namespace", "log_source", "log_logger"):
            self.assertIs(ours[name], theirs[name])
        self.assertTrue(0 <= theirs["log_time"] - ours["log_time"] < 60)

    @given(FIELDS)
    def test_its_text_is_the_same_for_all_that_write_it(self, fields: dict[str, Any]) -> None:
        line = line_of(**fields)
        text, legacy = io.StringIO(), io.StringIO()
        textFileLogObserver(text)(written("event", fields))
        observer = FileLogObserver(legacy)
        LegacyLogObserverWrapper(observer.emit)(  # type: ignore[arg-type]
            written("event", fields)
        )
        self.assertTrue(text.getvalue().endswith(f" [test#warn] {line}\n"), text.getvalue())
        self.assertTrue(legacy.getvalue().endswith(f" [-] {line}\n"), legacy.getvalue())

    @given(FIELDS)
    def test_it_is_the_same_after_json(self, fields: dict[str, Any]) -> None:
        event = written("event", fields)
        again = eventFromJSON(eventAsJSON(event))
        self.assertEqual(formatEvent(again), formatEvent(event))
        self.assertEqual({name: again[name] for name in fields}, fields)

    def test_a_failure_brings_its_traceback(self) -> None:
        event = written("event", {"a": 1}, Failure(ValueError("why")))
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        self.assertEqual(text.splitlines()[0], "event a=1")
        self.assertIn("ValueError: why", text)


class PrintableTests(Case):
    """Text for a terminal."""

    @given(st.text())
    def test_it_has_nothing_that_moves_the_cursor(self, text: str) -> None:
        shown = printable(text)
        self.assertTrue(shown.isprintable())
        self.assertEqual(len(shown.splitlines()), 1 if shown else 0)

    @given(st.text().filter(str.isprintable))
    def test_printable_text_is_left_as_it_is(self, text: str) -> None:
        self.assertEqual(printable(text), text)

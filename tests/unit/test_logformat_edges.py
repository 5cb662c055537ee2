"""Tests for what is escaped, and how; and for signals without a name."""

from __future__ import annotations

import signal
import sys
import unicodedata

from twisted_fork.logformat import _ESCAPES, printable, signal_name

from .cases import Case


class EscapeTests(Case):
    """Each character that could move the cursor."""

    def test_control_characters_are_escaped_as_python_does(self) -> None:
        for number in (*range(0x20), *range(0x7F, 0xA1)):
            text = f"a{chr(number)}b"
            self.assertEqual(printable(text), repr(text)[1:-1])

    def test_bytes_that_were_no_text_are_shown_as_bytes(self) -> None:
        for byte in range(0x80, 0x100):
            text = bytes([byte]).decode("ascii", "surrogateescape")
            self.assertEqual(printable(f"a{text}b"), f"a\\x{byte:02x}b")

    def test_these_are_what_is_known_beforehand(self) -> None:
        controls = {n for n in range(sys.maxunicode) if unicodedata.category(chr(n)) == "Cc"}
        self.assertEqual(set(_ESCAPES), controls | set(range(0xDC80, 0xDD00)))

    def test_everything_else_is_escaped_as_python_does(self) -> None:
        for char in ("\u200b", "\u2028", "\ufeff", "\udc7f", "\udd00", "\U000e0001"):
            self.assertEqual(printable(f"a{char}\u00e4"), f"a{repr(char)[1:-1]}\u00e4")


class SignalTests(Case):
    """The names of signals."""

    def test_one_that_has_none_is_a_number(self) -> None:
        self.assertEqual(signal_name(signal.SIGTERM), "SIGTERM")
        self.assertEqual(signal_name(signal.SIGRTMIN + 1), str(int(signal.SIGRTMIN) + 1))

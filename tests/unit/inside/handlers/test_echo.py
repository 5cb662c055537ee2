"""Tests for the rules of the uppercase echo; its loops are in test_echo_serving."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cases import Case
from twisted_fork.inside.handlers import echo

tokens = st.sampled_from([b"q", b"u", b"i", b"t", b"\n", b"Q", b"x", b"\xe4", b"quit", b"\nqui"])

pieces = st.lists(st.lists(tokens, min_size=1, max_size=8).map(b"".join), max_size=12)


def expected(stream: bytes) -> tuple[bytes, bool]:
    """What the echo of a whole stream is, and whether ``quit`` ends it."""
    lines = stream.split(b"\n")
    for number, line in enumerate(lines):
        if line[:4] == b"quit":
            return b"".join(before.upper() + b"\n" for before in lines[:number]), True
    return stream.upper(), False


class UppercaseTests(Case):
    """The rules, however a stream is cut into pieces."""

    @settings(max_examples=500)
    @given(pieces)
    def test_the_answer_does_not_depend_on_the_pieces(self, pieces: list[bytes]) -> None:
        state = echo.Uppercase()
        stream = answer = b""
        for piece in pieces:
            stream += piece
            due, ended = state.feed(piece)
            answer += due
            self.assertEqual(ended, expected(stream)[1])
            if ended:
                break
            self.assertLessEqual(len(stream) - len(answer), 3, "more is held back than `qui`")
        else:
            answer += state.flush()
        self.assertEqual(answer, expected(stream)[0])

    def test_only_ascii_letters_are_changed(self) -> None:
        every = bytes(byte for byte in range(256))
        answer, ended = echo.Uppercase().feed(every)
        self.assertEqual((len(answer), ended), (256, False))
        self.assertEqual(
            {a for a, b in zip(every, answer, strict=True) if a != b}, set(range(97, 123))
        )

    def test_quit_ends_only_at_the_start_of_a_line(self) -> None:
        for stream, answer, ends in [
            (b"quit", b"", True),
            (b"quitting\n", b"", True),
            (b" quit\n", b" QUIT\n", False),
            (b"Quit\n", b"QUIT\n", False),
            (b"a\nquit b\nc\n", b"A\n", True),
            (b"a\r\nquit\r\n", b"A\r\n", True),
            (b"a\rquit\n", b"A\rQUIT\n", False),
        ]:
            self.assertEqual(echo.Uppercase().feed(stream), (answer, ends), stream)

    def test_a_beginning_of_quit_is_answered_when_the_stream_ends(self) -> None:
        state = echo.Uppercase()
        self.assertEqual(state.feed(b"hello\nqui"), (b"HELLO\n", False))
        self.assertEqual((state.flush(), state.flush()), (b"QUI", b""))

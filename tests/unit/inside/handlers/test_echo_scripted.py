"""Tests for the echo's loops over what is in the place of a connection: each does as scripted."""

from __future__ import annotations

import select

from hypothesis import given, settings

from tests.unit.cases import Case
from tests.unit.inside.handlers.test_echo import expected, pieces
from twisted_fork.inside.handlers import echo


class NobodyWaits(Exception):
    """For what is scripted."""


class SlowPeer:
    """
    In the place of a connection and of what polls it: answers go, and more comes, as it is
    scripted, after which all goes.

    :param script: how many bytes of answers are taken at once, 0 for none though it seemed
        possible; or what comes while nothing can be sent.
    """

    def __init__(self, *script: int | bytes) -> None:
        self.answer = b""
        self.read: list[bytes] = []
        self._script = list(script)
        self._mask = 0

    def recv(self, size: int) -> bytes:
        data = self._script.pop(0)
        assert isinstance(data, bytes)
        self.read.append(data)
        return data

    def send(self, data: bytes, flags: int) -> int:
        taken = self._script.pop(0) if self._script else len(data)
        assert isinstance(taken, int)
        if not taken:
            raise BlockingIOError
        self.answer += bytes(data[:taken])
        return taken

    def register(self, connection: object) -> None:
        assert connection is self

    def modify(self, connection: object, mask: int) -> None:
        self._mask = mask

    def poll(self) -> list[tuple[int, int]]:
        comes = bool(self._script) and isinstance(self._script[0], bytes)
        happened = select.POLLIN if comes else select.POLLOUT
        if not happened & self._mask:
            raise NobodyWaits
        return [(0, happened)]


class SlowTests(Case):
    """A peer that does not read all of its answers at once."""

    def peer(self, *script: int | bytes) -> SlowPeer:
        peer = SlowPeer(*script)
        self.patch(select, "poll", lambda: peer)
        return peer

    def serve(self, *script: int | bytes) -> tuple[SlowPeer, bool]:
        """What became of it; all that is read is copied."""
        peer = self.peer(*script)
        copy: list[bytes] = []
        peer_done = echo.serve(peer, copy.append)  # type: ignore[arg-type]
        self.assertEqual(copy, [data for data in peer.read if data])
        return peer, peer_done

    def test_it_has_all_of_them_however_little_it_takes_at_a_time(self) -> None:
        peer, peer_done = self.serve(
            b"hello\n", 0, 0, 0, 2, 0, 1, 0, 3, b"more\n", 1, b"and\n", b""
        )
        self.assertEqual((peer.answer, peer_done), (b"HELLO\nMORE\nAND\n", True))

    def test_quit_that_comes_meanwhile_ends_it_and_nothing_is_read_after_it(self) -> None:
        peer, peer_done = self.serve(b"hello\n", 0, b"more\nquit\n", 1, 0, 2)
        self.assertEqual((peer.answer, peer_done), (b"HELLO\nMORE\n", False))

    def test_its_end_that_comes_meanwhile_is_read_once(self) -> None:
        peer, peer_done = self.serve(b"hello\nqui", 0, b"", 1, 0)
        self.assertEqual((peer.answer, peer_done), (b"HELLO\nQUI", True))
        self.assertEqual(peer.read, [b"hello\nqui", b""])

    def test_no_more_is_read_once_sixteen_mebibytes_are_pending(self) -> None:
        most = 16 * 1024 * 1024
        peer = self.peer(b"x" * (most - 1), 0, b"y", b"z")
        self.assertRaises(NobodyWaits, echo.serve, peer)
        self.assertEqual([len(data) for data in peer.read], [most - 1, 1])


class EagerPeer:
    """
    In the place of a connection: so many bytes come at a time, and answers go at once.

    :ivar asked: how many were asked for.
    """

    def __init__(self, *sizes: int) -> None:
        self.asked: list[int] = []
        self._sizes = iter(sizes)

    def recv(self, size: int) -> bytes:
        self.asked.append(size)
        return b"x" * next(self._sizes)

    def send(self, data: bytes, flags: int) -> int:
        return len(data)


class EagerTests(Case):
    """A peer that sends much and reads all of its answers at once."""

    def test_more_is_read_at_once_from_a_peer_that_sends_more(self) -> None:
        peer = EagerPeer(4096, 16384, 65535, 65536, 262144, 262144, 0)
        self.assertIs(echo.serve(peer), True)  # type: ignore[arg-type]
        self.assertEqual(peer.asked, [4096, 16384, 65536, 65536, 262144, 262144, 262144])


class Pieces:
    """In the place of a connection, over which these come."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.answer = b""
        self._pieces = iter([*pieces, b""])

    def recv(self, size: int) -> bytes:
        return next(self._pieces)

    def sendall(self, data: bytes) -> None:
        self.answer += data


class SecuredTests(Case):
    """The loop over a connection that cannot be read from and written to at a time."""

    @settings(max_examples=50)
    @given(pieces)
    def test_random_pieces_get_the_answer_of_the_whole_stream(self, pieces: list[bytes]) -> None:
        peer = Pieces(pieces)
        copy: list[bytes] = []
        echo.serve_secured(peer, copy.append)  # type: ignore[arg-type]
        answer, ends = expected(b"".join(pieces))
        self.assertEqual(peer.answer, answer)
        self.assertTrue(b"".join(pieces).startswith(b"".join(copy)))
        self.assertTrue(ends or copy == pieces)

"""Tests for the echo's loops over a connection: plain, slow, secured, printing."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable

from hypothesis import given

from tests.unit.cases import Case
from tests.unit.inside.handlers.test_echo import expected, pieces
from tests.unit.processes import forked, status_of
from twisted_fork.inside.handlers import echo, printer
from twisted_fork.wire import messages

MEBIBYTE = 1024 * 1024

NO_MESSAGE = messages.Message(messages.pack(messages.CONNECTION))


class SocketCase(Case):
    """A pair of sockets."""

    def pair(self, kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
        """The handler's side, and the peer's, which gives up after ten seconds."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        theirs.settimeout(10)
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        return ours, theirs


class ServeTests(SocketCase):
    """The loop over a socket."""

    def meanwhile(self, connection: socket.socket, *arguments: object) -> Callable[[], object]:
        """Serve in a thread; what is returned waits for the end, and tells how it was."""
        results: list[object] = []

        def run() -> None:
            try:
                results.append(echo.serve(connection, *arguments))  # type: ignore[arg-type]
            except OSError as failure:
                results.append(type(failure))

        def wait() -> object:
            thread.join(10)
            self.assertFalse(thread.is_alive(), "serve does not end")
            return results[0]

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return wait

    @given(pieces)
    def test_random_pieces_get_the_answer_of_the_whole_stream(self, pieces: list[bytes]) -> None:
        # This kind of socket keeps the pieces apart.
        ours, theirs = self.pair(socket.SOCK_SEQPACKET)
        with ours, theirs:
            for piece in pieces:
                theirs.send(piece)
            theirs.shutdown(socket.SHUT_WR)
            answer, ends = expected(b"".join(pieces))
            copy: list[bytes] = []
            self.assertEqual(echo.serve(ours, copy.append), not ends)
            ours.shutdown(socket.SHUT_WR)
            self.assertEqual(received(theirs), answer)
        self.assertTrue(b"".join(pieces).startswith(b"".join(copy)))
        self.assertTrue(ends or copy == pieces)

    def test_a_peer_may_send_everything_before_it_reads(self) -> None:
        ours, theirs = self.pair()
        done = self.meanwhile(ours)
        theirs.sendall(b"abcdefg\n" * (10 * MEBIBYTE // 8))
        theirs.shutdown(socket.SHUT_WR)
        self.assertIs(done_reading(theirs, b"ABCDEFG\n" * (10 * MEBIBYTE // 8)), True)
        self.assertIs(done(), True)

    def test_quit_while_answers_are_pending_ends_after_the_last_of_them(self) -> None:
        ours, theirs = self.pair()
        done = self.meanwhile(ours)
        theirs.sendall(b"abcdefg\n" * (MEBIBYTE // 8) + b"quit\nnot this\n")
        self.assertIs(done_reading(theirs, b"ABCDEFG\n" * (MEBIBYTE // 8)), True)
        self.assertIs(done(), False)

    def test_a_held_back_end_is_answered_after_what_is_pending(self) -> None:
        ours, theirs = self.pair()
        done = self.meanwhile(ours)
        theirs.sendall(b"abcdefg\n" * (MEBIBYTE // 8) + b"qui")
        theirs.shutdown(socket.SHUT_WR)
        self.assertIs(done_reading(theirs, b"ABCDEFG\n" * (MEBIBYTE // 8) + b"QUI"), True)
        self.assertIs(done(), True)

    def test_the_loop_goes_on_after_a_slow_peer_has_caught_up(self) -> None:
        ours, theirs = self.pair()
        done = self.meanwhile(ours)
        for _ in range(3):
            theirs.sendall(b"abcdefg\n" * (MEBIBYTE // 8))
            self.assertIs(done_reading(theirs, b"ABCDEFG\n" * (MEBIBYTE // 8)), True)
        theirs.sendall(b"quit")
        self.assertIs(done(), False)

    def test_past_a_bound_nothing_is_read_from_a_peer_that_does_not_read(self) -> None:
        self.patch(echo, "_MOST_PENDING", 8 * 1024)
        self.patch(echo, "_LARGEST_READ", 8 * 1024)
        ours, theirs = self.pair()
        theirs.settimeout(0.2)
        copy: list[bytes] = []
        done = self.meanwhile(ours, copy.append)
        sent = 0
        with self.assertRaises(TimeoutError):
            while sent < 4 * MEBIBYTE:
                sent += theirs.send(b"x" * 1024)
        self.assertLess(sum(map(len, copy)), MEBIBYTE)
        theirs.settimeout(10)
        self.assertIs(done_reading(theirs, b"X" * sent), True)
        theirs.shutdown(socket.SHUT_WR)
        self.assertIs(done(), True)

    def test_a_peer_that_goes_away_is_an_error(self) -> None:
        ours, theirs = self.pair()
        theirs.sendall(b"hello\n")
        theirs.close()
        self.assertRaises((BrokenPipeError, ConnectionResetError), echo.serve, ours)

    def test_a_reset_while_answers_are_pending_is_an_error(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as port:
            theirs = socket.create_connection(port.getsockname())
            ours, _ = port.accept()
        self.addCleanup(ours.close)
        theirs.settimeout(10)
        done = self.meanwhile(ours)
        theirs.sendall(b"abcdefg\n" * MEBIBYTE)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        self.assertIn(done(), (BrokenPipeError, ConnectionResetError))


class SecuredTests(SocketCase):
    """The loop over a connection that cannot be read from and written to at a time."""

    def test_without_a_copy_the_answer_is_the_same(self) -> None:
        ours, theirs = self.pair()
        theirs.sendall(b"hello\nqui")
        theirs.shutdown(socket.SHUT_WR)
        echo.serve_secured(ours)
        ours.close()
        self.assertEqual(received(theirs), b"HELLO\nQUI")


class DescriptorTests(SocketCase):
    """The whole of a connection: it is served, and closed."""

    def test_it_is_closed_when_its_peer_has_ended(self) -> None:
        ours, theirs = self.pair()
        theirs.sendall(b"hello\nqu")
        theirs.shutdown(socket.SHUT_WR)
        echo.serve_descriptor(ours.detach(), NO_MESSAGE, None)
        self.assertEqual(received(theirs), b"HELLO\nQU")

    def test_it_is_closed_after_quit_and_the_answer_is_not_lost(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as port:
            theirs = socket.create_connection(port.getsockname(), timeout=10)
            ours, _ = port.accept()
        self.addCleanup(theirs.close)
        theirs.sendall(b"hello\nquit\n" + b"x" * 300_000)
        theirs.shutdown(socket.SHUT_WR)
        echo.serve_descriptor(ours.detach(), NO_MESSAGE, None)
        self.assertEqual(received(theirs), b"HELLO\n")

    def test_a_peer_that_goes_away_is_no_fault(self) -> None:
        for gone in (BrokenPipeError, ConnectionResetError, TimeoutError):
            ours, theirs = self.pair()

            def fail(connection: object, gone: type[OSError] = gone) -> bool:
                raise gone

            self.patch(echo, "serve", fail)
            echo.serve_descriptor(ours.detach(), NO_MESSAGE, None)
            self.assertEqual(theirs.recv(1), b"")


class CopyTests(Case):
    """What --print does."""

    def test_everything_is_written_however_little_at_once(self) -> None:
        written: list[bytes] = []

        def write(descriptor: int, data: bytes) -> int:
            self.assertEqual(descriptor, 1)
            written.append(data[:3])
            return len(data[:3])

        self.patch(os, "write", write)
        for serve, result in ((echo.serve_and_print, True), (echo.serve_secured_and_print, None)):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                theirs.send(b"hello, world")
                theirs.shutdown(socket.SHUT_WR)
                self.assertIs(serve(ours), result)
                ours.shutdown(socket.SHUT_WR)
                self.assertEqual(received(theirs), b"HELLO, WORLD")
            self.assertEqual(written, [b"hel", b"lo,", b" wo", b"rld"])
            written.clear()

    def test_a_full_standard_output_that_does_not_block_is_waited_for(self) -> None:
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        os.set_blocking(write, False)
        question = bytes(MEBIBYTE)  # more than a pipe holds

        def run() -> None:
            os.dup2(write, 1)
            printer.copy(question)
            os._exit(0)

        pid = forked(run)
        os.close(write)
        printed = b""
        while piece := os.read(read, MEBIBYTE):
            printed += piece
        self.assertEqual((len(printed), status_of(pid)), (MEBIBYTE, 0))


def received(peer: socket.socket) -> bytes:
    """All that comes until the end."""
    answer = bytearray()
    while data := peer.recv(MEBIBYTE):
        answer += data
    return bytes(answer)


def done_reading(peer: socket.socket, wanted: bytes) -> bool:
    """Read as many bytes as are wanted; whether they are those."""
    answer = bytearray()
    while len(answer) < len(wanted):
        data = peer.recv(MEBIBYTE)
        if not data:
            return False
        answer += data
    return answer == wanted

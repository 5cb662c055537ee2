"""
The interactive client, ``forkecho-client``: lines in, answers out.

At a terminal it asks for a line, sends it, and prints ``response from server:`` and the
answer before it asks for the next.  If its input or output is not a terminal, it sends and
receives at the same time, whatever the size, and prints that header before every line of the
answers; their bytes are not changed.

The service answers each byte with one byte.  So bytes are counted, and an answer is complete
when as many bytes have come back as were sent.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import os
import signal
import sys
import termios
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, clientFromString, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import INegotiated, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import react
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_fork.command.client_arguments import failed, parsed

__all__ = ["main"]

HEADER = b"response from server:\n"
PROMPT = "> "
QUIT_LINE = b"\nquit"
READ_SIZE = 64 * 1024
STDIN, STDOUT = 0, 1


def until_quit(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """
    Yield the bytes of *pieces* up to the first line that starts with ``quit``, wherever the
    pieces end.  It holds back only what may be the beginning of ``quit``.
    """
    before, held = b"\n", b""  # before: what marks the start of a line, already yielded
    for piece in pieces:
        text = before + held + piece
        found = text.find(QUIT_LINE)
        if found >= 0:
            yield text[len(before) : found + 1]
            return
        matched = next((n for n in (4, 3, 2, 1) if text.endswith(QUIT_LINE[:n])), 0)
        decided = len(text) - max(matched - 1, 0)
        yield text[len(before) : decided]
        before, held = QUIT_LINE[: min(matched, 1)], text[decided:]
    yield held


def typed_input() -> Iterator[bytes]:
    """Yield the lines typed at the terminal, with editing and history.  Blocks."""
    with contextlib.suppress(ImportError):
        import readline

        # tcsetattr cannot undo this mode when a session ends in the middle of a line.
        readline.parse_and_bind("set enable-bracketed-paste off")
    # Input need not be valid in the locale's encoding.
    sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    while True:
        try:
            line = input(PROMPT)
        except EOFError:
            os.write(STDOUT, b"\n")
            return
        yield line.encode(sys.stdin.encoding, "surrogateescape") + b"\n"


@implementer(IPushProducer)
class Conversation(Protocol):
    """
    One connection, from the first line to the last answer.

    :param at_terminal: a piece has to be answered before the next is asked for.  Otherwise
        only as much is read ahead as the connection takes.
    :ivar ended: fires at the end, with `SystemExit` if something went wrong.
    :ivar wants_more: is set when the next piece has to be read.
    """

    transport: Any

    def __init__(self, reactor: Any, at_terminal: bool) -> None:
        self.ended: Deferred[None] = Deferred()
        self._reactor = reactor
        self._at_terminal = at_terminal
        self.wants_more = threading.Event()
        self._input_over = self._paused = False
        self._line_begins = True
        self._sent = self._received = 0

    def begin(self, pieces: Iterable[bytes]) -> None:
        """Send *pieces*, once connected.  A thread iterates over them, so they may block."""
        # Twisted's TLS cannot close one direction alone; there the bytes are counted instead.
        tls = INegotiated.providedBy(self.transport)
        self._reads_to_the_end = not self._at_terminal and not tls
        self.transport.registerProducer(self, True)
        # A daemon thread: it may be blocked when the conversation ends.
        threading.Thread(target=self._read_input, args=(pieces,), daemon=True).start()

    def _read_input(self, pieces: Iterable[bytes]) -> None:
        """Runs in the thread."""
        in_reactor = self._reactor.callFromThread
        try:
            for piece in pieces:
                self.wants_more.clear()
                in_reactor(self._send, piece)
                self.wants_more.wait()
        except Exception as error:
            in_reactor(self.end, failed(f"cannot read standard input: {error}"))
        else:
            in_reactor(self._end_input)

    def _send(self, piece: bytes) -> None:
        self._sent += len(piece)
        self.transport.write(piece)
        self._go_on()

    def _end_input(self) -> None:
        self._input_over = True
        if self.ended.called:
            return
        self.transport.unregisterProducer()
        if self._reads_to_the_end:
            self.transport.loseWriteConnection()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Ask for the next piece, or close the connection, if it is time for that."""
        answered = self._received >= self._sent
        if self._input_over:
            if answered and not self._reads_to_the_end:
                self.transport.loseConnection()
        elif not self._paused and (answered or not self._at_terminal):
            self.wants_more.set()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._go_on()

    def stopProducing(self) -> None:
        """The connection is lost: see connectionLost."""

    def dataReceived(self, data: bytes) -> None:
        if self.ended.called:
            return
        self._received += len(data)
        text = data[:-1].replace(b"\n", b"\n" + HEADER) + data[-1:]
        rest = memoryview(HEADER + text if self._line_begins else text)
        self._line_begins = data.endswith(b"\n")
        try:
            while rest:
                rest = rest[os.write(STDOUT, rest) :]
        except BrokenPipeError:
            self.end()  # nobody reads the answers any more
        except OSError as error:
            self.end(failed(f"cannot write to standard output: {error}"))
        self._go_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._input_over and self._received >= self._sent:
            self.end()
            return
        why = "" if isinstance(reason.value, ConnectionDone) else f": {reason.value}"
        counts = f"{self._sent} bytes sent, {self._received} answered"
        self.end(failed(f"the server closed the connection early ({counts}){why}"))

    def end(self, problem: SystemExit | None = None) -> None:
        """End the conversation now.  Only the first call has an effect."""
        if self.ended.called:
            return
        if self._at_terminal and not self._input_over:
            with contextlib.suppress(OSError):
                os.write(STDOUT, b"\n")  # after the prompt, or half an answer
        if problem is None:
            self.ended.callback(None)
        else:
            self.ended.errback(problem)


async def converse(reactor: Any, arguments: argparse.Namespace, at_terminal: bool) -> None:
    """
    Connect as *arguments* say, and run the conversation.

    :raises SystemExit: it failed; its text is the line to print.
    """
    # Twisted's own handler cannot end a process that is blocked in a write.
    reactor.callWhenRunning(signal.signal, signal.SIGTERM, signal.SIG_DFL)
    if arguments.connect is None:
        server = f"{arguments.host!r} port {arguments.port}"
        endpoint: Any = HostnameEndpoint(reactor, arguments.host, arguments.port)
    else:
        server = repr(arguments.connect)
        try:
            endpoint = clientFromString(reactor, arguments.connect)
        except NameError:  # Twisted raises it when it has no TLS
            raise failed(f"{server} needs TLS: pip install 'twisted[tls]'") from None
        except Exception as error:
            why = str(error) or type(error).__name__
            raise failed(f"{server} is not an endpoint like tcp:localhost:8000: {why}") from None
    conversation = Conversation(reactor, at_terminal)
    try:
        await connectProtocol(endpoint, conversation)
    except Exception as error:
        raise failed(f"cannot connect to {server}: {error}") from None
    if at_terminal:

        def leave(number: int, frame: object) -> None:
            problem = None if number == signal.SIGINT else SystemExit(128 + number)
            reactor.callFromThread(conversation.end, problem)

        # The default action would not restore the terminal's modes.
        signal.signal(signal.SIGINT, leave)
        signal.signal(signal.SIGTERM, leave)
    piped_input = iter(lambda: os.read(STDIN, READ_SIZE), b"")
    conversation.begin(until_quit(typed_input() if at_terminal else piped_input))
    await conversation.ended


def main() -> NoReturn:
    """
    Run the client with this process's command line and standard streams, and exit.

    The exit status is 0 if all was answered, if Ctrl-C ended a session at a terminal, or if
    standard output is a pipe that was closed; else 1, after a line on standard error.  Without
    a terminal, signals have their default action.
    """
    # If a standard stream is closed, the connection must not get its number.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    arguments = parsed(sys.argv[1:])
    at_terminal = os.isatty(STDIN) and os.isatty(STDOUT)
    if at_terminal:  # the session may end in the middle of a line, with changed modes
        atexit.register(termios.tcsetattr, STDIN, termios.TCSADRAIN, termios.tcgetattr(STDIN))
    react(converse, (arguments, at_terminal))


if __name__ == "__main__":
    main()

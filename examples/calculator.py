"""
A calculator in reverse Polish notation: the handler is a Twisted protocol.

A factory, an instance of one, or a protocol class will do.  The child runs a reactor for
this one connection; the protocol may use callLater, Deferreds, whatever it likes.

    $ twistd -n forkserve --handler calculator:Calculator --listen tcp:8000

Then: nc localhost 8000, and type 3 4 + 5 *
"""

from __future__ import annotations

import operator
from fractions import Fraction

from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


class Calculator(LineOnlyReceiver, TimeoutMixin):
    """Answers each line with its result; hangs up after a minute of silence."""

    delimiter = b"\n"

    def connectionMade(self) -> None:
        self.setTimeout(60)

    def lineReceived(self, line: bytes) -> None:
        self.resetTimeout()
        try:
            answer = str(calculate(line.decode("utf-8", "replace")))
        except (ValueError, IndexError, ZeroDivisionError) as mistake:
            answer = f"mistake: {mistake}"
        self.sendLine(answer.encode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)


def calculate(text: str) -> Fraction:
    """The result of a line such as ``3 4 + 5 *``."""
    stack: list[Fraction] = []
    for word in text.split():
        if word in OPERATORS:
            right, left = stack.pop(), stack.pop()
            stack.append(OPERATORS[word](left, right))
        else:
            stack.append(Fraction(word))
    (result,) = stack
    return result

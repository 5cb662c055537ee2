"""
A guessing game: the handler is a function.

It gets the connection, a blocking socket, and the peer's address.  It runs in a process of
its own, so the game's state is in local variables, and waiting for a player is a plain read.

    $ twistd -n forkserve --handler guess:play --listen tcp:8000

Then, for each player: nc localhost 8000
"""

from __future__ import annotations

import random
import socket


def play(connection: socket.socket, peer: tuple[str, int]) -> None:
    """One game with one player."""
    number = random.randint(1, 100)
    lines = connection.makefile("r", encoding="utf-8", errors="replace", newline="\n")
    connection.sendall(b"I think of a number from 1 to 100. Which one?\n")
    for guesses, line in enumerate(lines, 1):
        try:
            guess = int(line)
        except ValueError:
            connection.sendall(b"That is no number.\n")
            continue
        if guess == number:
            connection.sendall(b"Right, after %d guesses.\n" % guesses)
            return
        connection.sendall(b"More.\n" if guess < number else b"Less.\n")

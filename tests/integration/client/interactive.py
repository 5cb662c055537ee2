"""
The interactive client: a process of its own, with pipes or a terminal.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.integration.servers.processes import DEADLINE

CLIENT = [sys.executable, "-m", "twisted_fork.command.client"]

HEADER = b"response from server:\n"


def run(*words: str, stdin: bytes | int = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the client to its end: with these bytes in a pipe, or with a descriptor."""
    given: dict[str, Any] = {"stdin": stdin} if isinstance(stdin, int) else {"input": stdin}
    return subprocess.run([*CLIENT, *words], capture_output=True, timeout=DEADLINE, **given)


@contextlib.contextmanager
def started(*words: str, **streams: Any) -> Iterator[Any]:
    """The client, a Popen, while it runs; its standard streams are pipes unless told otherwise."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([*CLIENT, *words], bufsize=0, **{**pipes, **streams}) as client:
        try:
            yield client
        finally:
            client.kill()


def read(stream: Any, size: int) -> bytes:
    """*size* bytes from an unbuffered pipe, or fewer if it ends or nothing comes."""
    data = b""
    while len(data) < size and select.select([stream], [], [], DEADLINE)[0]:
        piece = stream.read(size - len(data))
        if not piece:
            break
        data += piece
    return data


def headed(answers: bytes) -> bytes:
    """What the client prints for these answers."""
    return b"".join(HEADER + line for line in re.findall(rb"[^\n]*\n|[^\n]+", answers))


def assert_one_line(stderr: bytes, *words: str) -> None:
    """One line that names the program and holds *words*, and no traceback."""
    text = stderr.decode()
    assert text.startswith("forkecho-client: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    for word in words:
        assert word in text


StartTerminal = Callable[..., "Terminal"]
"""What the fixture terminal is."""


class Terminal:
    """A session of the client at a pseudoterminal of its own; standard error is a pipe."""

    def __init__(self, *words: str) -> None:
        self.master, self.slave = pty.openpty()
        self.modes = termios.tcgetattr(self.slave)
        self.seen = b""
        self._expected = 0
        environment = {
            **os.environ,
            "TERM": "dumb",
            "INPUTRC": os.devnull,
            "LC_ALL": "C.UTF-8",
            "PYTHONIOENCODING": "utf-8:strict",  # as it is in other locales
        }
        self.client = subprocess.Popen(
            [*CLIENT, *words],
            stdin=self.slave,
            stdout=self.slave,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def expect(self, text: bytes) -> None:
        """Wait for *text*, after whatever was expected before."""
        deadline = time.monotonic() + DEADLINE
        while (found := self.seen.find(text, self._expected)) < 0:
            left = max(0.0, deadline - time.monotonic())
            ready = select.select([self.master], [], [], left)[0]
            assert ready, f"{text!r} did not come; this did: {self.seen!r}"
            self.seen += os.read(self.master, 65536)
        self._expected = found + len(text)

    def ask(self, keys: bytes, answer: bytes) -> None:
        """Type *keys* at the prompt, and wait for *answer* under its header."""
        self.expect(b"> ")
        self.type(keys)
        self.expect(b"\r\nresponse from server:\r\n" + answer + b"\r\n")

    def exit_status(self) -> int:
        """Wait for the end, and see that the terminal is as it was before."""
        status = self.client.wait(DEADLINE)
        assert termios.tcgetattr(self.slave) == self.modes
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536)
        return status

    def errors(self) -> bytes:
        assert self.client.stderr is not None
        return self.client.stderr.read()

    def close(self) -> None:
        self.client.kill()
        self.client.wait()
        assert self.client.stderr is not None
        self.client.stderr.close()
        os.close(self.master)
        os.close(self.slave)

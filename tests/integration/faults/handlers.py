"""A handler that goes wrong when it is told to, in every way there is."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any

import twisted_fork

MEBI = 1024 * 1024

Connection = socket.socket


def raises(connection: Connection) -> None:
    """Raises what nobody catches."""
    raise RuntimeError("nobody catches this")


def exits(connection: Connection) -> None:
    """sys.exit."""
    sys.exit(3)


def exits_at_once(connection: Connection) -> None:
    """os._exit, with its connection open and unread."""
    os._exit(4)


def forges_out_of_memory(connection: Connection) -> None:
    """Exits as if there had been no memory."""
    os._exit(250)


def forges_a_slow_handshake(connection: Connection) -> None:
    """Exits as if its peer had not shaken hands."""
    os._exit(251)


def aborts(connection: Connection) -> None:
    """As a failed assertion in C does."""
    _no_core()
    os.abort()


def crashes(connection: Connection) -> None:
    """Dereferences null."""
    _no_core()
    ctypes.string_at(0)


def recurses(connection: Connection) -> None:
    """Until the interpreter says no."""
    recurses(connection)


def recurses_in_c(connection: Connection) -> None:
    """Until there is no stack left."""

    class Itself:
        def __repr__(self) -> str:
            return repr(self)

    _no_core()
    sys.setrecursionlimit(10**6)
    repr(Itself())


def allocates(connection: Connection) -> None:
    """For ever; only where --memory ends it."""
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    hoard = []
    while True:
        hoard.append(bytearray(MEBI))


def spins(connection: Connection) -> None:
    """For ever; only where --cpu-seconds ends it."""
    _no_core()
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] != resource.RLIM_INFINITY
    while True:
        pass


def sleeps(connection: Connection) -> None:
    """Until somebody ends it."""
    time.sleep(600)


def ignores_sigterm(connection: Connection) -> None:
    """Sleeps, and will not be ended politely."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def blocks_signals(connection: Connection) -> None:
    """Sleeps with every signal blocked that can be."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(600)


def resists_in_company(connection: Connection) -> None:
    """So do its child and its grandchild, all of which hold the connection."""
    os.fork()
    os.fork()
    ignores_sigterm(connection)


def closes_everything(connection: Connection) -> None:
    """Every descriptor that it has, standard streams and all."""
    os.closerange(0, 1024)


def forks_and_leaves(connection: Connection) -> None:
    """Leaves a grandchild behind that holds the connection until its peer goes."""
    if os.fork() == 0:
        if os.fork() == 0:
            _serve_to_the_end(connection)
        os._exit(0)
    os.wait()
    connection.close()


def escapes(connection: Connection) -> None:
    """Serves on in a session of its own, where no signal to its group finds it."""
    if os.fork() == 0:
        os.setsid()
        _serve_to_the_end(connection)
    connection.close()


def floods_stderr(connection: Connection) -> None:
    """100 MB, in lines of 1,000 bytes."""
    lines = (b"x" * 999 + b"\n") * 64
    for _ in range(100_000_000 // len(lines)):
        _write(lines)
    connection.sendall(b"done")


def floods_newlines(connection: Connection) -> None:
    """4 MB of nothing but ends of lines."""
    for _ in range(64):
        _write(b"\n" * 65536)
    connection.sendall(b"done")


def goes_on_flooding(connection: Connection) -> None:
    """Leaves a descendant behind that writes ends of lines for as long as its peer stays."""
    if os.fork() == 0:
        os.setsid()
        signal.alarm(120)
        connection.sendall(b"%d" % os.getpid())
        with suppress(OSError):  # nobody hears it any more
            while not select.select([connection], [], [], 0)[0]:
                os.write(2, b"\n" * 65536)
        os._exit(0)
    connection.close()


def makes_stderr_nonblocking(connection: Connection) -> None:
    """And says first whether it was blocking."""
    connection.sendall(b"%d" % os.get_blocking(2))
    os.set_blocking(2, False)


def forks_without_end(connection: Connection) -> None:
    """As many processes as it may, but no more than 128, which stay until somebody ends them."""
    for _ in range(7):
        with suppress(OSError):
            os.fork()
    signal.alarm(60)
    os.write(2, b"no end of a line")
    while connection.recv(65536):
        pass
    os._exit(0)


def goes_on_writing_letters(connection: Connection) -> None:
    """So do several, a byte at a time, so that each has to be read by itself."""
    for _ in range(4):
        if os.fork() == 0:
            os.setsid()
            signal.alarm(120)
            with suppress(OSError):
                while not select.select([connection], [], [], 0)[0]:
                    os.write(2, b"x")
            os._exit(0)
    connection.sendall(b"done")
    connection.close()


def tells(connection: Connection) -> None:
    """1,000 messages, each as long as one may be."""
    message = b"m" * 64 * 1024
    told = sum(twisted_fork.tell(message) for _ in range(1000))
    connection.sendall(b"%d" % told)


def sends_descriptors(connection: Connection) -> None:
    """With what it writes to standard error, which the server shall not keep."""
    stderr = socket.socket(fileno=os.dup(2))
    for _ in range(100):
        socket.send_fds(stderr, [b"with descriptors\n"], [0] * 100)
    connection.sendall(b"done")


def shuts_stderr_down(connection: Connection) -> None:
    """Its standard error, which is one socket with that of all other children."""
    socket.socket(fileno=os.dup(2)).shutdown(socket.SHUT_RDWR)
    connection.sendall(b"done")


def wants_more(connection: Connection) -> None:
    """Says over its channel that it is ready for another connection, which it is not to be
    given, and keeps what it gets."""
    connection.sendall(b"done")  # before it is killed for the other
    _channel().send(b"R" + bytes(12))
    time.sleep(2)


def babbles(connection: Connection) -> None:
    """Sends over its channel what is no message, and what is none of its business."""
    channel = _channel()
    for packet in (b"A" + bytes(12), b"F" * 13, b"?" * 70000, b"T" + bytes(12), b"x"):
        with suppress(OSError):  # it is closed, and this process killed, at the first
            channel.send(packet)
    time.sleep(600)


def answers_slowly(connection: Connection) -> None:
    """A long answer, to be broken off."""
    for _ in range(1000):
        connection.sendall(b"y" * 65536)


def fill(connection: Connection) -> None:
    """Sends until the peer takes no more, and reads nothing."""
    while True:
        connection.sendall(b"z" * 65536)


def _no_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(2, data) :]


def _serve_to_the_end(connection: Connection) -> None:
    """Say who serves, then wait until the peer goes."""
    signal.alarm(120)
    connection.sendall(b"%d" % os.getpid())
    while connection.recv(65536):
        pass
    os._exit(0)


def _channel() -> socket.socket:
    """The channel to the reactor process, which is nobody's business but the worker's."""
    for name in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{name}"):
            with suppress(OSError):
                found = socket.socket(fileno=os.dup(int(name)))
                if found.type == socket.SOCK_SEQPACKET:
                    return found
    raise LookupError("this child has no channel")


def obeys(connection: Connection, peer: Any) -> None:
    """After an exclamation mark, the name of what to do wrong; whatever else is said comes
    back in upper case."""
    while data := connection.recv(65536):
        if data.startswith(b"!"):
            globals()[data[1:].decode().strip()](connection)
            return
        connection.sendall(data.upper())

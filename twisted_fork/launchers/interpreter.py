"""
Start a process of ours: a template, or a spawned child.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

from twisted.python.failure import Failure

from twisted_fork import inside
from twisted_fork.handler import Handler
from twisted_fork.inside.start import CHANNEL, EAGER_BINDING
from twisted_fork.kernel.processes import ForkedProcess, start_process
from twisted_fork.kernel.stderr import StandardError, Stream
from twisted_fork.kernel.watcher import Watching
from twisted_fork.launchers import limits
from twisted_fork.settings import InvalidSetting, Settings, option_name
from twisted_fork.wire import messages
from twisted_fork.wire.calls import memory_file
from twisted_fork.wire.orders import Certificates, Orders, PemFile

__all__ = [
    "PATIENCE",
    "Starter",
    "check",
    "give_orders",
    "orders",
    "orders_file",
    "too_late",
    "verdict",
]

PATIENCE = 60.0
"""Seconds for a process of ours to import its handler: a check, a template, a spawned child."""

_CHECKED = {b"checked clone3\n": "clone3", b"checked clone\n": "clone"}
"""What a check writes when it has found nothing wrong, and nothing else: which call forks
children here."""

_INSIDE = os.path.dirname(inside.__file__)


class Starter:
    """
    Starts fresh interpreters: templates and spawned children.

    :param watcher: watches them.
    :param stderr: makes the standard error of each.
    :param stdout: the descriptor of their standard output; None where that is to be as
        standard error.
    :param open_files: the limits on open files that they shall have, soft and hard: not
        those that the reactor process has raised its own to, since programs that use
        select(2) cannot live with more than 1024.
    """

    def __init__(
        self,
        reactor: Any,
        watcher: Watching,
        stderr: StandardError,
        open_files: tuple[int, int],
        stdout: int | None,
    ) -> None:
        self._reactor = reactor
        self._watcher = watcher
        self._stderr = stderr
        self._stdout = stdout
        self._open_files = open_files

    def start(
        self,
        role: str,
        channel: socket.socket,
        ended: Callable[[Failure], object],
        give: Callable[[bytes, tuple[int, ...]], object] | None = None,
    ) -> ForkedProcess:
        """
        Start one in *role*, ``template`` or ``child``.

        Its standard input is empty, and its output is not buffered.

        :param channel: its end of its channel; still the caller's to close.
        :param ended: see ForkedProcess.
        :param give: of a template: sends it a message that gives it, and its children to come,
            another standard error; see StandardError.stream.
        :raises OSError: no process can be made just now.
        """
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            stream, stderr = self._stderr.stream(give and partial(self._give, give))
        except BaseException:
            os.close(nothing)
            raise
        number = stderr.fileno()
        stdout = number if self._stdout is None else self._stdout
        try:
            process = start_process(
                self._reactor,
                self._watcher,
                partial(_ended, stream, ended),
                sys.executable,
                [sys.executable, "-u", _INSIDE, role],
                env={**os.environ, EAGER_BINDING: "1"},
                childFDs={0: nothing, 1: stdout, 2: number, CHANNEL: channel.fileno()},
            )
        except BaseException:
            stream.close()
            raise
        finally:
            os.close(nothing)
            stderr.close()
        stream.pid = process.pid
        if not process.over:
            with suppress(OSError):
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, self._open_files)
        return process

    def _give(self, give: Callable[[bytes, tuple[int, ...]], object], stderr: int) -> None:
        also = self._stdout is None
        give(messages.pack(messages.STREAMS, number=int(also)), (stderr,))

    def start_check(
        self, streams: tuple[int, int, int], ended: Callable[[Failure], object]
    ) -> ForkedProcess:
        """
        Start a check.

        :param streams: its standard input, which its orders are in, output and error; still
            the caller's to close.
        :param ended: see ForkedProcess.
        :raises OSError: no process can be made just now.
        """
        return start_process(
            self._reactor,
            self._watcher,
            ended,
            sys.executable,
            [sys.executable, "-u", _INSIDE, "check"],
            env=dict(os.environ),
            childFDs=dict(enumerate(streams)),
        )


def _ended(stream: Stream, ended: Callable[[Failure], object], reason: Failure) -> None:
    stream.owner_ended()
    ended(reason)


def give_orders(send: Callable[[bytes, tuple[int, ...]], object], orders: Orders) -> None:
    """
    Tell a process that is being started what it is to do, see orders.

    They go in a file: certificates may be more than a message holds.

    :param send: of its channel.
    :raises OSError: out of descriptors or memory.
    """
    with orders_file(orders) as file:
        send(messages.pack(messages.ORDERS), (file.fileno(),))


def orders_file(orders: Orders) -> BinaryIO:
    """
    Write orders into a file that is nowhere but in memory, to be read from its beginning.

    :raises OSError: out of descriptors or memory.
    """
    file = open(memory_file("orders"), "wb")  # noqa: SIM115 - the caller's to close
    try:
        file.write(messages.marshalled(orders))
        file.flush()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def check(orders: Orders, uid: int | None = None, gid: int | None = None) -> str | None:
    """
    Look in a process of its own, and wait for it, whether a template with these orders
    could work here: whether it can fork, and load its handler.  Which call it has to fork
    with is added to the orders.

    :param uid: as whom to look; by default as who we are.
    :returns: one line that says what is wrong; None if nothing is.
    """
    who: dict[str, Any] = {}
    if uid is not None:
        who = {"user": uid, "group": gid, "extra_groups": []}
    # no pipes: somebody whom the handler has started may hold them for ever
    with (
        orders_file(orders) as told,
        open(memory_file("stdout"), "rb") as stdout,
        open(memory_file("stderr"), "rb") as stderr,
    ):
        try:
            looking = subprocess.Popen(
                [sys.executable, "-u", _INSIDE, "check"],
                stdin=told,
                stdout=stdout,
                stderr=stderr,
                **who,
            )
        except OSError as failure:
            return f"{sys.executable} cannot be run as the children's user: {failure.strerror}"
        try:
            status = looking.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return too_late()
        finally:
            if looking.returncode is None:
                _end_group(looking)
        stdout.seek(0)
        stderr.seek(0)
        answer = stdout.read()
        orders["clone"] = _CHECKED.get(answer, orders["clone"])
        return verdict(status, answer, stderr.read())


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that has not been waited for, and its group, if it leads one."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def verdict(returncode: int, stdout: bytes, stderr: bytes) -> str | None:
    """
    What a check has said, see inside/check.py.  It came to its end only if it answered:
    a handler can end the process with any status while it is imported.

    :param returncode: as of subprocess: negative for a signal.
    :returns: one line that says what is wrong; None if nothing is.
    """
    if returncode == 0 and stdout in _CHECKED:
        return None
    lines = stderr.decode(errors="replace").strip().splitlines()
    if returncode == 1 and lines:
        return lines[-1]
    how = f" with exit status {returncode}" if returncode else ""
    if returncode < 0:
        names = {each.value: each.name for each in signal.Signals}
        how = f" by {names.get(-returncode, f'signal {-returncode}')}"
    return f"the handler ends the process{how} when it is imported"


def too_late() -> str:
    """What is wrong where a check does not end in its time."""
    return f"the handler was not imported within {PATIENCE:g} seconds"


def orders(
    handler: Handler,
    settings: Settings,
    listened_to: bool,
    uid: int | None = None,
    clone: str = "clone3",
) -> Orders:
    """
    What a template or a spawned child is told, once: plain values.

    :param listened_to: somebody cares for the messages of the handler.
    :param uid: who the reactor process will be; by default who it is.
    :param clone: the call to fork with; see sibling.Cloner.
    :raises InvalidSetting: a limit cannot be applied by who that is, or a file for TLS
        cannot be read.
    """
    return {
        "accounts": not settings.quiet,
        "clone": clone,
        "connections_per_child": settings.connections_per_child,
        "handler": handler.order(),
        "handshake_timeout": settings.handshake_timeout,
        "launcher": settings.launcher,
        "limits": limits.order(settings, uid),
        "listened_to": listened_to,
        "path": list(sys.path),
        "tls": _certificates(settings),
    }


def _certificates(settings: Settings) -> Certificates | None:
    certificate = _contents(settings, "tls_certificate")
    if certificate is None:
        return None
    return {
        "certificate": certificate,
        "key": _contents(settings, "tls_key"),
        "client_ca": _contents(settings, "tls_client_ca"),
    }


def _contents(settings: Settings, name: str) -> PemFile | None:
    """Path and contents of the file of a setting.  The contents, because children that are
    started later shall have what was found to be right, not what the disk has then."""
    path = getattr(settings, name)
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return os.path.abspath(path), file.read()
    except OSError as failure:
        raise InvalidSetting(f"--{option_name(name)} {path}: {failure.strerror}") from None

"""
The log, as an interface: one function per line, all of one format.

A line is an event, then ``name=value`` pairs.  Text that a peer, a child or a
handler had a hand in is quoted and its control characters are escaped, so that
nobody can write a line of ours.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from resource import struct_rusage
from types import TracebackType
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

__all__ = ["Journal"]

_ESCAPES = {number: repr(chr(number))[1:-1] for number in (*range(0x20), *range(0x7F, 0xA0))}
_ESCAPES.update({0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)})
"""Of the characters that floods are likely to be of: there is no time to look at each."""

_MOST_PLACES = 100
"""Places whose traceback has been written that are remembered."""


class Journal:
    """
    The lines of one service.

    :param quiet: leave out the lines that every connection has; whatever is a
        trouble is written all the same.
    """

    def __init__(self, quiet: bool = False, log: Logger | None = None) -> None:
        self.quiet = quiet
        self._log = log or Logger(namespace="twisted_fork")
        self._told: set[str] = set()

    def _warn(self, line: str, **fields: object) -> None:
        self._say(line, LogLevel.warn, **fields)

    def _say(self, line: str, level: Any = LogLevel.info, **fields: object) -> None:
        """
        The line as it is read; the fields are for observers that want structure.

        As Logger.emit, which first looks for the level among all that there are: with two
        lines for each connection that is worth leaving out.
        """
        log = self._log
        fields.update(
            log_logger=log,
            log_level=level,
            log_namespace=log.namespace,
            log_source=log.source,
            log_format=line if "{" not in line and "}" not in line else _literally(line),
            log_time=time.time(),
        )
        log.observer(fields)

    def accepting(self, addresses: Iterable[str]) -> None:
        """The service accepts connections now."""
        self._say(f"accepting connections on {', '.join(addresses)}")

    def handed_over(self, peer: str, pid: int | None) -> None:
        """A child has taken a connection."""
        if not self.quiet:
            self._say(f"handed over peer={peer} pid={pid}", peer=peer, pid=pid)

    def ready_again(
        self, peer: str, pid: int | None, seconds: float, amount: tuple[int, int] | None = None
    ) -> None:
        """A connection is over, and its child waits for the next."""
        if not self.quiet:
            line = f"served peer={peer} pid={pid} seconds={seconds:.3f}"
            if amount is not None:
                line += f" received={amount[0]} sent={amount[1]}"
            self._say(line, peer=peer, pid=pid, seconds=seconds)

    def ended(
        self,
        peer: str,
        pid: int | None,
        status: str,
        seconds: float,
        amount: tuple[int, int] | None = None,
        usage: struct_rusage | None = None,
        limit: str | None = None,
    ) -> None:
        """
        A child that served a connection has ended.

        :param amount: bytes that went over the connection, where that is known.
        :param usage: what it used in all its life, where that is known; without its memory
            if ru_maxrss is 0.
        :param limit: the limit that ended it, if one did.
        """
        bad = status != "exit=0" or limit is not None
        if self.quiet and not bad:
            return
        line = f"child ended peer={peer} pid={pid} {status} seconds={seconds:.3f}"
        if amount is not None:
            line += f" received={amount[0]} sent={amount[1]}"
        if usage is not None:
            cpu = usage.ru_utime + usage.ru_stime
            line += f" cpu={cpu:.3f}"
            if usage.ru_maxrss:
                line += f" memory={usage.ru_maxrss}K"
        if limit is not None:
            line += f" limit={limit}"
        say = self._warn if bad else self._say
        say(line, peer=peer, pid=pid, status=status, seconds=seconds, limit=limit)

    def limit_reached(self, peer: str, pid: int | None, limit: str) -> None:
        """A time limit ends a connection."""
        self._warn(f"limit reached peer={peer} pid={pid} limit={limit}: SIGTERM")

    def ended_unserved(self, peer: str, pid: int | None, status: str, again: bool) -> None:
        """A child has ended before it took the connection that it was given."""
        then = "handed over anew" if again else "connection closed"
        self._warn(f"child ended without serving peer={peer} pid={pid} {status}: {then}")

    def idle_child_ended(self, pid: int | None, status: str) -> None:
        """A child has ended that was not told to."""
        self._warn(f"idle child ended pid={pid} {status}")

    def breach(self, pid: int | None, peer: str, what: str) -> None:
        """A child has broken the rules of its channel, and is killed."""
        self._warn(f"child broke the rules pid={pid} peer={peer or None} reason={what!r}: killed")

    def given_up(self, peer: str, reason: str) -> None:
        """An accepted connection is closed without having been served."""
        self._warn(f"connection refused peer={peer} reason={reason!r}")

    def given_up_more(self, source: str, more: int, reason: str) -> None:
        """Connections of a source that were refused since the last line about it; *reason* is
        that of the latest."""
        self._warn(f"connections refused source={source} more={more} reason={reason!r}")

    def penalized(self, source: str, seconds: float) -> None:
        """A source is refused for a while, since a child that served it came to grief."""
        self._warn(f"penalty source={source} seconds={seconds:g}")

    def protocol_raised(self) -> None:
        """A method of the application's ChildProtocol has raised: with its traceback."""
        self._log.failure("ChildProtocol raised")

    def fault(self, peer: str = "", pid: int | None = None) -> None:
        """
        Something was raised that nobody expected, and is being handled now.

        Its traceback comes along the first time that something is raised in that place: not
        with each of a flood.

        :param peer: of the connection that it costs, if it costs one.
        :param pid: of the child that it costs.
        """
        self._fault(Failure(), peer, pid)

    def raised(self, failure: Failure) -> None:
        """As fault, where a Deferred has failed."""
        self._fault(failure, "", None)

    def _fault(self, failure: Failure, peer: str, pid: int | None) -> None:
        raised: Any = failure.value
        trace = raised.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "?" if trace is None else _place(trace)
        reason = printable(f"{type(raised).__name__}: {raised}")
        fields: dict[str, object] = {"peer": peer, "pid": pid, "reason": reason, "where": where}
        if where not in self._told and len(self._told) < _MOST_PLACES:
            self._told.add(where)
            fields["log_failure"] = failure
        text = f"fault peer={peer or None} pid={pid} where={where} reason={reason!r}"
        self._say(text, LogLevel.critical, **fields)

    def port_dropped(self, name: str) -> None:
        """The reactor has stopped watching what it was to watch."""
        self._warn(f"dropped by the reactor, watched again name={name}")

    def child_wrote(self, pid: int, text: str) -> None:
        """A line of a child's standard error."""
        self._say(f"child wrote pid={pid}: {printable(text)}")

    def stderr_shut_down(self) -> None:
        """A child has shut down the socket that is its siblings' standard error too."""
        self._warn("standard error shut down by a child: made anew for children to come")

    def child_wrote_too_much(self, dropped: int) -> None:
        """Standard error came faster than it is logged."""
        self._warn(f"children wrote too much: {dropped} bytes of standard error not logged")

    def indirect(self) -> None:
        """Programs could be executed by the reactor process, but not in sessions of their own."""
        self._say(
            "programs are executed by children: posix_spawn(3) of this Python begins no session"
        )

    def template_ready(self, pid: int) -> None:
        """The template forks children now."""
        self._say(f"template ready pid={pid}")

    def template_ended(self, pid: int | None, status: str, delay: float) -> None:
        """The template has died; a new one is started after *delay* seconds."""
        self._warn(f"template ended pid={pid} {status}: replaced in {delay:.1f} seconds")

    def template_not_started(self, reason: str) -> None:
        """No template could be started."""
        self._warn(f"cannot start the template: {reason}; trying again")

    def template_late(self, pid: int | None, seconds: float) -> None:
        """The template does not become ready, and is killed."""
        self._warn(f"template not ready pid={pid} seconds={seconds:.1f}: killed")

    def template_stays(self, pid: int | None, seconds: float) -> None:
        """A template does not end when it is let go, and is killed."""
        self._warn(f"template does not end pid={pid} seconds={seconds:.1f}: killed")

    def template_stuck(self, pid: int | None, seconds: float) -> None:
        """The template does not answer, and is killed."""
        self._warn(f"template stuck pid={pid} seconds={seconds:.1f}: killed")

    def child_stuck(self, pid: int | None, peer: str, seconds: float) -> None:
        """A child does not take the connection that it was given, and is killed."""
        self._warn(f"child stuck pid={pid} peer={peer} seconds={seconds:.1f}: killed")

    def child_stays(self, pid: int | None, peer: str, seconds: float) -> None:
        """A child that serves nothing does not go when it is told to, and is killed."""
        self._warn(f"child stays pid={pid} last peer={peer or None} seconds={seconds:.1f}: killed")

    def launch_failing(self, reason: str) -> None:
        """No child can be made just now; the first line of a failing spell."""
        self._warn(f"cannot start children: {reason}; connections wait, trying again")

    def launch_recovered(self, failures: int) -> None:
        """Children can be made again."""
        self._say(f"children start again failures={failures}")

    def hand_over_failing(self, reason: str) -> None:
        """Nothing can be sent to any child just now; the first line of a failing spell."""
        self._warn(f"cannot hand over connections: {reason}; they wait, trying again")

    def hand_over_recovered(self, failures: int) -> None:
        """Connections can be handed over again."""
        self._say(f"connections are handed over again failures={failures}")

    def accept_failing(self, reason: str) -> None:
        """No connection can be accepted just now; the first line of a failing spell."""
        self._warn(f"cannot accept connections: {reason}; they wait, trying again")

    def accept_recovered(self, failures: int) -> None:
        """Connections are accepted again."""
        self._say(f"connections accepted again failures={failures}")

    def port_trouble(self, what: str) -> None:
        """A port could not be closed as it should."""
        self._warn(f"closing a port: {what}")

    def stop_asked_for(self, name: str) -> None:
        """A signal asks the service to stop."""
        self._say(f"received {name}")

    def stopping(self, serving: int, grace: float) -> None:
        """Ports are closed; the children that serve are waited for."""
        self._say(f"stopping children={serving} grace={grace:g}")

    def draining(self, left: int) -> None:
        """Some time has passed, and children are still busy."""
        self._say(f"draining children={left}")

    def reloading(self) -> None:
        """The handler is loaded anew."""
        self._say("reloading")

    def reloaded(self, template: int | None = None) -> None:
        """A new template has taken over; or children to come are new, where there is none."""
        self._say("reloaded" if template is None else f"reloaded pid={template}")

    def nothing_to_reload(self) -> None:
        """Programs are executed, always, as they are on the disk."""
        self._say("nothing to reload: programs are executed as they are on the disk")

    def reload_failed(self, status: str, old_template: bool) -> None:
        """The handler cannot be loaded anew; a template that there is goes on."""
        then = ": the old template goes on" if old_template else ""
        self._warn(f"reload failed {status}{then}")

    def signalled(self, name: str, count: int) -> None:
        """Children that are still there at shutdown get a signal."""
        self._warn(f"stopping: {name} sent to children={count}")

    def left_behind(self, count: int) -> None:
        """Children do not even end when they are killed, or their launcher does not."""
        self._warn(f"stopping: not waited for any more children={count}")

    def stopped(self) -> None:
        """Every child has been waited for."""
        self._say("stopped")


def _place(trace: TracebackType) -> str:
    """Where a traceback points to: ``file.py:12``."""
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"


def _literally(line: str) -> str:
    """As a format that gives *line*; faster to format than one with a field."""
    return line.replace("{", "{{").replace("}", "}}")


def printable(text: str) -> str:
    """Escape what could move the cursor, or begin a line; and bytes that were no text, where they
    were decoded with ``surrogateescape``."""
    if text.isprintable():
        return text
    text = text.translate(_ESCAPES)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def reason_text(reason: Failure) -> str:
    """
    How a process has ended, from what its ProcessProtocol was told: ``exit=0``,
    ``signal=SIGKILL``; ``exit=unknown`` when somebody else has waited for it.
    """
    ending: Any = reason.value
    number = ending.signal
    if number is None:
        code = ending.exitCode
        return f"exit={'unknown' if code is None else code}"
    try:
        return f"signal={signal.Signals(number).name}"
    except ValueError:
        return f"signal={number}"

"""
The log, as an interface: one method per line.  docs/log.md has a row for each.
"""

from __future__ import annotations

from resource import struct_rusage

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from twisted_fork.ending import Ending
from twisted_fork.logformat import how_ended, signal_name, what_was_raised, why_failed, writer

__all__ = ["Journal"]

_MOST_PLACES = 100
"""Places whose traceback has been written that are remembered."""

_NOT_KNOWN = (None, None)


class Journal:
    """
    The lines of one service.  A value that is None, or an empty *peer*, is not known.

    :param quiet: leave out the lines that every connection has; whatever is a
        trouble is written all the same.
    """

    def __init__(self, quiet: bool = False, log: Logger | None = None) -> None:
        self.quiet = quiet
        log = log or Logger(namespace="twisted_fork")
        self._info = writer(log)
        self._warn = writer(log, LogLevel.warn)
        self._critical = writer(log, LogLevel.critical)
        self._told: set[str | None] = set()

    # Connections

    def accepting(self, address: str) -> None:
        """The service accepts connections now, at this address among others."""
        self._info("accepting connections", {"address": address})

    def handed_over(self, peer: str, pid: int | None) -> None:
        """A child has taken a connection."""
        if not self.quiet:
            self._info("handed over", {"peer": peer, "pid": pid})

    def ready_again(
        self, peer: str, pid: int | None, seconds: float, amount: tuple[int, int] | None = None
    ) -> None:
        """A connection is over, and its child waits for the next; *amount* as in ended."""
        if not self.quiet:
            received, sent = amount or _NOT_KNOWN
            self._info(
                "served",
                {"peer": peer, "pid": pid, "seconds": seconds, "received": received, "sent": sent},
            )

    def ended(
        self,
        peer: str,
        pid: int | None,
        ending: Ending,
        seconds: float,
        amount: tuple[int, int] | None = None,
        usage: struct_rusage | None = None,
        limit: str | None = None,
    ) -> None:
        """
        A child that served a connection has ended.

        :param seconds: since it was given the connection.
        :param amount: bytes that were received and sent, where that is known.
        :param usage: what it used in all its life, where that is known; without its memory
            if ru_maxrss is 0.
        :param limit: the limit that ended it, if one did.
        """
        bad = ending.exit != 0 or limit is not None
        if self.quiet and not bad:
            return
        received, sent = amount or _NOT_KNOWN
        cpu = memory = None
        if usage is not None:
            cpu = usage.ru_utime + usage.ru_stime
            memory = usage.ru_maxrss * 1024 or None
        write = self._warn if bad else self._info
        write(
            "child ended",
            {
                "peer": peer,
                "pid": pid,
                "exit": ending.exit,
                "signal": None if ending.signal is None else signal_name(ending.signal),
                "seconds": seconds,
                "received": received,
                "sent": sent,
                "cpu": cpu,
                "memory": memory,
                "limit": limit,
            },
        )

    def limit_reached(self, peer: str, pid: int | None, limit: str) -> None:
        """A time limit ends a connection: its child gets SIGTERM."""
        self._warn("limit reached", {"peer": peer, "pid": pid, "limit": limit})

    def given_up(self, peer: str, reason: str) -> None:
        """An accepted connection is closed without having been served."""
        self._warn("connection refused", {"peer": peer, "reason": reason})

    def given_up_more(self, source: str, more: int, reason: str) -> None:
        """So many *more* of a source since the last line about it; *reason* is the latest's."""
        self._warn("connections refused", {"source": source, "more": more, "reason": reason})

    def penalized(self, source: str, seconds: float) -> None:
        """A source is refused for a while, since its child was ended by a signal, or by a limit."""
        self._warn("penalty", {"source": source, "seconds": float(seconds)})

    # Children

    def ended_unserved(self, peer: str, pid: int | None, ending: Ending, tries: int) -> None:
        """A child has ended before it took its connection, the *tries*-th to do so."""
        self._warn(
            "child ended without serving",
            {"peer": peer, "pid": pid, **how_ended(ending), "tries": tries},
        )

    def idle_child_ended(self, pid: int | None, ending: Ending) -> None:
        """A child has ended that was not told to."""
        self._warn("idle child ended", {"pid": pid, **how_ended(ending)})

    def breach(self, pid: int | None, peer: str, reason: str) -> None:
        """A child has broken the rules of its channel, and is killed."""
        self._warn("channel protocol error", {"pid": pid, "peer": peer or None, "reason": reason})

    def child_stuck(self, pid: int | None, peer: str, seconds: float) -> None:
        """A child does not take the connection that it was given, and is killed."""
        self._warn("child stuck", {"pid": pid, "peer": peer or None, "seconds": seconds})

    def child_stays(self, pid: int | None, peer: str, seconds: float) -> None:
        """A child does not end when it is told to, and is killed; *peer* is its last."""
        self._warn("child does not end", {"pid": pid, "peer": peer or None, "seconds": seconds})

    def child_wrote(self, pid: int, text: str) -> None:
        """A line of a child's standard error."""
        self._info("child wrote", {"pid": pid, "text": text})

    def stderr_shut_down(self) -> None:
        """A child has shut down what others share; children to come get another."""
        self._warn("standard error shut down", {})

    def child_wrote_too_much(self, dropped: int) -> None:
        """Standard error came faster than it is logged: so many bytes are not."""
        self._warn("standard error dropped", {"bytes": dropped})

    # Templates

    def template_ready(self, pid: int) -> None:
        """The template forks children now."""
        self._info("template ready", {"pid": pid})

    def template_ended(self, pid: int | None, ending: Ending, retry: float) -> None:
        """The template has died; a new one is started after *retry* seconds."""
        self._warn("template ended", {"pid": pid, **how_ended(ending), "retry": retry})

    def template_not_started(self, number: int, retry: float) -> None:
        """No template could be started: *number* is the errno.  It is tried again."""
        self._warn("template not started", {**why_failed(number), "retry": retry})

    def template_late(self, pid: int | None, seconds: float) -> None:
        """The template does not become ready, and is killed."""
        self._warn("template not ready", {"pid": pid, "seconds": seconds})

    def template_stays(self, pid: int | None, seconds: float) -> None:
        """A template does not end when it is let go, and is killed."""
        self._warn("template does not end", {"pid": pid, "seconds": seconds})

    def template_stuck(self, pid: int | None, seconds: float) -> None:
        """The template does not answer, and is killed."""
        self._warn("template stuck", {"pid": pid, "seconds": seconds})

    # Spells in which something fails; connections wait

    def launch_failing(self, number: int, retry: float) -> None:
        """No child can be made just now; the first line of a failing spell."""
        self._warn("launch failing", {**why_failed(number), "retry": retry})

    def launch_recovered(self, failures: int) -> None:
        """Children can be made again."""
        self._info("launch recovered", {"failures": failures})

    def hand_over_failing(self, number: int, retry: float) -> None:
        """Nothing can be sent to any child just now; the first line of a failing spell."""
        self._warn("hand-over failing", {**why_failed(number), "retry": retry})

    def hand_over_recovered(self, failures: int) -> None:
        """Connections can be handed over again."""
        self._info("hand-over recovered", {"failures": failures})

    def accept_failing(self, number: int, retry: float) -> None:
        """No connection can be accepted just now; the first line of a failing spell."""
        self._warn("accept failing", {**why_failed(number), "retry": retry})

    def accept_recovered(self, failures: int) -> None:
        """Connections are accepted again."""
        self._info("accept recovered", {"failures": failures})

    # The service

    def indirect(self) -> None:
        """Programs could be executed by the reactor process, but not in sessions of their own."""
        self._info("programs executed by children", {"reason": "posix_spawn(3) begins no session"})

    def reloading(self) -> None:
        """The handler is loaded anew."""
        self._info("reloading", {})

    def reloaded(self, pid: int | None = None) -> None:
        """A new template has taken over; or children to come are new, where there is none."""
        self._info("reloaded", {"pid": pid})

    def nothing_to_reload(self) -> None:
        """Programs are executed, always, as they are on the disk."""
        self._info("nothing to reload", {})

    def reload_failed(
        self, reason: str | None = None, ending: Ending | None = None, template: int | None = None
    ) -> None:
        """The handler cannot be loaded anew: *reason* says why, or how the new template has
        ended.  *template* is the pid of the old one, if there is one: it goes on."""
        self._warn(
            "reload failed",
            {**how_ended(ending or Ending()), "reason": reason, "template": template},
        )

    def stop_asked_for(self, name: str) -> None:
        """A signal asks the service to stop."""
        self._info("signal received", {"signal": name})

    def stopping(self, children: int, grace: float) -> None:
        """Ports are closed; the children that serve are waited for."""
        self._info("stopping", {"children": children, "grace": float(grace)})

    def draining(self, children: int) -> None:
        """Some time has passed, and children are still busy."""
        self._info("draining", {"children": children})

    def signalled(self, name: str, children: int) -> None:
        """Children that are still there at shutdown get a signal."""
        self._warn("children signalled", {"signal": name, "children": children})

    def left_behind(self, children: int) -> None:
        """Children, or their launcher, do not even end when they are killed."""
        self._warn("children left behind", {"children": children})

    def stopped(self) -> None:
        """Every child has been waited for."""
        self._info("stopped", {})

    # Faults

    def port_dropped(self, name: str) -> None:
        """The reactor has stopped watching what it was to watch; it is watched again."""
        self._warn("reader dropped", {"name": name})

    def port_trouble(self, address: str, reason: str) -> None:
        """A port could not be closed as it should."""
        self._warn("port not closed", {"address": address, "reason": reason})

    def protocol_raised(self) -> None:
        """A method of the application's ChildProtocol has raised: with its traceback."""
        self._critical("ChildProtocol raised", {}, Failure())

    def fault(self, peer: str = "", pid: int | None = None) -> None:
        """
        Something was raised that nobody expected, and is being handled now.  Its traceback
        comes along the first time in that place: not with each of a flood.

        :param peer: of the connection that it costs, if it costs one; *pid* of the child.
        """
        self._fault(Failure(), peer, pid)

    def raised(self, failure: Failure) -> None:
        """As fault, where a Deferred has failed."""
        self._fault(failure, "", None)

    def _fault(self, failure: Failure, peer: str, pid: int | None) -> None:
        fields = what_was_raised(failure)
        first = fields["where"] not in self._told and len(self._told) < _MOST_PLACES
        if first:
            self._told.add(fields["where"])
        traceback = failure if first else None
        self._critical("fault", {"peer": peer or None, "pid": pid, **fields}, traceback)

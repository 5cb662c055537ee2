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
"""For so many places in the code a traceback is written."""

_NOT_KNOWN = (None, None)


class Journal:
    """
    Writes the lines of one service.  None, or an empty *peer*, means that a value is not known.

    :param quiet: leave out the normal lines of each connection; problems are still written.
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
        """The service now accepts connections at this address; a line for each port."""
        self._info("accepting connections", {"address": address})

    def handed_over(self, peer: str, pid: int | None) -> None:
        """A child has taken a connection."""
        if not self.quiet:
            self._info("handed over", {"peer": peer, "pid": pid})

    def ready_again(
        self, peer: str, pid: int | None, seconds: float, amount: tuple[int, int] | None = None
    ) -> None:
        """A connection is over, and its child waits for another; *amount*: see ended."""
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
        :param amount: bytes received and sent, if known.
        :param usage: what it used in its whole life, if known; its memory is not known if
            ru_maxrss is 0.
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
        """A time limit is over: the child gets SIGTERM."""
        self._warn("limit reached", {"peer": peer, "pid": pid, "limit": limit})

    def given_up(self, peer: str, reason: str) -> None:
        """An accepted connection is closed without having been served."""
        self._warn("connection refused", {"peer": peer, "reason": reason})

    def given_up_more(self, source: str, more: int, reason: str) -> None:
        """*more* refusals of a source since the last line about it; *reason* is the latest's."""
        self._warn("connections refused", {"source": source, "more": more, "reason": reason})

    def penalized(self, source: str, seconds: float) -> None:
        """A source is refused for a time, because a signal or a limit ended its child."""
        self._warn("penalty", {"source": source, "seconds": float(seconds)})

    # Children

    def ended_unserved(self, peer: str, pid: int | None, ending: Ending, tries: int) -> None:
        """A child has ended before it took its connection; *tries*: how many have."""
        self._warn(
            "child ended without serving",
            {"peer": peer, "pid": pid, **how_ended(ending), "tries": tries},
        )

    def idle_child_ended(self, pid: int | None, ending: Ending) -> None:
        """An idle child has ended that was not told to."""
        self._warn("idle child ended", {"pid": pid, **how_ended(ending)})

    def breach(self, pid: int | None, peer: str, reason: str) -> None:
        """A child has broken the protocol of its channel, and is killed."""
        self._warn("channel protocol error", {"pid": pid, "peer": peer or None, "reason": reason})

    def child_stuck(self, pid: int | None, peer: str, seconds: float) -> None:
        """A child has not taken its connection in time, and is killed."""
        self._warn("child stuck", {"pid": pid, "peer": peer or None, "seconds": seconds})

    def child_stays(self, pid: int | None, peer: str, seconds: float) -> None:
        """A child was told to end and has not, and is killed; *peer* is its last."""
        self._warn("child does not end", {"pid": pid, "peer": peer or None, "seconds": seconds})

    def child_wrote(self, pid: int, text: str) -> None:
        """A child wrote a line to standard error."""
        self._info("child wrote", {"pid": pid, "text": text})

    def stderr_shut_down(self) -> None:
        """A child has shut down the socket for standard error; new children get another."""
        self._warn("standard error shut down", {})

    def child_wrote_too_much(self, dropped: int) -> None:
        """Standard error came faster than it is logged: *dropped* bytes are left out."""
        self._warn("standard error dropped", {"bytes": dropped})

    # Templates

    def template_ready(self, pid: int) -> None:
        """The template forks children from now on."""
        self._info("template ready", {"pid": pid})

    def template_ended(self, pid: int | None, ending: Ending, retry: float) -> None:
        """The template has ended; a new one is started after *retry* seconds."""
        self._warn("template ended", {"pid": pid, **how_ended(ending), "retry": retry})

    def template_not_started(self, number: int, retry: float) -> None:
        """A template could not be started (*number*: errno); tried again after *retry* seconds."""
        self._warn("template not started", {**why_failed(number), "retry": retry})

    def template_late(self, pid: int | None, seconds: float) -> None:
        """The template was not ready in time, and is killed."""
        self._warn("template not ready", {"pid": pid, "seconds": seconds})

    def template_stays(self, pid: int | None, seconds: float) -> None:
        """A template that is not needed any more does not end, and is killed."""
        self._warn("template does not end", {"pid": pid, "seconds": seconds})

    def template_stuck(self, pid: int | None, seconds: float) -> None:
        """The template has not answered in time, and is killed."""
        self._warn("template stuck", {"pid": pid, "seconds": seconds})

    # Spells in which something fails; connections wait

    def launch_failing(self, number: int, retry: float) -> None:
        """Children cannot be made now; the first failure of a spell."""
        self._warn("launch failing", {**why_failed(number), "retry": retry})

    def launch_recovered(self, failures: int) -> None:
        """Children can be made again."""
        self._info("launch recovered", {"failures": failures})

    def hand_over_failing(self, number: int, retry: float) -> None:
        """Connections cannot be sent to children now; the first failure of a spell."""
        self._warn("hand-over failing", {**why_failed(number), "retry": retry})

    def hand_over_recovered(self, failures: int) -> None:
        """Connections can be handed over again."""
        self._info("hand-over recovered", {"failures": failures})

    def accept_failing(self, number: int, retry: float) -> None:
        """Connections cannot be accepted now; the first failure of a spell."""
        self._warn("accept failing", {**why_failed(number), "retry": retry})

    def accept_recovered(self, failures: int) -> None:
        """Connections are accepted again."""
        self._info("accept recovered", {"failures": failures})

    # The service

    def indirect(self) -> None:
        """Children execute the programs, because posix_spawn(3) cannot begin a session here."""
        self._info("programs executed by children", {"reason": "posix_spawn(3) begins no session"})

    def reloading(self) -> None:
        """A reload begins."""
        self._info("reloading", {})

    def reloaded(self, pid: int | None = None) -> None:
        """The new template has taken over; *pid* is None with spawn, which has no template."""
        self._info("reloaded", {"pid": pid})

    def nothing_to_reload(self) -> None:
        """A reload of a program: it is always executed as it is on the disk."""
        self._info("nothing to reload", {})

    def reload_failed(
        self, reason: str | None = None, ending: Ending | None = None, template: int | None = None
    ) -> None:
        """The handler cannot be loaded again: *reason* says why, or *ending* how the new template
        ended.  *template*: pid of the old one, which stays, if there is one."""
        self._warn(
            "reload failed",
            {**how_ended(ending or Ending()), "reason": reason, "template": template},
        )

    def stop_asked_for(self, name: str) -> None:
        """A signal has asked the service to stop."""
        self._info("signal received", {"signal": name})

    def stopping(self, children: int, grace: float) -> None:
        """Ports are closed; *children* are still serving."""
        self._info("stopping", {"children": children, "grace": float(grace)})

    def draining(self, children: int) -> None:
        """The service is still stopping: *children* are still serving."""
        self._info("draining", {"children": children})

    def signalled(self, name: str, children: int) -> None:
        """At shutdown, *children* that have not ended are sent a signal."""
        self._warn("children signalled", {"signal": name, "children": children})

    def left_behind(self, children: int) -> None:
        """*children*, or a launcher's processes, have not even ended when they were killed."""
        self._warn("children left behind", {"children": children})

    def stopped(self) -> None:
        """Every child has been waited for."""
        self._info("stopped", {})

    # Faults

    def port_dropped(self, name: str) -> None:
        """The reactor had stopped watching *name*; it is watched again."""
        self._warn("reader dropped", {"name": name})

    def port_trouble(self, address: str, reason: str) -> None:
        """A port could not be closed properly."""
        self._warn("port not closed", {"address": address, "reason": reason})

    def protocol_raised(self) -> None:
        """A method of the application's ChildProtocol has raised; with its traceback."""
        self._critical("ChildProtocol raised", {}, Failure())

    def fault(self, peer: str = "", pid: int | None = None) -> None:
        """
        Log an unexpected exception.  Call it while the exception is being handled.  Only the
        first time in each place in the code is the traceback written.

        :param peer: of the connection that is closed for it, if any.
        :param pid: of the child that it is about, if any.
        """
        self._fault(Failure(), peer, pid)

    def raised(self, failure: Failure) -> None:
        """As fault, for a Deferred that has failed."""
        self._fault(failure, "", None)

    def _fault(self, failure: Failure, peer: str, pid: int | None) -> None:
        fields = what_was_raised(failure)
        first = fields["where"] not in self._told and len(self._told) < _MOST_PLACES
        if first:
            self._told.add(fields["where"])
        traceback = failure if first else None
        self._critical("fault", {"peer": peer or None, "pid": pid, **fields}, traceback)

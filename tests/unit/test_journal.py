"""Tests for the log, as an interface: what each line looks like, and who can forge one."""

from __future__ import annotations

import inspect
import resource
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.logger import Logger, formatEvent
from twisted.python.failure import Failure

from twisted_fork.journal import Journal, printable, reason_text

from .cases import Case
from .fakes import journal_of

PEER = "192.0.2.1:5000"

USAGE = resource.struct_rusage((0.5, 0.25, 9000, *[0] * 13))
MEMORY_UNKNOWN = resource.struct_rusage((0.5, 0.25, *[0] * 14))


def after_a_mistake(j: Journal) -> None:
    """What is logged when an application's protocol has raised something."""
    try:
        raise ValueError("the application's")
    except ValueError:
        j.protocol_raised()


def after_a_fault(j: Journal) -> None:
    """What is logged when something was raised that nobody expected."""
    try:
        raise KeyError(3)
    except KeyError:
        j.fault(PEER, 7)


FAULT_AT = after_a_fault.__code__.co_firstlineno + 3

PER_CONNECTION: list[tuple[Callable[[Journal], None], str]] = [
    (lambda j: j.handed_over(PEER, 7), f"handed over peer={PEER} pid=7"),
    (lambda j: j.ready_again(PEER, 7, 1.5), f"served peer={PEER} pid=7 seconds=1.500"),
    (
        lambda j: j.ready_again(PEER, 7, 1.5, (3, 4)),
        f"served peer={PEER} pid=7 seconds=1.500 received=3 sent=4",
    ),
    (
        lambda j: j.ended(PEER, 7, "exit=0", 2, (3, 4), USAGE),
        f"child ended peer={PEER} pid=7 exit=0 seconds=2.000 received=3 sent=4"
        " cpu=0.750 memory=9000K",
    ),
    (
        lambda j: j.ended(PEER, 7, "exit=0", 2, None, MEMORY_UNKNOWN),
        f"child ended peer={PEER} pid=7 exit=0 seconds=2.000 cpu=0.750",
    ),
    (
        lambda j: j.ended(PEER, 7, "exit=0", 2),
        f"child ended peer={PEER} pid=7 exit=0 seconds=2.000",
    ),
]

ALWAYS: list[tuple[Callable[[Journal], None], str]] = [
    (
        lambda j: j.accepting(["tcp 0.0.0.0:1", "unix /x"]),
        "accepting connections on tcp 0.0.0.0:1, unix /x",
    ),
    (
        lambda j: j.ended(PEER, 7, "exit=3", 2),
        f"child ended peer={PEER} pid=7 exit=3 seconds=2.000",
    ),
    (
        lambda j: j.ended(PEER, 7, "exit=0", 2, limit="idle-timeout"),
        f"child ended peer={PEER} pid=7 exit=0 seconds=2.000 limit=idle-timeout",
    ),
    (
        lambda j: j.limit_reached(PEER, 7, "idle-timeout"),
        f"limit reached peer={PEER} pid=7 limit=idle-timeout: SIGTERM",
    ),
    (
        lambda j: j.ended_unserved(PEER, 7, "exit=1", again=True),
        f"child ended without serving peer={PEER} pid=7 exit=1: handed over anew",
    ),
    (
        lambda j: j.ended_unserved(PEER, 7, "exit=1", again=False),
        f"child ended without serving peer={PEER} pid=7 exit=1: connection closed",
    ),
    (lambda j: j.idle_child_ended(7, "exit=1"), "idle child ended pid=7 exit=1"),
    (
        lambda j: j.breach(7, PEER, "ready while idle"),
        f"child broke the rules pid=7 peer={PEER} reason='ready while idle': killed",
    ),
    (lambda j: j.breach(7, "", "x"), "child broke the rules pid=7 peer=None reason='x': killed"),
    (lambda j: j.given_up(PEER, "why"), f"connection refused peer={PEER} reason='why'"),
    (
        lambda j: j.given_up_more(PEER, 3, "why"),
        f"connections refused source={PEER} more=3 reason='why'",
    ),
    (lambda j: j.penalized(PEER, 2.5), f"penalty source={PEER} seconds=2.5"),
    (lambda j: j.child_wrote(7, "text"), "child wrote pid=7: text"),
    (
        lambda j: j.child_wrote_too_much(9),
        "children wrote too much: 9 bytes of standard error not logged",
    ),
    (
        lambda j: j.stderr_shut_down(),
        "standard error shut down by a child: made anew for children to come",
    ),
    (after_a_mistake, "ChildProtocol raised"),
    (
        lambda j: j.port_dropped("port tcp 127.0.0.1:1"),
        "dropped by the reactor, watched again name=port tcp 127.0.0.1:1",
    ),
    (lambda j: j.left_behind(3), "stopping: not waited for any more children=3"),
    (
        lambda j: j.raised(Failure(ValueError("a\nb"))),
        "fault peer=None pid=None where=? reason='ValueError: a\\\\nb'",
    ),
    (
        after_a_fault,
        f"fault peer={PEER} pid=7 where=test_journal.py:{FAULT_AT} reason='KeyError: 3'",
    ),
    (
        lambda j: j.indirect(),
        "programs are executed by children: posix_spawn(3) of this Python begins no session",
    ),
    (lambda j: j.template_ready(7), "template ready pid=7"),
    (
        lambda j: j.template_ended(7, "signal=SIGKILL", 0.1),
        "template ended pid=7 signal=SIGKILL: replaced in 0.1 seconds",
    ),
    (
        lambda j: j.template_not_started("why"),
        "cannot start the template: why; trying again",
    ),
    (lambda j: j.template_stuck(7, 5), "template stuck pid=7 seconds=5.0: killed"),
    (lambda j: j.child_stuck(7, PEER, 5), f"child stuck pid=7 peer={PEER} seconds=5.0: killed"),
    (
        lambda j: j.child_stays(7, PEER, 5),
        f"child stays pid=7 last peer={PEER} seconds=5.0: killed",
    ),
    (
        lambda j: j.launch_failing("why"),
        "cannot start children: why; connections wait, trying again",
    ),
    (lambda j: j.launch_recovered(3), "children start again failures=3"),
    (
        lambda j: j.hand_over_failing("why"),
        "cannot hand over connections: why; they wait, trying again",
    ),
    (lambda j: j.hand_over_recovered(3), "connections are handed over again failures=3"),
    (
        lambda j: j.accept_failing("why"),
        "cannot accept connections: why; they wait, trying again",
    ),
    (lambda j: j.accept_recovered(3), "connections accepted again failures=3"),
    (lambda j: j.port_trouble("why"), "closing a port: why"),
    (lambda j: j.stop_asked_for("SIGTERM"), "received SIGTERM"),
    (lambda j: j.stopping(3, 5.0), "stopping children=3 grace=5"),
    (lambda j: j.draining(3), "draining children=3"),
    (lambda j: j.reloading(), "reloading"),
    (lambda j: j.reloaded(7), "reloaded pid=7"),
    (lambda j: j.reloaded(), "reloaded"),
    (
        lambda j: j.nothing_to_reload(),
        "nothing to reload: programs are executed as they are on the disk",
    ),
    (
        lambda j: j.reload_failed("exit=1", True),
        "reload failed exit=1: the old template goes on",
    ),
    (lambda j: j.reload_failed("reason='why'", False), "reload failed reason='why'"),
    (lambda j: j.template_late(7, 60.0), "template not ready pid=7 seconds=60.0: killed"),
    (lambda j: j.template_stays(7, 5.0), "template does not end pid=7 seconds=5.0: killed"),
    (lambda j: j.signalled("SIGKILL", 3), "stopping: SIGKILL sent to children=3"),
    (lambda j: j.stopped(), "stopped"),
]


class LineTests(Case):
    """One function, one line."""

    def test_every_line_has_its_form(self) -> None:
        for call, line in PER_CONNECTION + ALWAYS:
            lines: list[str] = []
            call(journal_of(lines))
            self.assertEqual(lines, [line])

    def test_quiet_leaves_out_what_every_connection_has_and_nothing_else(self) -> None:
        lines: list[str] = []
        for call, _ in PER_CONNECTION + ALWAYS:
            call(journal_of(lines, quiet=True))
        self.assertEqual(lines, [line for _, line in ALWAYS])

    def test_every_function_is_tested_here(self) -> None:
        called = {
            name
            for call, _ in PER_CONNECTION + ALWAYS
            for name in getattr(call, "__code__").co_names  # noqa: B009
        }
        public = {
            name
            for name, _ in inspect.getmembers(Journal, inspect.isfunction)
            if not name.startswith("_")
        }
        self.assertEqual(public - called, set())

    def test_troubles_are_warnings(self) -> None:
        events: list[Any] = []
        log = Logger(observer=events.append)  # type: ignore[arg-type]
        for call, _ in PER_CONNECTION + ALWAYS:
            call(Journal(log=log))
        levels = {formatEvent(event): event["log_level"].name for event in events}
        for line, level in levels.items():
            trouble = any(
                word in line
                for word in (
                    "exit=1",
                    "exit=3",
                    "broke",
                    "refused",
                    "limit",
                    "cannot",
                    "stuck",
                    "too much",
                )
            )
            if trouble:
                self.assertEqual(level, "warn", line)

    def test_a_mistake_of_the_application_is_logged_with_its_traceback(self) -> None:
        events: list[Any] = []
        after_a_mistake(Journal(log=Logger(observer=events.append)))  # type: ignore[arg-type]
        self.assertIsInstance(events[0]["log_failure"].value, ValueError)

    def test_braces_are_only_braces(self) -> None:
        lines: list[str] = []
        journal_of(lines).child_wrote(7, "{pid} {} {log_time!r} }{ {{")
        self.assertEqual(lines, ["child wrote pid=7: {pid} {} {log_time!r} }{ {{"])


class ForgeryTests(Case):
    """Whatever a peer, a child or a handler had a hand in, it is within its line."""

    @given(st.text())
    def test_printable_text_has_nothing_that_moves_the_cursor(self, text: str) -> None:
        shown = printable(text)
        self.assertTrue(shown.isprintable())
        self.assertEqual(len(shown.splitlines()), 1 if shown else 0)

    @given(st.text().filter(str.isprintable))
    def test_printable_text_is_left_as_it_is(self, text: str) -> None:
        self.assertEqual(printable(text), text)

    @given(st.text(), st.text())
    def test_nobody_writes_a_line_of_ours(self, text: str, more: str) -> None:
        lines: list[str] = []
        journal = journal_of(lines)
        journal.child_wrote(7, f"{text}\nstopped\r\n{more}")
        journal.breach(7, PEER, f"{text}\n{more}")
        journal.given_up(PEER, f"{text}\n{more}")
        self.assertEqual(len(lines), 3)
        for line in lines:
            self.assertTrue(line.isprintable())


class ReasonTests(Case):
    """How a process has ended."""

    def test_every_end_has_its_text(self) -> None:
        for reason, text in [
            (ProcessDone(0), "exit=0"),
            (ProcessTerminated(3, None, 768), "exit=3"),
            (ProcessTerminated(None, 9, 9), "signal=SIGKILL"),
            (ProcessTerminated(None, 6, 134), "signal=SIGABRT"),
            (ProcessTerminated(None, 50, 50), "signal=50"),
            (ProcessTerminated(), "exit=unknown"),
        ]:
            self.assertEqual(reason_text(Failure(reason)), text)

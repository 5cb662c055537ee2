"""Tests for the log, as an interface: what each line looks like."""

from __future__ import annotations

import errno
import inspect
import resource
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.logger import LogEvent, Logger, LogLevel, formatEvent
from twisted.python.failure import Failure

from twisted_fork.ending import Ending
from twisted_fork.journal import Journal

from .cases import Case

PEER = "192.0.2.1:5000"

END: dict[str, Any] = {"peer": PEER, "pid": 7, "seconds": 1.0}

WELL, KILLED = Ending(0), Ending(signal=9)

TRY_AGAIN = "errno=EAGAIN reason='Resource temporarily unavailable'"

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
        lambda j: j.ended(PEER, 7, WELL, 2.0, (3, 4), USAGE),
        f"child ended peer={PEER} pid=7 exit=0 seconds=2.000 received=3 sent=4"
        " cpu=0.750 memory=9216000",
    ),
    (
        lambda j: j.ended(PEER, 7, WELL, 2.0, None, MEMORY_UNKNOWN),
        f"child ended peer={PEER} pid=7 exit=0 seconds=2.000 cpu=0.750",
    ),
    (
        lambda j: j.ended(PEER, 7, WELL, 2.0),
        f"child ended peer={PEER} pid=7 exit=0 seconds=2.000",
    ),
]

ALWAYS: list[tuple[Callable[[Journal], None], str]] = [
    (
        lambda j: j.accepting("tcp 0.0.0.0:1"),
        "accepting connections address='tcp 0.0.0.0:1'",
    ),
    (
        lambda j: j.ended(PEER, 7, Ending(3), 2.0),
        f"child ended peer={PEER} pid=7 exit=3 seconds=2.000",
    ),
    (
        lambda j: j.ended(PEER, 7, KILLED, 2.0),
        f"child ended peer={PEER} pid=7 signal=SIGKILL seconds=2.000",
    ),
    (
        lambda j: j.ended(PEER, 7, Ending(), 2.0),
        f"child ended peer={PEER} pid=7 seconds=2.000",
    ),
    (
        lambda j: j.ended(PEER, 7, WELL, 2.0, limit="idle-timeout"),
        f"child ended peer={PEER} pid=7 exit=0 seconds=2.000 limit=idle-timeout",
    ),
    (
        lambda j: j.limit_reached(PEER, 7, "idle-timeout"),
        f"limit reached peer={PEER} pid=7 limit=idle-timeout",
    ),
    (
        lambda j: j.ended_unserved(PEER, 7, Ending(1), 2),
        f"child ended without serving peer={PEER} pid=7 exit=1 tries=2",
    ),
    (
        lambda j: j.ended_unserved(PEER, 7, KILLED, 3),
        f"child ended without serving peer={PEER} pid=7 signal=SIGKILL tries=3",
    ),
    (lambda j: j.idle_child_ended(7, Ending(1)), "idle child ended pid=7 exit=1"),
    (
        lambda j: j.breach(7, PEER, "ready while idle"),
        f"channel protocol error pid=7 peer={PEER} reason='ready while idle'",
    ),
    (lambda j: j.breach(7, "", "x"), "channel protocol error pid=7 reason=x"),
    (lambda j: j.given_up(PEER, "is full"), f"connection refused peer={PEER} reason='is full'"),
    (
        lambda j: j.given_up_more(PEER, 3, "full"),
        f"connections refused source={PEER} more=3 reason=full",
    ),
    (lambda j: j.penalized(PEER, 2), f"penalty source={PEER} seconds=2.000"),
    (lambda j: j.child_wrote(7, "some text"), "child wrote pid=7 text='some text'"),
    (lambda j: j.child_wrote_too_much(9), "standard error dropped bytes=9"),
    (lambda j: j.stderr_shut_down(), "standard error shut down"),
    (after_a_mistake, "ChildProtocol raised"),
    (
        lambda j: j.port_dropped("port tcp 127.0.0.1:1"),
        "reader dropped name='port tcp 127.0.0.1:1'",
    ),
    (lambda j: j.left_behind(3), "children left behind children=3"),
    (
        lambda j: j.raised(Failure(ValueError("a\nb"))),
        "fault reason='ValueError: a\\nb'",
    ),
    (
        after_a_fault,
        f"fault peer={PEER} pid=7 where=test_journal.py:{FAULT_AT} reason='KeyError: 3'",
    ),
    (
        lambda j: j.indirect(),
        "programs executed by children reason='posix_spawn(3) begins no session'",
    ),
    (lambda j: j.template_ready(7), "template ready pid=7"),
    (
        lambda j: j.template_ended(7, KILLED, 0.1),
        "template ended pid=7 signal=SIGKILL retry=0.100",
    ),
    (
        lambda j: j.template_not_started(errno.EAGAIN, 0.1),
        f"template not started {TRY_AGAIN} retry=0.100",
    ),
    (lambda j: j.template_stuck(7, 5.0), "template stuck pid=7 seconds=5.000"),
    (lambda j: j.child_stuck(7, PEER, 5.0), f"child stuck pid=7 peer={PEER} seconds=5.000"),
    (
        lambda j: j.child_stays(7, PEER, 5.0),
        f"child does not end pid=7 peer={PEER} seconds=5.000",
    ),
    (
        lambda j: j.launch_failing(errno.EAGAIN, 0.05),
        f"launch failing {TRY_AGAIN} retry=0.050",
    ),
    (lambda j: j.launch_failing(0, 0.05), "launch failing reason=Success retry=0.050"),
    (lambda j: j.launch_recovered(3), "launch recovered failures=3"),
    (
        lambda j: j.hand_over_failing(errno.EAGAIN, 0.05),
        f"hand-over failing {TRY_AGAIN} retry=0.050",
    ),
    (lambda j: j.hand_over_recovered(3), "hand-over recovered failures=3"),
    (
        lambda j: j.accept_failing(errno.EAGAIN, 0.05),
        f"accept failing {TRY_AGAIN} retry=0.050",
    ),
    (lambda j: j.accept_recovered(3), "accept recovered failures=3"),
    (
        lambda j: j.port_trouble("unix /x", "is gone"),
        "port not closed address='unix /x' reason='is gone'",
    ),
    (lambda j: j.stop_asked_for("SIGTERM"), "signal received signal=SIGTERM"),
    (lambda j: j.stopping(3, 5), "stopping children=3 grace=5.000"),
    (lambda j: j.draining(3), "draining children=3"),
    (lambda j: j.reloading(), "reloading"),
    (lambda j: j.reloaded(7), "reloaded pid=7"),
    (lambda j: j.reloaded(), "reloaded"),
    (lambda j: j.nothing_to_reload(), "nothing to reload"),
    (
        lambda j: j.reload_failed(ending=Ending(1), template=7),
        "reload failed exit=1 template=7",
    ),
    (lambda j: j.reload_failed("no such file"), "reload failed reason='no such file'"),
    (lambda j: j.template_late(7, 60.0), "template not ready pid=7 seconds=60.000"),
    (lambda j: j.template_stays(7, 5.0), "template does not end pid=7 seconds=5.000"),
    (lambda j: j.signalled("SIGKILL", 3), "children signalled signal=SIGKILL children=3"),
    (lambda j: j.stopped(), "stopped"),
]


def events_of(call: Callable[[Journal], None], quiet: bool = False) -> list[LogEvent]:
    """What is logged by it."""
    events: list[LogEvent] = []
    call(Journal(quiet, Logger("test", observer=events.append)))  # type: ignore[arg-type]
    return events


class LineTests(Case):
    """One method, one line."""

    def test_every_line_has_its_form(self) -> None:
        for call, line in PER_CONNECTION + ALWAYS:
            self.assertEqual([formatEvent(event) for event in events_of(call)], [line])

    def test_quiet_leaves_out_what_every_connection_has_and_nothing_else(self) -> None:
        lines = [
            formatEvent(event)
            for call, _ in PER_CONNECTION + ALWAYS
            for event in events_of(call, quiet=True)
        ]
        self.assertEqual(lines, [line for _, line in ALWAYS])

    def test_every_method_is_tested_here(self) -> None:
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

    def test_how_a_child_has_ended_makes_it_a_warning(self) -> None:
        for ending, limit, level in [
            (WELL, None, LogLevel.info),
            (WELL, "memory", LogLevel.warn),
            (Ending(1), None, LogLevel.warn),
            (KILLED, None, LogLevel.warn),
            (Ending(), None, LogLevel.warn),
        ]:
            (event,) = events_of(partial(Journal.ended, **END, ending=ending, limit=limit))
            self.assertIs(event["log_level"], level)

    def test_a_mistake_of_the_application_is_logged_with_its_traceback(self) -> None:
        (event,) = events_of(after_a_mistake)
        self.assertIsInstance(event["log_failure"].value, ValueError)

    def test_the_traceback_of_a_fault_comes_once_for_each_place(self) -> None:
        events: list[LogEvent] = []
        journal = Journal(log=Logger("test", observer=events.append))  # type: ignore[arg-type]
        for _ in range(3):
            after_a_fault(journal)
        self.assertEqual(["log_failure" in event for event in events], [True, False, False])

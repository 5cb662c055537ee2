"""
Servers whose functions are made to raise in the reactor process, call after call: see
injected.py for how.

What connections do is recorded first, so a function that is added later is in the list by
itself.  Each call of the list then raises once: as the function is entered, or when it has done
its work.  A server that has survived goes on with the next; so what one call alone would break
is seen at once, and what many break together by the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.servers.commands import through
from tests.integration.servers.harness import LOOPBACK
from tests.integration.servers.serving import Serve

from .peers import MOST, Peers, Remote, Way, served

PROGRAM = Path(__file__).with_name("injected.py")

GRACE = 0.5
"""The servers' --grace: all of them end within twice that and a second."""

ENTRY, RETURN = "entry", "return"

LEFT_OUT = {
    (ENTRY, "timers.py", "_due"): "the reactor has forgotten what it calls, and only this arms it"
    " again when the rest raises; it does nothing else",
    (
        ENTRY,
        "command/signals.py",
        "_signalled",
    ): "the signal is lost before anything was done with it; the next one stops the server",
    (ENTRY, "command/signals.py", "_act"): "likewise",
    (ENTRY, "service.py", "stopService"): "Twisted calls it once, and it is the stop",
}
"""What the guard itself consists of, and cannot raise without a loss."""

_MOST_CALLS = 2
"""Calls of one function, in what one connection does, that raise."""

_BETWEEN_STOPS = 100
"""Calls that raise in one server until it is stopped and another takes its place."""

_TRIES = 5
"""Times that a call is waited for: some come at some connections only."""


@dataclass(frozen=True)
class Call:
    """
    One call that is to raise.

    :ivar name: of the function, see injected.name_of.
    :ivar nth: which call of it.
    :ivar doing: where it has been seen.
    :ivar always: it has been seen each time.
    """

    name: str
    nth: int
    doing: Callable[[Peers], object] = field(repr=False)
    always: bool


class Running:
    """
    A server that runs, and is asked for its state.

    :ivar peers: those that connect to it.
    """

    def __init__(self, serve: Serve, folder: Path, way: Way) -> None:
        control = folder / f"control-{len(list(folder.iterdir()))}"
        self._way = way
        self.server = serve(
            f"--grace={GRACE}",
            *way.options,
            handler="" if way.program else way.handler,
            program=way.program,
            wrap=lambda command: through(command, PROGRAM, str(control)),
            launcher=way.launcher,
            spares=way.spares,
            listen=("unix:socket",) if way.unix else (LOOPBACK,),
            steered=True,
            forked=True,
        )
        self.server.expects_traceback = True
        self.server.expects_retries = True
        self.remote = Remote(control)
        self.peers = Peers(self.server, self.remote, way)
        self._was = self.remote.state()
        self._read = 0

    def check_served(self) -> None:
        """A connection is served."""
        answer = served(self.peers)
        assert answer == self._way.answer, f"answered with {answer!r}"

    def settle(self) -> None:
        """All is as it was before the first connection."""
        self.remote.wait_for(self._was, most=MOST)

    def wait_until_accepted(self, number: int) -> None:
        """So many connections have been accepted and are not over."""
        self.remote.wait_for({"busy": number})

    def log(self) -> str:
        """What it has logged since this was asked last."""
        with self.server.log_file.open("rb") as file:
            file.seek(self._read)
            read = file.read()
        self._read += len(read)
        return read.decode(errors="replace")

    def stop(self) -> None:
        """SIGTERM ends it, well and in time."""
        self.server.kill()
        self.remote.hurry(2 * GRACE + 1)
        self.server.wait_until_over()
        self.remote.close()


class Injection:
    """
    All calls of one way, raising one by one.

    :param serve: the fixture.
    :param at: where they raise, ENTRY or RETURN.
    :param most: calls of one function that raise.
    :ivar raised: the functions that have, and how often.
    :ivar missed: those that were not called when they were to raise: what comes first, the
        end of a channel or of a process, is different each time.
    """

    def __init__(
        self, serve: Serve, folder: Path, way: Way, at: str, most: int = _MOST_CALLS
    ) -> None:
        self._serve = serve
        self._folder = folder
        self._way = way
        self._at = at
        self._most = most
        self.raised: dict[str, int] = {}
        self.missed: list[str] = []
        self._running = self._start()

    def run(self) -> None:
        """Each call raises, and nothing is lost but what had to do with it."""
        for number, call in enumerate(self._record()):
            if number % _BETWEEN_STOPS == _BETWEEN_STOPS - 1:
                self._running.stop()
                self._running = self._start()
            try:
                self._raise(call)
            except AssertionError as failure:
                where = f"{call} raises at its {self._at}, {call.doing.__name__}"
                raise AssertionError(f"{where}: {failure}\n{self._running.log()}") from None
        self._running.stop()
        assert len(self.missed) * 20 < len(self.raised), self.missed

    def _start(self) -> Running:
        running = Running(self._serve, self._folder, self._way)
        running.check_served()
        running.settle()
        return running

    def _record(self) -> list[Call]:
        calls: dict[tuple[str, int], Call] = {}
        for doing in self._way.doings:
            twice = [self._counts(doing), self._counts(doing)]
            for name in {**twice[0], **twice[1]}:
                most, least = (f(each.get(name, 0) for each in twice) for f in (max, min))
                for nth in range(1, min(most, self._most) + 1):
                    calls.setdefault((name, nth), Call(name, nth, doing, nth <= least))
        return [call for call in calls.values() if not left_out(call.name, self._at)]

    def _counts(self, doing: Callable[[Peers], object]) -> dict[str, int]:
        self._running.remote.record()
        doing(self._running.peers)
        self._running.settle()
        counts: dict[str, int] = self._running.remote.recorded()
        return counts

    def _raise(self, call: Call) -> None:
        running = self._running
        running.log()
        for _ in range(_TRIES if call.nth == 1 and call.always else 1):
            running.remote.arm(call.name, call.nth, self._at)
            call.doing(running.peers)
            running.settle()
            if running.remote.disarm():
                self.raised[call.name] = self.raised.get(call.name, 0) + 1
                check_told(running.log())
                break
        else:
            if call.nth == 1:
                self.missed.append(call.name)
        running.check_served()
        running.settle()


def left_out(name: str, at: str) -> bool:
    """Whether a function is one of LEFT_OUT."""
    file, _, function = name.split(":")
    return (at, file, function) in LEFT_OUT


def check_told(log: str) -> None:
    """
    What raised is told once, in a line of ours; or, where the reactor itself has called it, by
    the reactor with its traceback.
    """
    lines = re.findall(r"fault (?:peer=\S+ )?(?:pid=\d+ )?where=\S+ reason='Injected: .*'\n", log)
    tracebacks = re.findall(r"\n\t\S*Injected: injected into", log)
    assert (len(lines) == 1 and len(tracebacks) <= 1) or (not lines and len(tracebacks) == 1), (
        f"told {len(lines)} times, with {len(tracebacks)} tracebacks"
    )

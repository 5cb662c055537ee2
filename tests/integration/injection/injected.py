"""
A twistd whose functions can be made to raise: ``python injected.py CONTROL STEERED SOCKET TWISTD
ARGUMENT ...``, where STEERED is steered.py, so that its clock can be moved.

It listens on the Unix socket CONTROL; each line there is a command, a JSON list of its name and
its arguments, and is answered with one line of JSON: see the methods of Control.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import sys
import time
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

import twisted_fork
from tests.integration.injection.hurry import Hurry, children
from twisted_fork.service import ForkingService

PRODUCT = os.path.dirname(twisted_fork.__file__) + os.sep

OF_A_SERVICE = {"Gate", "Pool", "StandardError", "Tap", "Upkeep", "Watchdog"}
"""Whose delayed calls there may be while no connection is: one of each at most."""


LATE = 70
"""The exit status of a server that waits longer than it may."""

_LOOK = 0.001


class Injected(BaseException):
    """What the functions raise: nothing that anybody could expect."""


def name_of(code: CodeType) -> str:
    """A function's name, unique in the product; empty if it is none of it, or a generator
    expression: that runs in pieces, and raises in the function that goes through it."""
    path = code.co_filename
    if not path.startswith(PRODUCT) or code.co_name == "<genexpr>":
        return ""
    return f"{path[len(PRODUCT) :]}:{code.co_firstlineno}:{code.co_name}"


class Trap:
    """
    Waits for a call of a function, and makes it raise.

    :ivar sprung: it has raised.
    """

    def __init__(self, name: str, nth: int, at: str) -> None:
        self.sprung = False
        self._name = name
        self._line = int(name.split(":")[1])
        self._left = nth
        self._at = at

    def enter(self, frame: FrameType, event: str, argument: object) -> Any:
        """For sys.settrace: a function is called."""
        code = frame.f_code
        if code.co_firstlineno != self._line or self.sprung or name_of(code) != self._name:
            return None
        self._left -= 1
        if self._left:
            return None
        if self._at == "return":
            return self._leave
        self._raise()
        return None

    def _leave(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "exception":
            return None  # it has raised by itself
        if event == "return" and not self.sprung:
            self._raise()
        return self._leave

    def _raise(self) -> None:
        self.sprung = True
        sys.settrace(None)
        raise Injected(f"injected into {self._name} at {self._at}")


_LATER = object()
"""Instead of an answer that will be given later."""


class Control(LineOnlyReceiver):
    """Obeys the commands.  What is called meanwhile is neither seen nor made to raise."""

    delimiter = b"\n"
    seen: Counter[str] = Counter()
    recording: bool = False
    trap: Trap | None = None

    def lineReceived(self, line: bytes) -> None:
        self._look_away()
        name, *arguments = json.loads(line)
        answer = getattr(self, f"do_{name}")(*arguments)
        if answer is not _LATER:
            self._answer(answer)
        self._look_on()

    def _answer(self, answer: object) -> None:
        self.sendLine(json.dumps(answer).encode())  # type: ignore[no-untyped-call]

    def _look_away(self) -> None:
        sys.settrace(None)
        sys.setprofile(None)

    def _look_on(self) -> None:
        if self.recording:
            sys.setprofile(self._note)
        if self.trap is not None and not self.trap.sprung:
            sys.settrace(self.trap.enter)

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self.seen[name_of(frame.f_code)] += 1

    def do_record(self) -> None:
        """Begin to note which functions of the product are called."""
        self.seen.clear()
        self.recording = True

    def do_record_to_the_end(self, path: str) -> None:
        """Begin to note, and write the names into a file when the server has ended."""
        self.do_record()
        atexit.register(self._write, path)

    def _write(self, path: str) -> None:
        sys.setprofile(None)
        with open(path, "w") as file:
            json.dump(sorted(filter(None, self.seen)), file)

    def do_recorded(self) -> dict[str, int]:
        """End that: the functions, and how often each was called."""
        self.recording = False
        del self.seen[""]
        return self.seen

    def do_arm(self, name: str, nth: int, at: str) -> None:
        """The *nth* call of a function raises, *at* its "entry" or "return"."""
        self.trap = Trap(name, nth, at)

    def do_disarm(self) -> bool:
        """None raises any more: whether one has."""
        trap, self.trap = self.trap, None
        return trap is not None and trap.sprung

    def do_expire(self) -> None:
        """The time of all connections is over: what is to be done then is done now."""
        for call in _reactor().getDelayedCalls():
            if _what(call).partition(".")[0] in ("Deadline", "HeaderReader"):
                call.reset(0)

    def do_wait(self, expected: dict[str, Any], most: float, deadline: float) -> object:
        """
        Wait until the state has what is *expected*.  The answer is the state then, or after
        *deadline* seconds.

        :param most: the seconds that the clock may be moved meanwhile; see Hurry.
        """
        end = time.time() + deadline

        def over() -> bool:
            state = self.do_state()
            found = all(state[name] == value for name, value in expected.items())
            if found or time.time() > end:
                self._answer(state)
            return found or time.time() > end

        return self._hurry(Hurry(most), over)

    def do_hurry(self, most: float) -> object:
        """
        Move the clock whenever that is all that is waited for, to the end of the process; there
        is no answer.  If *most* seconds are not enough, it ends with the status LATE.
        """

        def late() -> bool:
            if hurry.late:
                sys.stderr.write(f"{[*map(str, _reactor().getDelayedCalls())]}")
                sys.stderr.flush()
                os._exit(LATE)
            return False

        hurry = Hurry(most)
        return self._hurry(hurry, late)

    def _hurry(self, hurry: Hurry, over: Callable[[], bool]) -> object:
        def look() -> None:
            self._look_away()
            if not over():
                hurry.look()
                _reactor().callLater(_LOOK, look)
            self._look_on()

        look()
        return _LATER

    def do_state(self) -> dict[str, Any]:
        """What there is in the reactor process."""
        running = _service()._running
        pool, watcher, gate = running.pool, running.watcher, running.gate
        return {
            "children": Counter(child.state.value for child in pool.children),
            "busy": pool.places.taken,
            "ordered": pool.children.ordered,
            "idle": pool.children.idle,
            "waiting": len(pool.places.waiting),
            "sources": len(pool.places.sources),
            "watched": len(watcher._readers),
            "ports": sum(reader in _reactor().getReaders() for reader in gate._readers),
            "delayed": _delayed(),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "processes": len(children()),
        }


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor


_services: list[ForkingService] = []


def _service() -> ForkingService:
    if not _services:
        _services.extend(each for each in gc.get_objects() if isinstance(each, ForkingService))
    (service,) = _services
    return service


def _what(call: Any) -> str:
    """What a delayed call calls: Later's is not the one that matters."""
    later = getattr(call.func, "__self__", None)
    what: Any = getattr(later, "_what", call.func)
    name: str = getattr(what, "func", what).__qualname__  # it may be a partial
    return name


def _delayed() -> dict[str, int]:
    """Delayed calls that are about one connection or one process, by what they call."""
    found = Counter(_what(call) for call in _reactor().getDelayedCalls())
    return {name: n for name, n in found.items() if name.partition(".")[0] not in OF_A_SERVICE}


def main() -> None:
    """Run what follows."""
    _, control, *sys.argv = sys.argv
    factory = Factory.forProtocol(Control)
    factory.noisy = False
    _reactor().callWhenRunning(_reactor().listenUNIX, control, factory)
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()

"""
Mutants that may live, and why: the function that they are in, the lines that were changed, and
what became of them.
"""

from __future__ import annotations

__all__ = ["ACCEPTED"]

_SOCKET = "_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM"

ACCEPTED: dict[str, dict[str, list[tuple[str, str, str]]]] = {
    "pool/roster": {
        "generations are only told apart": [
            ("__init__", "self.generation = 0", "self.generation = 1"),
            ("__init__", "self.generation = 0", "self.generation = -1"),
        ],
        "both have a number for each kind": [
            (
                "_change",
                "return _Counts(*(each - was for each, was in zip(after, before, strict=True)))",
                "return _Counts(*(each - was for each, was in zip(after, before, strict=False)))",
            ),
        ],
        "it is not 0 there": [
            ("move", "if idle > 0:", "if idle > -1:"),
            ("move", "if idle > 0:", "if idle >= 0:"),
        ],
    },
    "service": {
        "Twisted's does nothing": [
            (
                "privilegedStartService",
                "super().privilegedStartService()  # type: ignore[no-untyped-call]",
                "pass  # type: ignore[no-untyped-call]",
            ),
        ],
    },
    "launchers/template": {
        "what is not in the table changes nothing": [
            ("", "(State.MUTE, Event.CHANNEL_ENDED): State.MUTE,", after)
            for after in (
                "",
                "(State.ENDED, Event.CHANNEL_ENDED): State.MUTE,",  # a later line says otherwise
                "(State.MUTE, Event.PROCESS_ENDED): State.MUTE,",  # likewise
            )
        ],
    },
    "launchers/templates": {
        "an error without a number is told in other words": [
            (within, line, line.replace("or 0", f"or {number}"))
            for number in (1, -1)
            for within, line in (
                (
                    "start",
                    "self._journal.template_not_started(failure.errno or 0, "
                    "self._restart.failed())",
                ),
                ("reload", "self.reload_failed(os.strerror(failure.errno or 0))"),
            )
        ],
        "a socket that is forgotten is closed": [("_new", "theirs.close()", "pass")],
        "READY is not about a child, and one that has ended has nothing to do": [
            ("_received", "return", "pass"),
        ],
        "that spares are of another has been told, and all is settled then": [
            ("_is_ready", "self._asking.changed()", "pass"),
        ],
        "one that has ended is told of once, and the next reload has another": [
            ("_template_ended", "self._candidate = None", "pass"),
        ],
    },
    "launchers/fork": {
        "a channel that is broken or has ended: a template that is ready is MUTE then": [
            (
                "launch",
                "template.happens(Event.BROKEN)  # it has died: its successor will be asked",
                "template.happens(Event.CHANNEL_ENDED)  # it has died: its successor will be asked",
            ),
        ],
        "a socket that is forgotten is closed": [("launch", "theirs.close()", "pass")],
    },
    "timers": {
        "sixty doublings are past every limit, and so are 59": [
            (
                "failed",
                "delay = min(self._first * 2.0 ** min(self.failures, 60), self._most)",
                f"delay = min(self._first * 2.0 ** min(self.failures, {number}), self._most)",
            )
            for number in (59, 61)
        ],
    },
    "pool/deadlines": {
        "any number that is not positive ends the connection": [
            (
                "_look_whether_idle",
                "left = 0.0 if self._gone else self._idle",
                "left = -1.0 if self._gone else self._idle",
            ),
        ],
    },
    "places/places": {
        "of a descriptor that exists the kernel is not told the protocol": [
            (
                "_say_goodbye",
                f"socket = {_SOCKET}, 0, connection.descriptor)",
                f"socket = {_SOCKET}, {number}, connection.descriptor)",
            )
            for number in (1, -1)
        ],
        "closing twice does no harm": [
            ("release", "if connection.descriptor >= 0:", "if connection.descriptor >= -1:"),
        ],
    },
    "wire/messages": {
        "it is room to spare": [
            (
                "",
                "_INWARD = memoryview(bytearray(LONGEST + 4096))",
                f"_INWARD = memoryview(bytearray(LONGEST + {number}))",
            )
            for number in (4097, 4095)
        ],
        "control messages are aligned: one descriptor takes as much as two": [
            (
                "",
                "_ANCILLARY = _socket.CMSG_SPACE(2 * _DESCRIPTOR)",
                "_ANCILLARY = _socket.CMSG_SPACE(1 * _DESCRIPTOR)",
            ),
        ],
    },
    "inside/handlers/echo": {
        "reads grow fourfold, from 64 KiB to 256, if the bound is anything between": [
            ("", "_LARGEST_READ = 256 * 1024", "_LARGEST_READ = 255 * 1024"),
            ("", "_LARGEST_READ = 256 * 1024", "_LARGEST_READ = 256 * 1023"),
        ],
        "only one descriptor is registered": [
            ("_serve_slowly", "happened = poll.poll()[0][1]", "happened = poll.poll()[-1][1]"),
        ],
        "of a descriptor that exists the kernel is not told the protocol": [
            (
                "_serve_and_close",
                f"connection = {_SOCKET}, 0, descriptor)",
                f"connection = {_SOCKET}, {number}, descriptor)",
            )
            for number in (1, -1)
        ],
        "a socket that is forgotten is closed": [
            ("_serve_and_close", "connection.close()", "pass")
        ],
    },
    "pool/placement": {
        "while nothing has failed there is no spell to end": [
            ("__init__", "self._failed = 0.0", "self._failed = 1.0"),
            ("__init__", "self._failed = 0.0", "self._failed = -1.0"),
            ("__init__", "self._failed = 0.0", "pass"),
        ],
        "none is ordered in the instant of a failure": [
            (
                "launched",
                "if child.since >= self._failed:",
                "if child.since > self._failed:",
            ),
        ],
        "nobody knows the child any more": [
            (within, "child.connection = None", "pass") for within in ("launch", "again")
        ],
        "an error without a number is told in other words": [
            (
                "launch",
                "self.failed(child, failure.errno or 0)",
                f"self.failed(child, failure.errno or {number})",
            )
            for number in (1, -1)
        ],
    },
    "pool/pool": {
        "generations are only told apart": [
            (within, "self.children.generation += 1", "self.children.generation += 2")
            for within in ("renew", "stop")
        ],
        "what is still to be done has been noted: by who has changed something, and by Upkeep": [
            (within, "self.children.changed = True", "pass")
            for within in ("launcher_changed", "_repair")
        ],
        "once it is closed nothing waits, nobody is let in and no spare is ordered": [
            ("settle", "return", "pass"),
        ],
    },
    "pool/children": {
        "whatever an idle child does next, it is noted when": [
            ("becomes_idle", "child.since = self._clock.seconds()", "pass"),
        ],
    },
}
"""By module, and by reason."""

"""Tests for how processes end."""

from __future__ import annotations

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from tests.unit.cases import Case
from twisted_fork.ending import Ending
from twisted_fork.logformat import how_ended


class EndingTests(Case):
    """What a ProcessProtocol is told, and what the log makes of it."""

    def test_every_end_is_one_of_two_numbers_or_not_known(self) -> None:
        for reason, ending, exit, signal in [
            (ProcessDone(0), Ending(0), 0, None),
            (ProcessTerminated(3, None, 768), Ending(3), 3, None),
            (ProcessTerminated(None, 9, 9), Ending(None, 9), None, "SIGKILL"),
            (ProcessTerminated(None, 6, 134), Ending(None, 6), None, "SIGABRT"),
            (ProcessTerminated(None, 50, 50), Ending(None, 50), None, "50"),
            (ProcessTerminated(), Ending(), None, None),
        ]:
            self.assertEqual(Ending.of(Failure(reason)), ending)
            self.assertEqual(how_ended(ending), {"exit": exit, "signal": signal})

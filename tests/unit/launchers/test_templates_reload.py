"""Tests for a new template that takes over from the old one."""

from __future__ import annotations

import errno
import os

from tests.unit.fakes import pass_time
from tests.unit.launchers.cases import ForkLauncherCase
from twisted_fork.handler import Echo
from twisted_fork.launchers.orders import orders_for
from twisted_fork.pool.child import State
from twisted_fork.settings import Settings
from twisted_fork.wire import messages

NEW = orders_for(Echo(print=True), Settings(spare_children=0), listened_to=False)


class ReloadingTests(ForkLauncherCase):
    """The old template goes on until the new one is ready."""

    def test_the_new_one_has_the_new_orders_and_takes_over(self) -> None:
        old = self.start()
        over = self.launcher.reload(NEW)
        self.connect()
        self.assertEqual(self.asked(old).kind, messages.FORK)
        self.assertEqual(self.told()["handler"], NEW["handler"])
        self.say(self.template()[1], messages.READY)
        self.assertTrue(self.successResultOf(over))
        self.connect()
        self.assertEqual(self.asked(self.template()[1]).kind, messages.FORK)

    def test_the_old_one_goes_when_it_has_done_what_it_was_asked_for(self) -> None:
        old = self.start()
        connection = self.connect()
        self.launcher.reload(NEW)
        self.is_ready()
        self.say(old, messages.ALIVE, self.asked(old).ticket, 777)
        self.assertEqual(connection.descriptor, -1)
        self.assertIsNone(messages.receive(old))
        self.ends(0)
        self.assertEqual(len(self.reactor.started), 2, "it is not replaced")

    def test_spares_of_the_old_one_go_and_busy_children_finish(self) -> None:
        old = self.start(connections_per_child=5)
        self.connect()
        self.pool.placement.launch(None)
        for pid in (777, 778):
            message = messages.receive(old)
            assert message is not None
            for descriptor in message.descriptors:
                self.addCleanup(os.close, descriptor)
            self.say(old, messages.ALIVE, message.ticket, pid)
        self.launcher.reload(NEW)
        self.is_ready()
        busy, spare = self.pool.children
        self.assertEqual((busy.state, spare.state), (State.SERVING, State.LEAVING))

    def test_one_that_fails_leaves_the_old_one_in_its_place(self) -> None:
        old = self.start()
        over = self.launcher.reload(NEW)
        self.channel_ends(self.template()[1])
        self.ends()
        self.assertFalse(self.successResultOf(over))
        self.assertIn("reload failed", self.lines[-1])
        self.connect()
        self.assertEqual(self.asked(old).kind, messages.FORK)
        self.assertEqual(self.template(0)[0].signals, [])

    def test_after_one_that_fails_another_has_the_old_orders(self) -> None:
        old = self.start()
        self.launcher.reload(NEW)
        self.assertEqual(self.told(), NEW)
        self.channel_ends(self.template()[1])
        self.ends()
        self.channel_ends(old)
        self.ends(0)
        self.reactor.advance(1)
        self.assertEqual(len(self.reactor.started), 3)
        self.assertNotEqual(self.told()["handler"], NEW["handler"])

    def test_after_one_that_took_over_another_has_the_new_orders(self) -> None:
        self.start()
        self.launcher.reload(NEW)
        self.channel_ends(self.is_ready())
        self.ends()
        self.reactor.advance(1)
        self.assertEqual(len(self.reactor.started), 3)
        self.assertEqual(self.told(), NEW)

    def test_one_that_cannot_be_started_leaves_the_old_one_in_its_place(self) -> None:
        self.start()
        self.reactor.spawn_error = OSError(errno.EAGAIN, "again")
        self.assertFalse(self.successResultOf(self.launcher.reload(NEW)))
        self.assertTrue(self.pool.places.may_accept())
        why, old = os.strerror(errno.EAGAIN), self.template()[0]
        self.assertEqual(self.lines[-1], f"reload failed reason={why!r} template={old.pid}")

    def test_one_that_is_not_ready_in_its_time_is_killed_and_the_reload_has_failed(self) -> None:
        old = self.start()
        pid = self.template()[0].pid
        over = self.launcher.reload(NEW)
        self.told()
        process, channel = self.template()
        pass_time(self.reactor, 59)
        self.assertEqual(process.signals, [])
        pass_time(self.reactor, 2)
        self.assertEqual((process.signals, process.ends_its_group), (["KILL"], True))
        self.assertFalse(self.successResultOf(over))
        self.assertIsNone(messages.receive(channel))
        self.ends()
        failed = [line for line in self.lines if "template ready" not in line]
        self.assertEqual(
            failed,
            [
                "reload failed reason='the handler was not imported within 60 seconds'"
                f" template={pid}"
            ],
        )
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.connect()
        self.assertEqual(self.asked(old).kind, messages.FORK)

    def test_where_there_is_no_old_one_it_is_not_said_to_go_on(self) -> None:
        self.channel_ends(self.start())
        over = self.launcher.reload(NEW)
        self.ends(0)
        self.channel_ends(self.template()[1])
        self.ends()
        self.assertFalse(self.successResultOf(over))
        self.assertEqual(self.lines[-1], "reload failed signal=SIGKILL")

    def test_an_old_one_that_does_not_end_is_killed(self) -> None:
        self.start()
        self.launcher.reload(NEW)
        self.is_ready()
        old = self.template(0)[0]
        pass_time(self.reactor, 4)
        self.assertEqual(old.signals, [])
        pass_time(self.reactor, 2)
        self.assertEqual(old.signals, ["KILL"])
        self.assertIn(f"template does not end pid={old.pid}", self.lines[-1])
        self.ends(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_an_old_one_that_has_a_connection_to_hand_over_is_given_its_time(self) -> None:
        old = self.start()
        self.connect()
        ticket = self.asked(old).ticket
        self.launcher.reload(NEW)
        self.is_ready()
        pass_time(self.reactor, 4.9)
        self.say(old, messages.ALIVE, ticket, 777)
        pass_time(self.reactor, 4.9)
        self.assertEqual(self.template(0)[0].signals, [])

    def test_an_old_one_that_was_not_ready_yet_is_killed_at_once(self) -> None:
        self.launcher.start(self.pool)
        self.launcher.reload(NEW)
        self.is_ready()
        self.assertEqual(self.template(0)[0].signals, ["KILL"])

    def test_stopping_stops_both(self) -> None:
        self.start()
        over = self.launcher.reload(NEW)
        stopped = self.launcher.stop()
        self.assertEqual([self.template(n)[0].signals for n in (0, 1)], [[], ["KILL"]])
        self.ends(0)
        self.assertNoResult(stopped)
        self.ends(1)
        self.successResultOf(stopped)
        self.assertFalse(self.successResultOf(over))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertNotIn("reload failed", " ".join(self.lines))

"""Tests for requests to a template that cannot be sent, and answers that cannot be dealt with."""

from __future__ import annotations

import errno
from typing import Any, cast

from tests.unit.launchers.cases import ForkLauncherCase
from tests.unit.world import FakeChannel
from twisted_fork.kernel.channels import Channel
from twisted_fork.launchers import fork
from twisted_fork.pool import children
from twisted_fork.pool.child import Child
from twisted_fork.wire import messages


class Unexpected(BaseException):
    """Nobody expects it."""


class SendingTests(ForkLauncherCase):
    """Requests."""

    def refusing(self, error: OSError) -> FakeChannel:
        """The template's channel, which takes nothing."""
        self.start()
        template = self.launcher._templates.current
        assert template is not None
        channel = FakeChannel()
        channel.error = error
        self.patch(template, "channel", cast(Channel, channel))
        return channel

    def test_sixty_four_may_be_unanswered(self) -> None:
        self.start(max_children=100)
        for _ in range(64):
            self.assertTrue(self.launcher.ready())
            self.connect()
        self.assertFalse(self.launcher.ready())

    def test_one_that_found_the_template_dead_is_kept_for_its_successor(self) -> None:
        for error in (BrokenPipeError(), ConnectionResetError()):
            self.refusing(error)
            self.connect()
            (child,) = self.pool.children
            self.assertTrue(self.launcher.expects(child))
            self.assertFalse(self.launcher.ready())
            self.assertFalse([line for line in self.lines if "launch failing" in line])

    def test_one_that_cannot_be_sent_is_forgotten_and_its_connection_tried_again(self) -> None:
        channel = self.refusing(OSError(errno.ENOBUFS, "full"))
        ordered: list[Child] = []
        launch = self.launcher.launch

        def watched(child: Child) -> None:
            ordered.append(child)
            launch(child)

        self.patch(self.launcher, "launch", watched)
        connection = self.connect()
        self.assertFalse(self.launcher.expects(ordered[0]))
        self.assertIn("launch failing errno=ENOBUFS", self.lines[-1])
        channel.error = None
        self.reactor.advance(0.05)
        self.assertEqual([message.payload for message in channel.sent], [connection.details()])


class AnsweringTests(ForkLauncherCase):
    """What raises about one child costs that child alone."""

    def test_one_that_cannot_be_waited_for_is_buried(self) -> None:
        buried: list[int] = []
        self.patch(children, "bury", lambda clock, pid: buried.append(pid))
        channel = self.start()
        first, second = self.connect(), self.connect()
        tickets = [self.asked(channel).ticket for _ in range(2)]

        def adopt(*arguments: Any) -> Any:
            self.patch(fork, "adopt", self.forked_process)
            raise Unexpected

        self.patch(fork, "adopt", adopt)
        for ticket, pid in zip(tickets, (701, 702), strict=True):
            self.say(channel, messages.ALIVE, ticket, pid)
        self.assertEqual(buried, [701])
        self.assertIn(f"fault peer={first.peer} pid=701 ", " ".join(self.lines))
        self.assertEqual((first.descriptor, second.descriptor), (-1, -1))
        self.assertEqual([child.pid for child in self.pool.children], [702])
        self.assertEqual(self.template()[0].signals, [])

    def test_one_that_never_was_and_cannot_be_taken_back_costs_no_other(self) -> None:
        channel = self.start()
        connections = [self.connect() for _ in range(3)]
        never_was = self.pool.never_was

        def fail(child: Child) -> None:
            self.patch(self.pool, "never_was", never_was)
            raise Unexpected

        self.patch(self.pool, "never_was", fail)
        self.ends()
        self.channel_ends(channel)
        self.assertEqual(connections[2].descriptor, -1)
        self.assertEqual(list(self.pool.places.waiting), connections[:2])
        faults = [line for line in self.lines if "Unexpected" in line]
        self.assertEqual(len(faults), 1)

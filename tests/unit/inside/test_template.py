"""Tests for the template, as a process that this one has started."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from functools import partial
from pathlib import Path

from tests.unit.cases import Case
from tests.unit.fakes import channel_pair
from tests.unit.processes import status_of
from twisted_fork import inside
from twisted_fork.handler import Echo
from twisted_fork.launchers.orders import give_orders, orders_for
from twisted_fork.settings import Settings
from twisted_fork.wire import messages


def inheritable() -> list[int]:
    """The descriptors, but for the first four, that a program started here would have."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 3 and os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:
            pass  # that of listdir itself
    return found


class TemplateTests(Case):
    """A template, asked for children."""

    def setUp(self) -> None:
        self.ours, self.theirs = channel_pair()
        self.ours.settimeout(20)
        self.addCleanup(self.ours.close)
        self.stderr = Path(self.mktemp())
        self.template = 0
        self.addCleanup(self.end)

    def end(self) -> None:
        """Whatever the test has found, leave no process behind."""
        if self.template:
            os.kill(self.template, signal.SIGKILL)
            os.waitpid(self.template, 0)

    def start(self, connections_per_child: int = 1) -> None:
        settings = Settings(connections_per_child=connections_per_child)
        orders = orders_for(Echo(), settings, listened_to=False)
        give_orders(partial(messages.send, self.ours), orders)
        assert inside.__file__ is not None
        with open(self.stderr, "wb") as stderr, open(os.devnull) as nothing, self.theirs:
            self.template = os.posix_spawn(
                sys.executable,
                [sys.executable, "-u", os.path.dirname(inside.__file__), "template"],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, stderr.fileno(), 2),
                    (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, self.theirs.fileno(), 3),
                    *((os.POSIX_SPAWN_CLOSE, inherited) for inherited in inheritable()),
                ],
            )

    def heard(self) -> messages.Message:
        try:
            message = messages.receive(self.ours)
        except ConnectionResetError:
            message = None
        assert message is not None, self.stderr.read_text()
        return message

    def start_and_wait(self, connections_per_child: int = 1) -> None:
        self.start(connections_per_child)
        ready = self.heard()
        self.assertEqual((ready.kind, ready.number), (messages.READY, self.template))

    def fork(self, ticket: int, carried: int, *descriptors: int) -> int:
        """Ask for a child; its pid."""
        messages.send(self.ours, messages.pack(messages.FORK, ticket, carried), descriptors)
        alive = self.heard()
        self.assertEqual((alive.kind, alive.ticket), (messages.ALIVE, ticket))
        return alive.number

    def ends_well(self) -> None:
        """The template ends when its channel does, without a word."""
        self.ours.close()
        status, self.template = status_of(self.template), 0
        self.assertEqual((self.stderr.read_text(), status), ("", 0))

    def test_a_child_serves_the_connection_that_it_was_asked_for_with(self) -> None:
        self.start_and_wait()
        served, peer = socket.socketpair()
        with served:
            pid = self.fork(7, messages.CARRIES_CONNECTION, served.fileno())
        with peer:
            peer.sendall(b"hello\n")
            self.assertEqual(peer.recv(100), b"HELLO\n")
            self.assertEqual((os.getpgid(pid), os.getsid(pid)), (pid, pid))
            held = os.listdir(f"/proc/{pid}/fd")
            self.assertEqual(len(held), 4, "it holds more than streams and a connection")
        self.assertEqual(status_of(pid), 0)
        self.ends_well()

    def test_it_has_had_no_child_when_it_is_ready(self) -> None:
        # one that is killed before then, because another takes over, would leave it behind
        self.start_and_wait()
        stat = Path(f"/proc/{self.template}/stat").read_text().rpartition(")")[2].split()
        faults, faults_of_children = map(int, stat[7:9])
        self.assertGreater(faults, 0)
        self.assertEqual(faults_of_children, 0)

    def test_a_spare_waits_on_a_channel_of_its_own(self) -> None:
        self.start_and_wait()
        ours, theirs = channel_pair()
        with ours, theirs:
            pid = self.fork(8, messages.CARRIES_CHANNEL, theirs.fileno())
            theirs.close()
            served, peer = socket.socketpair()
            with peer:
                messages.send(ours, messages.pack(messages.CONNECTION), (served.fileno(),))
                served.close()
                taken = messages.receive(ours)
                self.assertEqual(taken and taken.kind, messages.TAKEN)
                peer.sendall(b"quit")
                self.assertEqual(peer.recv(100), b"")
        self.assertEqual(status_of(pid), 0)
        self.ends_well()

    def test_a_child_that_lives_on_serves_first_what_it_was_forked_with(self) -> None:
        self.start_and_wait(connections_per_child=2)
        ours, theirs = channel_pair()
        served, peer = socket.socketpair()
        with ours, theirs, served:
            carried = messages.CARRIES_CHANNEL | messages.CARRIES_CONNECTION
            pid = self.fork(9, carried, theirs.fileno(), served.fileno())
            theirs.close()
            served.close()
            with peer:
                peer.sendall(b"quit")
                self.assertEqual(peer.recv(100), b"")
            ready = messages.receive(ours)
            self.assertEqual(ready and ready.kind, messages.READY)
        self.assertEqual(status_of(pid), 0)
        self.ends_well()

    def test_its_streams_and_its_childrens_can_be_changed(self) -> None:
        self.start_and_wait()
        for number, also in ((0, []), (1, [1])):
            read, write = os.pipe()
            messages.send(self.ours, messages.pack(messages.STREAMS, number=number), (write,))
            os.close(write)
            served, peer = socket.socketpair()
            with served:
                pid = self.fork(1, messages.CARRIES_CONNECTION, served.fileno())
            (wanted,) = {os.stat(read).st_ino}
            for who in (self.template, pid):
                have = [n for n in range(8) if self.inode(who, n) == wanted]
                self.assertEqual(have, [*also, 2])
            os.close(read)
            peer.close()
            self.assertEqual(status_of(pid), 0)
        self.ends_well()

    @staticmethod
    def inode(pid: int, descriptor: int) -> int | None:
        try:
            return os.stat(f"/proc/{pid}/fd/{descriptor}").st_ino
        except OSError:
            return None

    def test_it_keeps_no_descriptor_of_what_it_has_passed_on(self) -> None:
        self.start_and_wait()
        before = len(os.listdir(f"/proc/{self.template}/fd"))
        pids, peers = [], []
        for ticket in range(5):
            served, peer = socket.socketpair()
            with served:
                pids.append(self.fork(ticket, messages.CARRIES_CONNECTION, served.fileno()))
            peers.append(peer)
        # It may not have come to close the last one yet.
        self.assertLessEqual(len(os.listdir(f"/proc/{self.template}/fd")) - before, 1)
        for peer in peers:
            peer.close()
        self.assertEqual([status_of(pid) for pid in pids], [0] * 5)

    def test_its_death_touches_no_child(self) -> None:
        self.start_and_wait()
        served, peer = socket.socketpair()
        with served:
            pid = self.fork(1, messages.CARRIES_CONNECTION, served.fileno())
        self.end()
        self.template = 0
        with peer:
            peer.sendall(b"still there\n")
            self.assertEqual(peer.recv(100), b"STILL THERE\n")
        self.assertEqual(status_of(pid), 0)

    def test_a_child_that_was_ordered_by_nobody_any_more_ends_without_a_word(self) -> None:
        self.start_and_wait()
        os.kill(self.template, signal.SIGSTOP)
        os.waitpid(self.template, os.WUNTRACED)
        served, peer = socket.socketpair()
        with served, peer:
            messages.send(
                self.ours,
                messages.pack(messages.FORK, 7, messages.CARRIES_CONNECTION),
                (served.fileno(),),
            )
            self.ours.close()
            served.close()
            peer.settimeout(20)
            os.kill(self.template, signal.SIGCONT)
            self.assertEqual(peer.recv(100), b"", "it serves a connection that others have, too")
        # both are of the template's process group
        ended = dict(os.waitpid(-self.template, 0) for _ in range(2))
        self.assertIn(self.template, ended)
        self.template = 0
        self.assertEqual((self.stderr.read_text(), [*ended.values()]), ("", [0, 0]))

    def test_when_nobody_has_read_that_it_is_ready_it_ends_without_a_word(self) -> None:
        self.start()
        self.assertTrue(select.select([self.ours], [], [], 20)[0])
        self.ends_well()

    def test_when_its_channel_is_closed_while_it_starts_it_ends_without_a_word(self) -> None:
        self.start()
        self.ends_well()

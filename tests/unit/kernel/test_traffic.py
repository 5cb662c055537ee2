"""Tests for what the kernel tells of a connection, with or without a descriptor of it."""

from __future__ import annotations

import os
import socket
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cases import Case
from tests.unit.processes import descriptors_before
from twisted_fork.kernel import traffic
from twisted_fork.kernel.traffic import Traffic, require_told
from twisted_fork.settings import InvalidSetting
from twisted_fork.wire import messages, tcpinfo


class ConnectionCase(Case):
    """A real connection on loopback: *client* and *served* are its ends."""

    family, host = socket.AF_INET, "127.0.0.1"

    def setUp(self) -> None:
        self.listener = socket.create_server((self.host, 0), family=self.family)
        self.addCleanup(self.listener.close)
        self.connect()

    def connect(self) -> None:
        self.client = socket.create_connection(self.listener.getsockname()[:2], timeout=10)
        self.served, _ = self.listener.accept()
        self.served.settimeout(10)
        self.addCleanup(self.client.close)
        self.addCleanup(self.served.close)


class TrafficTests(ConnectionCase):
    """What is asked by a connection's addresses."""

    def setUp(self) -> None:
        super().setUp()
        self.traffic = Traffic(self.served.fileno())

    def idle(self) -> float:
        idle = self.traffic.idle()
        assert idle is not None
        return idle

    def age(self) -> float:
        """Nothing is sent until the kernel says that it was idle for a while; the time then."""
        while self.idle() < 0.1:
            time.sleep(0.005)
        return time.monotonic()

    def assertUsedSince(self, then: float) -> None:
        """It has not been idle for longer, as the kernel counts, which is in ticks."""
        idle = self.idle()
        self.assertLess(idle, time.monotonic() - then + 0.05)

    def test_both_directions_count(self) -> None:
        for sender, receiver in ((self.client, self.served), (self.served, self.client)):
            then = self.age()
            sender.sendall(b"x")
            self.assertEqual(receiver.recv(1), b"x")
            self.assertUsedSince(then)

    def test_what_nobody_has_read_counts_too(self) -> None:
        then = self.age()
        self.client.sendall(b"x")
        self.served.recv(1, socket.MSG_PEEK)
        self.assertUsedSince(then)
        self.assertEqual(self.served.recv(1), b"x", "it is still there")

    def test_it_is_told_how_much_went_over_it(self) -> None:
        self.client.sendall(b"hello")
        self.served.recv(5)
        self.served.sendall(b"hello, you")
        self.client.recv(10)
        self.assertEqual(self.traffic.amount(), (5, 10))

    def test_no_descriptor_of_it_is_kept(self) -> None:
        before = len(descriptors_before())
        for _ in range(20):
            Traffic(self.served.fileno()).amount()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertGreaterEqual(self.served.fileno(), 0)

    def test_a_connection_that_was_closed_is_gone_though_its_port_still_listens(self) -> None:
        self.served.close()
        self.client.close()
        self.assertIsNone(self.traffic.idle())
        self.assertIsNone(self.traffic.amount())

    def test_a_peer_that_has_gone_before_it_is_asked_for_is_an_error(self) -> None:
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.client.close()
        self.assertRaises(ConnectionResetError, self.served.recv, 1)
        self.assertRaises(OSError, Traffic, self.served.fileno())

    def test_where_the_kernel_does_not_tell_nothing_is_known(self) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(traffic, "_look_up", refuse)
        self.assertRaises(PermissionError, self.traffic.idle)
        self.assertIsNone(self.traffic.amount())
        with self.assertRaisesRegex(InvalidSetting, "--idle-timeout .* Operation not permitted"):
            require_told([self.listener])


class TrafficOverIPv6Tests(TrafficTests):
    """The same over IPv6."""

    family, host = socket.AF_INET6, "::1"


class MappedTrafficTests(Case):
    """An IPv4 peer of an IPv6 socket."""

    def test_it_is_found(self) -> None:
        with (
            socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as port,
            socket.create_connection(("127.0.0.1", port.getsockname()[1]), timeout=10) as client,
            port.accept()[0] as served,
        ):
            client.sendall(b"hello")
            served.recv(5)
            self.assertEqual(Traffic(served.fileno()).amount(), (5, 0))


class RequiredTests(ConnectionCase):
    """What is found out at the start."""

    def test_the_kernel_tells_of_ports_on_any_address(self) -> None:
        ports = [
            self.listener,
            socket.create_server(("0.0.0.0", 0)),
            socket.create_server(("::1", 0), family=socket.AF_INET6),
            socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True),
        ]
        for port in ports[1:]:
            self.addCleanup(port.close)
        require_told(ports)

    def test_a_socket_that_does_not_listen_is_not_known(self) -> None:
        with socket.socket() as bound:
            bound.bind((self.host, 0))
            self.assertRaises(InvalidSetting, require_told, [bound])

    def test_of_unix_sockets_it_tells_nothing(self) -> None:
        with socket.socket(socket.AF_UNIX) as unix:
            self.assertRaisesRegex(InvalidSetting, "Unix", require_told, [unix])


class AmountTests(ConnectionCase):
    """How much went over a connection, whoever ends first, and whatever still waits."""

    def info(self) -> bytes:
        return self.served.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, messages.ACCOUNT_SIZE)

    def amount(self) -> tuple[int, int]:
        found = tcpinfo.amount(self.info())
        assert found is not None
        return found

    def exchange(self, question: bytes, answer: bytes) -> None:
        self.client.sendall(question)
        while question:
            question = question[len(self.served.recv(len(question))) :]
        self.served.sendall(answer)
        while answer:
            answer = answer[len(self.client.recv(len(answer))) :]

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 40_000), st.integers(0, 40_000), st.booleans())
    def test_an_end_is_not_counted_whoever_was_first(
        self, received: int, sent: int, peer_first: bool
    ) -> None:
        self.connect()
        with self.client, self.served:
            self.exchange(b"q" * received, b"a" * sent)
            self.assertEqual(self.amount(), (received, sent))
            first, second = self.client, self.served
            if not peer_first:
                first, second = second, first
            first.shutdown(socket.SHUT_WR)
            self.assertEqual(second.recv(1), b"")
            self.assertEqual(self.amount(), (received, sent))
            second.shutdown(socket.SHUT_WR)
            self.assertEqual(first.recv(1), b"")
            self.assertEqual(self.amount(), (received, sent))

    def test_what_waits_to_be_sent_counts_as_sent(self) -> None:
        self.served.setblocking(False)
        sent = 0
        try:
            while True:
                sent += self.served.send(b"x" * 65536)
        except BlockingIOError:
            pass
        self.assertEqual(self.amount(), (0, sent))
        self.served.shutdown(socket.SHUT_WR)
        self.assertEqual(self.amount(), (0, sent))

    def test_a_kernel_that_does_not_tell_all_tells_nothing(self) -> None:
        self.assertIsNone(tcpinfo.amount(self.info()[:200]))

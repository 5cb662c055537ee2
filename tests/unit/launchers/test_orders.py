"""Tests for what templates and spawned children are told."""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path

from tests.unit.cases import Case
from tests.unit.processes import descriptors_before
from twisted_fork.handler import Echo
from twisted_fork.inside import start
from twisted_fork.launchers.orders import give_orders, orders_for
from twisted_fork.settings import InvalidSetting, Settings
from twisted_fork.wire import messages
from twisted_fork.wire.orders import Orders


class OrdersTests(Case):
    """The orders, and how they are given."""

    def setUp(self) -> None:
        self.certificate = Path(self.mktemp())
        self.certificate.write_bytes(b"first")

    def orders(self, **given: str) -> Orders:
        settings = Settings(tls_certificate=str(self.certificate), **given)  # type: ignore[arg-type]
        return orders_for(Echo(), settings, listened_to=False)

    def test_files_for_tls_are_told_as_they_were(self) -> None:
        told = self.orders(tls_client_ca=str(self.certificate))["tls"]
        self.certificate.write_bytes(b"second")
        first = (os.path.abspath(self.certificate), b"first")
        self.assertEqual(told, {"certificate": first, "key": None, "client_ca": first})

    def test_one_that_cannot_be_read_is_named_with_its_option(self) -> None:
        wanted = "--tls-client-ca /no/such/file: No such file or directory"
        with self.assertRaises(InvalidSetting) as raised:
            self.orders(tls_client_ca="/no/such/file")
        self.assertEqual(str(raised.exception), wanted)

    def test_they_arrive_however_many_bytes_they_are(self) -> None:
        self.certificate.write_bytes(os.urandom(3_000_000))
        told = self.orders()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        before = descriptors_before()
        give_orders(partial(messages.send, ours), told)
        self.assertEqual(os.listdir("/proc/self/fd"), before)
        message = messages.receive(theirs)
        assert message is not None
        self.assertEqual(start.orders_in(message), told)
        self.assertEqual(os.listdir("/proc/self/fd"), before)

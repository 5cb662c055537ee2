"""Tests for what templates and spawned children are told."""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path

from twisted_fork import starting, wire
from twisted_fork.handler import Echo
from twisted_fork.inside import start
from twisted_fork.settings import InvalidSetting, Settings
from twisted_fork.starting import verdict

from .cases import Case


class VerdictTests(Case):
    """What a check has said."""

    def test_only_an_answer_from_its_end_is_a_yes(self) -> None:
        self.assertIsNone(verdict(0, b"checked\n", b""))
        # a handler may say something, too
        self.assertIsNone(verdict(0, b"checked\n", b"imported\n"))
        told = "the handler ends the process when it is imported"
        for stdout in (b"", b"checked", b"checked\nchecked\n", b"checked\n\n"):
            self.assertEqual(verdict(0, stdout, b"imported\n"), told)

    def test_a_refusal_is_the_last_line_of_standard_error(self) -> None:
        self.assertEqual(verdict(1, b"", b"imported\n\nno such thing\n"), "no such thing")
        self.assertEqual(verdict(1, b"", b"caf\xff\x1b\n"), "caf\ufffd\x1b")

    def test_any_other_end_is_told(self) -> None:
        for status, how in [
            (1, " with exit status 1"),
            (7, " with exit status 7"),
            (-11, " by SIGSEGV"),
            (-63, " by signal 63"),
        ]:
            told = f"the handler ends the process{how} when it is imported"
            self.assertEqual(verdict(status, b"", b"" if status == 1 else b"something\n"), told)
        # whatever it had answered before
        self.assertIn("by SIGKILL", verdict(-9, b"checked\n", b"") or "")


class OrdersTests(Case):
    """The orders, and how they are given."""

    def setUp(self) -> None:
        self.certificate = Path(self.mktemp())
        self.certificate.write_bytes(b"first")

    def orders(self, **given: str) -> dict[str, object]:
        settings = Settings(tls_certificate=str(self.certificate), **given)  # type: ignore[arg-type]
        return starting.orders(Echo(), settings, listened_to=False)

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
        before = os.listdir("/proc/self/fd")
        starting.give_orders(partial(wire.send, ours), told)
        self.assertEqual(os.listdir("/proc/self/fd"), before)
        message = wire.receive(theirs)
        assert message is not None
        self.assertEqual(start.orders_in(message), told)
        self.assertEqual(os.listdir("/proc/self/fd"), before)

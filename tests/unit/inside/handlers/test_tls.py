"""Tests for TLS that ends in the child: the files, the handshake, the end."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any, cast

from tests.unit.cases import Case
from tests.unit.inside.handlers.test_pump import made_certificate
from tests.unit.processes import TIME_LIMIT, descriptors_before
from twisted_fork.inside.handlers import tls
from twisted_fork.inside.handlers.imports import BadHandler
from twisted_fork.wire.orders import Certificates


class SecureCase(Case):
    """A certificate, and a client's and a server's end of a connection."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.certificate = made_certificate(self.folder)
        self.client, self.server = socket.socketpair()
        for each in (self.client, self.server):
            each.settimeout(TIME_LIMIT)
            self.addCleanup(each.close)

    def order(self, **given: str) -> Certificates:
        """What a template is told: path and contents of each file."""
        paths = {"certificate": self.certificate, **given}
        files = {name: (path, Path(path).read_bytes()) for name, path in paths.items()}
        return cast(Certificates, {"key": None, "client_ca": None, **files})

    def client_side(self, version: ssl.TLSVersion | None = None, **given: Any) -> ssl.SSLSocket:
        """A client's TLS, before the handshake."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if version is not None:
            context.minimum_version = context.maximum_version = version
        wrapped = context.wrap_socket(self.client, do_handshake_on_connect=False, **given)
        self.addCleanup(wrapped.close)
        return wrapped

    def shaken(self) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
        """Both ends after the handshake: the client's, and the server's."""
        client = self.client_side()
        shaking = threading.Thread(target=client.do_handshake)
        shaking.start()
        server = tls.wrap(self.server, tls.context(self.order()), TIME_LIMIT)
        self.addCleanup(server.close)
        shaking.join()
        return client, server


class ContextTests(SecureCase):
    """The files."""

    def test_old_versions_are_out(self) -> None:
        context = tls.context(self.order())
        self.assertEqual(context.minimum_version, ssl.TLSVersion.TLSv1_2)
        self.assertEqual(context.verify_mode, ssl.CERT_NONE)

    def test_the_key_may_be_in_a_file_of_its_own(self) -> None:
        tls.context(self.order(key=f"{self.folder}/key"))

    def test_a_file_that_cannot_be_made_is_no_fault_of_the_certificate(self) -> None:
        def refuse(name: str) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(tls, "memory_file", refuse)
        with self.assertRaises(OSError) as raised:
            tls.context(self.order())
        self.assertEqual(raised.exception.errno, errno.EMFILE)

    def test_clients_are_asked_for_certificates_if_they_are_to_be_checked(self) -> None:
        context = tls.context(self.order(client_ca=self.certificate))
        self.assertEqual(context.verify_mode, ssl.CERT_REQUIRED)
        self.assertEqual(len(context.get_ca_certs()), 1)

    def test_files_that_do_not_do_are_named(self) -> None:
        junk = Path(self.folder, "junk")
        junk.write_text("no certificate\n")
        for name in ("certificate", "key", "client_ca"):
            with self.assertRaises(BadHandler) as raised:
                tls.context(self.order(**{name: str(junk)}))
            self.assertIn(str(junk), str(raised.exception))

    def test_a_key_of_its_own_goes_before_one_in_the_certificates_file(self) -> None:
        other = f"{self.folder}/other"
        os.mkdir(other)
        made_certificate(other)
        with self.assertRaisesRegex(BadHandler, "mismatch"):
            tls.context(self.order(key=f"{other}/key"))

    def test_text_between_authorities_may_be_anything(self) -> None:
        bundle = Path(self.folder, "bundle")
        bundle.write_bytes("Főtanúsítvány\n".encode() + Path(self.certificate).read_bytes())
        context = tls.context(self.order(client_ca=str(bundle)))
        self.assertEqual(len(context.get_ca_certs()), 1)

    def test_nothing_of_them_stays_open(self) -> None:
        before = descriptors_before()
        tls.context(self.order(key=f"{self.folder}/key", client_ca=self.certificate))
        self.assertEqual(os.listdir("/proc/self/fd"), before)


class WrapTests(SecureCase):
    """The handshake."""

    def test_the_connection_is_blocking_then(self) -> None:
        client, server = self.shaken()
        self.assertIsNone(server.gettimeout())
        client.sendall(b"hello")
        self.assertEqual(server.recv(100), b"hello")

    def test_a_peer_that_says_nothing_takes_too_long(self) -> None:
        with self.assertRaisesRegex(TimeoutError, "took too long"):
            tls.wrap(self.server, tls.context(self.order()), 0.01)

    def test_the_time_is_for_all_of_it(self) -> None:
        """A peer may not begin anew with every byte."""
        over = threading.Event()

        def trickle() -> None:
            for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500):
                if over.wait(0.02):
                    return
                try:
                    self.client.send(bytes([byte]))
                except OSError:
                    return

        trickling = threading.Thread(target=trickle)
        trickling.start()
        try:
            with self.assertRaises(TimeoutError):
                tls.wrap(self.server, tls.context(self.order()), 0.3)
        finally:
            over.set()
            trickling.join()

    def test_a_peer_that_does_not_speak_tls_is_an_os_error(self) -> None:
        self.client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with self.assertRaises(ssl.SSLError):
            tls.wrap(self.server, tls.context(self.order()), TIME_LIMIT)

    def test_a_peer_that_goes_is_an_os_error(self) -> None:
        self.client.close()
        with self.assertRaises(OSError):
            tls.wrap(self.server, tls.context(self.order()), TIME_LIMIT)


class EndTests(SecureCase):
    """close_notify."""

    def test_it_is_said_and_the_plain_socket_is_left(self) -> None:
        client, server = self.shaken()
        answering = threading.Thread(target=client.unwrap)
        answering.start()
        plain = tls.end(server)
        self.addCleanup(plain.close)
        answering.join()
        # no TLS is left on it
        self.assertIsNone(server.version())
        self.assertEqual(plain.fileno(), server.fileno())

    def test_a_peer_that_does_not_answer_keeps_nobody(self) -> None:
        self.patch(tls, "_PATIENCE", 0.01)
        client, server = self.shaken()
        self.assertGreaterEqual(tls.end(server).fileno(), 0)
        self.assertEqual(client.recv(1), b"")

    def test_a_peer_that_is_gone_does_no_harm(self) -> None:
        client, server = self.shaken()
        client.close()
        self.client.close()
        self.assertGreaterEqual(tls.end(server).fileno(), 0)

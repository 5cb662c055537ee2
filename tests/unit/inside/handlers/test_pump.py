"""Tests for the pump between a TLS connection and a handler with a plain socket."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.cases import Case
from tests.unit.processes import TIME_LIMIT, forked, status_of
from twisted_fork.inside.handlers import pump

MUCH = os.urandom(1024 * 1024)


def made_certificate(folder: str) -> str:
    """A file with a certificate and its key."""
    path = f"{folder}/server.pem"
    subject = ["-subj", "/CN=server", "-days", "2", "-nodes"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(
        ["openssl", "req", "-x509", *key, *subject, "-keyout", f"{folder}/key", "-out", path],
        check=True,
        capture_output=True,
    )
    with open(path, "a") as file:
        file.write(Path(folder, "key").read_text())
    return path


class PumpCase(Case):
    """A client, and a process that serves it through the pump."""

    def setUp(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(made_certificate(folder))

    def served(self, serve: Callable[[socket.socket], None]) -> tuple[ssl.SSLSocket, int]:
        """A client of *serve*, and the pid of the process that pumps."""
        ours, theirs = socket.socketpair()

        def run() -> None:
            ours.close()
            secured = self.context.wrap_socket(theirs, server_side=True)
            try:
                pump.through(secured, serve)
            except SystemExit as ended:
                os._exit(ended.code if isinstance(ended.code, int) else 98)
            os._exit(0)

        pid = forked(run)
        theirs.close()
        ours.settimeout(TIME_LIMIT)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_socket(ours)
        self.addCleanup(client.close)
        return client, pid


def read_to_end(client: socket.socket) -> bytes:
    """Whatever comes until the end."""
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


def upper(connection: socket.socket) -> None:
    """Uppercases everything."""
    while data := connection.recv(65536):
        connection.sendall(data.upper())


class ThroughTests(PumpCase):
    """What a handler says and how it ends, its child's parent says and ends like."""

    def test_bytes_go_both_ways(self) -> None:
        client, pid = self.served(upper)
        for word in (b"one", b"two" * 10_000):
            client.sendall(word)
            answer = b""
            while len(answer) < len(word):
                answer += client.recv(65536)
            self.assertEqual(answer, word.upper())
        client.close()
        self.assertEqual(status_of(pid), 0)

    def test_much_that_comes_before_the_end_arrives(self) -> None:
        client, pid = self.served(lambda connection: connection.sendall(MUCH))
        self.assertEqual(read_to_end(client), MUCH)
        self.assertEqual(status_of(pid), 0)

    def test_the_handler_sees_the_clients_end(self) -> None:
        client, pid = self.served(lambda connection: os._exit(7 if not connection.recv(1) else 8))
        client.close()
        self.assertEqual(status_of(pid), 7)

    def test_an_exit_status_is_handed_on(self) -> None:
        def serve(connection: socket.socket) -> None:
            raise SystemExit(5)

        client, pid = self.served(serve)
        self.assertEqual(read_to_end(client), b"")
        self.assertEqual(status_of(pid), 5)

    def test_a_signal_is_handed_on(self) -> None:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT):

            def serve(connection: socket.socket, number: int = number) -> None:
                os.kill(os.getpid(), number)

            _, pid = self.served(serve)
            self.assertEqual(status_of(pid), -number)

    def test_a_handler_that_does_not_read_can_still_write(self) -> None:
        def serve(connection: socket.socket) -> None:
            connection.shutdown(socket.SHUT_RD)
            connection.sendall(b"deaf")

        client, pid = self.served(serve)
        client.sendall(b"anybody?")
        self.assertEqual(read_to_end(client), b"deaf")
        self.assertEqual(status_of(pid), 0)


class RelayTests(Case):
    """The pump itself, between two plain sockets."""

    def setUp(self) -> None:
        self.client, self.secured = socket.socketpair()
        self.handler, self.plain = socket.socketpair()
        for each in (self.client, self.secured, self.handler, self.plain):
            each.settimeout(TIME_LIMIT)
            self.addCleanup(each.close)

    def relayed(self) -> threading.Thread:
        """The pump, running."""
        secured: Any = self.secured
        thread = threading.Thread(target=pump.relay, args=(secured, self.plain))
        thread.start()
        self.addCleanup(thread.join, TIME_LIMIT)
        return thread

    def test_it_ends_when_the_handler_has_ended_its_side(self) -> None:
        self.handler.sendall(MUCH[:1000])
        self.handler.shutdown(socket.SHUT_WR)
        self.relayed().join(TIME_LIMIT)
        self.assertEqual(self.client.recv(2000), MUCH[:1000])

    def test_the_clients_end_is_passed_on_and_answers_still_come(self) -> None:
        thread = self.relayed()
        self.client.sendall(b"question")
        self.client.shutdown(socket.SHUT_WR)
        self.assertEqual(self.handler.recv(100), b"question")
        self.assertEqual(self.handler.recv(100), b"")
        self.handler.sendall(b"answer")
        self.assertEqual(self.client.recv(100), b"answer")
        self.handler.close()
        thread.join(TIME_LIMIT)
        self.assertFalse(thread.is_alive())

    def test_a_reader_that_is_slow_does_not_stop_the_other_way(self) -> None:
        thread = self.relayed()
        self.handler.setblocking(False)
        sent = 0
        try:
            while True:
                sent += self.handler.send(MUCH)
        except BlockingIOError:
            pass
        self.client.sendall(b"still heard")
        self.handler.settimeout(TIME_LIMIT)
        self.assertEqual(self.handler.recv(100), b"still heard")
        self.handler.close()
        self.assertEqual(len(read_to_end(self.client)), sent)
        thread.join(TIME_LIMIT)
        self.assertFalse(thread.is_alive())

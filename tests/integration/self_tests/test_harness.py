"""
What the tests rely on themselves: logs, lookups in them, servers that are shared, clocks that
are moved.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.peers.clients import Connection, ask, connect, name_of, talk
from tests.integration.peers.systemd import Listener
from tests.integration.servers import processes
from tests.integration.servers.logs import Log
from tests.integration.servers.server_process import ServerProcess
from tests.integration.servers.serving import Serve, Shared, end, python_program

pytestmark = pytest.mark.usefixtures("nobody_left")


def append(path: Path, text: bytes) -> None:
    """Log something."""
    with path.open("ab") as file:
        file.write(text)


# Logs


@pytest.fixture
def path(folder: Path) -> Path:
    """Where a log will be."""
    return folder / "log"


@pytest.fixture
def log(path: Path) -> Iterator[Log]:
    """Which is not there yet."""
    made = Log(path)
    yield made
    made.close()


def test_a_log_is_read_as_it_grows_from_a_mark_on(log: Log, path: Path) -> None:
    assert log.text() == ""
    append(path, b"one 1\n")
    mark = log.mark()
    append(path, b"two 2\nthree ")
    assert log.text() == "one 1\ntwo 2\nthree "
    assert log.text(mark) == "two 2\nthree "
    append(path, b"3\n")
    assert log.find(r"(\w+) (\d)\n") == [("one", "1"), ("two", "2"), ("three", "3")]
    assert log.find(r"(\w+) (\d)\n", mark) == [("two", "2"), ("three", "3")]


def test_a_test_sees_nothing_of_what_was_logged_before_it_unless_it_says_so(
    log: Log, path: Path
) -> None:
    append(path, b"before\n")
    log.begin = log.mark()
    append(path, b"since\n")
    assert log.text() == "since\n"
    assert log.find("before|since") == [()]
    assert log.find("(before|since)", 0) == [("before",), ("since",)]


def test_a_log_that_is_rotated_is_read_to_its_end_and_then_the_next_one(
    log: Log, path: Path
) -> None:
    append(path, b"one\n")
    assert log.text() == "one\n"
    path.rename(path.with_suffix(".1"))
    append(path.with_suffix(".1"), b"two\n")
    assert log.text() == "one\ntwo\n"
    append(path.with_suffix(".1"), b"three\n")
    append(path, b"four\n")
    assert log.text() == "one\ntwo\nthree\nfour\n"
    append(path, b"five\n")
    assert log.text() == "one\ntwo\nthree\nfour\nfive\n"


def test_a_character_that_is_written_in_two_pieces_is_one(log: Log, path: Path) -> None:
    append(path, "é".encode()[:1])
    assert log.text() == ""
    append(path, "é".encode()[1:] + b"\xff\n")
    assert log.text() == "é\N{REPLACEMENT CHARACTER}\n"


# Lookups


class Logging(ServerProcess):
    """A process that logs what the test wants it to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ["sleep", "1000"], logs_to="says")

    def says(self, line: str) -> None:
        """Log a line."""
        append(self.log_file, line.encode() + b"\n")


@pytest.fixture
def logging(folder: Path) -> Iterator[Logging]:
    """One that runs."""
    made = Logging(folder)
    yield made
    end(made)


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A connection to nobody."""
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, connect(listener.getsockname()) as made:
        yield made


def test_what_was_logged_before_a_connection_is_not_of_it_though_its_port_has_come_again(
    logging: Logging, connection: Connection
) -> None:
    name = name_of(connection)
    logging.says(f"handed over peer={name} pid=11")
    connection.mark = logging.mark()
    assert logging.find(r"over PEER pid=(\d+)\b", of=connection) == []
    logging.says(f"handed over peer={name} pid=22")
    logging.says(f"handed over peer={name}1 pid=33")
    logging.says("handed over peer=127.0.0.2:1 pid=44")
    assert logging.find(r"over PEER pid=(\d+)\b", of=connection) == [("22",)]
    assert logging.wait_for(r"over PEER pid=(\d+)\b", of=connection) == ("22",)
    assert logging.child_of(connection) == 22
    assert logging.find(r"over PEER pid=(\d+)\b", of=connection, since=0) == [("11",), ("22",)]


def test_what_a_process_that_has_ended_has_not_logged_is_not_waited_for(logging: Logging) -> None:
    logging.says("the first")
    logging.kill(signal.SIGKILL)
    with pytest.raises(AssertionError, match="exit status -9"):
        logging.wait_for("the second")
    assert logging.wait_for("the (.*)") == ("first",)


def test_nothing_is_waited_for_after_a_traceback_that_nobody_expects(logging: Logging) -> None:
    logging.says("Traceback (most recent call last):")
    with pytest.raises(AssertionError, match="Traceback"):
        logging.wait_for("what comes next")
    logging.expects_traceback = True
    logging.says("what comes next")
    logging.wait_for("what comes next")


# Servers that are shared

Begin = Callable[[], Serve]


@pytest.fixture
def shared() -> Iterator[Shared]:
    """Those of this test alone."""
    made = Shared()
    yield made
    made.stop()


@pytest.fixture
def begin(folder: Path, shared: Shared) -> Begin:
    """Begin a test: what the fixture serve is to it, with the servers that this test has."""
    return lambda: Serve(folder, shared)


def check_fails(test: Serve, why: str) -> None:
    """The test that ends has not left its server as it was, and nobody else gets that."""
    with pytest.raises(AssertionError, match=why):
        test.finish()
    test.clean_up(failed=True)


def test_the_next_test_has_the_same_server_and_a_log_that_begins_with_it(begin: Begin) -> None:
    first = begin()
    server = first.shared("-c9")
    assert ask(server.address, b"hello") == b"HELLO"
    server.wait_for("child ended")
    first.finish()
    first.clean_up(failed=False)
    second = begin()
    assert second.shared("-c9") is server
    assert server.find("handed over|child ended") == []
    assert ask(server.address, b"hello") == b"HELLO"
    server.wait_for("child ended")
    assert len(server.find("handed over")) == 1
    assert second.shared("-c9") is server
    assert second.shared("-c8") is not server
    second.finish()


def test_a_test_that_leaves_a_shared_server_busy_fails_and_the_next_has_another(
    begin: Begin, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = begin()
    server = test.shared()
    with server.connect() as client:
        talk(client)
        server.wait_until_idle(serving=1)
        monkeypatch.setattr(processes, "DEADLINE", 0.1)
        check_fails(test, "waited in vain: an idle server")
        monkeypatch.undo()
    assert server.is_over()
    assert shared.pids() == set()
    assert begin().shared() is not server


def test_a_test_that_ends_a_shared_server_fails_and_the_next_has_another(begin: Begin) -> None:
    test = begin()
    server = test.shared()
    server.stop()
    check_fails(test, "a shared server was ended")
    assert begin().shared() is not server


def test_a_traceback_in_a_shared_servers_log_is_the_fault_of_the_test_that_had_it(
    begin: Begin,
) -> None:
    test = begin()
    server = test.shared()
    append(server.log_file, b"Traceback (most recent call last):\n")
    check_fails(test, "Traceback")
    assert begin().shared() is not server


def test_of_too_many_shared_servers_the_one_that_was_not_used_for_longest_is_stopped(
    begin: Begin, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_MOST", 2)
    test = begin()
    first, second = test.shared("-c9"), test.shared("-c8")
    assert test.shared("-c9") is first
    test.finish()
    third = begin().shared("-c7")
    assert [server.exit_status for server in (first, second, third)] == [None, 0, None]
    assert shared.pids() == {first.pid, third.pid}


# Clocks


def test_what_is_due_when_a_clock_is_moved_has_been_done_then(
    serve: Serve, listener: Listener
) -> None:
    server = serve(before=listener.told(WATCHDOG_USEC="1000000000"), steered=True)
    listener.wait_for("WATCHDOG=1")
    for seconds, times in ((499, 1), (1, 2), (250, 2), (250, 3)):
        server.advance(seconds)
        assert listener.all_said().count("WATCHDOG=1") == times


def test_nothing_moves_the_clocks_of_children(serve: Serve) -> None:
    server = serve(program=python_program("print(time.monotonic())"), steered=True)
    before = time.monotonic()
    server.advance(100_000)
    assert before < float(ask(server.address, b"")) < time.monotonic() < before + 100_000


def test_a_clock_that_nobody_holds_cannot_be_moved(serve: Serve) -> None:
    server = serve.shared()
    with pytest.raises(AssertionError, match="not steered"):
        server.advance(1)

"""
ForkingService in an application: its children, and what their protocols are told.
"""

from __future__ import annotations

import re
import signal
import time
from typing import Any

import pytest

from tests.integration.peers.clients import ask, read, read_to_end, talk
from tests.integration.servers import applications
from tests.integration.servers.applications import Application
from tests.integration.servers.processes import children, wait_until
from tests.integration.servers.serving import Serve


def tac(serve: Serve, handler: str, protocol: str = "Reporting", **settings: Any) -> Application:
    """An application that says what happens to its children."""
    return serve.application(applications.tac, f"served.{handler}", protocol, **settings)


# A service


def test_stopping_is_over_when_the_last_child_has_been_waited_for(serve: Serve) -> None:
    application = tac(serve, "plain:upper", spare_children=2, grace=1000)
    with application.connect() as connection:
        talk(connection)
        application.kill()
        (busy,) = application.says("stopping")
        assert busy >= 1
        # the port is closed, and who is served goes on being served
        application.wait_for("stopping children=")
        with pytest.raises(ConnectionRefusedError):
            application.connect()
        talk(connection, b"still here")
        assert application.said("stopped") == []
    processes, known = application.says("stopped")
    assert (processes, known) == ([], [])
    # each child was told to have ended before that
    lines = re.findall(r'said \["(ended|stopped)"', application.log())
    assert lines[-1] == "stopped"
    assert lines.count("ended") == len(application.said("alive"))


def test_only_what_has_been_alive_is_told_to_have_ended(serve: Serve, launcher: str) -> None:
    application = tac(serve, "plain:upper", launcher=launcher, spare_children=6)
    application.says("alive")
    # while others are on their way
    application.kill()
    assert application.says("stopped") == [[], []]
    alive = [pid for (pid,) in application.said("alive")]
    assert [pid for pid, *_ in application.said("ended") if pid not in alive] == []
    assert len(application.said("ended")) == len(alive)


def test_a_child_that_does_not_end_is_ended(serve: Serve) -> None:
    application = tac(serve, "plain:upper", spare_children=0, grace=0.1)
    with application.connect() as connection:
        talk(connection)
        application.kill()
        assert read_to_end(connection) == b""
    assert application.says("stopped") == [[], []]
    assert [rest[1:] for rest in application.said("ended")] == [
        ["ProcessTerminated", None, signal.SIGTERM]
    ]


def test_children_are_shown_as_they_are(serve: Serve, launcher: str) -> None:
    application = tac(serve, "plain:upper", launcher=launcher, spare_children=1)
    before = time.time()
    (idle,) = wait_until(lambda: shown(application, "idle"), "a spare")
    assert idle[1] is None
    assert idle[0] in children(application.pid)
    with application.connect() as connection:
        talk(connection)
        host, port = connection.getsockname()
        serving = wait_until(lambda: shown(application, "serving"), "a child that serves")
        assert [each[1] for each in serving] == [f"{host}:{port}"]
        assert serving[0][0] == application.child_of(connection)
        assert before - 5 < serving[0][3] <= time.time()
    wait_until(lambda: not shown(application, "serving"), "nobody who serves")
    states = {child[2] for (each,) in application.said("children") for child in each}
    assert states <= {"idle", "given", "serving", "leaving"}


def shown(application: Application, state: str) -> list[list[Any]]:
    """The children of that state, as they were shown last."""
    said = application.said("children")
    return [child for child in (said[-1][0] if said else []) if child[2] == state]


# A child's protocol


def test_a_protocol_learns_all_about_its_child(serve: Serve) -> None:
    application = tac(serve, "plain:upper", spare_children=0)
    with application.connect() as connection:
        talk(connection)
        host, port = connection.getsockname()
        pid = application.child_of(connection)
        assert application.says("alive") == [pid]
        assert application.says("taken") == [pid, f"{host}:{port}"]
        assert application.said("ended") == []
    assert application.says("ended") == [pid, "ProcessDone", 0, None]


def test_a_spare_is_alive_before_it_is_given_anything(serve: Serve) -> None:
    application = tac(serve, "plain:upper", spare_children=1)
    (pid,) = application.says("alive")
    assert application.said("taken") == []
    with application.connect() as connection:
        talk(connection)
        assert application.says("taken")[0] == pid


def test_a_protocol_learns_how_its_child_has_ended(serve: Serve) -> None:
    application = tac(serve, "telling:ends", spare_children=0)
    for times, (status, told) in enumerate(
        [
            (0, ["ProcessDone", 0, None]),
            (7, ["ProcessTerminated", 7, None]),
            (-signal.SIGKILL, ["ProcessTerminated", None, signal.SIGKILL]),
        ],
        1,
    ):
        assert ask(application.address, b"%d" % status) == b""
        pid, *how = application.says("ended", times)
        assert how == told
        # whatever a child says before it ends is heard before its end is told
        assert application.said("message")[times - 1 :] == [[pid, times, 5, "going"]]
        events = re.findall(r'said \["(message|ended)"', application.log())
        assert events == ["message", "ended"] * times


@pytest.mark.parametrize("settings", [{}, {"connections_per_child": 5}, {"launcher": "spawn"}])
def test_messages_of_many_children_meet_in_the_reactor_process(
    serve: Serve, settings: dict[str, Any]
) -> None:
    application = tac(serve, "telling:chats", **settings)
    with application.connect() as one, application.connect() as two:
        for number in range(20):
            for client in (one, two):
                client.sendall(b"line %d\n" % number)
        for client in (one, two):
            assert read(client, 20 * 6) == b"heard\n" * 20
    application.says("message", 40)
    pids = {pid for pid, *_ in application.said("message")}
    assert len(pids) == 2
    for pid in pids:
        heard = [text for each, _, _, text in application.said("message") if each == pid]
        assert heard == [f"line {number}" for number in range(20)]
    assert [count for _, count, *_ in application.said("message")] == [*range(1, 41)]


def test_a_message_may_be_64_kib_long_and_no_longer(serve: Serve) -> None:
    application = tac(serve, "telling:tells_much")
    told = ask(application.address, b"")
    assert told == b"a message of 65537 bytes: at most 65536 are possible"
    application.says("message", 2)
    assert [length for _, _, length, _ in application.said("message")] == [65536, 0]


@pytest.mark.parametrize("each", [1, 3])
def test_a_handler_learns_that_nobody_listens(serve: Serve, each: int) -> None:
    application = tac(serve, "telling:chats", "Deaf", connections_per_child=each)
    for _ in range(2):
        assert ask(application.address, b"line\n") == b"nobody listens\n"


def test_a_protocol_that_fails_harms_nobody_else(serve: Serve) -> None:
    application = tac(serve, "telling:chats", "Failing")
    application.expects_traceback = True
    with application.connect() as bystander:
        assert ask(application.address, b"line\n") == b"heard\n"
        application.wait_for("RuntimeError: the protocol's own")
        bystander.sendall(b"line\n")
        assert read(bystander, 6) == b"heard\n"
    assert ask(application.address, b"line\n") == b"heard\n"
    application.wait_for("child ended peer=.* exit=0", 3)

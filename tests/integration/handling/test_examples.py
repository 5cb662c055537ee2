"""
Every example is started with the command that it documents, but for its ports, and talked to.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.peers.clients import ask, read_to_end
from tests.integration.servers.commands import twistd
from tests.integration.servers.harness import LOOPBACK
from tests.integration.servers.server_process import ServerProcess
from tests.integration.servers.serving import Serve

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
PAGES = [EXAMPLES / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_SERVERS = ("twistd", "python")


def documented(text: str) -> list[str]:
    """The commands in a text, each on one line: what follows a dollar sign."""
    text = re.sub(r"\s*\\\n\s*", " ", text)
    return re.findall(r"^(?:# ?)?(?: {4})?\$ (.+)$", text, re.MULTILINE)


def commands_of(name: str) -> list[str]:
    """Those that an example documents."""
    return documented((EXAMPLES / name).read_text())


def examples() -> list[str]:
    """The names of all, but not of their parts."""
    return sorted(path.name for path in EXAMPLES.iterdir() if path.is_file() and _is_one(path))


def _is_one(path: Path) -> bool:
    return path.suffix in (".py", ".sh", ".tac") and bool(commands_of(path.name))


class Example(ServerProcess):
    """
    An example, running.

    :param folder: where the examples were copied to.
    :param name: its file's.
    """

    def __init__(self, folder: Path, name: str) -> None:
        *preparations, command = map(shlex.split, commands_of(name))
        for preparation in preparations:
            subprocess.run(preparation, cwd=folder, check=True, capture_output=True)
        environment = dict(os.environ)
        while "=" in command[0]:
            variable, _, value = command.pop(0).partition("=")
            environment[variable] = value
        program, *arguments = command
        assert program in _SERVERS
        words = [*(twistd() if program == "twistd" else [sys.executable])]
        words += [word.replace("tcp:8000", LOOPBACK) for word in arguments]
        super().__init__(folder, ["sh", "-c", 'exec "$@" 2>&1', "sh", *words], env=environment)


@pytest.fixture
def example(request: pytest.FixtureRequest, serve: Serve, folder: Path) -> Example:
    """The example that the test is named after, accepting connections."""
    place = folder / "examples"
    shutil.copytree(EXAMPLES, place, ignore=shutil.ignore_patterns("__pycache__"))
    for copied in place.iterdir():
        copied.write_text(re.sub(r"tcp:800[01]\b", LOOPBACK, copied.read_text()))
    named = {test_name(name): name for name in examples()}
    return serve.application(lambda _: Example(place, named[request.node.name]))


def test_name(name: str) -> str:
    """What the test of an example is called."""
    return "test_" + name.replace(".", "_")


test_name.__test__ = False  # type: ignore[attr-defined]


class Dialogue:
    """A conversation by lines."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def say(self, line: str) -> None:
        self._connection.sendall(line.encode() + b"\n")

    def hear(self) -> str:
        """A line, without its end; empty when there are no more."""
        line = b""
        while not line.endswith(b"\n") and (byte := self._connection.recv(1)):
            line += byte
        return line.decode().rstrip("\r\n")

    def ask(self, line: str) -> str:
        """Say something, and hear the answer."""
        self.say(line)
        return self.hear()


def test_guess_py(example: Example) -> None:
    with example.connect() as player:
        game = Dialogue(player)
        assert game.hear() == "I think of a number from 1 to 100. Which one?"
        assert game.ask("a big one") == "That is no number."
        least, most = 1, 100
        while True:
            guess = (least + most) // 2
            answer = game.ask(str(guess))
            if answer == "More.":
                least = guess + 1
            elif answer == "Less.":
                most = guess - 1
            else:
                break
        assert re.fullmatch(r"Right, after \d guesses\.", answer)
        assert game.hear() == ""


def test_uppercase_py(example: Example) -> None:
    assert ask(example.address, b"one line\nand another\n") == b"ONE LINE\n"
    example.wait_for("child ended .* exit=0 ")


def test_stopwatch_py(example: Example) -> None:
    with example.connect() as impatient, example.connect() as patient:
        one, another = Dialogue(impatient), Dialogue(patient)
        assert (one.hear(), another.hear()) == ("0.0", "0.0")
        assert float(another.hear()) >= 0.4
        one.say("")
        while (heard := one.hear())[0].isdigit():
            pass
        assert re.fullmatch(r"stopped after \d+\.\d seconds", heard)
        assert one.hear() == ""
        assert another.hear()[0].isdigit()
        another.say("")
        while another.hear():  # nothing is left unread, which would make a reset
            pass


def test_calculator_py(example: Example) -> None:
    with example.connect() as student:
        calculator = Dialogue(student)
        assert calculator.ask("3 4 + 5 *") == "35"
        assert calculator.ask("1 3 /") == "1/3"
        assert calculator.ask("1 0 /") == "mistake: Fraction(1, 0)"
        assert calculator.ask("a b +").startswith("mistake: ")
        assert calculator.ask("2 2 +") == "4"
    example.wait_for("child ended .* exit=0 ")


def test_website_py(example: Example) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    said = set()
    for _ in range(2):
        head, _, body = ask(example.address, request).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert re.search(rb"^process \d+, at your service$", body, re.MULTILINE)
        said.add(body)
    assert len(said) == 2


def test_whoami_sh(example: Example) -> None:
    with example.connect() as caller:
        host, port = caller.getsockname()
        dialogue = Dialogue(caller)
        assert dialogue.hear() == "Your name?"
        assert dialogue.ask("Ada") == "Welcome, Ada."
        assert dialogue.hear() == f"You call from {host} port {port}."
        assert dialogue.hear() == "Calls from there just now: 1."
        assert dialogue.hear() == ""
    example.wait_for(rf"child wrote pid=\d+ text='{host} asks for a name")
    example.wait_for("child ended .* exit=0 ")


def test_cipher_py(example: Example) -> None:
    context = ssl.create_default_context(cafile=example.folder / "certificate.pem")
    with (
        example.connect() as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        cipher = secured.cipher()
        assert cipher is not None
        told = read_to_end(secured).decode()
        assert told == f"{secured.version()} {cipher[0]}\n"


def test_daytime_py(example: Example) -> None:
    told = ask(example.address, b"").decode()
    assert re.fullmatch(r"\w+, \d\d \w+ \d{4} \d\d:\d\d:\d\d \w+\r\n", told)


def test_chatroom_tac(example: Example) -> None:
    (port,) = example.wait_for(r"Factory starting on (\d+)")
    board = (example.address[0], int(port))
    with example.connect() as ada, example.connect() as bob:
        visitors = Dialogue(ada), Dialogue(bob)
        for visitor in visitors:
            assert visitor.hear() == "Say something."
            assert visitor.ask("hello") == "Said."
            assert visitor.ask("hello again") == "Said."
        example.wait_for("messages=4")
        told = ask(board, b"").decode().splitlines()
        assert re.fullmatch(r"\d+ processes, 4 messages", told[0])
        for guest in (ada, bob):
            host, number = guest.getsockname()
            said = [line for line in told if line.startswith(f"{host}:{number}: ")]
            assert [line.partition(": ")[2] for line in said] == ["hello", "hello again"]
        assert len(told) == 5
    example.wait_for(r"left: ", times=2)
    example.kill(signal.SIGHUP)
    example.wait_for(r"reloaded pid=\d+\n")
    with example.connect() as eve:
        assert Dialogue(eve).hear() == "Say something."


def test_every_example_has_a_test() -> None:
    missing = [name for name in examples() if test_name(name) not in globals()]
    assert missing == []


def test_every_file_is_an_example_or_part_of_one() -> None:
    texts = {name: (EXAMPLES / name).read_text() for name in examples()}
    for path in EXAMPLES.iterdir():
        if path.name in (*texts, "README.md", "__pycache__"):
            continue
        assert any(f'"{path.stem}:' in text for text in texts.values()), path.name


def test_the_readme_has_the_same_commands() -> None:
    told = documented((EXAMPLES / "README.md").read_text())
    assert sorted(told) == sorted(command for name in examples() for command in commands_of(name))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_quote_examples_as_they_are(page: Path) -> None:
    quoted: Callable[[str], list[tuple[str, str]]] = re.compile(
        r"^```\w+\n# examples/(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL
    ).findall
    for name, quotation in quoted(page.read_text()):
        text = (EXAMPLES / name).read_text()
        for piece in quotation.split("\n...\n"):
            assert piece.strip() in text, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_run_examples_as_they_say_themselves(page: Path) -> None:
    modules = "|".join(Path(name).stem for name in examples())
    tested = {command for name in examples() for command in commands_of(name)}
    for command in documented(page.read_text()):
        if re.search(rf"\b({modules})(:|\.py|\.sh|\.tac)", command):
            assert command in tested

"""
serve() in scripts, and what is raised where something is wrong.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path

from tests.integration.peers.clients import ask
from tests.integration.servers import applications
from tests.integration.servers.applications import run_script
from tests.integration.servers.processes import wait_until
from tests.integration.servers.serving import Serve

HANDLER = [
    "import twisted_fork",
    "",
    "def upper(connection, peer):",
    "    while data := connection.recv(1000):",
    "        connection.sendall(data.upper())",
    "",
]
"""A script's own handler."""


def test_a_script_serves_with_its_own_handler(serve: Serve) -> None:
    application = serve.application(
        applications.script,
        *HANDLER,
        'if __name__ == "__main__":',
        '    twisted_fork.serve(upper, "tcp:0:interface=127.0.0.1", max_children=3, quiet=True)',
    )
    assert ask(application.address, b"hello") == b"HELLO"
    application.kill()
    wait_until(application.is_over, "the script's end")
    assert application.exit_status == 0
    assert "stopped" in application.log()


def test_a_module_that_is_run_serves_with_its_own_handler(serve: Serve, folder: Path) -> None:
    package = folder / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    main = 'if __name__ == "__main__":\n    twisted_fork.serve(upper, "unix:socket")'
    (package / "server.py").write_text("\n".join([*HANDLER, main, ""]))
    serve.application(applications.module, "shop.server")
    assert ask(str(folder / "socket"), b"hello") == b"HELLO"


MISTAKES = [
    ("serve(lambda c, p: None)", r"InvalidHandler: .*define it at the top of a module"),
    ("serve('no_such_module:x')", "InvalidHandler: no_such_module does not import: "),
    ("serve('script:HANDLER')", "InvalidHandler: 7 is no handler"),
    ("serve('nothing')", "InvalidHandler: 'nothing' names no handler"),
    ("serve(twisted_fork.Program(['no-such']))", "InvalidHandler: no-such is not found"),
    ("serve(upper, max_children=0)", "InvalidSetting: max_children cannot be 0: "),
    ("serve(upper, launcher='x')", "InvalidSetting: launcher cannot be 'x': it takes fork"),
    (
        "serve(upper, memory='512M')",
        "InvalidSetting: memory cannot be '512M': it takes a whole nu",
    ),
    ("serve(alone)", r"InvalidHandler: .*alone cannot be called with \(connection, peer\)"),
    ("serve(5)", "InvalidHandler: the handler cannot be 5: it takes 'module:name', a function"),
    ("serve(twisted_fork.Program(['cat']), connections_per_child=2)", "InvalidSetting: --conn"),
    ("serve(upper, 'ssl:8000')", "CannotListen: ssl:8000: "),
    ("serve(upper, ['unix:a', 'unix:/no/such/b'])", "CannotListen: unix:/no/such/b: there is"),
    ("serve(upper, 8000)", "CannotListen: listen cannot be 8000: it takes a description such"),
    ("ForkingService([], upper)", r"CannotListen: endpoints cannot be \[\]: it takes a descri"),
    ("serve(upper, PORT)", "CannotListen: .*: Address already in use"),
    ("ForkingService('tcp:0', 'nothing')", "InvalidHandler: 'nothing' names no handler"),
    ("ForkingService('nonsense', upper).startService()", "CannotListen: nonsense: not an end"),
    ("ForkingService('tcp:0', 'x:y').startService()", "InvalidHandler: x does not import"),
    ("Settings(5)", "TypeError"),
    ("Settings(no_such=5)", "TypeError"),
]
"""What a script may call, and what is raised then."""


def test_mistakes_are_raised_before_anything_is_started(folder: Path, nobody_left: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        ended = run_script(
            folder,
            *HANDLER,
            f'PORT, HANDLER = "tcp:{other.getsockname()[1]}:interface=127.0.0.1", 7',
            "def alone(): pass",
            'if __name__ == "__main__":',
            "    import sys, traceback",
            "    sys.path.insert(0, '')",
            f"    for call in {[call for call, _ in MISTAKES]!r}:",
            "        try:",
            "            eval(f'twisted_fork.{call}')",
            "        except Exception as mistake:",
            "            print(*traceback.format_exception_only(mistake), end='')",
        )
    assert (ended.returncode, ended.stderr) == (0, "")
    raised = ended.stdout.splitlines()
    assert len(raised) == len(MISTAKES), ended.stdout
    for line, (call, told) in zip(raised, MISTAKES, strict=True):
        assert re.match(rf"(twisted_fork[\w.]*\.)?{told}", line), call
    assert not [path for path in folder.iterdir() if path.is_socket()]


def test_a_mistake_that_nobody_catches_ends_the_script(folder: Path, nobody_left: None) -> None:
    main = """if __name__ == "__main__": twisted_fork.serve(upper, max_children=0)"""
    ended = run_script(folder, *HANDLER, main)
    told = r"(twisted_fork[\w.]*\.)?InvalidSetting: max_children cannot be 0: "
    assert re.match(told, ended.stderr.splitlines()[-1]), ended.stderr
    assert ended.returncode == 1


def test_threads_of_a_script_are_noticed(folder: Path, nobody_left: None) -> None:
    ended = run_script(
        folder,
        *HANDLER,
        "import threading",
        "threading.Thread(target=threading.Event().wait, daemon=True).start()",
        'if __name__ == "__main__":',
        "    twisted_fork.serve(upper, 'unix:socket')",
    )
    told = "script.py starts 1 thread when it is imported"
    assert told in ended.stderr.splitlines()[-1]
    assert ended.returncode == 1

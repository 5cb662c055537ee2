"""Tests for forking a sibling: a child of one's own parent."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import textwrap

from tests.unit.cases import Case
from tests.unit.processes import python, status_of
from twisted_fork.inside import sibling

SCRIPT = """
import os, signal, sys
from twisted_fork.inside import sibling

{before}
cloner = sibling.Cloner()
{prepare}
forked = []
os.register_at_fork(
    before=lambda: forked.append("before"),
    after_in_parent=lambda: forked.append("parent"),
    after_in_child=lambda: forked.append("child"),
)
pid = cloner.fork_sibling()
if pid == 0:
    signal.alarm(20)
    {child}
    os._exit(0)
print(pid, *forked)
"""

REFUSED = "sibling._SYS_CLONE3 = 1000"
ALSO_REFUSED = "sibling._SYS_CLONE = dict.fromkeys(sibling._SYS_CLONE, 1001)"

WAYS = [
    ("", ""),
    ("", "cloner.probe()"),
    ("", "cloner.use_clone()"),
    (REFUSED, "cloner.probe()"),
]
"""What is done before the Cloner is made, and before it forks."""


class ForkSiblingTests(Case):
    """Siblings, made by an interpreter that this process has started."""

    def sibling_of_a_child(
        self, child: str, before: str = "", prepare: str = ""
    ) -> tuple[int, list[str]]:
        """Run *child* in a sibling: its exit status, and what was printed on the way."""
        code = textwrap.dedent(SCRIPT).format(before=before, prepare=prepare, child=child)
        done = python(code)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        *said, told = done.stdout.splitlines()
        pid, *hooks = told.split()
        self.assertEqual(hooks, ["before", "parent"])
        return status_of(int(pid)), said

    def test_its_parent_is_the_parent_of_who_forked_it(self) -> None:
        # It is this process that can wait for it; and its own view agrees.
        child = f"os._exit(7 if os.getppid() == {os.getpid()} else 8)"
        for before, prepare in WAYS:
            self.assertEqual(self.sibling_of_a_child(child, before, prepare)[0], 7, prepare)

    def test_the_interpreter_knows_that_it_was_forked(self) -> None:
        child = "os._exit(7 if forked == ['before', 'child'] else 8)"
        for before, prepare in WAYS:
            self.assertEqual(self.sibling_of_a_child(child, before, prepare)[0], 7, prepare)

    def test_it_can_abort_and_raise_signals_in_itself(self) -> None:
        for before, prepare in WAYS:
            for child, number in [
                ("os.abort()", signal.SIGABRT),
                ("signal.raise_signal(signal.SIGUSR1)", signal.SIGUSR1),
                ("os.kill(os.getpid(), signal.SIGKILL)", signal.SIGKILL),
            ]:
                status, _ = self.sibling_of_a_child(child, before, prepare)
                self.assertEqual(status, -number, prepare)

    def test_the_c_library_knows_its_thread_by_its_new_id(self) -> None:
        # Some of its locks go by that id.
        where = "import ctypes; address = cloner._arguments.child_tid"
        child = "os._exit(7 if ctypes.c_int.from_address(address).value == os.getpid() else 8)"
        for before, prepare in WAYS:
            if not sibling.Cloner()._arguments.child_tid:
                continue  # this kernel does not tell where the C library keeps it
            status, _ = self.sibling_of_a_child(child, before, f"{where}; {prepare}")
            self.assertEqual(status, 7, prepare)

    def test_threads_and_forks_work_in_it(self) -> None:
        child = "; ".join(
            [
                "import threading",
                "t = threading.Thread(target=forked.append, args=(1,))",
                "t.start()",
                "t.join()",
                "pid = os.fork()",
                "pid or os._exit(5)",
                "os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))",
            ]
        )
        self.assertEqual(self.sibling_of_a_child(child)[0], 5)


class ProbeTests(Case):
    """Finding out which call works here."""

    def test_where_neither_call_works_it_says_what_was_tried(self) -> None:
        done = python(
            f"from twisted_fork.inside import sibling\n{REFUSED}\n{ALSO_REFUSED}\n"
            "try:\n    sibling.Cloner().probe()\n"
            "except sibling.Unsupported as why:\n    print(why)\n"
        )
        self.assertEqual(
            done.stdout, "clone3: Function not implemented; clone: Function not implemented\n"
        )

    def test_where_only_children_can_be_made_it_says_so(self) -> None:
        # A probe that makes no sibling would find nothing wrong.
        done = python(
            "import ctypes, errno\nfrom twisted_fork.inside import sibling\n"
            "cloner = sibling.Cloner()\n"
            "made = cloner._syscall\n"
            "def refuse(number, flags, *rest):\n"
            "    flags = getattr(flags, '_obj', flags)\n"
            "    flags = getattr(flags, 'flags', getattr(flags, 'value', 0))\n"
            "    if flags & sibling._CLONE_PARENT:\n"
            "        ctypes.set_errno(errno.EPERM)\n"
            "        return -1\n"
            "    return made(number, *cloner._call[1:])\n"
            "cloner._syscall = refuse\n"
            "try:\n    cloner.probe()\n"
            "except sibling.Unsupported as why:\n    print(why)\n"
        )
        self.assertEqual(
            (done.stdout, done.stderr),
            ("clone3: Operation not permitted; clone: Operation not permitted\n", ""),
        )

    def test_a_call_that_kills_who_makes_it_is_not_to_be_had(self) -> None:
        done = python(
            "import os\nfrom twisted_fork.inside import sibling\n"
            "cloner = sibling.Cloner()\n"
            "cloner._syscall = lambda *call: os.kill(os.getpid(), 9)\n"
            "try:\n    cloner.probe()\n"
            "except sibling.Unsupported as why:\n    print(why)\n"
        )
        self.assertEqual((done.stdout, done.stderr), ("clone3: signal 9; clone: signal 9\n", ""))

    def test_an_unknown_machine_is_named(self) -> None:
        with self.assertRaisesRegex(sibling.Unsupported, "clone's number on vax is not known"):
            sibling.Cloner().use_clone("vax")

    def test_every_known_machine_has_a_number(self) -> None:
        for machine in sibling._SYS_CLONE:
            sibling.Cloner().use_clone(machine)

    def test_a_fork_that_fails_for_now_is_an_os_error(self) -> None:
        for use in (sibling.Cloner.fork_sibling, sibling.Cloner.probe):
            cloner = sibling.Cloner()

            def refuse(*arguments: object) -> int:
                ctypes.set_errno(errno.EAGAIN)
                return -1

            self.patch(cloner, "_syscall", refuse)
            with self.assertRaises(BlockingIOError) as caught:
                use(cloner)
            self.assertEqual(caught.exception.errno, errno.EAGAIN)

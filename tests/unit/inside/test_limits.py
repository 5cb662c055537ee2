"""Tests for the limits of children: how they apply them."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from collections.abc import Callable
from typing import Any, cast
from unittest import mock

from tests.unit.cases import Case
from twisted_fork.inside import limits as inside
from twisted_fork.launchers import limits
from twisted_fork.settings import Settings
from twisted_fork.wire.orders import Limits


class ApplyTests(Case):
    """The calls that a child makes, and their order."""

    def calls(self, **given: Any) -> list[Any]:
        """Apply, with the system calls recorded instead of made."""
        told = limits.order(Settings(**given), 0)
        assert told is not None
        made: list[Any] = []

        def record(name: str) -> Callable[..., None]:
            return lambda *arguments: made.append((name, *arguments))

        with (
            mock.patch.object(resource, "setrlimit", record("setrlimit")),
            mock.patch.multiple(
                os,
                setpriority=record("setpriority"),
                umask=record("umask"),
                setgroups=record("setgroups"),
                setgid=record("setgid"),
                setuid=record("setuid"),
            ),
            mock.patch.object(inside, "_no_new_privileges", record("no_new_privs")),
            mock.patch.object(inside, "leave_keyring", record("leave_keyring")),
        ):
            inside.apply(told)
        return made

    def test_limits_bind_hard_and_soft(self) -> None:
        self.assertEqual(
            self.calls(memory=1 << 30, open_files=20, processes=3, file_size=100),
            [
                ("setrlimit", resource.RLIMIT_AS, (1 << 30, 1 << 30)),
                ("setrlimit", resource.RLIMIT_NOFILE, (20, 20)),
                ("setrlimit", resource.RLIMIT_NPROC, (3, 3)),
                ("setrlimit", resource.RLIMIT_FSIZE, (100, 100)),
            ],
        )

    def test_there_is_a_second_of_cpu_time_between_sigxcpu_and_sigkill(self) -> None:
        self.assertEqual(self.calls(cpu_seconds=5), [("setrlimit", resource.RLIMIT_CPU, (5, 6))])

    def test_privileges_are_given_up_after_whatever_takes_them(self) -> None:
        made = self.calls(nice=-1, umask=0o77, user="nobody", group="daemon", open_files=9)
        self.assertEqual(
            [name for name, *_ in made],
            [
                "setrlimit",
                "setpriority",
                "umask",
                "leave_keyring",
                "setgroups",
                "setgid",
                "setuid",
                "no_new_privs",
            ],
        )
        self.assertEqual(made[4:7], [("setgroups", []), ("setgid", 1), ("setuid", 65534)])

    def test_a_session_keyring_is_begun_while_who_it_was_is_its_owner(self) -> None:
        made = self.calls(user="nobody")
        self.assertEqual(
            [name for name, *_ in made],
            ["leave_keyring", "setgroups", "setgid", "setuid", "no_new_privs"],
        )

    def test_who_keeps_its_user_keeps_its_keyring(self) -> None:
        self.assertNotIn(("leave_keyring",), self.calls(group="daemon"))

    def keyring(self, failure: int) -> None:
        """Begin one, and be told that."""
        library = mock.Mock()
        library.syscall.return_value = -1
        with (
            mock.patch.object(ctypes, "PyDLL", return_value=library),
            mock.patch.object(ctypes, "get_errno", return_value=failure),
        ):
            inside.leave_keyring()

    def test_where_there_are_no_keyrings_there_is_none_to_leave(self) -> None:
        self.keyring(errno.ENOSYS)
        self.keyring(errno.EPERM)
        self.patch(inside, "_SYS_KEYCTL", {})
        self.keyring(errno.EIO)

    def test_a_keyring_that_cannot_be_left_is_an_error(self) -> None:
        self.patch(inside, "_SYS_KEYCTL", {os.uname().machine: 1})
        with self.assertRaises(OSError) as caught:
            self.keyring(errno.ENOMEM)
        self.assertEqual(caught.exception.errno, errno.ENOMEM)

    def apply_without_keyring(self, failure: int) -> None:
        told = dict.fromkeys(self._names())
        calls = mock.Mock(side_effect=OSError(failure, "why"))
        with mock.patch.multiple(os, setuid=mock.Mock(), setgroups=mock.Mock()):
            self.patch(inside, "leave_keyring", calls)
            inside.apply(cast(Limits, {**told, "uid": 65534}))

    def test_too_many_keyrings_are_no_reason_not_to_serve(self) -> None:
        self.apply_without_keyring(errno.EDQUOT)

    def test_any_other_trouble_with_keyrings_is_one_and_names_the_option(self) -> None:
        with self.assertRaises(OSError) as caught:
            self.apply_without_keyring(errno.ENOMEM)
        self.assertEqual(caught.exception.filename, "--user")

    def test_a_limit_that_cannot_be_applied_is_an_error(self) -> None:
        library = mock.Mock()
        library.prctl.return_value = -1
        with (
            mock.patch.object(ctypes, "PyDLL", return_value=library),
            mock.patch.object(ctypes, "get_errno", return_value=22),
            self.assertRaises(OSError) as caught,
        ):
            told = {**dict.fromkeys(self._names()), "no_new_privs": True}
            inside.apply(cast(Limits, told))
        self.assertEqual(caught.exception.errno, 22)

    def _names(self) -> list[str]:
        told = limits.order(Settings(cpu_seconds=1), 0)
        assert told is not None
        return list(told)

    def test_a_real_child_is_bound(self) -> None:
        told = limits.order(Settings(open_files=33, umask=0o27, no_new_privs=True, nice=19), 1000)
        assert told is not None
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.dup2(write, 3)
                os.closerange(4, 1000)  # however many the other tests have left open
                inside.apply(told)
                files = resource.getrlimit(resource.RLIMIT_NOFILE)
                with open("/proc/self/status") as file:
                    no_new = [line.split()[1] for line in file if line.startswith("NoNewPrivs")]
                nice = os.getpriority(os.PRIO_PROCESS, 0)
                os.write(3, repr((files, os.umask(0), no_new, nice)).encode())
                status = 0
            finally:
                os._exit(status)
        os.close(write)
        with open(read, "rb") as pipe:
            said = pipe.read().decode()
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(said, repr(((33, 33), 0o27, ["1"], 19)))

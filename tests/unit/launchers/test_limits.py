"""Tests for the limits of children: what they are told, and how they apply it."""

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
from twisted_fork.settings import InvalidSetting, Settings
from twisted_fork.wire.orders import Limits

_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class OrderTests(Case):
    """What children are told, and what is refused before there are any."""

    def order(self, uid: int = 0, **given: Any) -> Limits:
        told = limits.order(Settings(**given), uid)
        assert told is not None
        return told

    def refusal(self, uid: int, **given: Any) -> str:
        with self.assertRaises(InvalidSetting) as caught:
            limits.order(Settings(**given), uid)
        return str(caught.exception)

    def test_without_limits_there_is_nothing_to_tell(self) -> None:
        self.assertIsNone(limits.order(Settings()))

    def test_each_limit_alone_is_told(self) -> None:
        each = {
            "cpu_seconds": 5,
            "memory": 1 << 30,
            "open_files": 20,
            "processes": 3,
            "file_size": 100,
            "nice": 19,
            "umask": 0o27,
        }
        for name, value in each.items():
            told = dict(self.order(**{name: value}))
            self.assertEqual(told.pop(name), value)
            self.assertTrue(all(rest in (None, False) for rest in told.values()), name)

    def test_a_limit_of_zero_is_one_too(self) -> None:
        for name in ("file_size", "nice", "umask"):
            self.assertEqual(self.order(**{name: 0})[name], 0, name)

    def test_a_user_brings_a_group_and_no_new_privileges(self) -> None:
        told = self.order(user="nobody")
        self.assertEqual((told["uid"], told["gid"]), (65534, 65534))
        self.assertIs(told["no_new_privs"], True)

    def test_a_group_may_be_another_than_the_users(self) -> None:
        told = self.order(user="nobody", group="daemon")
        self.assertEqual((told["uid"], told["gid"]), (65534, 1))

    def test_a_group_alone_leaves_the_user(self) -> None:
        told = self.order(group="daemon")
        self.assertEqual((told["uid"], told["gid"]), (None, 1))
        self.assertIs(told["no_new_privs"], False)

    def test_roots_group_alone_is_told_too(self) -> None:
        self.assertEqual(self.order(group="root")["gid"], 0)

    def test_no_new_privileges_may_be_had_without_a_user(self) -> None:
        self.assertIs(self.order(uid=1000, no_new_privs=True)["no_new_privs"], True)

    def test_whom_there_is_not_is_refused(self) -> None:
        self.assertEqual(
            self.refusal(0, user="no-such-user"),
            "--user cannot be 'no-such-user': there is no such user",
        )
        self.assertEqual(
            self.refusal(0, group="no-such-group"),
            "--group cannot be 'no-such-group': there is no such group",
        )

    def test_another_user_or_group_takes_root(self) -> None:
        for given in ({"user": "nobody"}, {"group": "daemon"}):
            self.assertIn("need a server that runs as root", self.refusal(1000, **given))

    def test_more_than_the_system_allows_is_refused(self) -> None:
        self.patch(resource, "getrlimit", lambda kind: (100, 200))
        for name, asked in (("open_files", 201), ("processes", 201)):
            option = name.replace("_", "-")
            self.assertEqual(
                self.refusal(1000, **{name: asked}),
                f"--{option} cannot be {asked}: the system allows 200",
            )
            self.assertEqual(dict(self.order(1000, **{name: 200}))[name], 200)

    def test_any_other_limit_beyond_the_systems_is_refused_too(self) -> None:
        hard = 2 * 1024 * 1024
        self.patch(resource, "getrlimit", lambda kind: (hard, hard))
        for name in ("cpu_seconds", "memory", "file_size"):
            self.assertIn(f"the system allows {hard}", self.refusal(1000, **{name: hard + 1}))

    def test_an_unlimited_system_allows_everything(self) -> None:
        self.patch(resource, "getrlimit", lambda kind: _UNLIMITED)
        self.assertEqual(self.order(1000, open_files=1000)["open_files"], 1000)

    def test_a_better_priority_takes_root(self) -> None:
        self.patch(os, "getpriority", lambda which, who: 0)
        self.assertIn("--nice cannot be -1", self.refusal(1000, nice=-1))
        self.assertEqual(self.order(1000, nice=1)["nice"], 1)
        self.assertEqual(self.order(0, nice=-1)["nice"], -1)


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

"""Tests for what a system has to allow."""

from __future__ import annotations

import errno
import os
from typing import Any

from tests.unit.cases import Case
from tests.unit.processes import descriptors_before
from twisted_fork.kernel import system
from twisted_fork.settings import InvalidSetting
from twisted_fork.wire import calls


def failing(number: int) -> Any:
    """A call that always fails so."""

    def call(*arguments: object, **more: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


class SystemTests(Case):
    """What is denied, and what is said of it."""

    def refusal(self) -> str:
        with self.assertRaises(InvalidSetting) as caught:
            system.check()
        return str(caught.exception)

    def test_this_system_denies_nothing(self) -> None:
        before = descriptors_before()
        system.check()
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))
        with self.assertRaises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def test_proc_is_named(self) -> None:
        self.patch(os, "listdir", failing(errno.ENOENT))
        self.assertEqual(
            self.refusal(),
            "/proc has to be mounted, and readable: /proc/self/fd: No such file or directory",
        )

    def test_pidfd_open_is_named(self) -> None:
        self.patch(calls, "pidfd_open", failing(errno.ENOSYS))
        self.assertIn("pidfd_open(2): Function not implemented; it takes Linux", self.refusal())

    def test_posix_spawn_is_named(self) -> None:
        self.patch(os, "posix_spawn", failing(errno.EPERM))
        self.assertIn("posix_spawn(3): Operation not permitted; a seccomp", self.refusal())

    def test_a_session_can_be_begun_unless_python_says_that_it_cannot(self) -> None:
        self.assertTrue(system.can_begin_sessions())

        def without(*arguments: object, setsid: bool) -> None:
            if setsid:
                raise NotImplementedError

        self.patch(os, "posix_spawn", without)
        self.assertFalse(system.can_begin_sessions())

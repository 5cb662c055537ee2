"""Tests for system calls that the os module may lack."""

from __future__ import annotations

import ctypes
import errno
import os
import select

from tests.unit.cases import Case
from tests.unit.processes import forked, status_of
from twisted_fork.wire import calls


class CallsTests(Case):
    """Made by way of the C library, whether or not the os module has them."""

    def test_a_childs_end_makes_its_pidfd_readable(self) -> None:
        pid = forked(lambda: os._exit(7))
        pidfd = calls._pidfd_open(pid)
        self.addCleanup(os.close, pidfd)
        self.assertEqual(select.select([pidfd], [], [], 20)[0], [pidfd])
        self.assertFalse(os.get_inheritable(pidfd))
        self.assertEqual(status_of(pid), 7)

    def test_there_is_none_of_who_is_no_child_any_more(self) -> None:
        pid = forked(lambda: os._exit(0))
        status_of(pid)
        with self.assertRaises(ProcessLookupError) as raised:
            calls._pidfd_open(pid)
        self.assertEqual(raised.exception.errno, errno.ESRCH)

    def test_what_is_written_into_memory_can_be_read_by_its_path(self) -> None:
        with open(calls._memory_file("test"), "wb") as file:
            self.assertFalse(os.get_inheritable(file.fileno()))
            file.write(b"contents")
            file.flush()
            with open(f"/proc/self/fd/{file.fileno()}", "rb") as again:
                self.assertEqual(again.read(), b"contents")

    def test_a_library_without_them_says_so(self) -> None:
        class Library:
            def __init__(self, name: None, use_errno: bool) -> None:
                pass

        self.patch(ctypes, "CDLL", Library)
        with self.assertRaises(OSError) as raised:
            calls._memory_file("test")
        self.assertEqual(raised.exception.errno, errno.ENOSYS)

"""Tests for Unix sockets that are bound to a path: taking it, and giving it back."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import socket
import stat
import threading
from pathlib import Path

from tests.unit.cases import Case
from tests.unit.processes import descriptors_before
from twisted_fork.entrance.unixsockets import Place, listen


class PathCase(Case):
    """A folder of its own, whose path is short."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        before = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)

    def entries(self) -> list[str]:
        return sorted(os.listdir())

    def open(
        self, path: bytes = b"s", mode: int = 0o666, backlog: int = 5, lock: bool = True
    ) -> tuple[socket.socket, Place | None]:
        listener, place = listen(path, mode, backlog, lock)
        self.addCleanup(listener.close)
        return listener, place

    def refusal(
        self, path: bytes = b"s", mode: int = 0o666, backlog: int = 5, lock: bool = True
    ) -> str:
        """Why it cannot be listened there; nothing is left open by that."""
        before = len(descriptors_before())
        with self.assertRaises(OSError) as caught:
            listen(path, mode, backlog, lock)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        assert caught.exception.strerror is not None
        return caught.exception.strerror

    def bound(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket of somebody else at the path, which does not listen yet."""
        made = socket.socket(socket.AF_UNIX, kind)
        self.addCleanup(made.close)
        made.bind(b"s")
        return made


class TakingTests(PathCase):
    """Who may have a path."""

    def test_a_free_path_is_taken_and_only_the_socket_is_there(self) -> None:
        before = len(descriptors_before())
        listener, _ = self.open()
        self.assertEqual(self.entries(), ["s"])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before + 1)
        self.assertFalse(listener.get_inheritable())
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(b"s")

    def test_what_a_server_that_is_gone_has_left_is_replaced(self) -> None:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            for lock in (True, False):
                self.bound(kind).close()
                listener, place = self.open(lock=lock)
                assert place is not None
                place.remove()
                listener.close()

    def test_one_that_is_in_use_is_refused_and_who_has_it_does_not_notice(self) -> None:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            other = self.bound(kind)
            if kind != socket.SOCK_DGRAM:
                # with room for one more in its queue, which must stay free
                self.assertIn("a server listens there already", self.refusal())
                other.listen(0)
            self.assertIn("a server listens there already", self.refusal())
            self.assertIn("a server listens there already", self.refusal(lock=False))
            other.setblocking(False)
            with self.assertRaises(BlockingIOError):
                other.recv(1) if kind == socket.SOCK_DGRAM else other.accept()
            self.assertEqual(self.entries(), ["s"])
            os.unlink("s")

    def test_what_is_no_socket_is_named_and_left_alone(self) -> None:
        os.mkdir("folder")
        os.symlink("elsewhere", "link")
        os.mkfifo("pipe")
        Path("file").touch()
        before = self.entries()
        for name, what in (
            ("folder", "a folder"),
            ("link", "a symbolic link"),
            ("pipe", "a file that is no socket"),
            ("file", "a file that is no socket"),
        ):
            for lock in (True, False):
                refusal = self.refusal(name.encode(), lock=lock)
                self.assertIn(f"there is {what}; it takes", refusal)
        self.assertEqual(self.entries(), before)

    def test_a_folder_has_to_be_there(self) -> None:
        for lock in (True, False):
            self.assertIn("there is no folder gone;", self.refusal(b"gone/s", lock=lock))
            Path("file").touch()
            self.assertIn("file is no folder;", self.refusal(b"file/s", lock=lock))

    def test_a_path_may_have_107_bytes(self) -> None:
        self.open(b"x" * 107)
        refusal = self.refusal(b"x" * 108)
        self.assertIn("its path has 108 bytes; it takes a path of at most 107", refusal)
        self.assertIn("cannot have a NUL", self.refusal(b"a\0b"))

    def test_the_mode_is_the_one_asked_for_whatever_the_umask_is(self) -> None:
        for umask in (0, 0o777):
            self.addCleanup(os.umask, os.umask(umask))
            _, place = self.open(mode=0o640)
            self.assertEqual(stat.S_IMODE(os.stat("s").st_mode), 0o640)
            assert place is not None
            place.remove()

    def test_when_it_fails_half_way_nothing_is_left(self) -> None:
        def fail(*arguments: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        self.patch(os, "chmod", fail)
        self.assertIn("a folder where this user may make and remove files", self.refusal())
        self.assertEqual(self.entries(), [])

    def test_a_lock_that_twisted_has_left_goes_and_nothing_else_of_that_name(self) -> None:
        os.symlink("4711", "s.lock")
        _, place = self.open()
        self.assertEqual(self.entries(), ["s"])
        assert place is not None
        place.remove()
        for link in (True, False):
            os.symlink("file", "s.lock") if link else Path("s.lock").touch()
            _, place = self.open()
            self.assertEqual(self.entries(), ["s", "s.lock"])
            assert place is not None
            place.remove()
            os.unlink("s.lock")

    def test_an_abstract_name_has_neither_place_nor_lock(self) -> None:
        name = b"\0" + os.urandom(16).hex().encode()
        listener, place = self.open(name)
        self.assertIsNone(place)
        self.assertEqual(self.entries(), [])
        self.assertIn("Address already in use; stop what listens there", self.refusal(name))
        listener.close()
        self.open(name)


class StartingTogetherTests(PathCase):
    """Of several servers that start at the same moment one gets the path."""

    def held(self) -> int:
        """The lock of somebody who is starting."""
        lock = os.open("s.starting", os.O_RDWR | os.O_CREAT)
        self.addCleanup(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def test_while_one_starts_another_is_refused(self) -> None:
        lock = self.held()
        self.assertIn("another server is just starting there", self.refusal())
        self.assertEqual(self.entries(), ["s.starting"])
        fcntl.flock(lock, fcntl.LOCK_UN)
        # as when it was killed: a lock that nobody has is no obstacle
        self.open()
        self.assertEqual(self.entries(), ["s"])

    def test_who_wants_no_lock_is_not_kept_by_one(self) -> None:
        self.held()
        self.open(lock=False)
        self.assertEqual(self.entries(), ["s", "s.starting"])

    def test_a_lock_whose_file_was_removed_or_replaced_meanwhile_is_taken_anew(self) -> None:
        flock = fcntl.flock
        for replace in (False, True):

            def too_late(lock: int, how: int, replace: bool = replace) -> None:
                self.patch(fcntl, "flock", flock)
                os.unlink("s.starting")
                if replace:
                    Path("s.starting").touch()
                flock(lock, how)

            self.patch(fcntl, "flock", too_late)
            before = len(descriptors_before())
            listener, place = self.open()
            self.assertEqual(self.entries(), ["s"])
            self.assertEqual(len(os.listdir("/proc/self/fd")), before + 1)
            assert place is not None
            place.remove()
            listener.close()

    def test_one_of_many_wins(self) -> None:
        unlink = os.unlink
        numbers = itertools.count()
        together = threading.Barrier(4)
        won: list[tuple[socket.socket, Place | None]] = []
        lost: list[str] = []

        def one_after_the_other(path: bytes) -> None:
            """All have seen by now what is to be removed, if they do not wait."""
            threading.Event().wait(0.01 * (next(numbers) % 4))
            unlink(path)

        def start() -> None:
            together.wait()
            try:
                won.append(listen(b"s", 0o666, 5))
            except OSError as why:
                lost.append(str(why.strerror))

        self.patch(os, "unlink", one_after_the_other)
        for _ in range(10):
            self.bound().close()
            threads = [threading.Thread(target=start) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            ((listener, place),) = won
            self.assertEqual(len(lost), 3)
            self.assertEqual(self.entries(), ["s"])
            assert place is not None
            place.remove()
            listener.close()
            won.clear()
            lost.clear()


class GivingBackTests(PathCase):
    """A stop removes what is its own, and nothing else."""

    def place(self) -> Place:
        _, place = self.open()
        assert place is not None
        return place

    def test_the_path_goes(self) -> None:
        self.place().remove()
        self.assertEqual(self.entries(), [])

    def test_one_that_is_gone_is_no_trouble(self) -> None:
        place = self.place()
        os.unlink("s")
        place.remove()

    def test_what_has_taken_its_place_stays(self) -> None:
        first = self.place()
        os.unlink("s")
        second = self.place()
        first.remove()
        self.assertEqual(self.entries(), ["s"])
        second.remove()
        self.assertEqual(self.entries(), [])

    def test_it_is_found_from_another_folder(self) -> None:
        place = self.place()
        os.mkdir("other")
        os.chdir("other")
        place.remove()
        os.chdir("..")
        self.assertEqual(self.entries(), ["other"])

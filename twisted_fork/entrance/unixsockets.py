"""
Unix sockets that are bound to a path: taking the path, and removing it.

Whether a server listens at a path is asked of the kernel, not read from a file with a pid: a
listening socket stays when the server becomes a daemon, and is gone with the last process that
has it, however that ended.  A lock is needed only while a server starts.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

__all__ = ["Place", "listen"]

_LONGEST = 107
"""The longest path that the kernel takes, in bytes; see unix(7)."""

_MOST_TRIES = 100
"""How often to try again if the lock's file was removed before it was locked."""


class Place:
    """
    The path of a socket that this server has bound.

    :param path: a socket has just been bound to it.
    """

    def __init__(self, path: bytes) -> None:
        self._path = os.path.abspath(path)
        self._file = _identity(os.lstat(path))

    def remove(self) -> None:
        """
        Remove the path, unless it now belongs to another server.  Call it while the socket is
        open: then no other file has its inode number.

        :raises OSError: it cannot be removed.
        """
        with suppress(FileNotFoundError):
            if _identity(os.lstat(self._path)) == self._file:
                os.unlink(self._path)


def listen(
    path: bytes, mode: int, backlog: int, lock: bool = True
) -> tuple[socket.socket, Place | None]:
    """
    Listen at a path.  A socket that an ended server has left there is replaced.

    :param path: if it begins with a NUL it is an abstract name, which has no Place and no mode.
    :param mode: of the file; the umask does not matter.
    :param lock: keep other servers from starting there at the same time.
    :raises OSError: it is not possible; strerror is text for the operator.
    """
    abstract = path[:1] == b"\0"
    if not abstract and b"\0" in path:
        raise OSError(errno.EINVAL, "a path cannot have a NUL")
    if len(path) > _LONGEST + abstract:
        raise OSError(
            errno.ENAMETOOLONG,
            f"its path has {len(path)} bytes; it takes a path of at most {_LONGEST}",
        )
    listener = socket.socket(socket.AF_UNIX)
    try:
        if abstract:
            listener.bind(path)
            listener.listen(backlog)
            return listener, None
        with _only_one_starts(path) if lock else nullcontext():
            _make_room(path)
            listener.bind(path)
            place = Place(path)
            try:
                os.chmod(path, mode)  # before anybody can connect
                listener.listen(backlog)
            except BaseException:
                place.remove()
                raise
        _remove_twisteds_lock(path)
    except OSError as why:
        listener.close()
        raise _told(why, path) from None
    except BaseException:
        listener.close()
        raise
    return listener, place


def _identity(file: os.stat_result) -> tuple[int, int]:
    return file.st_dev, file.st_ino


def _told(why: OSError, path: bytes) -> OSError:
    """The same error, with what would be right in its text."""
    folder = os.fsdecode(os.path.dirname(path)) or "."
    text = why.strerror or str(why)
    if why.errno == errno.ENOENT:
        text = f"there is no folder {folder}; it takes a path in a folder that exists"
    elif why.errno == errno.ENOTDIR:
        text = f"{folder} is no folder; it takes a path in one"
    elif why.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        text += "; it takes a path in a folder where this user may make and remove files"
    elif why.errno == errno.EADDRINUSE and path[:1] == b"\0":
        text += "; stop what listens there, or choose another name"
    return OSError(why.errno, text)


def _make_room(path: bytes) -> None:
    """Remove the socket of an ended server at *path*.

    :raises OSError: there is something else.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link"}
        what = kinds.get(stat.S_IFMT(mode), "a file that is no socket")
        raise OSError(errno.EEXIST, f"there is {what}; it takes a path where there is nothing yet")
    # connecting a datagram socket to a stream socket fails, so a server there does not notice it
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except PermissionError:
            raise OSError(
                errno.EADDRINUSE,
                "there is a socket that this user may not connect to;"
                " remove it if nobody listens there, or choose another path",
            ) from None
        except OSError as why:
            if why.errno != errno.EPROTOTYPE:
                raise
    raise OSError(
        errno.EADDRINUSE, "a server listens there already; stop it, or choose another path"
    )


@contextmanager
def _only_one_starts(path: bytes) -> Iterator[None]:
    """
    Hold a lock beside *path*; the kernel releases it when this process ends.

    :raises OSError: another process has it.
    """
    name = path + b".starting"
    lock = _locked(name)
    try:
        yield
    finally:
        os.unlink(name)
        os.close(lock)


def _locked(name: bytes) -> int:
    for _ in range(_MOST_TRIES):
        lock = os.open(name, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            break
        if _is_still(name, lock):
            return lock
        os.close(lock)  # its last owner removed the file before we locked it
    raise OSError(errno.EADDRINUSE, "another server is just starting there; choose another path")


def _is_still(name: bytes, descriptor: int) -> bool:
    """Whether *name* still names the file that is open as *descriptor*."""
    try:
        return _identity(os.lstat(name)) == _identity(os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_twisteds_lock(path: bytes) -> None:
    """
    Remove the symbolic link with a pid that Twisted's own Unix ports, and earlier versions of
    this server, leave behind.  This server has the path now, so the link is not used.
    """
    name = path + b".lock"
    with suppress(OSError):
        if os.readlink(name).isdigit():
            os.unlink(name)

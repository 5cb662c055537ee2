"""
Unix sockets that are bound to a path: taking the path, and giving it back.

Who listens at a path is asked of the kernel, not of a file that names a process: a listening
socket goes on when the server becomes a daemon, and is gone with the last process that has it,
however that has ended.  A lock is needed only while a server starts.
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
"""Bytes of a path that the kernel takes; see unix(7)."""

_MOST_TRIES = 100
"""Times that a lock may be gone when we have it."""


class Place:
    """
    The path of a socket of ours, from the moment when it is bound until that is closed.

    :param path: where a socket has just been bound.
    """

    def __init__(self, path: bytes) -> None:
        self._path = os.path.abspath(path)
        self._file = _identity(os.lstat(path))

    def remove(self) -> None:
        """
        Remove the path, unless it is somebody else's by now.  While the socket is open no
        other file can have the number of ours, and no server of ours takes the path.

        :raises OSError: it cannot be removed.
        """
        with suppress(FileNotFoundError):
            if _identity(os.lstat(self._path)) == self._file:
                os.unlink(self._path)


def listen(
    path: bytes, mode: int, backlog: int, lock: bool = True
) -> tuple[socket.socket, Place | None]:
    """
    Listen at a path; the socket of a server that is gone is replaced.

    :param path: an abstract name, which has neither place nor mode, if it begins with a NUL.
    :param mode: of the file, whatever the umask is.
    :param lock: keep others from starting there at the same moment.
    :raises OSError: it cannot be; strerror is what to tell the operator.
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
    """The same error, with what would be right."""
    folder = os.fsdecode(os.path.dirname(path)) or "."
    text = why.strerror or str(why)
    if why.errno == errno.ENOENT:
        text = f"there is no folder {folder}; it takes a path in one that there is"
    elif why.errno == errno.ENOTDIR:
        text = f"{folder} is no folder; it takes a path in one"
    elif why.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        text += "; it takes a path in a folder where this user may make and remove files"
    elif why.errno == errno.EADDRINUSE and path[:1] == b"\0":
        text += "; stop what listens there, or choose another name"
    return OSError(why.errno, text)


def _make_room(path: bytes) -> None:
    """Remove what a server that is gone has left at *path*, and nothing else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link"}
        what = kinds.get(stat.S_IFMT(mode), "a file that is no socket")
        raise OSError(errno.EEXIST, f"there is {what}; it takes a path where there is nothing yet")
    # a datagram socket cannot be connected to one for streams, so who listens does not notice
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
    Hold a lock beside *path*, which the kernel takes back however we end.

    :raises OSError: another has it.
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
        os.close(lock)  # who had it has removed it in between
    raise OSError(errno.EADDRINUSE, "another server is just starting there; choose another path")


def _is_still(name: bytes, descriptor: int) -> bool:
    """Whether *name* is that of the file that is open as *descriptor*."""
    try:
        return _identity(os.lstat(name)) == _identity(os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_twisteds_lock(path: bytes) -> None:
    """
    Twisted's own Unix ports, and earlier versions of ours, leave a symbolic link behind that
    names a process.  The path is ours now, so its lock is nobody's.
    """
    name = path + b".lock"
    with suppress(OSError):
        if os.readlink(name).isdigit():
            os.unlink(name)

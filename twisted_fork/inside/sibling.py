"""
Forks a sibling: a child of this process's parent.

``os.fork`` makes a child of the caller.  But the reactor process has to be the parent of all
children, not the template: then it gets the exit statuses, a pid is not reused before it has
waited, and the template may die without taking a connection with it.  ``clone(2)`` with
``CLONE_PARENT`` does that.  CPython's own hooks around ``fork`` (PyOS_BeforeFork and the others,
see "Process control" in the C API reference) keep the interpreter consistent.

Whatever is asked for, the kernel gives a sibling the exit signal of the process that makes it,
here SIGCHLD (copy_process in kernel/fork.c).
"""

from __future__ import annotations

import ctypes
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Cloner", "Unsupported"]

_CLONE_PARENT = 0x00008000
_CLONE_CHILD_CLEARTID = 0x00200000
_CLONE_CHILD_SETTID = 0x01000000
_FLAGS = _CLONE_PARENT | _CLONE_CHILD_CLEARTID | _CLONE_CHILD_SETTID

_PR_GET_TID_ADDRESS = 40

_SYS_CLONE3 = 435
"""The number is the same on all architectures."""

_SYS_CLONE = {
    "x86_64": 56,
    "i686": 120,
    "i386": 120,
    "aarch64": 220,
    "armv7l": 120,
    "armv6l": 120,
    "riscv64": 220,
    "loongarch64": 220,
    "ppc64le": 120,
    "ppc64": 120,
}
"""From the kernel's syscall tables.  s390x is left out: its clone takes its arguments in another
order, and it has clone3."""

_TID_BEFORE_TLS = {"x86_64", "loongarch64"}
"""Where clone's arguments end in ``child_tid, tls``; elsewhere in ``tls, child_tid``.  See
clone(2), "C library/kernel differences"."""


_REFUSALS = (errno.ENOSYS, errno.EPERM, errno.EINVAL)
"""Errors that mean that a call is not allowed; other errors of fork(2) may pass."""


class Unsupported(Exception):
    """Siblings cannot be forked on this system; the message says what was tried."""


class _Refused(Exception):
    """The system does not allow this call."""


class _CloneArguments(ctypes.Structure):
    """``struct clone_args`` in its first version (64 bytes), see clone(2)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("pidfd", ctypes.c_uint64),
        ("child_tid", ctypes.c_uint64),
        ("parent_tid", ctypes.c_uint64),
        ("exit_signal", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("stack_size", ctypes.c_uint64),
        ("tls", ctypes.c_uint64),
    )


class Cloner:
    """
    Forks siblings of this process.

    Make it once, before the first fork.  Use it only in a process with a single thread.
    """

    def __init__(self) -> None:
        library = ctypes.PyDLL(None, use_errno=True)
        self._syscall = library.syscall
        self._syscall.restype = ctypes.c_long
        self._before = ctypes.pythonapi.PyOS_BeforeFork
        self._after_in_parent = ctypes.pythonapi.PyOS_AfterFork_Parent
        self._after_in_child = ctypes.pythonapi.PyOS_AfterFork_Child
        for hook in (self._before, self._after_in_parent, self._after_in_child):
            hook.restype = None
            hook.argtypes = []
        tid_address = self._tid_address(library)
        flags = _FLAGS if tid_address else _CLONE_PARENT
        self._arguments = _CloneArguments(flags=flags, child_tid=tid_address)
        self._call: tuple[Any, ...] = (
            ctypes.c_long(_SYS_CLONE3),
            ctypes.byref(self._arguments),
            ctypes.c_size_t(ctypes.sizeof(self._arguments)),
        )

    @staticmethod
    def _tid_address(library: ctypes.PyDLL) -> int:
        """
        Find where the C library keeps this thread's id.  The kernel writes the child's id
        there, as it does for fork; otherwise raise(3) and some mutexes would use the id of
        the template.  0 if the kernel does not tell (it is built without
        CONFIG_CHECKPOINT_RESTORE).
        """
        address = ctypes.c_void_p(0)
        asked = library.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0)
        return address.value or 0 if asked == 0 else 0

    def use_clone(self, machine: str | None = None) -> None:
        """
        Use ``clone`` from now on, for systems whose seccomp profile answers ``ENOSYS`` to
        ``clone3``.

        :param machine: as in os.uname(); by default that of this machine.
        :raises Unsupported: the number of clone on *machine* is not known.
        """
        machine = machine or os.uname().machine
        number = _SYS_CLONE.get(machine)
        if number is None:
            raise Unsupported(f"clone3 is refused, and clone's number on {machine} is not known")
        nothing = ctypes.c_void_p(0)
        tid = ctypes.c_void_p(self._arguments.child_tid)
        tail = (tid, nothing) if machine in _TID_BEFORE_TLS else (nothing, tid)
        flags = ctypes.c_ulong(self._arguments.flags)
        self._call = (ctypes.c_long(number), flags, nothing, nothing, *tail)

    def fork_sibling(self) -> int:
        """
        Fork a child of this process's parent.

        :returns: its pid; in the new process 0.
        :raises OSError: as fork(2): ``EAGAIN`` (a limit on processes), ``ENOMEM``.
        """
        self._before()
        pid: int = self._syscall(*self._call)
        if pid == 0:
            self._after_in_child()
            return 0
        number = ctypes.get_errno()
        self._after_in_parent()
        if pid < 0:
            raise OSError(number, os.strerror(number))
        return pid

    def probe(self) -> str:
        """
        Find out which call works here, by making it.

        This process must have no children.

        :returns: ``clone3`` or ``clone``.
        :raises Unsupported: neither works; the message says why.
        :raises OSError: as fork(2): no process can be made now.
        """
        try:
            self._try()
            return "clone3"
        except _Refused as refusal:
            self.use_clone()
            try:
                self._try()
                return "clone"
            except _Refused as second:
                raise Unsupported(f"clone3: {refusal}; clone: {second}") from second

    def _try(self) -> None:
        """
        Have a child of this process fork its sibling, just as this process will fork its own.
        The sibling is a child of this process too, which waits for both.
        """
        pid = os.fork()
        if pid == 0:
            status = 0
            try:
                self.fork_sibling()
            except OSError as failure:
                status = failure.errno or errno.EIO
            os._exit(status)
        try:
            while True:
                ended, status = os.wait()
                if ended == pid:
                    number = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            pass
        if number < 0:
            raise _Refused(f"signal {-number}")  # a seccomp filter may kill the caller
        if number in _REFUSALS:
            raise _Refused(os.strerror(number))
        if number:
            raise OSError(number, os.strerror(number))

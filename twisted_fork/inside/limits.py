"""
Limits that a child applies to itself before its handler runs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource

from twisted_fork.wire.resources import RESOURCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_fork.wire.orders import Limits

__all__ = ["apply", "leave_keyring"]

_PR_SET_NO_NEW_PRIVS = 38

_KEYCTL_JOIN_SESSION_KEYRING = 1

_SYS_KEYCTL = {
    "x86_64": 250,
    "i686": 288,
    "i386": 288,
    "aarch64": 219,
    "armv7l": 311,
    "armv6l": 311,
    "riscv64": 219,
    "loongarch64": 219,
    "ppc64le": 271,
    "ppc64": 271,
    "s390x": 280,
}
"""From the kernel's syscall tables."""

_NO_KEYRINGS = (errno.ENOSYS, errno.EPERM)
"""The kernel has no keyrings; or a seccomp filter denies keyctl(2), to children too."""


def apply(limits: Limits) -> None:
    """
    Apply *limits*; they cannot be undone.  The order matters: some need privileges that
    others give up.

    :raises OSError: one cannot be applied, and nothing may be served.  Its filename is the
        option.
    """
    for name, kind in RESOURCES.items():
        value = limits[name]
        if value is not None:
            # one second more for the hard limit on CPU time: SIGXCPU comes first, then SIGKILL
            bounds = (value, value + (name == "cpu_seconds"))
            _do("--" + name.replace("_", "-"), resource.setrlimit, kind, bounds)
    if limits["nice"] is not None:
        _do("--nice", os.setpriority, os.PRIO_PROCESS, 0, limits["nice"])
    if limits["umask"] is not None:
        os.umask(limits["umask"])
    if limits["uid"] is not None:
        try:
            # before the user changes: the keyring then belongs to the server's user, and other
            # processes of the new user have no access
            leave_keyring()
        except OSError as failure:
            if failure.errno != errno.EDQUOT:
                raise OSError(failure.errno, failure.strerror, "--user") from None
            # too many keyrings: the child keeps its template's, which is empty
    who = "--user" if limits["uid"] is not None else "--group"
    if limits["gid"] is not None:
        _do(who, os.setgroups, [])
        _do(who, os.setgid, limits["gid"])
    if limits["uid"] is not None:
        _do(who, os.setuid, limits["uid"])
    if limits["no_new_privs"]:
        _do("--no-new-privs", _no_new_privileges)


def leave_keyring() -> None:
    """
    Begin a session keyring, see session-keyring(7): through it, the keys of the session that
    this process was started in are not found.  Does nothing if there are no keyrings.

    :raises OSError: that is not possible: ``EDQUOT`` if there are too many.
    """
    number = _SYS_KEYCTL.get(os.uname().machine)
    if number is None:
        return
    library = ctypes.PyDLL(None, use_errno=True)
    joined = ctypes.c_long(_KEYCTL_JOIN_SESSION_KEYRING)
    if library.syscall(ctypes.c_long(number), joined, None) < 0:
        failure = ctypes.get_errno()
        if failure not in _NO_KEYRINGS:
            raise OSError(failure, os.strerror(failure))


def _do(option: str, call: Callable[..., object], *arguments: object) -> None:
    try:
        call(*arguments)
    except ValueError as failure:
        raise OSError(errno.EPERM, str(failure), option) from None
    except OSError as failure:
        raise OSError(failure.errno, failure.strerror, option) from None


def _no_new_privileges() -> None:
    library = ctypes.PyDLL(None, use_errno=True)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""
Limits on children, as the reactor process knows them: what children are told, and whether it is
possible.
"""

from __future__ import annotations

import grp
import os
import pwd
import resource

from twisted_fork import agreement
from twisted_fork.settings import InvalidSetting, Settings
from twisted_fork.wire.orders import Limits
from twisted_fork.wire.resources import RESOURCES

__all__ = ["order"]


def order(settings: Settings, uid: int | None = None) -> Limits | None:
    """
    Make what children are told about their limits: plain values; None if there are none.

    :param uid: the user that the reactor process will run as; by default its present one.
    :raises InvalidSetting: a limit cannot be applied.
    """
    if not agreement.is_limited(settings):
        return None
    user, group = _identity(settings, os.geteuid() if uid is None else uid)
    told: Limits = {
        "cpu_seconds": settings.cpu_seconds,
        "memory": settings.memory,
        "open_files": settings.open_files,
        "processes": settings.processes,
        "file_size": settings.file_size,
        "nice": settings.nice,
        "umask": settings.umask,
        "uid": user,
        "gid": group,
        "no_new_privs": agreement.no_new_privileges(settings),
    }
    _require_possible(told, os.geteuid() if uid is None else uid)
    return told


def _identity(settings: Settings, uid: int) -> tuple[int | None, int | None]:
    user = group = None
    if settings.user is None and settings.group is None:
        return None, None
    if settings.user is not None:
        try:
            entry = pwd.getpwnam(settings.user)
        except KeyError:
            raise InvalidSetting(
                f"--user cannot be {settings.user!r}: there is no such user"
            ) from None
        user, group = entry.pw_uid, entry.pw_gid
    if settings.group is not None:
        try:
            group = grp.getgrnam(settings.group).gr_gid
        except KeyError:
            raise InvalidSetting(
                f"--group cannot be {settings.group!r}: there is no such group"
            ) from None
    if uid != 0:
        raise InvalidSetting("--user and --group need a server that runs as root, and stays so")
    return user, group


def _require_possible(told: Limits, uid: int) -> None:
    if uid == 0:
        return
    for name, kind in RESOURCES.items():
        hard, asked = resource.getrlimit(kind)[1], told[name]
        if asked is not None and hard != resource.RLIM_INFINITY and asked > hard:
            raise InvalidSetting(
                f"--{name.replace('_', '-')} cannot be {asked}: the system allows {hard}"
            )
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if told["nice"] is not None and told["nice"] < nice:
        raise InvalidSetting(f"--nice cannot be {told['nice']}: it takes root to go below {nice}")

"""
What a template, or a spawned child, is told once: made here, and given to it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import BinaryIO

from twisted_fork.handler import Handler
from twisted_fork.launchers import limits
from twisted_fork.settings import InvalidSetting, Settings, option_name
from twisted_fork.wire import messages
from twisted_fork.wire.calls import memory_file
from twisted_fork.wire.orders import Certificates, Orders, PemFile

__all__ = ["give_orders", "orders_file", "orders_for"]


def orders_for(
    handler: Handler,
    settings: Settings,
    listened_to: bool,
    uid: int | None = None,
    clone: str = "clone3",
) -> Orders:
    """
    What a template or a spawned child is told, once: plain values.

    :param listened_to: somebody cares for the messages of the handler.
    :param uid: who the reactor process will be; by default who it is.
    :param clone: the call to fork with; see sibling.Cloner.
    :raises InvalidSetting: a limit cannot be applied by who that is, or a file for TLS
        cannot be read.
    """
    return {
        "accounts": not settings.quiet,
        "clone": clone,
        "connections_per_child": settings.connections_per_child,
        "handler": handler.order(),
        "handshake_timeout": settings.handshake_timeout,
        "launcher": settings.launcher,
        "limits": limits.order(settings, uid),
        "listened_to": listened_to,
        "path": list(sys.path),
        "tls": _certificates(settings),
    }


def _certificates(settings: Settings) -> Certificates | None:
    certificate = _contents(settings, "tls_certificate")
    if certificate is None:
        return None
    return {
        "certificate": certificate,
        "key": _contents(settings, "tls_key"),
        "client_ca": _contents(settings, "tls_client_ca"),
    }


def _contents(settings: Settings, name: str) -> PemFile | None:
    """Path and contents of the file of a setting.  The contents, because children that are
    started later shall have what was found to be right, not what the disk has then."""
    path = getattr(settings, name)
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return os.path.abspath(path), file.read()
    except OSError as failure:
        raise InvalidSetting(f"--{option_name(name)} {path}: {failure.strerror}") from None


def give_orders(send: Callable[[bytes, tuple[int, ...]], object], orders: Orders) -> None:
    """
    Tell a process that is being started what it is to do, see orders.

    They go in a file: certificates may be more than a message holds.

    :param send: of its channel.
    :raises OSError: out of descriptors or memory.
    """
    with orders_file(orders) as file:
        send(messages.pack(messages.ORDERS), (file.fileno(),))


def orders_file(orders: Orders) -> BinaryIO:
    """
    Write orders into a file that is nowhere but in memory, to be read from its beginning.

    :raises OSError: out of descriptors or memory.
    """
    file = open(memory_file("orders"), "wb")  # noqa: SIM115 - the caller's to close
    try:
        file.write(messages.marshalled(orders))
        file.flush()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file

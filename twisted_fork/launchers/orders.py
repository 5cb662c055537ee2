"""
What a template or a spawned child is told once: making it, and sending it.
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
) -> Orders:
    """
    Make what a template or a spawned child is told once: plain values.

    :param listened_to: the application wants the messages of handlers.
    :param uid: the user that the reactor process will run as; by default its present one.
    :raises InvalidSetting: a limit cannot be applied by that user, or a file for TLS cannot be
        read.
    :raises InvalidHandler: the program does not exist any more.
    """
    return {
        "accounts": not settings.quiet,
        "clone": "clone3",  # unless the check finds that another call works
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
    """Path and contents of a setting's file.  The contents, because children that start later
    must have what was checked, not what is on the disk then."""
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
    Send its orders to a process that is being started.

    They are in a file, since certificates may be larger than a message.

    :param send: of its channel.
    :raises OSError: out of descriptors or memory.
    """
    with orders_file(orders) as file:
        send(messages.pack(messages.ORDERS), (file.fileno(),))


def orders_file(orders: Orders) -> BinaryIO:
    """
    Write orders into a file that exists only in memory; its position is at the beginning.

    :raises OSError: out of descriptors or memory.
    """
    file = open(memory_file("orders"), "wb")  # noqa: SIM115 - the caller closes it
    try:
        file.write(messages.marshalled(orders))
        file.flush()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file

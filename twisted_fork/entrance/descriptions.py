"""
Descriptions: the text that says where to listen, such as ``tcp:8000:interface=127.0.0.1``.

They are those of Twisted (serverFromString).  Only the error messages are different: one line
that names the wrong argument and what it takes.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Any

from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
    _parse,
    quoteStringArgument,
    serverFromString,
)
from twisted.internet.interfaces import IStreamServerEndpoint

__all__ = ["CannotListen", "described", "endpoint_from", "listed", "require_plain"]

_BACKLOG = 2**31 - 1
"""The kernel lowers it to net.core.somaxconn, see listen(2)."""

_PLAIN = (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
    AdoptedStreamServerEndpoint,
)

_WRAPPED = ("ssl", "tls", "haproxy")
"""Kinds that are refused without parsing: for some, Twisted would need more packages."""

_ARGUMENTS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}
"""Arguments of each kind, in their order if they are given without names; the first is
required."""

_LIKE = {
    "tcp": "tcp:8000",
    "tcp6": "tcp6:8000",
    "unix": "unix:/run/socket",
    "systemd": "systemd:domain=INET:index=0",
}


class CannotListen(Exception):
    """A port cannot be opened; the message is one line that names it and says why."""


class _Wrong(Exception):
    """A description is wrong; the message says what is wrong and what it takes."""


def listed(
    endpoints: str | IStreamServerEndpoint | Iterable[str | IStreamServerEndpoint],
    argument: str = "endpoints",
) -> list[str | IStreamServerEndpoint]:
    """
    Make a list of what to listen on, which may be given as one or as several.

    :param argument: its name in the error message.
    :raises CannotListen: there is none, or an object of another type.
    """

    def fits(each: object) -> bool:
        return isinstance(each, str) or bool(IStreamServerEndpoint.providedBy(each))

    found: list[Any] = []
    if fits(endpoints):
        found = [endpoints]
    elif isinstance(endpoints, Iterable):
        found = list(endpoints)
    if not found or not all(map(fits, found)):
        raise CannotListen(
            f"{argument} cannot be {endpoints!r}: it takes a description such as"
            " 'tcp:8000', an endpoint, or a list of such"
        )
    return found


def endpoint_from(reactor: Any, description: str) -> IStreamServerEndpoint:
    """
    Make the endpoint of a description such as ``tcp:8000:interface=127.0.0.1``.

    Its listen backlog is as large as the system allows, unless the description sets one.

    :raises CannotListen: the description is wrong, or the reactor process would have to read
        or write the bytes of the connections.
    """
    kind = description.partition(":")[0]
    if kind in _WRAPPED:
        raise CannotListen(_not_plain(description, kind))
    try:
        if kind in _ARGUMENTS:
            return _of_ours(reactor, kind, description)
        endpoint = _of_others(reactor, kind, description)
    except _Wrong as why:
        raise CannotListen(f"{description or repr(description)}: {why}") from None
    require_plain(endpoint, description)
    return endpoint


def described(wanted: str | IStreamServerEndpoint) -> str:
    """The name of *wanted* in error messages."""
    if isinstance(wanted, str):
        return wanted
    for name in ("_port", "_address", "fileno"):
        if hasattr(wanted, name):
            return f"{type(wanted).__name__} of {getattr(wanted, name)!r}"
    return repr(wanted)


def require_plain(endpoint: IStreamServerEndpoint, description: str) -> None:
    """
    Check that *endpoint* accepts plain sockets.

    :raises CannotListen: it does not.
    """
    if not isinstance(endpoint, _PLAIN):
        raise CannotListen(_not_plain(description, description.partition(":")[0]))


def _not_plain(description: str, kind: str) -> str:
    return (
        f"{description}: the reactor process would have to read and write the bytes of"
        f" {kind}: connections, and here it hands over the socket itself;"
        " it takes tcp:, tcp6:, unix: or systemd:"
        + ("; for TLS there is --tls-certificate" if kind in ("ssl", "tls") else "")
        + ("; for the PROXY protocol there is --proxy-protocol" if kind == "haproxy" else "")
    )


def _of_others(reactor: Any, kind: str, description: str) -> IStreamServerEndpoint:
    """Make an endpoint of a kind that is not in _ARGUMENTS."""
    takes = f"it takes one like {', '.join(_LIKE.values())}"
    if not description:
        raise _Wrong(f"not an endpoint but an empty text; {takes}")
    if "=" in kind or "\\" in kind:
        raise _Wrong(f"not an endpoint, which begins with its kind; {takes}")
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    except (ValueError, TypeError, AttributeError, RuntimeError, LookupError):
        raise _Wrong(f"not an endpoint that can be understood; {takes}") from None
    return endpoint


def _of_ours(reactor: Any, kind: str, description: str) -> IStreamServerEndpoint:
    given = _arguments(kind, description)
    if kind == "systemd":
        return _inherited(reactor, given, description)
    backlog = _number(given, "backlog", _BACKLOG, most=2**31 - 1)
    if kind == "unix":
        mode = _number(given, "mode", 0o666, most=0o777, base=8)
        lock = _number(given, "lockfile", 1, most=1)
        unix: IStreamServerEndpoint = UNIXServerEndpoint(
            reactor, given["address"], backlog, mode, lock
        )
        return unix
    port = _port(kind, given["port"])
    if kind == "tcp":
        return TCP4ServerEndpoint(reactor, port, backlog, given.get("interface", ""))
    return TCP6ServerEndpoint(reactor, port, backlog, given.get("interface") or "::")


def _arguments(kind: str, description: str) -> dict[str, str]:
    """The arguments of a description, by name."""
    names = _ARGUMENTS[kind]
    takes = f"{kind}: takes {', '.join(names)}"
    _require_escapes(description)
    try:
        words, named = _parse(description)
    except RuntimeError:
        raise _Wrong(f"it ends with a lone backslash; {takes}") from None
    except ValueError:
        raise _Wrong(f"the name of an argument has a letter that none has; {takes}") from None
    if len(words) - 1 > len(names):
        raise _Wrong(f"{words[-1]!r} is too much; {takes}; a colon in one of them is written \\:")
    given = dict(zip(names, words[1:], strict=False))
    for name, value in named.items():
        if name not in names:
            raise _Wrong(f"there is no argument {name!r}; {takes}")
        if name in given:
            raise _Wrong(f"{name} is given twice, as {given[name]!r} and {value!r}; {takes}")
        given[name] = value
    if not given.get(names[0]):
        raise _Wrong(f"{names[0]} is missing; it takes one like {_LIKE[kind]}")
    return given


def _require_escapes(description: str) -> None:
    """Check that the colons of an IPv6 address are escaped, unlike those between arguments."""
    found = re.search(r"(?<=:interface=)\[?([^\\]+?)\]?(?=:[a-z]+=|$)", description)
    if found is None or ":" not in found[1]:
        return
    try:
        IPv6Address(found[1])
    except ValueError:
        return
    right = description[: found.start()] + quoteStringArgument(found[1])
    raise _Wrong(
        f"the colons of {found[1]} have to be escaped; it takes"
        f" '{right}{description[found.end() :]}', with the quotes in a shell"
    )


def _number(given: dict[str, str], name: str, default: int, most: int, base: int = 10) -> int:
    text = given.get(name)
    if text is None:
        return default
    try:
        number = int(text, base) if text.isalnum() else -1
    except ValueError:
        number = -1
    if 0 <= number <= most:
        return number
    kind, largest = ("an octal", f"{most:o}") if base == 8 else ("a whole", str(most))
    raise _Wrong(f"{name} cannot be {text!r}: it takes {kind} number from 0 to {largest}")


def _port(kind: str, text: str) -> int:
    """The number of a port, which may be given by the name of a service."""
    try:
        return _number({"port": text}, "port", 0, most=65535)
    except _Wrong as why:
        wrong = f"{why}, as in {_LIKE[kind]}, or the name of a service"
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, ValueError):
        raise _Wrong(wrong) from None


def _inherited(
    reactor: Any, given: dict[str, str], description: str
) -> AdoptedStreamServerEndpoint:
    """The endpoint of a socket that systemd has opened."""
    domain = given["domain"]
    if domain not in ("INET", "INET6", "UNIX"):
        raise _Wrong(f"domain cannot be {domain!r}: it takes INET, INET6 or UNIX")
    if ("index" in given) == ("name" in given):
        raise _Wrong(f"it takes either an index or a name, as in {_LIKE['systemd']}")
    _number(given, "index", 0, most=2**31 - 1)
    try:
        endpoint: AdoptedStreamServerEndpoint = serverFromString(reactor, description)
    except KeyError:
        raise _Wrong(f"there is no inherited socket {given['name']!r}") from None
    except IndexError:
        raise _Wrong(
            "there is no inherited socket of that index; LISTEN_PID,"
            " LISTEN_FDS and LISTEN_FDNAMES tell which there are, and systemd-socket-activate"
            " needs --fdname= for the last"
        ) from None
    return endpoint

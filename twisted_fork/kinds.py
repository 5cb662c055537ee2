"""
Kinds of values: how each is made from text, which values it has, and what the error message
says about others.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

__all__ = [
    "BANNER",
    "FILE",
    "FLAG",
    "NAME",
    "NETWORKS",
    "PREFIX",
    "RATE",
    "TEXT",
    "UMASK",
    "Kind",
    "for_the_kernel",
    "one_of",
    "or_none",
    "seconds",
    "size",
    "whole",
]

_Fits = Callable[[Any], bool]

_REAL = (int, float)

_ABOVE_ZERO = math.ulp(0.0)
"""The smallest float above 0."""


@dataclass(frozen=True)
class Kind:
    """
    A kind of value.

    :ivar make: makes a value from text; raises ValueError if it cannot.
    :ivar fits: whether an object is a value of this kind.
    :ivar wanted: what a text on the command line has to be.
    :ivar value: what an application's value has to be; None: the same.
    :ivar hint: a more specific message about a wrong value; None if there is none.
    """

    make: Callable[[str], Any]
    fits: _Fits
    wanted: str
    value: str | None = None
    hint: Callable[[Any], str | None] = lambda given: None


def whole(minimum: int, maximum: int) -> Kind:
    """Whole numbers from *minimum* to *maximum*."""
    fits = _number(int, minimum, maximum)
    return Kind(int, fits, f"a whole number from {minimum} to {maximum}")


def seconds(minimum: float, maximum: float) -> Kind:
    """Numbers of seconds from *minimum* to *maximum*."""
    fits = _number(_REAL, minimum, maximum)
    return Kind(float, fits, f"a number of seconds from {minimum:.15g} to {maximum:.15g}")


def size(minimum: int) -> Kind:
    """Numbers of bytes from *minimum* to 2**62."""
    return Kind(
        _size,
        _number(int, minimum, 2**62),
        f"a number of bytes from {minimum}, with K, M or G for more",
        f"a whole number of bytes from {minimum}, such as 512 * 1024**2",
    )


def one_of(*choices: str) -> Kind:
    """One of these words."""
    return Kind(str, lambda value: value in choices, " or ".join(choices))


def or_none(kind: Kind) -> Kind:
    """A value of *kind*, or None; no text makes None."""
    return replace(
        kind,
        fits=lambda value: value is None or kind.fits(value),
        value=f"{kind.value or kind.wanted}, or None",
    )


def for_the_kernel(text: str) -> bool:
    """Whether a text can be passed to the kernel: it can be encoded, and has no NUL."""
    return _encodable(text) and "\0" not in text


def _encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _number(types: type[float] | tuple[type[float], ...], minimum: float, maximum: float) -> _Fits:
    def fits(value: Any) -> bool:
        return type(value) is not bool and isinstance(value, types) and minimum <= value <= maximum

    return fits


def _pair(first: _Fits, second: _Fits) -> _Fits:
    def fits(value: Any) -> bool:
        return isinstance(value, tuple) and len(value) == 2 and first(value[0]) and second(value[1])

    return fits


_POWERS = {"K": 10, "M": 20, "G": 30}


def _size(text: str) -> int:
    letter = text[-1:].upper()
    if letter in _POWERS:
        return int(text[:-1]) << _POWERS[letter]
    return int(text)


def _octal(text: str) -> int:
    return int(text, 8)


def _is_network(value: Any) -> bool:
    try:
        ip_network(value)
    except ValueError:
        return False
    return isinstance(value, str)


def _host_bits(given: Any) -> str | None:
    """A message about networks that have bits set behind their prefix; None if none has."""
    for text in given if isinstance(given, tuple) else (given,):
        if not isinstance(text, str) or _is_network(text):
            continue
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            continue
        one = f"{text.partition('/')[0]}/{network.max_prefixlen}"
        return f"it has host bits set, it takes {network}, or {one} for that one host"
    return None


_ESCAPES = {r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\\": "\\"}


def _unescaped(text: str) -> str:
    """A banner with its escapes replaced; a byte becomes what os.fsdecode makes of it."""

    def replaced(found: re.Match[str]) -> str:
        escape = found[0]
        if escape in _ESCAPES:
            return _ESCAPES[escape]
        if len(escape) != 4:
            raise ValueError
        return bytes([int(escape[2:], 16)]).decode("ascii", "surrogateescape")

    return re.sub(r"\\(x[0-9a-fA-F]{2}|.|$)", replaced, text, flags=re.DOTALL)


def _prefix(text: str) -> tuple[int, int]:
    v4, _, v6 = text.partition(":")
    return int(v4), int(v6 or 64)


def _rate(text: str) -> tuple[int, float]:
    count, slash, time = text.partition("/")
    if not slash:
        raise ValueError
    return int(count), float(time)


FLAG = Kind(bool, lambda value: type(value) is bool, "True or False")
TEXT = Kind(str, lambda value: isinstance(value, str) and _encodable(value), "a text")
BANNER = Kind(_unescaped, TEXT.fits, r"a text, with \n, \r, \t, \\ and \xNN for a byte", "a text")
NAME = Kind(
    str, lambda value: isinstance(value, str) and value != "" and for_the_kernel(value), "a name"
)
FILE = Kind(str, NAME.fits, "a path")
NETWORKS = Kind(
    str,
    lambda value: isinstance(value, tuple) and all(map(_is_network, value)),
    "a network such as 192.0.2.0/24 or 2001:db8::/32",
    "a tuple of networks, such as ('192.0.2.0/24', '2001:db8::/32')",
    _host_bits,
)
UMASK = Kind(
    _octal,
    _number(int, 0, 0o777),
    "an octal number from 0 to 777",
    "a whole number from 0 to 0o777",
)
PREFIX = Kind(
    _prefix,
    _pair(_number(int, 0, 32), _number(int, 0, 128)),
    "bits of IPv4 and IPv6 addresses, such as 24:56",
    "a tuple of the bits of IPv4 and of IPv6 addresses, such as (24, 56)",
)
RATE = Kind(
    _rate,
    _pair(_number(int, 1, 1_000_000), _number(_REAL, _ABOVE_ZERO, 1_000_000)),
    "connections per seconds, such as 10/60",
    "a tuple of a number of connections and of seconds, such as (10, 60)",
)

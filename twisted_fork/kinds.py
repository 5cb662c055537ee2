"""
Kinds of values: how each is made of text, which values are of it, and what to say of those
that are not.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

__all__ = [
    "FILE",
    "FLAG",
    "NETWORKS",
    "PREFIX",
    "RATE",
    "TEXT",
    "UMASK",
    "Kind",
    "one_of",
    "or_none",
    "seconds",
    "size",
    "whole",
]


class Kind:
    """
    A kind of value: how it is made of text, what is one, and how that is told.

    :param make: makes a value of text; ValueError if it cannot.
    :param fits: whether something is a value of this kind.
    :param wanted: what to say to somebody who gave something else.
    """

    def __init__(
        self, make: Callable[[str], Any], fits: Callable[[Any], bool], wanted: str
    ) -> None:
        self.make = make
        self.fits = fits
        self.wanted = wanted


def whole(minimum: int, maximum: int) -> Kind:
    """Whole numbers, bounds included."""

    def fits(value: Any) -> bool:
        return type(value) is not bool and isinstance(value, int) and minimum <= value <= maximum

    return Kind(int, fits, f"a whole number from {minimum} to {maximum}")


def seconds(minimum: float, maximum: float) -> Kind:
    """Numbers of seconds, bounds included."""

    def fits(value: Any) -> bool:
        return _is_number(value) and minimum <= value <= maximum

    return Kind(float, fits, f"a number of seconds from {minimum:g} to {maximum:g}")


def size(minimum: int) -> Kind:
    """Numbers of bytes."""
    fits = whole(minimum, 2**62).fits
    return Kind(_size, fits, f"a number of bytes from {minimum}, with K, M or G for more")


def one_of(*choices: str) -> Kind:
    """One of a few words."""
    return Kind(str, lambda value: value in choices, " or ".join(choices))


def or_none(kind: Kind) -> Kind:
    """What *kind* is, or None, which no text makes."""
    return Kind(kind.make, lambda value: value is None or kind.fits(value), kind.wanted)


def _is_number(value: Any) -> bool:
    return type(value) is not bool and isinstance(value, (int, float))


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


def _prefix(text: str) -> tuple[int, int]:
    v4, _, v6 = text.partition(":")
    return int(v4), int(v6 or 64)


def _is_prefix(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(type(bits) is int for bits in value)
        and 0 <= value[0] <= 32
        and 0 <= value[1] <= 128
    )


def _rate(text: str) -> tuple[int, float]:
    count, slash, time = text.partition("/")
    if not slash:
        raise ValueError
    return int(count), float(time)


def _is_rate(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and type(value[0]) is int
        and 1 <= value[0] <= 1_000_000
        and _is_number(value[1])
        and 0 < value[1] <= 1_000_000
    )


FLAG = Kind(bool, lambda value: type(value) is bool, "True or False")
TEXT = Kind(str, lambda value: isinstance(value, str), "a text")
FILE = Kind(str, lambda value: isinstance(value, str) and value != "", "a path")
NETWORKS = Kind(
    str,
    lambda value: isinstance(value, tuple) and all(map(_is_network, value)),
    "a network such as 192.0.2.0/24 or 2001:db8::/32",
)
UMASK = Kind(_octal, whole(0, 0o777).fits, "an octal number from 0 to 777")
PREFIX = Kind(_prefix, _is_prefix, "bits of IPv4 and IPv6 addresses, such as 24:56")
RATE = Kind(_rate, _is_rate, "connections per seconds, such as 10/60")

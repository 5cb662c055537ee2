"""
What is remembered of sources: how many of their connections are alive, how fast new
ones come, and whether they are in disgrace.

What is remembered is bounded: the first by the connections that are alive, the others
by MOST_REMEMBERED, after which those that were heard of longest ago are forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

__all__ = ["MOST_REMEMBERED", "Penalties", "Rate", "Sources"]

MOST_REMEMBERED = 100_000
"""Sources: some 40 MB at most, of IPv6."""

_MOST_DOUBLINGS = 5
"""A penalty grows up to 32-fold."""


class Counted(Protocol):
    """
    A connection, here.

    :ivar counted: it is one of those that are alive; only Sources changes it.
    """

    source: str
    counted: bool


class Sources:
    """Counts connections by source."""

    def __init__(self) -> None:
        self._alive: dict[str, int] = {}

    def alive(self, source: str) -> int:
        """How many connections of *source* are alive."""
        return self._alive.get(source, 0)

    def began(self, connection: Counted) -> int:
        """
        A connection has been accepted.

        :returns: how many of its source are alive now.
        """
        alive = self._alive.get(connection.source, 0) + 1
        self._alive[connection.source] = alive
        connection.counted = True
        return alive

    def ended(self, connection: Counted) -> None:
        """A connection is over; if it is not counted, nothing happens."""
        if not connection.counted:
            return
        alive = self._alive[connection.source] - 1
        if alive:
            self._alive[connection.source] = alive
        else:
            del self._alive[connection.source]
        connection.counted = False

    def __len__(self) -> int:
        return len(self._alive)


class Rate:
    """
    How fast a source may connect: a bucket of *most* tokens, refilled evenly in *seconds*.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, source: str, now: float) -> bool:
        """Take a token of *source*, if there is one at *now* (seconds)."""
        self._forget(now)
        tokens, since = self._buckets.pop(source, (float(self._most), now))
        tokens = min(self._most, tokens + (now - since) * self._most / self._seconds)
        admitted = tokens >= 1
        self._buckets[source] = (tokens - admitted, now)
        return admitted

    def _forget(self, now: float) -> None:
        """Buckets that are full again say nothing; those heard of longest ago come first."""
        while self._buckets:
            source = next(iter(self._buckets))
            full = now - self._buckets[source][1] >= self._seconds
            if not full and len(self._buckets) < MOST_REMEMBERED:
                return
            del self._buckets[source]

    def __len__(self) -> int:
        return len(self._buckets)


class Penalties:
    """
    Sources that are refused for a time, because of what their children came to; each
    offence doubles it, up to 32-fold, until they have behaved for that long.

    :param seconds: of the first penalty.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._longest = seconds * 2**_MOST_DOUBLINGS
        self._offences: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def offended(self, source: str, now: float) -> float:
        """
        A child of *source* has come to grief.

        :returns: for how many seconds it is refused.
        """
        self._forget(now)
        count, until = self._offences.pop(source, (0, now))
        if now - until >= self._longest:
            count = 0
        penalty = self._seconds * 2.0 ** min(count, _MOST_DOUBLINGS)
        self._offences[source] = (count + 1, now + penalty)
        return penalty

    def left(self, source: str, now: float) -> float:
        """For how many seconds *source* is still refused; 0 if it is not."""
        _, until = self._offences.get(source, (0, now))
        return max(0.0, until - now)

    def _forget(self, now: float) -> None:
        while self._offences:
            source = next(iter(self._offences))
            forgiven = now - self._offences[source][1] >= self._longest
            if not forgiven and len(self._offences) < MOST_REMEMBERED:
                return
            del self._offences[source]

    def __len__(self) -> int:
        return len(self._offences)

"""
What is remembered of sources: how many of their connections are alive, how fast they connect, and
whether they are refused as a penalty.

All of it is bounded: the first by the connections that are alive, the others by MOST_REMEMBERED
sources each.  Beyond that, the least recently seen source is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

__all__ = ["MOST_REMEMBERED", "Penalties", "Rate", "Sources"]

MOST_REMEMBERED = 100_000
"""Sources; with IPv6 addresses they take some 40 MB at most."""

_MOST_DOUBLINGS = 5
"""A penalty grows up to 32-fold."""


class Counted(Protocol):
    """
    What Sources needs of a connection.

    :ivar counted: it is counted as alive; only Sources sets it.
    """

    source: str
    counted: bool


class Sources:
    """Counts the connections of each source that are alive."""

    def __init__(self) -> None:
        self._alive: dict[str, int] = {}

    def alive(self, source: str) -> int:
        """How many connections of *source* are alive."""
        return self._alive.get(source, 0)

    def began(self, connection: Counted) -> int:
        """
        Count a connection that has been accepted.

        :returns: how many connections of its source are alive now.
        """
        alive = self._alive.get(connection.source, 0) + 1
        self._alive[connection.source] = alive
        connection.counted = True
        return alive

    def ended(self, connection: Counted) -> None:
        """A connection is over; does nothing if it is not counted."""
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
        """Take a token of *source*, if there is one at *now* (seconds); returns whether."""
        self._forget(now)
        tokens, since = self._buckets.pop(source, (float(self._most), now))
        tokens = min(self._most, tokens + (now - since) * self._most / self._seconds)
        admitted = tokens >= 1
        self._buckets[source] = (tokens - admitted, now)
        return admitted

    def _forget(self, now: float) -> None:
        """Remove buckets that are full again, and the oldest if there are too many."""
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
    Sources that are refused for a time, because a signal or a limit ended their children.

    Each offence doubles the penalty, up to 32-fold.  After a time without offence, as long as
    the longest penalty, it begins with the first one again.

    :param seconds: of the first penalty.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._longest = seconds * 2**_MOST_DOUBLINGS
        self._offences: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def offended(self, source: str, now: float) -> float:
        """
        A signal or a limit has ended a child of *source*.

        :returns: for how many seconds *source* is refused.
        """
        self._forget(now)
        count, until = self._offences.pop(source, (0, now))
        if now - until >= self._longest:
            count = 0
        penalty = self._seconds * 2.0 ** min(count, _MOST_DOUBLINGS)
        self._offences[source] = (count + 1, now + penalty)
        return penalty

    def left(self, source: str, now: float) -> float:
        """For how many more seconds *source* is refused; 0 if it is not."""
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

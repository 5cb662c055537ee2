"""
How many connections of each source are alive.
"""

from __future__ import annotations

__all__ = ["Sources"]


class Sources:
    """
    Counts by source.  What it remembers is bounded by the connections that are alive.
    """

    def __init__(self) -> None:
        self._alive: dict[str, int] = {}

    def began(self, source: str) -> int:
        """
        A connection of *source* has been accepted.

        :returns: how many are alive now.
        """
        alive = self._alive.get(source, 0) + 1
        self._alive[source] = alive
        return alive

    def ended(self, source: str) -> None:
        """A connection of *source* is over."""
        alive = self._alive[source] - 1
        if alive:
            self._alive[source] = alive
        else:
            del self._alive[source]

    def __len__(self) -> int:
        return len(self._alive)

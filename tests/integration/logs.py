"""
The log of a process, read as it grows, and waiting for what it says.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path


class Log:
    """
    A log that is written meanwhile.  What has been read once is not read again.

    :ivar begin: where the test that looks at it began: what was logged before is of no
        interest to it.
    """

    def __init__(self, path: Path) -> None:
        self.begin = 0
        self._path = path
        self._read = 0
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def grow(self) -> bool:
        """Read what is new; whether there was anything."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return False
        self._read += len(data)
        self._text += self._decoder.decode(data)
        return bool(data)

    def mark(self) -> int:
        """Where it ends now: see *since* elsewhere."""
        self.grow()
        return len(self._text)

    def text(self, since: int | None = None) -> str:
        """What there is from a mark on, or from where the test began."""
        self.grow()
        return self._text[self.begin if since is None else since :]

    def find(self, pattern: str, since: int | None = None) -> list[tuple[str, ...]]:
        """The groups of a pattern, wherever it matches from a mark on."""
        self.grow()
        start = self.begin if since is None else since
        return [match.groups() for match in re.compile(pattern).finditer(self._text, start)]

"""
The log of a process, read as it grows, and waiting for what it says.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import threading
from collections.abc import Iterator
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
        self._file: io.FileIO | None = None
        self._lock = threading.Lock()
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def grow(self) -> bool:
        """Read what is new, in the file and in the one that has taken its place; whether there
        was anything."""
        with self._lock:
            data = b"".join(self._pieces())
            self._text += self._decoder.decode(data)
        return bool(data)

    def _pieces(self) -> Iterator[bytes]:
        while self._file is not None or self._path.exists():
            if self._file is None:
                self._file = self._path.open("rb", buffering=0)
            is_another = self._is_another()  # if so, nothing more is written into this one
            yield self._file.readall()
            if not is_another:
                break
            self._file.close()
            self._file = None

    def _is_another(self) -> bool:
        """Whether the log has been rotated, and there is a new one."""
        assert self._file is not None
        try:
            return os.stat(self._path).st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Nothing more is read."""
        if self._file is not None:
            self._file.close()

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

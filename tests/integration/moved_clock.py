"""
A twistd whose wall clock is moved: ``python moved_clock.py FILE [PYTHON] TWISTD ARGUMENT ...``.

FILE has the seconds that it is moved by, and may change at any time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

FILE = Path(sys.argv[1])

_time = time.time


def moved_time() -> float:
    """The time of day, as this process is to see it."""
    return _time() + float(FILE.read_text())


time.time = moved_time
sys.argv = sys.argv[3:]

# imported only now: Twisted keeps the function that it finds
from twisted.scripts.twistd import run  # noqa: E402

run()

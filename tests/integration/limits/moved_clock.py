"""
A program whose wall clock is moved: ``python moved_clock.py FILE PYTHON SCRIPT ARGUMENT ...``,
where SCRIPT is twistd, or what runs that.

FILE has the seconds that it is moved by, and may change at any time.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from pathlib import Path

FILE = Path(sys.argv[1])

_time = time.time


def moved_time() -> float:
    """The time of day, as this process is to see it."""
    return _time() + float(FILE.read_text())


# before anything of Twisted is imported, which keeps the function that it finds
time.time = moved_time
sys.argv = sys.argv[3:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")

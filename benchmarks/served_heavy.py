"""The same echo in a module that holds about 100 MiB of small objects once it is imported.

It stands for an application with its libraries, its tables and its models loaded.
"""

from __future__ import annotations

from benchmarks.served import echo

__all__ = ["TABLE", "echo"]

ENTRIES = 300_000
TABLE = {f"entry {number}": (number, str(number), [number * 0.5]) for number in range(ENTRIES)}

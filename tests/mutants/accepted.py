"""
Mutants that may live, and why: the lines that were changed, and what became of them.
"""

from __future__ import annotations

__all__ = ["ACCEPTED"]

ACCEPTED: dict[str, dict[str, list[tuple[str, str]]]] = {}
"""By module, and by reason."""

"""
Names that both sides use.
"""

from __future__ import annotations

__all__ = ["CHANNEL", "EAGER_BINDING", "MAIN"]

CHANNEL = 3
"""The descriptor of its channel in a template or a spawned child."""

EAGER_BINDING = "LD_BIND_NOW"
"""Environment variable of the template: the dynamic linker does its work before the first fork,
not in every child (ld.so(8)).  No other process may inherit it."""

MAIN = "__twisted_fork_main__"
"""The module name of a script that is imported for a handler that is defined in it."""

"""
Names by which both sides know a thing.
"""

from __future__ import annotations

__all__ = ["CHANNEL", "EAGER_BINDING", "MAIN"]

CHANNEL = 3
"""The descriptor under which a template or a spawned child finds its channel."""

EAGER_BINDING = "LD_BIND_NOW"
"""Set for the template, so that the dynamic linker's work is done before the first
fork and not in every child anew (ld.so(8)); nobody else shall inherit it."""

MAIN = "__twisted_fork_main__"
"""What a script is called when it is imported for a handler that is defined in it."""

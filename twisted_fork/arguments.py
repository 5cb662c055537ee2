"""
Checks of what an application gives to a service.
"""

from __future__ import annotations

import inspect
from typing import Any

from twisted_fork.pool.child import ChildProtocol
from twisted_fork.settings import Settings

__all__ = ["protocol_from", "settings_from"]

_PROTOCOL = "it takes a subclass of ChildProtocol whose instances are made without arguments"


def settings_from(given: Any) -> Settings:
    """
    The settings that were given; for None the default ones.

    :raises TypeError: *given* is neither Settings nor None.
    """
    if given is not None and not isinstance(given, Settings):
        raise TypeError(f"settings cannot be {given!r}: it takes Settings(max_children=50)")
    return Settings() if given is None else given


def protocol_from(given: Any) -> type[ChildProtocol]:
    """
    The class that was given for children's protocols.

    :raises TypeError: it is not a subclass of ChildProtocol that is made without arguments.
    """
    if not (isinstance(given, type) and issubclass(given, ChildProtocol)):
        raise TypeError(f"protocol cannot be {given!r}: {_PROTOCOL}")
    try:
        inspect.signature(given).bind()
    except TypeError as mismatch:
        raise TypeError(f"protocol cannot be {given!r}: {mismatch}; {_PROTOCOL}") from None
    return given

"""
Addresses of sockets.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["plain"]


def plain(address: Any) -> Any:
    """*address*; an IPv4 address as an IPv6 socket shows it (RFC 4291 section 2.5.5.2), as
    what it is."""
    if isinstance(address, tuple) and len(address) == 4:
        host: str = address[0]
        if host[:7] == "::ffff:" and "." in host:
            return host[7:], address[1]
    return address

"""
Addresses of sockets.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["plain"]


def plain(address: Any) -> Any:
    """*address*; an IPv4 address mapped into IPv6 (RFC 4291 section 2.5.5.2) becomes an IPv4
    address."""
    if isinstance(address, tuple) and len(address) == 4:
        host: str = address[0]
        if host[:7] == "::ffff:" and "." in host:
            return host[7:], address[1]
    return address

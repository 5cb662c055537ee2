"""
Networks: which hosts may connect, and which are the same source.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

__all__ = ["Guard", "Prefixes", "address_of"]

_MAPPED = IPv6Network("::ffff:0:0/96")

_REMEMBERED = 4096
"""Hosts whose verdict is remembered: computing it takes longer than accepting."""


def address_of(host: str) -> IPv4Address | IPv6Address:
    """
    The address of *host*, without its scope.  An IPv4 address mapped into IPv6 (RFC 4291
    section 2.5.5.2) becomes an IPv4 address.

    :raises ValueError: *host* is not an address.
    """
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def network_of(text: str) -> IPv4Network | IPv6Network:
    """
    The network that *text* describes.  A network of mapped IPv4 addresses becomes an IPv4 one.

    :raises ValueError: *text* does not describe a network.
    """
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return IPv4Network((int(mapped or 0), network.prefixlen - _MAPPED.prefixlen))
    return network


class Guard:
    """
    Decides which hosts may connect.  The most specific network that has the host decides; if
    two are equal, *deny* does.  A host in no network may connect, unless *allow* has networks.
    """

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        allowed = [(network_of(network), True) for network in allow]
        denied = [(network_of(network), False) for network in deny]
        self._default = not allowed
        # the most specific first; of equal ones, deny first
        self._rules = sorted(allowed + denied, key=lambda rule: (-rule[0].prefixlen, rule[1]))
        self.admits = lru_cache(_REMEMBERED)(self._admits) if self._rules else self._everyone
        """admits(host): whether *host* may connect."""

    def _everyone(self, host: str) -> bool:
        return True

    def _admits(self, host: str) -> bool:
        address = address_of(host)
        for network, verdict in self._rules:
            if address.version == network.version and address in network:
                return verdict
        return self._default


class Prefixes:
    """
    Finds the source of a host: all hosts of one network are one source.

    :param v4: bits of an IPv4 address that make a source, 0 to 32.
    :param v6: bits of an IPv6 address that make a source, 0 to 128.
    """

    def __init__(self, v4: int = 32, v6: int = 64) -> None:
        self._bits = {4: v4, 6: v6}
        self.source = lru_cache(_REMEMBERED)(self._source)
        """source(host): the network as text, or the host itself if all bits count."""

    def _source(self, host: str) -> str:
        address: Any = address_of(host)
        bits = self._bits[address.version]
        if bits == address.max_prefixlen:
            return str(address)
        return str(ip_network((address, bits), strict=False))

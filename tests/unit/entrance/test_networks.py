"""Tests for networks: who may connect, and who counts as the same source."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cases import Case
from twisted_fork.entrance.networks import Guard, Prefixes, address_of

Network = tuple[int, int, int]
"""Version, first address and bits: a network as plain numbers."""

WIDTH = {4: 32, 6: 128}


def as_host(version: int, number: int) -> str:
    """An address as text, made without the module that is under test's own."""
    if version == 4:
        return ".".join(str(number >> shift & 0xFF) for shift in (24, 16, 8, 0))
    return ":".join(f"{number >> shift & 0xFFFF:x}" for shift in range(112, -1, -16))


def as_network(network: Network) -> str:
    """A network as text."""
    version, first, bits = network
    return f"{as_host(version, first)}/{bits}"


def network_of(version: int, number: int, bits: int) -> Network:
    """The network of so many *bits* that an address is in."""
    rest = WIDTH[version] - bits
    return version, number >> rest << rest, bits


@st.composite
def addresses(draw: st.DrawFn) -> tuple[int, int]:
    """Addresses that are near to each other, so that networks have them in common."""
    version = draw(st.sampled_from([4, 6]))
    number = 0xC0000200 if version == 4 else 0x20010DB8 << 96
    for bit in draw(st.lists(st.integers(0, WIDTH[version] - 1), max_size=3)):
        number ^= 1 << bit
    return version, number


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Networks of any size, around those addresses."""
    version, number = draw(addresses())
    return network_of(version, number, draw(st.integers(0, WIDTH[version])))


def expected(allow: list[Network], deny: list[Network], version: int, number: int) -> bool:
    """Who may connect, by trying every prefix of the address, the longest first."""
    for bits in range(WIDTH[version], -1, -1):
        candidate = network_of(version, number, bits)
        if candidate in deny:
            return False
        if candidate in allow:
            return True
    return not allow


class GuardTests(Case):
    """The most specific network decides, at a tie the one that denies."""

    @settings(max_examples=500)
    @given(
        st.lists(networks(), max_size=6),
        st.lists(networks(), max_size=6),
        st.lists(addresses(), min_size=1, max_size=6),
    )
    def test_it_agrees_with_a_model(
        self, allow: list[Network], deny: list[Network], hosts: list[tuple[int, int]]
    ) -> None:
        guard = Guard(map(as_network, allow), map(as_network, deny))
        for version, number in hosts:
            verdict = guard.admits(as_host(version, number))
            self.assertEqual(verdict, expected(allow, deny, version, number))

    @given(st.lists(networks(), min_size=1, max_size=6), addresses())
    def test_at_a_tie_deny(self, both: list[Network], host: tuple[int, int]) -> None:
        texts = [as_network(network) for network in both]
        self.assertFalse(Guard(texts, texts).admits(as_host(*host)))

    def test_without_networks_everybody_may_connect(self) -> None:
        guard = Guard()
        self.assertTrue(guard.admits("192.0.2.1"))
        self.assertTrue(guard.admits("2001:db8::1"))

    def test_who_is_in_none_is_out_where_any_is_allowed(self) -> None:
        guard = Guard(["192.0.2.0/24"])
        self.assertTrue(guard.admits("192.0.2.1"))
        self.assertFalse(guard.admits("198.51.100.1"))
        self.assertFalse(guard.admits("2001:db8::1"))

    def test_who_is_in_none_is_in_where_some_are_denied(self) -> None:
        guard = Guard(deny=["192.0.2.0/24"])
        self.assertFalse(guard.admits("192.0.2.1"))
        self.assertTrue(guard.admits("2001:db8::1"))

    def test_exceptions_may_have_exceptions(self) -> None:
        guard = Guard(["0.0.0.0/0", "192.0.2.7"], ["192.0.2.0/24"])
        self.assertTrue(guard.admits("198.51.100.1"))
        self.assertFalse(guard.admits("192.0.2.8"))
        self.assertTrue(guard.admits("192.0.2.7"))

    def test_an_ipv4_peer_of_an_ipv6_socket_is_what_it_is(self) -> None:
        guard = Guard(["192.0.2.0/24"])
        self.assertTrue(guard.admits("::ffff:192.0.2.1"))
        self.assertFalse(guard.admits("::ffff:198.51.100.1"))

    def test_a_scope_is_no_part_of_an_address(self) -> None:
        guard = Guard(["fe80::/10"])
        self.assertTrue(guard.admits("fe80::1%eth0"))

    def test_it_remembers_no_more_than_so_many_hosts(self) -> None:
        guard = Guard(deny=["192.0.2.0/24"])
        for number in range(10_000):
            guard.admits(as_host(4, 0x0A000000 + number))
        self.assertLessEqual(guard.admits.cache_info().currsize, 4096)  # type: ignore[attr-defined]


class PrefixesTests(Case):
    """All hosts of one network are one source."""

    @given(addresses(), addresses(), st.integers(0, 32), st.integers(0, 128))
    def test_the_same_source_is_the_same_network(
        self, one: tuple[int, int], other: tuple[int, int], v4: int, v6: int
    ) -> None:
        prefixes = Prefixes(v4, v6)
        bits = {4: v4, 6: v6}
        same = network_of(*one, bits[one[0]]) == network_of(*other, bits[other[0]])
        sources = [prefixes.source(as_host(*address)) for address in (one, other)]
        self.assertEqual(sources[0] == sources[1], same)

    def test_by_default_a_host_of_ipv4_and_a_64_of_ipv6_are_one_source(self) -> None:
        prefixes = Prefixes()
        self.assertEqual(prefixes.source("192.0.2.1"), "192.0.2.1")
        self.assertEqual(prefixes.source("2001:db8::1:2"), "2001:db8::/64")

    def test_an_ipv4_peer_of_an_ipv6_socket_is_the_source_that_it_is(self) -> None:
        prefixes = Prefixes(24)
        self.assertEqual(prefixes.source("::ffff:192.0.2.1"), "192.0.2.0/24")

    def test_it_remembers_no_more_than_so_many_hosts(self) -> None:
        prefixes = Prefixes()
        for number in range(10_000):
            prefixes.source(as_host(4, 0x0A000000 + number))
        self.assertLessEqual(prefixes.source.cache_info().currsize, 4096)


class AddressTests(Case):
    """What hosts are."""

    def test_a_name_is_no_address(self) -> None:
        with self.assertRaises(ValueError):
            address_of("localhost")

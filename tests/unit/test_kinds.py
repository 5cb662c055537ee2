"""Tests for kinds of values: which texts and values are of them."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted_fork import kinds
from twisted_fork.kinds import Kind

from .cases import Case

KINDS = [
    *(kinds.FILE, kinds.FLAG, kinds.NETWORKS, kinds.PREFIX, kinds.RATE, kinds.TEXT, kinds.UMASK),
    *(kinds.whole(1, 9), kinds.seconds(0, 9), kinds.size(0), kinds.one_of("a", "b")),
]

plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary())
values: st.SearchStrategy[Any] = st.one_of(plain, st.lists(plain, max_size=3).map(tuple))


class KindTests(Case):
    """What is made of a text, and what fits."""

    def made(self, kind: Kind, **texts: Any) -> None:
        for text, value in texts.items():
            self.assertEqual(kind.make(text), value)
            self.assertTrue(kind.fits(value), text)

    def test_sizes_have_letters(self) -> None:
        made = {"5": 5, "2K": 2048, "2k": 2048, "3M": 3 * 1024**2, "1G": 1024**3}
        self.made(kinds.size(0), **made)
        for text in ("", "K", "5T", "1.5M", "5KB"):
            self.assertRaises(ValueError, kinds.size(0).make, text)

    def test_rates_are_so_many_in_so_many_seconds(self) -> None:
        self.made(kinds.RATE, **{"10/60": (10, 60.0), "1/0.5": (1, 0.5)})
        self.assertRaises(ValueError, kinds.RATE.make, "10")
        for rate in ((0, 60.0), (1, 0.0), (1, math.nan), (1, "60"), (1.0, 60), (1,), 10):
            self.assertFalse(kinds.RATE.fits(rate), rate)

    def test_prefixes_are_of_ipv4_and_perhaps_of_ipv6(self) -> None:
        self.made(kinds.PREFIX, **{"24": (24, 64), "24:56": (24, 56), "0:128": (0, 128)})
        for prefix in ((33, 64), (32, 129), (-1, 64), (32, 64, 1), (True, 64), 24):
            self.assertFalse(kinds.PREFIX.fits(prefix), prefix)

    def test_umasks_are_octal(self) -> None:
        self.made(kinds.UMASK, **{"27": 0o27, "0777": 0o777, "0": 0})
        self.assertRaises(ValueError, kinds.UMASK.make, "8")
        self.assertFalse(kinds.UMASK.fits(0o1000))

    def test_what_may_be_none_is_otherwise_of_its_kind(self) -> None:
        perhaps = kinds.or_none(kinds.whole(1, 9))
        self.assertTrue(perhaps.fits(None))
        self.assertTrue(perhaps.fits(9))
        self.assertFalse(perhaps.fits(10))

    def test_a_flag_is_no_number_and_no_number_is_a_flag(self) -> None:
        self.assertFalse(kinds.FLAG.fits(1))
        for kind in (kinds.whole(0, 9), kinds.seconds(0, 9), kinds.size(0), kinds.UMASK):
            self.assertFalse(kind.fits(True))

    @given(st.sampled_from(KINDS), values)
    def test_of_any_value_it_is_said_whether_it_fits(self, kind: Kind, value: Any) -> None:
        self.assertIn(kind.fits(value), (True, False))

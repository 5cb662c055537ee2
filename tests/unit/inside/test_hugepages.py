"""Tests for huge pages: which memory is collapsed, and that a refusal does no harm."""

from __future__ import annotations

import ctypes
import io
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import Case
from twisted_fork.inside import hugepages

MEBIBYTE = 1024 * 1024
HUGE = 2 * MEBIBYTE


def line(first: int, last: int, mode: str = "rw-p", inode: int = 0, name: str = "") -> str:
    """A line of /proc/PID/maps."""
    return f"{first:x}-{last:x} {mode} 00000000 00:00 {inode} {name}\n"


class RegionsTests(Case):
    """From the text of /proc/PID/maps."""

    @given(st.integers(0, 1 << 46), st.integers(1, 1 << 26))
    def test_only_whole_huge_pages_within_the_memory_are_found(self, start: int, size: int) -> None:
        first, last = start & ~4095, (start + size + 4096) & ~4095
        whole = range(first // HUGE, last // HUGE + 1)
        inside = [page for page in whole if first <= page * HUGE and (page + 1) * HUGE <= last]
        wanted = [(inside[0] * HUGE, len(inside) * HUGE)] if inside else []
        self.assertEqual(hugepages.regions(line(first, last)), wanted)

    def test_memory_of_files_and_shared_or_constant_memory_is_left_alone(self) -> None:
        others = [
            line(0, 8 * HUGE, "r--p"),
            line(0, 8 * HUGE, "rw-s"),
            line(0, 8 * HUGE, "r-xp", 17, "/usr/lib/a b.so"),
            line(0, 8 * HUGE, "rw-p", 17, "/usr/lib/libc.so"),
        ]
        self.assertEqual(hugepages.regions("".join(others)), [])

    def test_heap_and_nameless_memory_are_found(self) -> None:
        both = line(HUGE, 3 * HUGE, name="[heap]") + line(8 * HUGE, 9 * HUGE)
        self.assertEqual(hugepages.regions(both), [(HUGE, 2 * HUGE), (8 * HUGE, HUGE)])

    def test_the_real_maps_can_be_read(self) -> None:
        with open("/proc/self/maps") as maps:
            found = hugepages.regions(maps.read())
        self.assertTrue(all(start % HUGE == 0 and length % HUGE == 0 for start, length in found))


class CollapseTests(Case):
    """With a kernel that says what the test wants."""

    def collapse(self, maps: str, answers: list[int]) -> tuple[bool, list[Any]]:
        """
        :returns: what collapse said, and what the kernel was asked for.
        """
        library = mock.Mock()
        library.madvise.side_effect = answers
        with (
            mock.patch("builtins.open", return_value=io.StringIO(maps)),
            mock.patch.object(ctypes, "PyDLL", return_value=library),
        ):
            done = hugepages.collapse()
        return done, [call.args for call in library.madvise.call_args_list]

    def test_a_lean_process_is_left_alone(self) -> None:
        self.assertEqual(self.collapse(line(0, 7 * HUGE), []), (False, []))

    def test_a_heavy_one_is_collapsed(self) -> None:
        done, asked = self.collapse(line(0, 8 * HUGE) + line(10 * HUGE, 11 * HUGE), [0, 0])
        self.assertTrue(done)
        self.assertEqual(asked, [(0, 8 * HUGE, 25), (10 * HUGE, HUGE, 25)])

    def test_where_the_kernel_refuses_one_the_others_are_collapsed(self) -> None:
        done, asked = self.collapse(line(0, 8 * HUGE) + line(10 * HUGE, 11 * HUGE), [-1, 0])
        self.assertTrue(done)
        self.assertEqual(len(asked), 2)

    def test_where_the_kernel_refuses_all_nothing_happens(self) -> None:
        self.assertFalse(self.collapse(line(0, 8 * HUGE), [-1])[0])

    def test_the_real_kernel_may_say_what_it_likes(self) -> None:
        ballast = bytearray(20 * MEBIBYTE)
        self.assertIn(hugepages.collapse(), (True, False))
        self.assertEqual(ballast.count(0), len(ballast))

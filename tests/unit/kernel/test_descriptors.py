"""Tests for the budget of descriptors."""

from __future__ import annotations

import re
import resource
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import Case
from twisted_fork.kernel import descriptors
from twisted_fork.kernel.descriptors import check, most_children, needed
from twisted_fork.settings import InvalidSetting, Settings

some_settings = st.builds(
    Settings,
    spare_children=st.integers(0, 300),
    connections_per_child=st.integers(1, 3),
    launcher=st.sampled_from(["fork", "spawn"]),
    quiet=st.booleans(),
    idle_timeout=st.sampled_from([None, 1.0]),
)
in_use = st.integers(0, 2000)
limits = st.integers(0, 20_000)


class BudgetTests(Case):
    """What a setting would need."""

    @given(some_settings, in_use, limits, st.booleans())
    def test_most_children_is_the_largest_number_that_fits(
        self, settings: Settings, in_use: int, limit: int, direct: bool
    ) -> None:
        most = most_children(settings, in_use, limit, direct=direct)
        if most >= 1:
            fits = replace(settings, max_children=most)
            self.assertLessEqual(needed(fits, in_use, direct=direct), limit)
        if most >= 0:
            more = replace(settings, max_children=most + 1)
            self.assertGreater(needed(more, in_use, direct=direct), limit)

    @given(some_settings, in_use)
    def test_one_that_is_listened_to_has_a_channel(self, settings: Settings, in_use: int) -> None:
        more = needed(settings, in_use, listens=True) - needed(settings, in_use)
        has_one = settings.connections_per_child > 1 or settings.launcher == "spawn"
        self.assertEqual(more, 0 if has_one else settings.max_children)

    @given(some_settings, in_use)
    def test_programs_that_are_executed_directly_have_a_standard_error_each_and_no_spares(
        self, settings: Settings, in_use: int
    ) -> None:
        forked = replace(settings, launcher="fork", spare_children=0, connections_per_child=1)
        more = needed(forked, in_use, direct=True) - needed(forked, in_use)
        self.assertEqual(more, settings.max_children)
        direct = needed(replace(forked, spare_children=9), in_use, direct=True)
        self.assertEqual(direct, needed(forked, in_use, direct=True))

    @given(some_settings, in_use)
    def test_spawned_children_and_spares_have_a_standard_error_and_a_channel_each(
        self, settings: Settings, in_use: int
    ) -> None:
        forked = replace(settings, launcher="fork", connections_per_child=1)
        spawned = replace(forked, launcher="spawn")
        more = needed(spawned, in_use) - needed(forked, in_use)
        self.assertEqual(more, 2 * settings.max_children + settings.spare_children)

    @given(some_settings, in_use)
    def test_every_child_costs_something(self, settings: Settings, in_use: int) -> None:
        self.assertGreater(needed(settings, in_use), in_use)
        for name in ("max_children", "spare_children"):
            more = replace(settings, **{name: getattr(settings, name) + 1})
            self.assertGreater(needed(more, in_use), needed(settings, in_use))


class CheckTests(Case):
    """A setting that could not fit is refused at once."""

    def limit(self, soft: int, hard: int) -> None:
        self.patch(resource, "getrlimit", lambda which: (soft, hard))

    def test_what_fits_the_hard_limit_is_let_pass(self) -> None:
        self.limit(10, 100_000)
        check(Settings(max_children=5000), in_use=10)

    def test_what_does_not_is_refused_with_a_number_that_would(self) -> None:
        self.limit(1024, 1024)
        settings = Settings(max_children=5000)
        most = most_children(settings, 10, 1024)
        with self.assertRaisesRegex(
            InvalidSetting,
            f"--max-children cannot be 5000: .*this process may open 1024;"
            f" --max-children {most} would fit",
        ):
            check(settings, in_use=10)
        check(replace(settings, max_children=most), in_use=10)

    @given(some_settings, in_use, limits)
    def test_whatever_is_advised_would_fit(
        self, settings: Settings, in_use: int, limit: int
    ) -> None:
        self.limit(limit, limit)
        try:
            check(settings, in_use=in_use)
        except InvalidSetting as refusal:
            advice = str(refusal)
        else:
            return
        fewer = {
            f"{kind}_children": int(number)
            for kind, number in re.findall(r"--(max|spare)-children (\d+)", advice)
        }
        if fewer:
            check(replace(settings, **fewer), in_use=in_use)  # type: ignore[arg-type]
        (raised,) = map(int, re.findall(r"raise the limit to (\d+)", advice))
        self.limit(raised, raised)
        check(settings, in_use=in_use)
        self.limit(raised - 1, raised - 1)
        self.assertRaises(InvalidSetting, check, settings, in_use=in_use)

    def test_who_takes_too_much_is_named(self) -> None:
        for limit, settings, told in [
            (256, Settings(spare_children=200), "--max-children cannot be 256: .*; --max-children"),
            (1000, Settings(spare_children=900), "--spare-children cannot be 900: .*; --spare-ch"),
            (1000, Settings(max_children=900), "--max-children cannot be 900: .*; --max-children"),
            (209, Settings(), "--max-children 1 --spare-children 0 would fit"),
            (64, Settings(), "this process may open 64 descriptors, and one child alone takes"),
        ]:
            self.limit(limit, limit)
            with self.assertRaisesRegex(InvalidSetting, told):
                check(settings, in_use=10)

    def test_no_limit_is_enough_for_any_number(self) -> None:
        self.limit(1024, resource.RLIM_INFINITY)
        check(Settings(max_children=1_000_000))


class RaiseTests(Case):
    """The soft limit is raised to the hard one."""

    def setUp(self) -> None:
        self.limits = (1024, 4096)
        self.calls: list[tuple[int, int]] = []
        self.patch(descriptors, "_raised_from", {})
        self.patch(resource, "getrlimit", lambda which: self.limits)
        self.patch(resource, "setrlimit", self.set)

    def set(self, which: int, limits: tuple[int, int]) -> None:
        self.assertEqual(which, resource.RLIMIT_NOFILE)
        self.limits = limits
        self.calls.append(limits)

    def test_it_is_raised_and_what_it_was_is_returned(self) -> None:
        self.assertEqual(descriptors.raise_limit(), (1024, 4096))
        self.assertEqual(self.calls, [(4096, 4096)])

    def test_one_that_is_high_already_is_left_alone(self) -> None:
        self.limits = (4096, 4096)
        self.assertEqual(descriptors.raise_limit(), (4096, 4096))
        self.assertEqual(self.calls, [])

    def test_the_second_time_it_is_left_alone_and_what_it_was_is_still_known(self) -> None:
        descriptors.raise_limit()
        self.assertEqual(descriptors.raise_limit(), (1024, 4096))
        self.assertEqual(self.calls, [(4096, 4096)])

    def test_one_that_was_lowered_meanwhile_is_raised_again(self) -> None:
        descriptors.raise_limit()
        self.limits = (2048, 4096)
        self.assertEqual(descriptors.raise_limit(), (2048, 4096))
        self.assertEqual(self.limits, (4096, 4096))

"""Tests for the settings: their bounds, and what is said of values that will not do."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted_fork.settings import InvalidSetting, Settings, option_name, parse, repeatable

from .cases import Case

SETTINGS = {setting.name: setting for setting in fields(Settings)}

BOUNDS: dict[str, tuple[float, float]] = {
    "max_children": (1, 1_000_000),
    "spare_children": (0, 100_000),
    "connections_per_child": (1, 1_000_000_000),
    "grace": (0, 1_000_000),
}


def made(**given: Any) -> Settings:
    """Settings, with the one that others need."""
    return Settings(**{"tls_certificate": "certificate.pem", **given})


any_setting = st.sampled_from(sorted(SETTINGS))
texts = st.one_of(
    st.text(),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["", "nan", "inf", "-inf", "1e3", "0x10", "1_000", " 5 ", "٣", "fork", "spawn"]
    ),
)
values: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.integers()),
    st.sampled_from(["fork", "spawn", math.nan, math.inf, 10**400]),
)


class SettingsTests(Case):
    """A Settings object holds only what will do."""

    def test_the_defaults_will_do(self) -> None:
        Settings()

    def test_it_cannot_be_changed(self) -> None:
        with self.assertRaises(FrozenInstanceError):
            Settings().quiet = True  # type: ignore[misc]

    def test_bounds_are_included_and_what_is_past_them_is_not(self) -> None:
        for name, (low, high) in BOUNDS.items():
            for good in (low, high):
                self.assertEqual(getattr(made(**{name: good}), name), good)
            for bad in (low - 1, high + 1, -1, math.nan, str(low), None, True):
                with self.assertRaisesRegex(InvalidSetting, f"--{option_name(name)} cannot be"):
                    made(**{name: bad})

    def test_a_whole_number_is_no_fraction(self) -> None:
        with self.assertRaisesRegex(InvalidSetting, "a whole number from 1 to 1000000"):
            Settings(max_children=2.0)  # type: ignore[arg-type]
        self.assertEqual(Settings(grace=2).grace, 2)

    def test_choices_are_named(self) -> None:
        with self.assertRaisesRegex(
            InvalidSetting, "--launcher cannot be 'vfork': .*fork or spawn"
        ):
            Settings(launcher="vfork")

    @given(any_setting, values)
    def test_any_value_is_taken_or_refused_by_the_name_of_its_option(
        self, name: str, value: Any
    ) -> None:
        try:
            taken = getattr(made(**{name: value}), name)
        except InvalidSetting as why:
            self.assertIn(f"--{option_name(name)} cannot be", str(why))
        else:
            self.assertIs(taken, value)


class ParseTests(Case):
    """What a command line gives is text."""

    @given(any_setting, texts)
    def test_any_text_is_parsed_or_refused_by_the_name_of_its_option(
        self, name: str, text: str
    ) -> None:
        try:
            value = parse(SETTINGS[name], text)
        except InvalidSetting as why:
            self.assertIn(f"--{option_name(name)} cannot be", str(why))
            self.assertNotIn("\n", str(why))
        else:
            field = (value,) if repeatable(SETTINGS[name]) else value
            self.assertEqual(getattr(made(**{name: field}), name), field)

    @given(st.integers(1, 1_000_000), st.floats(0, 1_000_000))
    def test_numbers_are_what_they_say(self, children: int, grace: float) -> None:
        self.assertEqual(parse(SETTINGS["max_children"], str(children)), children)
        self.assertEqual(parse(SETTINGS["grace"], repr(grace)), grace)

    def test_option_names_have_dashes(self) -> None:
        self.assertEqual(option_name("connections_per_child"), "connections-per-child")

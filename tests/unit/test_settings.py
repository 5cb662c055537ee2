"""Tests for the settings: their bounds, and what is said of values that will not do."""

from __future__ import annotations

import math
import os
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
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
    """Settings, with those that others need."""
    needed = {"tls_certificate": "certificate.pem", "proxy_protocol": True}
    return Settings(**{**needed, **given})


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
                with self.assertRaisesRegex(InvalidSetting, f"^{name} cannot be"):
                    made(**{name: bad})

    def test_a_whole_number_is_no_fraction(self) -> None:
        with self.assertRaisesRegex(InvalidSetting, "a whole number from 1 to 1000000"):
            Settings(max_children=2.0)  # type: ignore[arg-type]
        self.assertEqual(Settings(grace=2).grace, 2)

    def test_choices_are_named(self) -> None:
        with self.assertRaisesRegex(InvalidSetting, "^launcher cannot be 'vfork': .*fork or spawn"):
            Settings(launcher="vfork")

    @given(any_setting, values)
    def test_any_value_is_taken_or_refused_by_its_name(self, name: str, value: Any) -> None:
        try:
            taken = getattr(made(**{name: value}), name)
        except InvalidSetting as why:
            self.assertTrue(str(why).startswith(f"{name} cannot be"), why)
        else:
            self.assertIs(taken, value)

    def test_files_may_be_pathlibs(self) -> None:
        for name in ("tls_certificate", "tls_key", "tls_client_ca"):
            self.assertEqual(getattr(made(**{name: Path("a/b.pem")}), name), "a/b.pem")
        with self.assertRaisesRegex(InvalidSetting, "^user cannot be"):
            made(user=Path("a"))

    def test_an_application_is_told_what_it_can_give(self) -> None:
        for name, value, told in [
            ("memory", "512M", "a whole number of bytes from 1048576, such as 512 \\* 1024\\*\\*2"),
            ("allow", "192.0.2.0/24", r"a tuple of networks, such as \('192.0.2.0/24', "),
            ("deny", ["192.0.2.0/24"], r"a tuple of networks, such as \('192.0.2.0/24', "),
            ("rate", "10/60", r"a tuple of a number of connections and of seconds.*\(10, 60\)"),
            ("source_prefix", "24", r"a tuple of the bits .* such as \(24, 56\)"),
            ("umask", "27", "a whole number from 0 to 0o777"),
            ("tls_certificate", "a\0b", "a path"),
            ("user", "a\0b", "a name"),
            ("user", "", "a name"),
            ("banner_refused", "\ud800", "a text"),
            ("max_children", None, "a whole number from 1 to 1000000"),
        ]:
            with self.assertRaisesRegex(InvalidSetting, f"^{name} cannot be .*: it takes {told}"):
                made(**{name: value})

    def test_host_bits_are_told_with_what_is_meant(self) -> None:
        for network, told in [
            ("127.0.0.1/8", "it takes 127.0.0.0/8, or 127.0.0.1/32 for that one host"),
            ("2001:db8::7/32", "it takes 2001:db8::/32, or 2001:db8::7/128 for that one host"),
        ]:
            with self.assertRaisesRegex(InvalidSetting, f"^allow .*: it has host bits set, {told}"):
                made(allow=("192.0.2.0/24", network))
            with self.assertRaisesRegex(
                InvalidSetting, f"^--deny .*: it has host bits set, {told}"
            ):
                parse(SETTINGS["deny"], network)

    def test_some_go_with_another_only(self) -> None:
        cases: list[tuple[str, Any, str, Any]] = [
            ("proxy_from", ("192.0.2.0/24",), "proxy_protocol", True),
            ("tls_key", "key.pem", "tls_certificate", "certificate.pem"),
            ("tls_client_ca", Path("ca.pem"), "tls_certificate", Path("certificate.pem")),
        ]
        for name, value, other, needed in cases:
            alone: dict[str, Any] = {name: value}
            told = f"^--{option_name(name)} goes with --{option_name(other)} only$"
            with self.assertRaisesRegex(InvalidSetting, told):
                Settings(**alone)
            Settings(**alone, **{other: needed})
            alone[name] = SETTINGS[name].default
            Settings(**alone)

    def test_what_they_go_with_is_a_setting_too(self) -> None:
        others = {setting.metadata["goes_with"] for setting in SETTINGS.values()}
        self.assertEqual(others, {None, "proxy_protocol", "tls_certificate"})


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

    @given(st.binary())
    def test_a_banner_can_have_any_bytes(self, banner: bytes) -> None:
        text = "".join(f"\\x{byte:02x}" for byte in banner)
        self.assertEqual(os.fsencode(parse(SETTINGS["banner_refused"], text)), banner)

    def test_escapes_of_a_banner(self) -> None:
        for text, banner in [
            (r"busy\r\n", "busy\r\n"),
            (r"\\n\t\x41", "\\n\tA"),
            ("caf\xe9\n", "caf\xe9\n"),
        ]:
            self.assertEqual(parse(SETTINGS["banner_refused"], text), banner)
        for text in ("\\", r"\q", r"\x4", r"\xgg", r"\0", "a\\\n"):
            with self.assertRaisesRegex(InvalidSetting, r"it takes a text, with \\n, \\r,"):
                parse(SETTINGS["banner_refused"], text)
        # an application writes what it means
        self.assertEqual(Settings(banner_refused=r"\n").banner_refused, r"\n")

    def test_option_names_have_dashes(self) -> None:
        self.assertEqual(option_name("connections_per_child"), "connections-per-child")

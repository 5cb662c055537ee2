"""Tests for what goes together: settings, handler and descriptors."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted_fork import agreement
from twisted_fork.agreement import (
    Budget,
    budget,
    check,
    is_direct,
    is_limited,
    no_new_privileges,
)
from twisted_fork.handler import Echo, Handler, Imported, Program
from twisted_fork.launchers import limits
from twisted_fork.settings import InvalidSetting, Settings

from .cases import Case

some_settings = st.builds(
    Settings,
    spare_children=st.integers(0, 300),
    connections_per_child=st.integers(1, 3),
    launcher=st.sampled_from(["fork", "spawn"]),
    quiet=st.booleans(),
    idle_timeout=st.sampled_from([None, 1.0]),
)
in_use = st.integers(0, 2000)
some_limits = st.integers(0, 20_000)

SETTINGS = {setting.name: setting for setting in fields(Settings)}

LIMITS: dict[str, Any] = {
    "cpu_seconds": 5,
    "memory": 1 << 30,
    "open_files": 20,
    "processes": 3,
    "file_size": 0,
    "nice": 0,
    "umask": 0,
    "user": "nobody",
    "group": "root",
    "no_new_privs": True,
}
"""What a child has to apply, each as small as it can be."""

OTHERS: dict[str, Any] = {
    "max_children": 5,
    "spare_children": 0,
    "connections_per_child": 2,
    "launcher": "spawn",
    "grace": 1.0,
    "quiet": True,
    "keepalive": True,
    "nodelay": True,
    "tls_certificate": "a.pem",
    "tls_key": "a.pem",
    "tls_client_ca": "a.pem",
    "handshake_timeout": 1.0,
    "proxy_protocol": True,
    "proxy_from": ("192.0.2.0/24",),
    "allow": ("192.0.2.0/24",),
    "deny": ("192.0.2.0/24",),
    "max_per_source": 1,
    "source_prefix": (24, 56),
    "rate": (1, 1.0),
    "penalty": 1.0,
    "when_full": "refuse",
    "banner_refused": "",
    "idle_timeout": 1.0,
    "session_timeout": 1.0,
}
"""The rest, each with another value than its default."""


def one(name: str, value: Any) -> Settings:
    """Settings with one that is not its default, and with what that goes with."""
    other = SETTINGS[name].metadata["goes_with"]
    needed = {} if other is None else {other: OTHERS[other]}
    return Settings(**{name: value, **needed})


class LimitTests(Case):
    """What children have to do to themselves."""

    def test_every_setting_is_a_limit_or_none(self) -> None:
        self.assertEqual({*LIMITS, *OTHERS}, {*SETTINGS})
        self.assertFalse(is_limited(Settings()))
        for name, value in LIMITS.items():
            self.assertTrue(is_limited(one(name, value)), name)
        for name, value in OTHERS.items():
            self.assertFalse(is_limited(one(name, value)), name)

    def test_children_are_told_of_each_limit_and_of_nothing_else(self) -> None:
        for name, value in LIMITS.items():
            self.assertTrue(self.told(one(name, value)), name)
        self.patch(agreement, "is_limited", lambda settings: True)
        for name, value in OTHERS.items():
            self.assertEqual(self.told(one(name, value)), {}, name)

    def told(self, settings: Settings) -> dict[str, Any]:
        """What children would have to apply."""
        order = limits.order(settings, 0)
        assert order is not None
        return {
            name: value for name, value in order.items() if value is not None and value is not False
        }

    def test_another_user_cannot_gain_privileges(self) -> None:
        for settings, none in [
            (Settings(), False),
            (Settings(group="daemon"), False),
            (Settings(user="nobody"), True),
            (Settings(no_new_privs=True), True),
        ]:
            self.assertIs(no_new_privileges(settings), none, settings)


class DirectTests(Case):
    """Programs that the reactor process executes by itself."""

    def test_a_program_is_if_nothing_is_to_be_done_before(self) -> None:
        program = Program(["cat"])
        self.assertTrue(is_direct(program, Settings()))
        self.assertTrue(is_direct(Program(["cat"], {"A": "b"}, clear_env=True), Settings()))
        self.assertFalse(is_direct(Program(["cat"], chdir="/"), Settings()))
        in_the_child = {*LIMITS, "tls_certificate", "tls_key", "tls_client_ca"}
        for name, value in {**LIMITS, **OTHERS}.items():
            direct = is_direct(program, one(name, value))
            self.assertIs(direct, name not in in_the_child, name)

    def test_what_is_no_program_is_not(self) -> None:
        for handler in (Echo(), Imported("a", "b")):
            self.assertFalse(is_direct(handler, Settings()))


class BudgetTests(Case):
    """The descriptors that settings would need."""

    @given(some_settings, in_use, some_limits, st.booleans())
    def test_most_children_is_the_largest_number_that_fits(
        self, settings: Settings, in_use: int, limit: int, direct: bool
    ) -> None:
        needs, spares = budget(settings, in_use, direct=direct), settings.spare_children
        most = needs.most_children(spares, limit)
        self.assertLessEqual(needs.descriptors(most, spares), limit)
        self.assertGreater(needs.descriptors(most + 1, spares), limit)

    @given(some_settings, in_use, some_limits)
    def test_most_spares_is_the_largest_number_that_fits(
        self, settings: Settings, in_use: int, limit: int
    ) -> None:
        needs, children = budget(settings, in_use), settings.max_children
        most = needs.most_spares(children, limit)
        self.assertLessEqual(needs.descriptors(children, most), limit)
        self.assertGreater(needs.descriptors(children, most + 1), limit)

    def test_what_each_needs(self) -> None:
        forked, spawned = Settings(), Settings(launcher="spawn")
        lives_on = Settings(connections_per_child=2)
        for settings, listens, direct, child, spare in [
            (forked, False, False, 1, 2),
            (forked, True, False, 2, 2),
            (lives_on, False, False, 2, 2),
            (lives_on, True, False, 2, 2),
            (spawned, False, False, 3, 3),
            (spawned, True, False, 3, 3),
            (forked, False, True, 2, 0),
            (forked, True, True, 3, 0),
            (spawned, False, True, 2, 0),
        ]:
            needs = budget(settings, 10, listens, direct)
            self.assertEqual(needs, Budget(child, spare, 10 + 64 + 64 + 64), settings)


class CheckTests(Case):
    """What does not go together, or does not fit, is refused at once."""

    def check(
        self, settings: Settings, limit: int, in_use: int = 10, handler: Handler | None = None
    ) -> None:
        check(settings, handler or Echo(), False, in_use, limit)

    def test_a_program_serves_one_connection(self) -> None:
        with self.assertRaisesRegex(
            InvalidSetting, "^--connections-per-child has to be 1 with a program: it becomes the"
        ):
            self.check(Settings(connections_per_child=2), 2000, handler=Program(["cat"]))
        self.check(Settings(connections_per_child=1), 2000, handler=Program(["cat"]))
        self.check(Settings(connections_per_child=2), 2000, handler=Imported("a", "b"))

    def test_what_fits_is_let_pass(self) -> None:
        self.check(Settings(max_children=5000), 5210)
        with self.assertRaises(InvalidSetting):
            self.check(Settings(max_children=5000), 5209)

    def test_a_program_that_is_executed_directly_has_no_spares(self) -> None:
        settings, program = Settings(max_children=500, spare_children=9000), Program(["cat"])
        self.check(settings, 1202, handler=program)
        with self.assertRaisesRegex(InvalidSetting, "; --max-children 499 would fit"):
            self.check(settings, 1201, handler=program)
        with self.assertRaises(InvalidSetting):
            self.check(replace(settings, nice=1), 1202, handler=program)

    def test_children_that_are_listened_to_need_more(self) -> None:
        check(Settings(), Echo(), False, 10, 466)
        with self.assertRaises(InvalidSetting):
            check(Settings(), Echo(), True, 10, 466)

    def test_what_does_not_fit_is_refused_with_a_number_that_would(self) -> None:
        settings = Settings(max_children=5000)
        most = budget(settings, 10).most_children(4, 1024)
        with self.assertRaisesRegex(
            InvalidSetting,
            f"--max-children cannot be 5000: .*this process may open 1024;"
            f" --max-children {most} would fit",
        ):
            self.check(settings, 1024)
        self.check(replace(settings, max_children=most), 1024)

    @given(some_settings, in_use, some_limits)
    def test_whatever_is_advised_would_fit(
        self, settings: Settings, in_use: int, limit: int
    ) -> None:
        try:
            self.check(settings, limit, in_use)
        except InvalidSetting as refusal:
            advice = str(refusal)
        else:
            return
        fewer = {
            f"{kind}_children": int(number)
            for kind, number in re.findall(r"--(max|spare)-children (\d+)", advice)
        }
        if fewer:
            self.check(replace(settings, **fewer), limit, in_use)  # type: ignore[arg-type]
        (raised,) = map(int, re.findall(r"raise the limit to (\d+)", advice))
        self.check(settings, raised, in_use)
        self.assertRaises(InvalidSetting, self.check, settings, raised - 1, in_use)

    def test_as_much_is_advised_as_fits_and_who_takes_too_much_is_named(self) -> None:
        many, spares = "--max-children cannot be", "--spare-children cannot be"
        for children, waiting, limit, blamed, fits in [
            (256, 4, 465, f"{many} 256", "--max-children 255"),
            (256, 4, 211, f"{many} 256", "--max-children 1"),
            (256, 4, 210, f"{many} 256", "--max-children 1 --spare-children 0"),
            (256, 4, 203, f"{many} 256", "--max-children 1 --spare-children 0"),
            (256, 200, 857, f"{spares} 200", "--spare-children 199"),
            (256, 200, 466, f"{spares} 200", "--spare-children 4"),
            (256, 200, 465, f"{many} 256", "--max-children 255 --spare-children 4"),
            (256, 200, 211, f"{many} 256", "--max-children 1 --spare-children 4"),
            (256, 200, 210, f"{many} 256", "--max-children 1 --spare-children 0"),
            (1000, 10, 223, f"{many} 1000", "--max-children 1"),
            (1000, 10, 222, f"{many} 1000", "--max-children 12 --spare-children 4"),
        ]:
            with self.assertRaises(InvalidSetting) as caught:
                self.check(Settings(max_children=children, spare_children=waiting), limit)
            needed = 10 + 3 * 64 + children + 2 * waiting
            self.assertEqual(
                str(caught.exception),
                f"{blamed}: it needs {needed} descriptors and this process may open {limit};"
                f" {fits} would fit, or raise the limit to {needed} (ulimit -n, or LimitNOFILE="
                " in a unit)",
            )

    def test_where_nobody_fits_the_limit_is_to_be_raised(self) -> None:
        with self.assertRaises(InvalidSetting) as caught:
            self.check(Settings(), 202)
        self.assertEqual(
            str(caught.exception),
            "this process may open 202 descriptors, and one child alone takes a limit of 203:"
            " raise the limit to 466 (ulimit -n, or LimitNOFILE= in a unit)",
        )

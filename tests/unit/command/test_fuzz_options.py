"""Fuzzing the command line: every mistake is told in one line, before anything is started."""

from __future__ import annotations

import contextlib
import io
from dataclasses import fields
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor
from tests.unit.world import World
from twisted_fork.command.forkserve import Options
from twisted_fork.entrance.admission import Admission
from twisted_fork.entrance.networks import Guard
from twisted_fork.entrance.ports import CannotListen, endpoint_from
from twisted_fork.settings import InvalidSetting, Settings, option_name, parse, repeatable

arguments = st.text(st.characters(blacklist_characters="\0"), max_size=12)
"""As a command line has them: bytes that are not UTF-8 come as lone surrogates."""

plausible = st.one_of(
    arguments,
    st.from_regex(r"\A-?[0-9]{1,8}[kKmMgG]?\Z"),
    st.from_regex(r"\A[0-9]{1,4}/[0-9.e+-]{1,6}\Z"),
    st.from_regex(r"\A[0-9]{0,3}:[0-9]{0,3}\Z"),
    st.builds("{}/{}".format, st.ip_addresses(), st.integers(-1, 130)),
    st.sampled_from(["nan", "inf", "-inf", "1e400", "1_0", "٣", "fork", "wait", "\udcff"]),
)

values = [setting for setting in fields(Settings) if not isinstance(setting.default, bool)]

endpoints = st.one_of(
    arguments,
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    *("tcp", "tcp6", "unix", "systemd", "ssl", "tls", "haproxy", "=", "\\", "80"),
                    *("-1", "interface=", "backlog=-1", "mode=9", "domain=INET", "index=0", "x"),
                ]
            ),
            arguments,
        ),
        max_size=5,
    ).map(":".join),
)


class FuzzOptions(Case):
    """Texts to settings."""

    @settings(max_examples=400)
    @given(st.sampled_from(values), plausible)
    def test_a_value_is_good_or_refused(self, setting: Any, text: str) -> None:
        try:
            value = parse(setting, text)
        except InvalidSetting as refusal:
            self.assertNotIn("\n", str(refusal))
            return
        name = setting.name
        given_value = (value,) if repeatable(setting) else value
        if not name.startswith("tls_"):
            # by itself that one says nothing
            needed = {"proxy_protocol": True} if name == "proxy_from" else {}
            chosen: dict[str, Any] = {name: given_value, **needed}
            self.assertEqual(getattr(Settings(**chosen), name), given_value)

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(values), plausible), max_size=4))
    @example([(setting, "\udcff") for setting in values if setting.name == "banner_refused"])
    def test_a_command_line_is_understood_or_told_in_one_line(
        self, given_words: list[tuple[Any, str]]
    ) -> None:
        words = [f"--{option_name(setting.name)}={text}" for setting, text in given_words]
        err = io.StringIO()
        options = Options()
        with contextlib.redirect_stderr(err):
            try:
                options.parseOptions([*words, "--handler", "m:f"])
            except SystemExit as end:
                self.assertEqual((end.code, err.getvalue().count("\n")), (1, 1), err.getvalue())
                return
        self.start_admission(options.settings)

    def start_admission(self, chosen: Settings) -> None:
        """Whatever was taken for good can be used."""
        admission = Admission(Clock(), FakeReactor(), chosen, World().pool)
        admission.stop()

    @given(st.lists(plausible, max_size=4), st.ip_addresses())
    def test_networks_that_are_taken_can_be_asked(self, texts: list[str], host: object) -> None:
        networks = []
        for text in texts:
            with contextlib.suppress(InvalidSetting):
                Settings(allow=(text,))
                networks.append(text)
        Guard(networks, networks).admits(str(host))

    @settings(max_examples=400)
    @given(endpoints)
    def test_an_endpoint_is_understood_or_refused_in_one_line(self, text: str) -> None:
        try:
            endpoint_from(Clock(), text)
        except CannotListen as refusal:
            self.assertGreater(len(str(refusal)), 0)

"""Tests for the command line."""

from __future__ import annotations

import contextlib
import io
from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import Case
from twisted_fork import __version__
from twisted_fork.command.forkecho import Options
from twisted_fork.command.options import ServerOptions, refuse
from twisted_fork.settings import Settings, option_name

words = st.one_of(
    st.text(max_size=10),
    st.sampled_from([f"--{option_name(setting.name)}" for setting in fields(Settings)]),
    st.sampled_from(["-c", "-s", "-k", "-q", "-l", "--listen", "--", "-", "--max-children=", "7"]),
)


def parsed(*words: str) -> ServerOptions:
    """The options of a command line."""
    options = ServerOptions()
    options.parseOptions(words)
    return options


def outcome(*words: str) -> tuple[object, str, str]:
    """The exit status of a command line that ends, and what was written."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            parsed(*words)
        except SystemExit as end:
            return end.code, out.getvalue(), err.getvalue()
    return None, out.getvalue(), err.getvalue()


class ParsingTests(Case):
    """Options become settings."""

    def test_without_options_the_defaults_hold(self) -> None:
        options = parsed()
        self.assertEqual((options.settings, options.endpoints), (Settings(), ["tcp:8000"]))

    def test_every_setting_has_its_option(self) -> None:
        options = parsed(
            *("--max-children", "7", "--spare-children=3", "--connections-per-child", "9"),
            *("--launcher", "spawn", "--grace", "2.5", "--quiet"),
        )
        wanted = Settings(
            max_children=7,
            spare_children=3,
            connections_per_child=9,
            launcher="spawn",
            grace=2.5,
            quiet=True,
        )
        self.assertEqual(options.settings, wanted)

    def test_the_short_ones_mean_the_same(self) -> None:
        self.assertEqual(
            parsed("-c", "7", "-s3", "-k", "9", "-q").settings,
            Settings(max_children=7, spare_children=3, connections_per_child=9, quiet=True),
        )

    def test_several_endpoints_may_be_given(self) -> None:
        options = parsed("-l", "tcp:1", "--listen", "unix:/run/x", "--listen=tcp6:2")
        self.assertEqual(options.endpoints, ["tcp:1", "unix:/run/x", "tcp6:2"])

    def test_the_help_names_every_option_and_ends_well(self) -> None:
        status, out, err = outcome("--help")
        self.assertEqual((status, err), (0, ""))
        for setting in fields(Settings):
            self.assertIn(f"--{option_name(setting.name)}", out)
            self.assertIn(setting.metadata["help"].split()[0], out)

    def test_the_version_is_ours(self) -> None:
        self.assertEqual(outcome("--version"), (0, f"Twisted Fork {__version__}\n", ""))

    def test_forkecho_can_print(self) -> None:
        options = Options()
        options.parseOptions(["--print", "-c", "5"])
        self.assertEqual((bool(options["print"]), options.settings.max_children), (True, 5))


class MistakeTests(Case):
    """A mistake is told in one line that names it."""

    def test_a_mistake_names_its_option_and_where_help_is(self) -> None:
        for words, named in [
            (["--max-children", "none"], "--max-children cannot be 'none'"),
            (["-c", "0"], "--max-children cannot be '0'"),
            (["--grace", "-1"], "--grace cannot be '-1'"),
            (["--launcher", "x"], "--launcher cannot be 'x': it takes fork or spawn"),
            (["--max-childen", "7"], "--max-childen"),
            (["--max-children"], "--max-children"),
            (["-k"], "-k"),
            (["8000"], "unexpected argument '8000'"),
        ]:
            status, out, err = outcome(*words)
            self.assertEqual((status, out, err.count("\n")), (1, "", 1), words)
            self.assertTrue(err.startswith("twistd twistd: "), err)
            self.assertIn(named, err)
            self.assertIn("; see twistd twistd --help", err)

    def test_what_an_option_takes_is_told(self) -> None:
        for option, value, told in [
            ("--deny", "", "a network such as 192.0.2.0/24"),
            ("--max-per-source", "0", "a whole number from 1"),
            ("--source-prefix", "33", "bits of IPv4 and IPv6 addresses"),
            ("--source-prefix", "24:129", "bits of IPv4 and IPv6 addresses"),
            ("--rate", "0/60", "connections per seconds, such as 10/60"),
            ("--rate", "1/nan", "connections per seconds, such as 10/60"),
            ("--penalty", "0", "a number of seconds"),
            ("--when-full", "panic", "wait or refuse"),
        ]:
            status, out, err = outcome(option, value)
            self.assertEqual((status, out, err.count("\n")), (1, "", 1), option)
            line = f"twistd twistd: {option} cannot be {value!r}: it takes {told}"
            self.assertTrue(err.startswith(line), err)

    def test_a_root_of_another_is_refused_and_none_is_not(self) -> None:
        for twistd in ({"chroot": None}, {}, None):
            options = ServerOptions()
            options.parent = twistd  # type: ignore[assignment]
            options.parseOptions([])
        options = ServerOptions()
        options.parent = {"chroot": "/srv"}  # type: ignore[assignment]
        err = io.StringIO()
        with contextlib.redirect_stderr(err), self.assertRaises(SystemExit):
            options.parseOptions([])
        self.assertIn("twistd --chroot cannot be used: children are new", err.getvalue())

    def test_refusing_escapes_what_could_move_the_cursor_once(self) -> None:
        err = io.StringIO()
        with contextlib.redirect_stderr(err), self.assertRaises(SystemExit):
            refuse("forkecho", "\x1b[2J \x9b caf\xe9 " + repr("\x1b\\"))
        told = "twistd forkecho: \\x1b[2J \\x9b caf\xe9 '\\x1b\\\\'\n"
        self.assertEqual(err.getvalue(), told)

    @given(st.lists(words, max_size=4))
    def test_any_command_line_is_understood_or_refused_in_one_line(self, words: list[str]) -> None:
        status, out, err = outcome(*words)
        self.assertIn(status, (None, 0, 1))
        if status == 1:
            self.assertEqual((out, err.count("\n")), ("", 1))
        elif status is None:
            self.assertEqual((out, err), ("", ""))

    @given(st.text())
    def test_refusing_is_one_line_whatever_the_reason(self, why: str) -> None:
        err = io.StringIO()
        with contextlib.redirect_stderr(err), self.assertRaises(SystemExit) as end:
            refuse("forkecho", why)
        self.assertEqual(end.exception.code, 1)
        self.assertEqual(err.getvalue().splitlines(), [err.getvalue()[:-1]])

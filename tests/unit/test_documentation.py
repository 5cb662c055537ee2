"""
The documentation speaks of everything that there is, and of nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from twisted.logger import LogEvent

import twisted_fork
from twisted_fork import Settings
from twisted_fork.command.forkserve import Options

from .cases import Case
from .test_journal import ALWAYS, PER_CONNECTION, events_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
API = DOCS / "api.md"
LOG = DOCS / "log.md"

OF_OTHERS = {"--uid", "--reactor"}
"""Options of twistd's own that the documentation speaks of."""


def anchors(page: str) -> set[str]:
    """What the headings of a page can be linked to by."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


class ApiTests(Case):
    """docs/api.md."""

    def test_every_public_name_has_a_place(self) -> None:
        page = API.read_text()
        places = set(re.findall(r"^### `(\w+)`$", page, re.MULTILINE))
        places |= set(re.findall(r"^\| `(\w+)` \| \w+ \|", page.partition("## Errors")[2], re.M))
        self.assertEqual(places, set(twisted_fork.__all__))

    def test_every_setting_has_a_row(self) -> None:
        page = API.read_text().partition("### `Settings`")[2].partition("###")[0]
        rows = dict(re.findall(r"^\| `(\w+)` \| .*? \| `?(.*?)`? \| .+ \|$", page, re.MULTILINE))
        defaults = {setting.name: str(setting.default) for setting in fields(Settings)}
        told = {name: default.replace('"', "'").strip("'") for name, default in rows.items()}
        self.assertEqual(told, defaults)


class PagesTests(Case):
    """All pages."""

    def test_options_exist(self) -> None:
        known = {f"--{name.rstrip('=')}" for name in Options().longOpt} | OF_OTHERS
        for page in ("handlers.md", "api.md", "on-the-wire.md"):
            told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", (DOCS / page).read_text()))
            self.assertEqual(told - known, set(), page)

    def test_links_lead_somewhere(self) -> None:
        for page in DOCS.glob("*.md"):
            text = page.read_text()
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if re.match(r"https?:|mailto:", target):
                    continue
                name, _, anchor = target.partition("#")
                path = page.parent / name if name else page
                self.assertTrue(path.exists(), f"{page.name}: {target}")
                if anchor and path.suffix == ".md":
                    self.assertIn(anchor, anchors(path.read_text()), f"{page.name}: {target}")


SAMPLES = [event for call, _ in PER_CONNECTION + ALWAYS for event in events_of(call)]
"""Of each method of Journal, with each of its fields: another test sees to that."""


def fields_of(event: LogEvent) -> dict[str, object]:
    """Those that are the journal's own."""
    return {name: event[name] for name in event if name != "event" and name[:4] != "log_"}


def rows(page: str, heading: str) -> dict[str, str]:
    """The table below a heading: its rows, by their first words."""
    table = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return {found[1]: found[0] for found in re.finditer(r"^\| `(.+?)` \|.*\|$", table, re.M)}


def row_of(event: str, when: str, events: Iterable[LogEvent] = SAMPLES) -> str:
    """The row that an event has to have, but for *when* it comes."""
    own = [each for each in events if each["event"] == event]
    levels = dict.fromkeys(f"`{each['log_level'].name}`" for each in own)
    names = dict.fromkeys(f"`{name}`" for each in own for name in fields_of(each))
    told = ", ".join(names)
    return f"| `{event}` | {', '.join(levels)} | {when} | {told + ' ' if told else ''}|"


def mistakes(page: str) -> list[str]:
    """What is missing or wrong in docs/log.md, and what to do about it."""
    told, known = rows(page, "Events"), dict.fromkeys(each["event"] for each in SAMPLES)
    found = []
    for event in known:
        if event not in told:
            add = row_of(event, "WHEN IT COMES")
            found.append(f"docs/log.md, Events: there is no row for {event!r}, add\n{add}")
        elif told[event] != (right := row_of(event, told[event].split(" | ")[2])):
            found.append(f"docs/log.md, Events: the row of {event!r} has to be\n{right}")
    found += [
        f"docs/log.md, Events: nothing writes {event!r}: remove the row, or add a call that does"
        " to PER_CONNECTION or ALWAYS in tests/unit/test_journal.py"
        for event in told
        if event not in known
    ]
    kinds = {
        name: type(value).__name__
        for each in SAMPLES
        for name, value in fields_of(each).items()
        if value is not None
    }
    told = rows(page, "Fields")
    for name, kind in kinds.items():
        if name not in told:
            add = f"| `{name}` | {kind} | WHAT IT IS |"
            found.append(f"docs/log.md, Fields: there is no row for {name!r}, add\n{add}")
        elif not told[name].startswith(f"| `{name}` | {kind} | "):
            found.append(f"docs/log.md, Fields: {name!r} is of type {kind}")
    found += [
        f"docs/log.md, Fields: no event has {name!r}, remove the row"
        for name in told
        if name not in kinds
    ]
    return found


class LogTests(Case):
    """docs/log.md."""

    def test_every_event_and_every_field_has_a_row_and_it_is_right(self) -> None:
        found = mistakes(LOG.read_text())
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_a_row_that_is_missing_or_wrong_is_told(self) -> None:
        page = LOG.read_text()
        stopped, pid = rows(page, "Events")["stopped"], rows(page, "Fields")["pid"]
        for changed, told in [
            (
                page.replace(f"{stopped}\n", ""),
                "no row for 'stopped', add\n| `stopped` | `info` | ",
            ),
            (page.replace(stopped, stopped.replace("info", "warn")), f"has to be\n{stopped}"),
            (page.replace(stopped, stopped[:-1] + "`pid` |"), f"has to be\n{stopped}"),
            (page.replace(stopped, f"{stopped}\n| `x` | `info` | never | |"), "nothing writes 'x'"),
            (page.replace(f"{pid}\n", ""), "no row for 'pid', add\n| `pid` | int | "),
            (page.replace(pid, pid.replace("int", "str")), "'pid' is of type int"),
            (page.replace(pid, f"{pid}\n| `x` | int | what |"), "no event has 'x'"),
        ]:
            (found,) = mistakes(changed)
            self.assertIn(told, found)

"""
The documentation speaks of everything that there is, and of nothing else.
"""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import twisted_fork
from twisted_fork import Settings
from twisted_fork.command.forkserve import Options

from .cases import Case

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
API = DOCS / "api.md"

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

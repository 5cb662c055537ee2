"""Tests for who imports what: every module that a child has costs every fork."""

from __future__ import annotations

import pkgutil

import twisted_fork
from twisted_fork import inside

from .cases import Case
from .processes import python

KEPT_OUT = ("twisted", "zope", "threading", "logging", "random", "asyncio", "concurrent")
"""Twisted, and what registers hooks that run at every fork."""

SHARED = ["twisted_fork", "twisted_fork.wire.messages"]

INSIDE = [
    f"twisted_fork.inside.{module.name}"
    for module in pkgutil.iter_modules(inside.__path__)
    if module.name != "__main__"
]

LOADED = """
import sys
import {module}
for name in sorted(sys.modules):
    if name.partition(".")[0] in {kept_out}:
        print(name)
"""


class ImportTests(Case):
    """Fresh interpreters that import one module each."""

    def loaded(self, module: str) -> list[str]:
        """Which of what is kept out is loaded with *module*."""
        done = python(LOADED.format(module=module, kept_out=KEPT_OUT))
        self.assertEqual((done.returncode, done.stderr), (0, ""), module)
        return done.stdout.split()

    def test_this_would_be_seen(self) -> None:
        self.assertIn("twisted.internet", self.loaded("twisted_fork.pool.pool"))

    def test_what_both_worlds_share_loads_nothing_that_is_kept_out(self) -> None:
        for module in SHARED:
            self.assertEqual(self.loaded(module), [], module)

    def test_the_inside_loads_nothing_that_is_kept_out(self) -> None:
        self.assertIn("twisted_fork.inside.template", INSIDE)
        for module in INSIDE:
            self.assertEqual(self.loaded(module), [], module)


class NameTests(Case):
    """The public names, which are handed on lazily."""

    def test_every_name_can_be_had(self) -> None:
        for name in twisted_fork.__all__:
            self.assertEqual(getattr(twisted_fork, name).__name__, name)

    def test_a_name_that_is_not_there_is_an_attribute_error(self) -> None:
        with self.assertRaisesRegex(AttributeError, "has no attribute 'nonsense'"):
            twisted_fork.nonsense  # noqa: B018

    def test_the_version_is_there_at_once(self) -> None:
        self.assertRegex(twisted_fork.__version__, r"^\d+\.\d+")

"""Tests for what an application gives to a service."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import ProcessProtocol

from twisted_fork.handler import Echo
from twisted_fork.pool.child import ChildProtocol
from twisted_fork.service import ForkingService
from twisted_fork.settings import Settings

from .services import LOCAL, ServiceCase


class ArgumentTests(ServiceCase):
    """What a service is made of."""

    def made(self, **given: Any) -> ForkingService:
        return ForkingService([LOCAL], Echo(), reactor=self.reactor, **given)

    def test_settings_that_are_none_are_refused(self) -> None:
        for wrong in ({}, {"max_children": 5}, 0, "x", Settings):
            with self.assertRaisesRegex(TypeError, r"^settings cannot be .*: it takes Settings\("):
                self.made(settings=wrong)
        self.assertEqual(self.made(settings=None).settings, Settings())

    def test_a_protocol_that_cannot_be_made_for_each_child_is_refused(self) -> None:
        class Demanding(ChildProtocol):
            """Wants something."""

            def __init__(self, shop: object) -> None:
                """With a shop."""

        class Content(ChildProtocol):
            """Does not need anything."""

            def __init__(self, shop: object = None, *more: object) -> None:
                """With or without a shop."""

        for wrong in (Demanding, ChildProtocol(), ProcessProtocol, Echo, lambda: None, None):
            with self.assertRaisesRegex(
                TypeError, "^protocol cannot be .*: it takes a subclass of ChildProtocol|; it takes"
            ):
                self.made(protocol=wrong)
        self.made(protocol=Content)

"""
What every test case here is: trial's synchronous one, without a reactor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["Case"]

T = TypeVar("T")

if TYPE_CHECKING:
    # trial's own methods are not annotated, those that it inherits are.
    from unittest import TestCase

    from twisted.internet.defer import Deferred

    class Case(TestCase):
        """A SynchronousTestCase, as a type checker shall see it."""

        def patch(self, where: object, attribute: str, value: object) -> object: ...

        def mktemp(self) -> str: ...

        def successResultOf(self, deferred: Deferred[T]) -> T: ...

        def failureResultOf(
            self, deferred: Deferred[Any], *kinds: type[BaseException]
        ) -> object: ...

        def assertNoResult(self, deferred: Deferred[Any]) -> None: ...

        def flushLoggedErrors(self, *kinds: type[BaseException]) -> list[Any]: ...

else:
    from twisted.trial.unittest import SynchronousTestCase as Case

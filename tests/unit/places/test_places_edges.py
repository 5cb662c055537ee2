"""Tests for places at their edges: before there is a pool, and the first of all descriptors."""

from __future__ import annotations

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor, journal_of
from tests.unit.world import FakeConnection, World
from twisted_fork.places.places import Places
from twisted_fork.pool.roster import Roster
from twisted_fork.settings import Settings


class PlacesTests(Case):
    """What is accepted, and what is closed."""

    def test_nothing_is_accepted_before_somebody_can_give_it_to_a_child(self) -> None:
        places = Places(Settings(), FakeReactor(), journal_of([]), Roster(), lambda: None)
        self.assertFalse(places.may_accept())

    def test_a_connection_is_closed_whatever_its_descriptor_is(self) -> None:
        for descriptor in (0, 1, 2):
            connection = FakeConnection(1)
            connection.descriptor = descriptor
            World().pool.places.release(connection)
            self.assertTrue(connection.closed, descriptor)

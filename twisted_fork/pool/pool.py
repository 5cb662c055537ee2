"""
The pool: the children of a service, and what happens to them and to their connections.

It does no I/O of its own: launcher, journal and clock are given to it.  Places decides whether a
connection may come in, and keeps those that wait.  Placement decides which child gets it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from twisted_fork.ending import Ending
from twisted_fork.journal import Journal
from twisted_fork.places.connection import Connection
from twisted_fork.places.places import Places
from twisted_fork.pool.child import Breach, Child, ChildProtocol, Event, State
from twisted_fork.pool.children import Children
from twisted_fork.pool.faults import Faults
from twisted_fork.pool.launcher import Launcher
from twisted_fork.pool.placement import Placement
from twisted_fork.pool.session import Serving
from twisted_fork.pool.upkeep import Upkeep
from twisted_fork.settings import Settings
from twisted_fork.timers import Later
from twisted_fork.wire import messages, tcpinfo

__all__ = ["Pool"]


class Pool:
    """
    All children of a service.

    :param protocol: the class of the children's ProcessProtocols.
    :param room: see Places.
    :param last_words: is called with the pid of a child whose exit status is not 0, before its
        end is logged.
    :param crashed, told: see Serving.
    :ivar places: for connections.
    """

    def __init__(
        self,
        settings: Settings,
        clock: IReactorTime,
        launcher: Launcher,
        journal: Journal,
        protocol: type[ChildProtocol],
        room: Callable[[], object],
        last_words: Callable[[int], object],
        crashed: Callable[[str], object] = lambda source: None,
        told: Callable[[int], tuple[int, int] | None] = lambda pid: None,
    ) -> None:
        self.journal = journal
        self.launcher = launcher
        self.children = Children(clock, journal, launcher)
        self.places = Places(settings, clock, journal, self.children, room)
        self._faults = faults = Faults(journal, self.children, self.places, self._repair)
        self.fault, self.abandon = faults.fault, faults.abandon
        self.signal = faults.signal
        self.dismiss = self.children.dismiss
        self.placement = Placement(
            settings,
            clock,
            journal,
            protocol,
            launcher,
            self.children,
            self.places,
            faults,
            self.launcher_changed,
        )
        self.places.can_place = self.placement.can_place
        self.upkeep = Upkeep(settings, clock, self.children, self.places, self.placement)
        self._serving = Serving(settings, clock, journal, self.children, crashed, told)
        self._clock = clock
        self._is_told = protocol is not ChildProtocol
        self._listens = protocol.listens()
        self._last_words = last_words
        self._after_fault = Later(clock, self.settle)
        self._launcher_stopped: Deferred[None] | None = None
        self._empty: Deferred[None] = Deferred()

    # What is wanted

    def serve(self, connection: Connection) -> None:
        """Give *connection* to a child, or keep it until that is possible."""
        self.upkeep.last = self._clock.seconds()
        connection.number = self.places.sources.began(connection)
        self.placement.place(connection)
        if self.children.changed:
            self.upkeep.look_after()

    def unreserve(self, connection: Connection) -> None:
        """Give up the place that is kept for *connection*."""
        self.places.unreserve(connection)
        self.settle()

    def shed(self) -> None:
        """Descriptors are short: dismiss one idle child, and order no other for a while."""
        for child in self.children.longest_idle(1):
            self.children.dismiss(child)
            self.upkeep.idle_child_ended()

    def renew(self) -> None:
        """Children from now on are of a new generation: dismiss older ones when they are idle."""
        self.children.generation += 1
        self._faults.dismiss_idle()
        self.settle()

    def stop(self) -> Deferred[None]:
        """
        Accept nothing more, dismiss idle children, and refuse connections that wait.

        :returns: a Deferred that fires when the last child has been waited for and the launcher
            has stopped.
        """
        self.places.closed = True
        self.upkeep.stop()
        self.children.generation += 1
        self._faults.dismiss_idle()
        self.placement.stop()
        self._launcher_stopped = maybeDeferred(self.launcher.stop)
        self._launcher_stopped.addErrback(self._launcher_failed)
        self._launcher_stopped.addCallback(lambda _: self._look_whether_empty())
        return self._empty

    # What happens

    def alive(self, child: Child, took: bool = False) -> None:
        """
        An ordered child lives; its process is set.

        :param took: it has also taken the connection that it was ordered for.
        """
        try:
            if self._is_told:
                self._tell(child.protocol.makeConnection, child.process)
            if self.placement.launches.failures:
                self.placement.launched(child)
            if child.state is State.LEAVING:
                self._faults.write_off(child)  # it was given up before it was alive
            elif took:
                self.taken(child)
            elif child.connection is None:
                self.children.becomes_idle(child, Event.ALIVE)
            else:
                self.children.move(child, Event.ALIVE)
                self.placement.send(child, child.connection)
            self.settle()
        except BaseException:
            self.fault(child)

    def taken(self, child: Child) -> None:
        """
        A child has taken the connection that it was given.

        :raises Breach: it was given none.
        """
        self.children.move(child, Event.TAKEN)
        self._serving.began(child)
        child.left -= 1
        if not child.left and not self._listens:
            child.close_channel()
        if self._is_told:
            self._tell(child.protocol.connection_taken, child.peer)

    def said(self, child: Child, message: messages.Message) -> None:
        """A message has come over a child's own channel."""
        try:
            if message.kind == messages.TAKEN:
                self.taken(child)
            elif message.kind == messages.READY:
                self._ready(child, tcpinfo.amount(message.payload))
            elif message.kind == messages.TELL:
                self._tell(child.protocol.message_received, message.payload)
            else:
                raise Breach(f"unknown message {message.kind!r}")
        except Breach as breach:
            self.journal.breach(child.pid, child.peer, str(breach))
            child.close_channel()
            child.kill()
        except BaseException:
            self.fault(child)

    def channel_lost(self, child: Child) -> None:
        """A child has closed its channel, or ended: it cannot be given anything more."""
        child.channel = None
        self.children.loses_channel(child)

    def failed(self, child: Child, number: int) -> None:
        """An ordered child could not be made: *number* is the errno."""
        self.placement.failed(child, number)
        if self.children.idle or self.places.closed:
            self.settle()

    def never_was(self, child: Child) -> None:
        """An ordered child was not made, but nothing has failed: place its connection again."""
        self.placement.never_was(child)
        self._look_whether_empty()

    def ended(self, child: Child, reason: Failure) -> None:
        """A child has ended and has been waited for."""
        try:
            if child.state is State.ENDED:
                self.settle()  # this was called before, and something raised then
                return
            if child.channel is not None:
                child.channel.hear_out()
            state, ending = child.state, Ending.of(reason)
            if child.pid is not None and ending.exit != 0:
                self._last_words(child.pid)
            self.children.forget(child)
            if self._is_told and child.protocol.transport is not None:
                self._tell(child.protocol.processExited, reason)
                self._tell(child.protocol.processEnded, reason)
            if state in (State.GIVEN, State.BEARING):
                self.placement.again(child, ending)
            elif state in (State.SERVING, State.OVERDUE):
                self._release(child)
                self._serving.ended(child, ending, self.places.closed)
            elif state is not State.LEAVING:
                self.journal.idle_child_ended(child.pid, ending)
                if not self.places.closed:
                    self.upkeep.idle_child_ended()
            child.over()
            self.settle()
        except BaseException:
            self.fault(child)

    def launcher_changed(self) -> None:
        """The launcher may be ready now."""
        self.children.changed = True
        self.settle()

    def settle(self) -> None:
        """Something has changed: place connections that wait, then let others in."""
        if self.places.closed:
            self._look_whether_empty()
            return
        placement = self.placement
        if placement.placing or (self.places.waiting and not placement.place_waiting()):
            return
        if self.places.wanted:
            self.places.let_in()
        if self.children.changed:
            self.upkeep.look_after()

    # How

    def _tell(self, method: Callable[..., object], *arguments: object) -> None:
        """Call a method of a ChildProtocol; log what it raises."""
        try:
            method(*arguments)
        except BaseException:
            self.journal.protocol_raised()

    def _ready(self, child: Child, amount: tuple[int, int] | None) -> None:
        if not child.left:
            raise Breach("ready after its last connection")
        if child.state is State.OVERDUE:
            child.close_channel()  # too late, even if it is true: its end has begun
            return
        since = child.since
        self.children.becomes_idle(child, Event.READY)
        self._release(child)
        self._serving.over(child, since, amount)
        self.settle()

    def _release(self, child: Child) -> None:
        """The connection that *child* has served is over."""
        if child.connection is not None:
            self.places.release(child.connection)
            child.connection = None

    def _repair(self) -> None:
        """A fault has interrupted something: do it in the next turn of the reactor."""
        self.children.changed = True
        self._after_fault.arm(0)
        self._look_whether_empty()

    def _launcher_failed(self, failure: Failure) -> None:
        self.journal.raised(failure)
        self.launcher.kill()

    def _look_whether_empty(self) -> None:
        if self._launcher_stopped is None or self._empty.called or self.children:
            return
        if self._launcher_stopped.called:
            self.children.watchdog.cancel()
            self._after_fault.cancel()
            self._empty.callback(None)

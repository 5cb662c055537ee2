"""
The pool: which child gets the next connection, when to order another, what becomes
of a connection whose child has failed it.

It does no I/O of its own; launcher, journal and clock are given to it.

Whatever raises in here, expected or not, costs the connection that it is about, and the child
that has it: see fault and abandon.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from twisted_fork.entrance.sources import Sources
from twisted_fork.journal import Journal, reason_text
from twisted_fork.kernel.connection import Connection
from twisted_fork.kernel.processes import bury
from twisted_fork.later import Backoff, Later
from twisted_fork.pool import policy
from twisted_fork.pool.child import Breach, Child, ChildProtocol, Event, State
from twisted_fork.pool.deadlines import end_group
from twisted_fork.pool.launcher import Impossible, Launcher
from twisted_fork.pool.roster import Roster
from twisted_fork.pool.session import Serving
from twisted_fork.pool.upkeep import Upkeep
from twisted_fork.settings import Settings
from twisted_fork.wire import messages, tcpinfo

__all__ = ["Pool"]

_MOST_TRIES = 3
"""Children that may end before taking a connection until it is given up: if it is
the connection that kills them, it shall not go on for ever."""

_FULL = (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM)
"""Why nothing can be sent just now, to whomever: sendmsg(2), and unix(7) for the first.  A
channel that is full (``EAGAIN``) is the fault of its child."""


class Pool:
    """
    All children of a service, and the connections that they are to serve.

    :param protocol: the class of the children's ProcessProtocols.
    :param room: is called when there is room for a connection after may_accept said no,
        or has not been asked.
    :param last_words: is called with the pid of a child that has not ended well,
        before that is logged.
    :param crashed: see Serving, and *told* likewise.
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
        self.settings = settings
        self.journal = journal
        self.launcher = launcher
        self.children = Roster()
        self.stopping = False
        self.upkeep = Upkeep(self, clock)
        self._clock = clock
        self._protocol = protocol
        self._listens = protocol.listens()
        self._room = room
        self._last_words = last_words
        self._waiting: deque[Connection] = deque()
        self._reserved: set[Connection] = set()
        self._refused = True
        self._failed = 0.0
        self._placing = False
        self.sources = Sources()
        self._serving = Serving(settings, clock, journal, self._overdue, crashed, told)
        self._backoff = Backoff(clock, self._settle)
        self._full = Backoff(clock, self._settle, most=0.5)
        self._after_fault = Later(clock, self._settle)
        self._launcher_stopped: Deferred[None] | None = None
        self._empty: Deferred[None] = Deferred()

    # What is

    def look(self) -> policy.Look:
        """The pool as it is now."""
        children = self.children
        return policy.Look(
            children.busy + len(self._reserved),
            children.idle,
            children.ordered,
            len(self._waiting),
            not self._backoff.armed and self.launcher.ready(),
        )

    def may_accept(self) -> bool:
        """Whether one more connection may be accepted and given to serve."""
        may = not self.stopping and policy.may_accept(self.settings, self.look())
        if not may:
            self._refused = True
        return may

    def is_full(self) -> bool:
        """Whether as many connections are being served as may be."""
        return not self.stopping and self.look().busy >= self.settings.max_children

    # What is wanted

    def serve(self, connection: Connection) -> None:
        """Give a connection to a child; if that is not possible just now, later."""
        self.upkeep.busy()
        connection.number = self.sources.began(connection)
        self._place(connection)
        self.upkeep.look_after()

    def reserve(self, connection: Connection) -> None:
        """Keep a place for *connection*, which is not ready to be served."""
        self._reserved.add(connection)

    def unreserve(self, connection: Connection) -> None:
        """Keep none for it any more."""
        self._reserved.discard(connection)
        self._settle()

    def order_spare(self) -> None:
        """Order a child that has nothing to do yet."""
        self._launch(None)

    def shed(self) -> None:
        """Descriptors are short: let one go that waits, and order no other for a while."""
        for child in self.children.longest_idle(1):
            self.dismiss(child)
            self.upkeep.idle_child_ended()

    def dismiss(self, child: Child) -> None:
        """Let a child go that serves nothing."""
        self.children.move(child, Event.DISMISSED)
        child.close_channel()
        child.since = self._clock.seconds()
        self.upkeep.watch()

    def renew(self) -> None:
        """Children from now on are of a new generation: let the old go as they get idle."""
        self.children.generation += 1
        self._dismiss_idle()
        self._settle()

    def stop(self) -> Deferred[None]:
        """
        Accept nothing more: let those go who wait, give up what waits.

        :returns: fires when the last child has been waited for, and the launcher has
            ended.
        """
        self.stopping = True
        self._backoff.cancel()
        self._full.cancel()
        self.upkeep.stop()
        self._dismiss_idle()
        while self._waiting:
            connection = self._waiting.popleft()
            try:
                self._give_up(connection, "shutting down")
            except BaseException:
                self.abandon(connection)
        self._launcher_stopped = maybeDeferred(self.launcher.stop)
        self._launcher_stopped.addErrback(self._launcher_failed)
        self._launcher_stopped.addCallback(lambda _: self._look_whether_empty())
        return self._empty

    def signal(self, name: str) -> int:
        """
        Send a signal, such as ``TERM``, to the process group of every child that has not
        ended.

        :returns: how many these are.
        """
        number = signal.Signals[f"SIG{name}"]
        for child in list(self.children):
            try:
                end_group(child, number)
            except BaseException:
                self.fault(child)
        return len(self.children)

    # What goes wrong

    def fault(self, child: Child) -> None:
        """Something was raised that nobody expected, and is being handled: it costs *child*,
        and the connection that it has."""
        self.journal.fault(child.peer, child.pid)
        self._write_off(child)

    def abandon(self, connection: Connection) -> None:
        """Likewise, on the way of *connection*: it costs that, and the child that has it."""
        self.journal.fault(connection.peer)
        self._reserved.discard(connection)
        for child in self.children:
            if child.connection is connection:
                self._write_off(child)
                return
        self._lose(connection)
        self._after_fault.arm(0)

    def _lose(self, connection: Connection) -> None:
        """*connection* is closed, and waits no more if it did."""
        if connection in self._waiting:
            self._waiting.remove(connection)
        self._release(connection)

    def _write_off(self, child: Child) -> None:
        """
        *child* is of no use any more, in whatever state it is: its connection is closed, it is
        killed, and forgotten if it has no process that will be heard of.
        """
        connection, child.connection = child.connection, None
        child.over()
        child.close_channel()
        if child.process is None and child.pid is not None:
            bury(self._clock, child.pid)
        has_ended = child.process is not None and child.process.over
        if has_ended or (child.process is None and not self.launcher.expects(child)):
            self.children.remove(child)
        else:
            self.children.move(child, Event.GIVEN_UP)
            child.since = self._clock.seconds()
            end_group(child, signal.SIGKILL)
            self.upkeep.watch()
        if connection is not None:
            self._release(connection)
        self._after_fault.arm(0)
        self._look_whether_empty()

    # What happens

    def alive(self, child: Child, took: bool = False) -> None:
        """
        An ordered child lives; its process is known.

        :param took: and it has taken the connection that it was ordered for.
        """
        try:
            self._tell(child.protocol.makeConnection, child.process)
            if child.since >= self._failed and (failures := self._backoff.succeeded()):
                self.journal.launch_recovered(failures)
            if child.state is State.LEAVING:
                self._write_off(child)  # it was given up before it lived
            elif took:
                self.taken(child)
            elif child.connection is None:
                self._idle_now(child, Event.ALIVE)
            else:
                self.children.move(child, Event.ALIVE)
                self._send(child, child.connection)
            self._settle()
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
        """A child has closed its channel, or ended: there is nothing to give it any more."""
        child.channel = None
        if child.state is State.IDLE:
            self.children.move(child, Event.LOST)
            child.kill()
        elif child.state is State.GIVEN:
            child.kill()

    def failed(self, child: Child, number: int) -> None:
        """An ordered child could not be made: *number* is the errno."""
        self.never_was(child)
        self._failed = self._clock.seconds()
        self._fails(self._backoff, self.journal.launch_failing, number)
        if self.children.idle:
            self._settle()

    def never_was(self, child: Child) -> None:
        """An ordered child was not made, and nothing is wrong with trying again."""
        self._forget(child)
        if child.connection is not None:
            self._take_back(child, child.connection)
        self._look_whether_empty()

    def ended(self, child: Child, reason: Failure) -> None:
        """A child has ended and has been waited for."""
        try:
            if child.state is not State.ENDED:
                self._ended(child, reason)
            self._settle()
            self._look_whether_empty()
        except BaseException:
            self.fault(child)

    def launcher_changed(self) -> None:
        """The launcher may be ready now."""
        self._settle()

    # How

    def _tell(self, method: Callable[..., object], *arguments: object) -> None:
        """Call a method of a ChildProtocol; what it raises is its own affair."""
        try:
            method(*arguments)
        except BaseException:
            self.journal.protocol_raised()

    def _ended(self, child: Child, reason: Failure) -> None:
        if child.channel is not None:
            child.channel.hear_out()
        state, status = child.state, reason_text(reason)
        if child.pid is not None and not isinstance(reason.value, ProcessDone):
            self._last_words(child.pid)
        self._forget(child)
        if child.protocol.transport is not None:
            self._tell(child.protocol.processExited, reason)
            self._tell(child.protocol.processEnded, reason)
        if state in (State.GIVEN, State.BEARING):
            self._again(child, status)
        elif state in (State.SERVING, State.OVERDUE):
            self._over(child)
            self._serving.ended(child, reason, status, self.stopping)
        elif state is not State.LEAVING:
            self.journal.idle_child_ended(child.pid, status)
            if not self.stopping:
                self.upkeep.idle_child_ended()
        child.over()

    def _dismiss_idle(self) -> None:
        for child in self.children.longest_idle(self.children.idle):
            try:
                self.dismiss(child)
            except BaseException:
                self.fault(child)

    def _fails(self, spell: Backoff, say: Callable[[str], object], number: int) -> None:
        """Something fails for now: try again later, and *say* it if it is the first time."""
        if self.stopping or spell.waiting:
            return
        if not spell.failures:
            say(os.strerror(number))
        spell.failed()

    def _spare(self) -> Child | None:
        """Who can be sent a connection; nobody while the kernel is full."""
        return None if self._full.waiting else self.children.latest_idle()

    def _place(self, connection: Connection) -> None:
        child = self._spare()
        if child is not None:
            try:
                self.children.move(child, Event.HAND_OVER)
                child.given(connection)
                self._send(child, connection)
            except BaseException:
                self.fault(child)
                self._lose(connection)
        elif self.look().can_launch:
            self._launch(connection)
        else:
            self._waiting.append(connection)

    def _launch(self, connection: Connection | None) -> None:
        child = self.children.new(
            self._protocol(),
            self._clock.seconds(),
            self.settings.connections_per_child,
            bearing=connection is not None,
        )
        try:
            self.children.add(child)
            if connection is not None:
                child.given(connection)
            self.launcher.launch(child)
            self.upkeep.watch()
        except Impossible as impossible:
            self._forget(child)
            assert connection is not None
            self._give_up(connection, str(impossible))
            child.connection = None
        except OSError as failure:
            self.failed(child, failure.errno or 0)
        except BaseException:
            self.fault(child)
            if connection is not None:
                self._release(connection)

    def _send(self, child: Child, connection: Connection) -> None:
        """
        Send *connection* to the child that was given it.  Where that fails the child
        is killed, and the connection goes to another as soon as it has ended; but where
        nothing can be sent to anybody, it is not the child's fault, and both wait.
        """
        child.since = self._clock.seconds()
        try:
            if child.channel is None:
                raise BrokenPipeError
            data = messages.pack(messages.CONNECTION, payload=connection.details())
            child.channel.send(data, (connection.descriptor,))
        except OSError as failure:
            if failure.errno in _FULL:
                self._fails(self._full, self.journal.hand_over_failing, failure.errno)
                self._idle_now(child, Event.UNSENT)
                self._take_back(child, connection)
                return
            child.kill()
        else:
            if self._full.failures:
                self.journal.hand_over_recovered(self._full.succeeded())
        self.upkeep.watch()

    def _take_back(self, child: Child, connection: Connection) -> None:
        """*child* was not given *connection*: it is the next to be placed."""
        child.connection = None
        if self.stopping:
            self._give_up(connection, "shutting down")
        else:
            self._waiting.appendleft(connection)

    def _ready(self, child: Child, amount: tuple[int, int] | None) -> None:
        if not child.left:
            raise Breach("ready after its last connection")
        if child.state is State.OVERDUE:
            child.close_channel()  # it comes too late, if it is true: what was begun goes on
            return
        since = child.since
        self._idle_now(child, Event.READY)
        self._over(child)
        self._serving.over(child, since, amount)
        self._settle()

    def _overdue(self, child: Child) -> None:
        self.children.move(child, Event.OVERDUE)

    def _idle_now(self, child: Child, event: Event) -> None:
        self.children.move(child, event)
        child.since = self._clock.seconds()
        if self.stopping or child.generation != self.children.generation:
            self.dismiss(child)
        elif child.channel is None or (child.process is not None and child.process.over):
            self.children.move(child, Event.LOST)
            child.kill()

    def _again(self, child: Child, status: str) -> None:
        """A child has ended before it took its connection: give that to another."""
        connection = child.connection
        assert connection is not None
        connection.tries += 1
        again = connection.tries < _MOST_TRIES and not self.stopping
        self.journal.ended_unserved(connection.peer, child.pid, status, again)
        if again:
            self._waiting.append(connection)
        else:
            self._give_up(connection, "no child took it")
        child.connection = None

    def _give_up(self, connection: Connection, reason: str) -> None:
        self.journal.given_up(connection.peer, reason)
        self._release(connection)

    def _over(self, child: Child) -> None:
        """The connection that *child* has served is over."""
        if child.connection is not None:
            self._release(child.connection)
            child.connection = None

    def _release(self, connection: Connection) -> None:
        """*connection* is over: closed here, and not counted any more.  Twice does no harm."""
        connection.close()
        self.sources.ended(connection)

    def _settle(self) -> None:
        """Something has changed: place who waits, then let others in."""
        if self._placing:
            return
        self._placing = True
        try:
            while self._waiting:
                if self.stopping or not (self._spare() or self.look().can_launch):
                    return
                self._place_guarded(self._waiting.popleft())
        finally:
            self._placing = False
        if self._refused and self.may_accept():
            self._room()
            self._refused = False  # not before: if that raised, they are still to be let in
        self.upkeep.look_after()

    def _place_guarded(self, connection: Connection) -> None:
        try:
            self._place(connection)
        except BaseException:
            self.abandon(connection)

    def _forget(self, child: Child) -> None:
        self.children.remove(child)
        child.close_channel()

    def _launcher_failed(self, failure: Failure) -> None:
        self.journal.raised(failure)
        self.launcher.kill()

    def _look_whether_empty(self) -> None:
        if self._launcher_stopped is None or self._empty.called or self.children:
            return
        if self._launcher_stopped.called:
            self.upkeep.stop_watching()
            self._after_fault.cancel()
            self._empty.callback(None)

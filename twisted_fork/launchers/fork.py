"""
The fork launcher: the template's other end.

A request that the template has not answered keeps its connection here; so a template
may die at any moment, and its successor gets the requests anew.  Its children say
over its channel that they live, each before it does anything with its connection: when
the channel has ended, every child that was forked has been heard of or is dead.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.python.failure import Failure

from twisted_fork.journal import Journal
from twisted_fork.kernel.channels import Channel, open_channel
from twisted_fork.kernel.ending import Ending
from twisted_fork.kernel.processes import ForkedProcess, Sweep, adopt, bury
from twisted_fork.kernel.watcher import Watching
from twisted_fork.later import Backoff, Later
from twisted_fork.launchers.interpreter import PATIENCE, Starter, give_orders, too_late
from twisted_fork.pool.child import Child
from twisted_fork.wire import messages

if TYPE_CHECKING:
    from twisted_fork.pool.pool import Pool

__all__ = ["ForkLauncher"]

_MOST_OUTSTANDING = 64
"""Requests sent to the template and not yet answered: far fewer than its channel
holds, so that sending never waits."""

_LINGER = 5.0
"""Seconds for a template that has been let go to end: it only has to be scheduled."""


class _Template:
    """
    One template process, its channel, and what it has been asked for.

    :ivar orders: that it was given, and its successors get if it takes over.
    :ivar process: None until it is started.
    :ivar stuck: it did not answer, and has been killed.
    :ivar served: it has forked a child that has been heard of.
    :ivar dismissed: another has taken over; it goes when it has done what it was asked for.
    :ivar deadline: until when it has to be ready, or to end.
    :ivar requests: children that it was asked for and that have not been heard of,
        by their tickets.
    """

    def __init__(self, orders: dict[str, Any]) -> None:
        self.orders = orders
        self.requests: dict[int, Child] = {}
        self.ready = False
        self.served = False
        self.ended = False
        self.dismissed = False
        self.stuck = False
        self.process: ForkedProcess | None = None
        self.channel: Channel
        self.deadline: Later

    @property
    def pid(self) -> int | None:
        """None until it is started."""
        return None if self.process is None else self.process.pid

    def kill(self) -> None:
        """SIGKILL, unless it has ended already."""
        try:
            if self.process is not None:
                self.process.signalProcess("KILL")
        except ProcessExitedAlready:
            pass


class ForkLauncher:
    """
    Children forked by a template.

    :param watcher: watches the children and the template.
    :param orders: what the template is to do; plain values.
    :param starter: starts it.
    """

    def __init__(
        self,
        reactor: Any,
        watcher: Watching,
        journal: Journal,
        orders: dict[str, Any],
        starter: Starter,
    ) -> None:
        self._reactor = reactor
        self._watcher = watcher
        self._journal = journal
        self._orders = orders
        self._starter = starter
        self._pool: Pool
        self._current: _Template | None = None
        self._templates: set[_Template] = set()
        self._with_channel = orders["connections_per_child"] > 1 or orders["listened_to"]
        self._candidate: _Template | None = None
        self._reloading: Deferred[bool] | None = None
        self._replacement = Later(reactor, self._start_first)
        self._restart = Backoff(reactor, self._start_first, first=0.1, most=5.0)
        self._stopped: Deferred[None] | None = None

    def start(self, pool: Pool) -> None:
        self._pool = pool
        self._start_first()

    def ready(self) -> bool:
        template = self._current
        return (
            template is not None and template.ready and len(template.requests) < _MOST_OUTSTANDING
        )

    def launch(self, child: Child) -> None:
        template = self._current
        assert template is not None
        connection = child.connection
        carried = 0
        descriptors: tuple[int, ...] = ()
        details = b""
        theirs = None
        if connection is None or self._with_channel:
            child.channel, theirs = open_channel(
                self._watcher,
                partial(self._pool.said, child),
                partial(self._pool.channel_lost, child),
                paused=True,
            )
            carried |= messages.CARRIES_CHANNEL
            descriptors += (theirs.fileno(),)
        if connection is not None:
            carried |= messages.CARRIES_CONNECTION
            descriptors += (connection.descriptor,)
            details = connection.details()
        template.requests[child.ticket] = child
        try:
            template.channel.send(
                messages.pack(messages.FORK, child.ticket, carried, details), descriptors
            )
        except (BrokenPipeError, ConnectionResetError):
            template.ready = False  # it has died: its successor will be asked
        except BaseException:
            del template.requests[child.ticket]
            raise
        finally:
            if theirs is not None:
                theirs.close()

    def expects(self, child: Child) -> bool:
        return any(child.ticket in template.requests for template in self._templates)

    def stuck(self, child: Child, seconds: float) -> None:
        """
        The template is stopped, or one of its children ended too early to be heard
        of: another template takes over.
        """
        for template in list(self._templates):
            if child.ticket in template.requests:
                if template.ended:
                    template.channel.close()
                    self._let_go(template)
                elif not template.stuck:
                    template.stuck = True
                    self._journal.template_stuck(template.pid, seconds)
                    template.kill()

    def reload(self, orders: dict[str, Any]) -> Deferred[bool]:
        try:
            self._candidate = self._start_template(orders)
        except OSError as failure:
            self.reload_failed(os.strerror(failure.errno or 0))
            return succeed(False)
        over = self._reloading = Deferred()
        return over

    def reload_failed(self, reason: str | None, ending: Ending | None = None) -> None:
        old = self._current
        self._journal.reload_failed(reason, ending, None if old is None else old.pid)

    def stop(self) -> Deferred[None]:
        self._replacement.cancel()
        self._restart.cancel()
        self._stopped = Deferred()
        for template in list(self._templates):
            self._dismiss(template)
        self._look_whether_stopped()
        return self._stopped

    def kill(self) -> None:
        for template in self._templates:
            template.kill()

    def _template_ended(self, template: _Template, reason: Failure) -> None:
        """A template process has ended and has been waited for; its channel may not
        have, since a child that it forked just now holds it too."""
        template.ended = True
        template.deadline.cancel()
        if template is self._candidate:
            self._candidate = None
            if self._stopped is None:
                self.reload_failed(None, Ending.of(reason))
            self._reload_is_over(False)
        elif template is self._current:
            self._current = None
            if self._stopped is None:
                delay = self._replace(template)
                self._journal.template_ended(template.pid, Ending.of(reason), delay)
        if template.channel.closed:
            self._let_go(template)

    def _replace(self, template: _Template) -> float:
        """
        Have another started: at once, if *template* has served, since whatever ended it, it
        works; later and later, if it has not.

        :returns: the seconds until then.
        """
        if not template.served:
            return self._restart.failed()
        self._restart.succeeded()
        self._replacement.arm(0)
        return 0.0

    def _channel_ended(self, template: _Template) -> None:
        template.ready = False
        if template.ended:
            self._let_go(template)
        else:
            template.kill()

    def _let_go(self, template: _Template) -> None:
        """Neither *template* nor any child that it forked unheard of will say anything
        any more: what it was asked for has not been done."""
        self._templates.discard(template)
        while template.requests:
            _, child = template.requests.popitem()
            try:
                self._pool.never_was(child)
            except BaseException:
                self._pool.fault(child)
        if template.pid is not None:
            Sweep(self._reactor, -template.pid).sweep()
        self._pool.launcher_changed()
        self._look_whether_stopped()

    def _look_whether_stopped(self) -> None:
        if self._stopped is not None and not self._templates and not self._stopped.called:
            self._stopped.callback(None)

    def _start_template(self, orders: dict[str, Any]) -> _Template:
        """
        :returns: the template, which is not ready yet.
        :raises OSError: it cannot be started just now.
        """
        template = _Template(orders)
        template.deadline = Later(self._reactor, partial(self._too_late, template))
        template.channel, theirs = open_channel(
            self._watcher,
            partial(self._received, template),
            partial(self._channel_ended, template),
        )
        try:
            give_orders(template.channel.send, orders)
            ended = partial(self._template_ended, template)
            give = partial(self._give_streams, template)
            template.process = self._starter.start("template", theirs, ended, give)
        except BaseException:
            template.channel.close()
            raise
        finally:
            theirs.close()
        # whoever it starts while it imports its handler goes with it
        template.process.ends_its_group = True
        self._templates.add(template)
        template.deadline.arm(PATIENCE)
        return template

    def _give_streams(self, template: _Template, data: bytes, descriptors: tuple[int, ...]) -> None:
        """Its children's standard error is another from now on: spares have the old one."""
        template.channel.send(data, descriptors)
        self._pool.renew()

    def _start_first(self) -> None:
        """Start a template when there is none."""
        if self._current is not None:
            return
        try:
            self._current = self._start_template(self._orders)
        except OSError as failure:
            self._journal.template_not_started(failure.errno or 0, self._restart.failed())

    def _too_late(self, template: _Template) -> None:
        """*template* is not ready in its time, or does not end in its time."""
        if template.channel.closed:
            self._journal.template_stays(template.pid, _LINGER)
            template.kill()
            return
        if template is self._candidate:
            self._candidate = None
            self.reload_failed(too_late())
            self._reload_is_over(False)
        else:
            self._journal.template_late(template.pid, PATIENCE)
        self._dismiss(template)

    def _take_over(self, template: _Template) -> None:
        """*template* was started to replace the current one, and is ready."""
        old, self._current, self._candidate = self._current, template, None
        self._orders = template.orders
        self._replacement.cancel()
        self._restart.cancel()
        if old is not None:
            old.dismissed = True
            self._dismiss(old)
        self._pool.renew()
        self._journal.reloaded(template.pid)
        self._reload_is_over(True)

    def _reload_is_over(self, well: bool) -> None:
        over, self._reloading = self._reloading, None
        if over is not None:
            over.callback(well)

    def _received(self, template: _Template, message: messages.Message) -> None:
        if message.kind == messages.READY:
            template.ready = True
            template.deadline.cancel()
            if template.process is not None:
                template.process.ends_its_group = False
            self._journal.template_ready(message.number)
            if template is self._candidate:
                self._take_over(template)
            else:
                self._pool.renew()  # spares of one that died keep its standard error open
            self._pool.launcher_changed()
            return
        number = message.number
        child = template.requests.pop(message.ticket, None)
        if child is None:
            if message.kind == messages.ALIVE:
                bury(self._reactor, number)
            return
        try:
            if message.kind == messages.ALIVE:
                template.served = True
                child.pid = number  # whatever raises now, it can be killed
                self._lives(child, number)
            elif message.kind == messages.FAILED:
                self._pool.failed(child, number)
        except BaseException:
            self._pool.fault(child)
        if self._stopped is not None or template.dismissed:
            self._dismiss(template)

    def _lives(self, child: Child, pid: int) -> None:
        child.lives(adopt(self._watcher, self._reactor, pid, partial(self._pool.ended, child)))
        channel = child.channel
        self._pool.alive(child, took=child.connection is not None)
        if channel is not None:
            channel.resume()

    def _dismiss(self, template: _Template) -> None:
        """Let *template* go, as soon as it has done what it was asked for; nothing can have
        been asked of one that is not ready."""
        if template.requests:
            return
        template.channel.close()
        if template.ended:
            self._let_go(template)
        elif template.ready:
            template.deadline.arm(_LINGER)
        else:
            template.kill()

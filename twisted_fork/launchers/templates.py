"""
The templates of a service: the one that forks children, its successor during a reload, and those
that are ending.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from twisted_fork.ending import Ending
from twisted_fork.journal import Journal
from twisted_fork.kernel.channels import open_channel
from twisted_fork.kernel.sweep import Sweep
from twisted_fork.kernel.watcher import Watching
from twisted_fork.launchers.check import too_late
from twisted_fork.launchers.interpreter import PATIENCE, Starter
from twisted_fork.launchers.orders import give_orders
from twisted_fork.launchers.template import Event, State, Template
from twisted_fork.timers import Backoff, Later
from twisted_fork.wire import messages
from twisted_fork.wire.orders import Orders

__all__ = ["Templates"]

_LINGER = 5.0
"""Seconds for a template to end when its channel is closed: it only has to be scheduled."""


class Asking(Protocol):
    """What Templates calls; see ForkLauncher."""

    def answered(self, template: Template, message: messages.Message) -> object:
        """A template, or a child that it forked, has answered."""

    def unanswered(self, template: Template) -> object:
        """Requests that *template* has not answered were not carried out."""

    def renewed(self) -> object:
        """Children from now on differ from the spares that there are."""

    def changed(self) -> object:
        """A template may be ready for requests now."""


class Templates:
    """
    Starts templates, replaces them, and ends them.

    :param orders: for templates, until a reload has succeeded.
    :ivar current: the one that forks children, or is started to; None if there is none.
    """

    def __init__(
        self,
        reactor: Any,
        watcher: Watching,
        journal: Journal,
        orders: Orders,
        starter: Starter,
        asking: Asking,
    ) -> None:
        self.current: Template | None = None
        self._reactor = reactor
        self._watcher = watcher
        self._journal = journal
        self._orders = orders
        self._starter = starter
        self._asking = asking
        self._all: set[Template] = set()
        self._candidate: Template | None = None
        self._reloading: Deferred[bool] | None = None
        self._replacement = Later(reactor, self.start)
        self._restart = Backoff(reactor, self.start, first=0.1, most=5.0)
        self._stopped: Deferred[None] | None = None

    def expects(self, ticket: int) -> bool:
        """Whether a template was asked for the child with this ticket, and may have forked it."""
        return any(ticket in template.requests for template in self._all)

    def stuck(self, ticket: int, seconds: float) -> None:
        """
        The child with this ticket has not come to life: its template does not run, or the child
        ended before it could say so.  Another template takes over.
        """
        for template in list(self._all):
            if ticket not in template.requests or not template.happens(Event.STUCK):
                continue
            if template.state is State.GONE:
                template.channel.close()
                self._let_go(template)
            else:
                self._journal.template_stuck(template.pid, seconds)
                template.kill()

    def start(self) -> None:
        """Start a template, if there is none."""
        if self.current is not None:
            return
        try:
            self.current = self._new(self._orders)
        except OSError as failure:
            self._journal.template_not_started(failure.errno or 0, self._restart.failed())

    def reload(self, orders: Orders) -> Deferred[bool]:
        try:
            self._candidate = self._new(orders)
        except OSError as failure:
            self.reload_failed(os.strerror(failure.errno or 0))
            return succeed(False)
        over = self._reloading = Deferred()
        return over

    def reload_failed(self, reason: str | None, ending: Ending | None = None) -> None:
        """Log why there is no successor; the current template stays."""
        old = self.current
        self._journal.reload_failed(reason, ending, None if old is None else old.pid)

    def stop(self) -> Deferred[None]:
        self._replacement.cancel()
        self._restart.cancel()
        self._stopped = Deferred()
        for template in list(self._all):
            self._dismiss(template)
        self._look_whether_stopped()
        return self._stopped

    def kill(self) -> None:
        """Kill all of them."""
        for template in self._all:
            template.kill()

    def _new(self, orders: Orders) -> Template:
        """
        :returns: the template, which is not ready yet.
        :raises OSError: it cannot be started now.
        """
        template = Template(orders)
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
        # what it starts while it imports its handler ends with it
        template.process.ends_its_group = True
        self._all.add(template)
        template.deadline.arm(PATIENCE)
        return template

    def _give_streams(self, template: Template, data: bytes, descriptors: tuple[int, ...]) -> None:
        """Give a template's later children another standard error; spares have the old one."""
        template.channel.send(data, descriptors)
        self._asking.renewed()

    def _received(self, template: Template, message: messages.Message) -> None:
        if message.kind == messages.READY:
            self._is_ready(template, message.number)
            return
        self._asking.answered(template, message)
        if template.state in (State.DISMISSED, State.ENDED):
            self._dismiss(template)

    def _is_ready(self, template: Template, pid: int) -> None:
        if not template.happens(Event.READY):
            return
        template.deadline.cancel()
        if template.process is not None:
            template.process.ends_its_group = False
        self._journal.template_ready(pid)
        if template is self._candidate:
            self._take_over(template)
        else:
            self._asking.renewed()  # spares of a dead template keep its standard error open
        self._asking.changed()

    def _take_over(self, template: Template) -> None:
        """*template* is the successor of the current one, and is ready."""
        old, self.current, self._candidate = self.current, template, None
        self._orders = template.orders
        self._replacement.cancel()
        self._restart.cancel()
        if old is not None:
            self._dismiss(old)
        self._asking.renewed()
        self._journal.reloaded(template.pid)
        self._reload_is_over(True)

    def _too_late(self, template: Template) -> None:
        """*template* has not become ready, or has not ended, in time."""
        if template.state is not State.STARTING:
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

    def _template_ended(self, template: Template, reason: Failure) -> None:
        """A template process has been waited for.  Its channel may still be open, since a child
        that it has just forked has it too."""
        template.happens(Event.PROCESS_ENDED)
        template.deadline.cancel()
        if template is self._candidate:
            self._candidate = None
            if self._stopped is None:
                self.reload_failed(None, Ending.of(reason))
            self._reload_is_over(False)
        elif template is self.current:
            self.current = None
            if self._stopped is None:
                delay = self._replace(template)
                self._journal.template_ended(template.pid, Ending.of(reason), delay)
        if template.state is State.GONE:
            self._let_go(template)

    def _replace(self, template: Template) -> float:
        """
        Have another one started: at once if *template* has served; otherwise with growing delays.

        :returns: the delay in seconds.
        """
        if not template.served:
            return self._restart.failed()
        self._restart.succeeded()
        self._replacement.arm(0)
        return 0.0

    def _channel_ended(self, template: Template) -> None:
        template.happens(Event.CHANNEL_ENDED)
        if template.state is State.GONE:
            self._let_go(template)
        else:
            template.kill()

    def _let_go(self, template: Template) -> None:
        """*template* and its channel have ended, so no child of it is unknown any more: requests
        that are not answered were not carried out."""
        self._all.discard(template)
        self._asking.unanswered(template)
        if template.pid is not None:
            Sweep(self._reactor, -template.pid).sweep()
        self._asking.changed()
        self._look_whether_stopped()

    def _dismiss(self, template: Template) -> None:
        """End *template* when it has answered its requests; one that is not ready has none."""
        starting = template.state is State.STARTING
        if template.requests:
            if template.state is not State.ENDED:
                template.happens(Event.DISMISSED)
            return
        template.happens(Event.DISMISSED)
        template.happens(Event.DONE)
        template.channel.close()
        if template.state is State.GONE:
            self._let_go(template)
        elif template.state is State.LEAVING and not starting:
            template.deadline.arm(_LINGER)
        else:
            template.kill()

    def _reload_is_over(self, well: bool) -> None:
        over, self._reloading = self._reloading, None
        if over is not None:
            over.callback(well)

    def _look_whether_stopped(self) -> None:
        if self._stopped is not None and not self._all and not self._stopped.called:
            self._stopped.callback(None)

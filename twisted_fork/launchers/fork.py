"""
The fork launcher: the reactor process's side of a template.

A connection stays open here until the template has answered the request for its child.  So a
template may die at any time: its successor gets the requests that were not answered.  Each child
says over the template's channel that it lives, before it does anything with its connection.  So
when that channel has ended, every child that was forked is known here, or is dead.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from twisted_fork.journal import Journal
from twisted_fork.kernel.channels import open_channel
from twisted_fork.kernel.processes import adopt
from twisted_fork.kernel.sweep import bury
from twisted_fork.kernel.watcher import Watching
from twisted_fork.launchers.interpreter import Starter
from twisted_fork.launchers.template import Event, State, Template
from twisted_fork.launchers.templates import Templates
from twisted_fork.pool.child import Child
from twisted_fork.pool.launcher import Owner
from twisted_fork.wire import messages
from twisted_fork.wire.orders import Orders

__all__ = ["ForkLauncher"]

_MOST_OUTSTANDING = 64
"""Requests sent to the template and not yet answered: far fewer than its channel holds, so that
sending never has to wait."""


class ForkLauncher:
    """
    Children forked by a template.

    :param watcher: watches the children and the template.
    :param orders: what the template does; plain values.
    :param starter: starts it.
    """

    has_spares = True

    def __init__(
        self,
        reactor: Any,
        watcher: Watching,
        journal: Journal,
        orders: Orders,
        starter: Starter,
    ) -> None:
        self._reactor = reactor
        self._watcher = watcher
        self._with_channel = orders["connections_per_child"] > 1 or orders["listened_to"]
        self._templates = Templates(reactor, watcher, journal, orders, starter, self)
        self._pool: Owner

    def start(self, pool: Owner) -> None:
        self._pool = pool
        self._templates.start()

    def ready(self) -> bool:
        template = self._templates.current
        if template is None or template.state is not State.READY:
            return False
        return len(template.requests) < _MOST_OUTSTANDING

    def launch(self, child: Child) -> None:
        template = self._templates.current
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
            template.happens(Event.BROKEN)  # it has died: its successor gets the request
        except BaseException:
            del template.requests[child.ticket]
            raise
        finally:
            if theirs is not None:
                theirs.close()

    def expects(self, child: Child) -> bool:
        return self._templates.expects(child.ticket)

    def stuck(self, child: Child, seconds: float) -> None:
        self._templates.stuck(child.ticket, seconds)

    def reload(self, orders: Orders) -> Deferred[bool]:
        return self._templates.reload(orders)

    def reload_failed(self, reason: str) -> None:
        self._templates.reload_failed(reason)

    def stop(self) -> Deferred[None]:
        return self._templates.stop()

    def kill(self) -> None:
        self._templates.kill()

    def answered(self, template: Template, message: messages.Message) -> None:
        """A child lives, or could not be forked; see templates.Asking."""
        number = message.number
        child = template.requests.pop(message.ticket, None)
        if child is None:
            if message.kind == messages.ALIVE:
                bury(self._reactor, number)
            return
        try:
            if message.kind == messages.ALIVE:
                template.served = True
                child.pid = number  # if anything raises now, it can be killed
                self._lives(child, number)
            elif message.kind == messages.FAILED:
                self._pool.failed(child, number)
        except BaseException:
            self._pool.fault(child)

    def _lives(self, child: Child, pid: int) -> None:
        child.lives(adopt(self._watcher, self._reactor, pid, partial(self._pool.ended, child)))
        channel = child.channel
        self._pool.alive(child, took=child.connection is not None)
        if channel is not None:
            channel.resume()

    def unanswered(self, template: Template) -> None:
        """Requests to *template* were not carried out; see templates.Asking."""
        while template.requests:
            _, child = template.requests.popitem()
            try:
                self._pool.never_was(child)
            except BaseException:
                self._pool.fault(child)

    def renewed(self) -> None:
        """Spares have an older handler or standard error; see templates.Asking."""
        self._pool.renew()

    def changed(self) -> None:
        """A template may be ready; see templates.Asking."""
        self._pool.launcher_changed()

"""
A spawned child: a fresh interpreter, whose memory layout is nobody else's.
"""

from __future__ import annotations

from twisted_fork.inside import start, worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Be a child on the channel that is descriptor 3."""
    channel, orders = start.receive_orders()
    work = worker.Work(orders)
    worker.rehearse(work)
    worker.say_ready(channel)
    worker.exit_now(worker.live(work, channel, None))

"""
A spawned child: a fresh interpreter, with a memory layout of its own.
"""

from __future__ import annotations

from twisted_fork.inside import start, worker
from twisted_fork.inside.handlers import exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run a child on the channel that is descriptor 3."""
    channel, orders = start.receive_orders()
    try:
        work = worker.Work(orders)
    except Exception as failure:
        exits.exit_now(exits.report(failure) or 1)
    worker.rehearse(work)
    if not worker.say_ready(channel):
        exits.exit_now(0)
    exits.exit_now(worker.live(work, channel, None))

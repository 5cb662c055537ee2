"""An application that listens to what handlers tell, run by ``twistd --python``."""

from __future__ import annotations

import os

from twisted.application.service import Application
from twisted.python import log

from twisted_fork import ChildProtocol, ForkingService, Settings, take_signals

_received: list[int] = []


class Listening(ChildProtocol):
    """Counts messages."""

    def message_received(self, message: bytes) -> None:
        _received.append(len(message))
        if len(_received) % 1000 == 0 and len(set(_received)) == 1:
            log.msg(f"{len(_received)} messages of {_received[0]} bytes")


application = Application("listening")
service = ForkingService(
    os.environ["LISTEN"],
    "faults.handlers:obeys",
    Settings(spare_children=2),
    protocol=Listening,
)
service.setServiceParent(application)  # type: ignore[no-untyped-call]
take_signals(service)

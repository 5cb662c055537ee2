"""A module that ends its process when it is imported, as the environment says."""

from __future__ import annotations

import os

if how := os.environ.get("ENDS_BY"):
    print("on standard output")
    if how.startswith("-"):
        os.kill(os.getpid(), -int(how))
    os._exit(int(how))


def handle(connection: object, peer: object) -> None:
    """Would be a handler."""

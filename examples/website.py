"""
A web site: the handler is a factory from Twisted itself.

A Site needs a reactor as soon as it is made, so it has to be made in the child: name a
class whose instance takes no arguments, not an instance.

    $ twistd -n forkserve --handler website:Website --listen tcp:8000

Then: curl http://localhost:8000/
"""

from __future__ import annotations

import os

from twisted.web.resource import Resource
from twisted.web.server import Request, Site


class Page(Resource):
    """Says which process has made it."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"process %d, at your service\n" % os.getpid()


class Website(Site):
    """A site of one page.  Browsers' further requests come over the same connection, hence
    to the same process."""

    def __init__(self) -> None:
        super().__init__(Page())

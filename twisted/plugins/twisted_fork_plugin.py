"""
The twistd plugins: ``twistd forkecho`` and ``twistd forkserve``.
"""

from twisted.application.service import ServiceMaker

forkecho = ServiceMaker(
    "Twisted Fork's echo",
    "twisted_fork.command.forkecho",
    "An uppercase echo with a process for every connection.",
    "forkecho",
)

forkserve = ServiceMaker(
    "Twisted Fork",
    "twisted_fork.command.forkserve",
    "Any handler or program with a process for every connection.",
    "forkserve",
)

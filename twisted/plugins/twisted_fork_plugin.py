"""
The twistd plugins: ``twistd forkecho``.
"""

from twisted.application.service import ServiceMaker

forkecho = ServiceMaker(
    "Twisted Fork's echo",
    "twisted_fork.forkecho",
    "An uppercase echo with a process for every connection.",
    "forkecho",
)

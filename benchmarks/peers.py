"""The servers: one record each, how to find it and how to start it.

In ``argv`` and ``config``, ``{port}``, ``{config}``, ``{log}``, ``{user}``,
``{upper}`` and the like are filled in by :class:`benchmarks.running.Bench`. Standard
output and standard error of every server go into a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Peer:
    """A server that can be started on a port of 127.0.0.1."""

    name: str
    kind: Literal["ours", "fork", "exec"]
    """``exec``: it executes a program for each connection; ``fork``: it does not."""
    about: str
    executable: str
    """What has to be installed; looked for in ``PATH``, and beside this interpreter."""
    argv: tuple[str, ...]
    """The words after the executable; a contender's own options replace ``{options}``."""
    config: str = ""
    """The content of a configuration file, whose path ``{config}`` stands for."""
    tls: bool = False
    """It speaks TLS, with the certificate that ``{certificate}`` stands for."""


TWISTD = ("-n", "--pidfile=", "--logfile", "{log}")
LISTENING = ("--listen", "tcp:{port}:interface=127.0.0.1:backlog=4096", "{options}")
FORKSERVE = (*TWISTD, "forkserve", *LISTENING)
CALLABLE = ("--handler", "benchmarks.served:echo")

OURS = Peer(
    "twisted-fork",
    "ours",
    "the server under test",
    "twistd",
    (*TWISTD, "forkecho", *LISTENING),
)
OURS_PROGRAM = Peer(
    "twisted-fork-program",
    "ours",
    "the server under test, executing a program",
    "twistd",
    (*FORKSERVE, "--", "{upper}"),
)
OURS_CALLABLE = Peer(
    "twisted-fork-callable",
    "ours",
    "the server under test, with a Python callable",
    "twistd",
    (*FORKSERVE, *CALLABLE),
)
OURS_HEAVY = Peer(
    "twisted-fork-heavy",
    "ours",
    "the server under test, with a module of 100 MiB",
    "twistd",
    (*FORKSERVE, "--handler", "benchmarks.served_heavy:echo"),
)
OURS_TLS = Peer(
    "twisted-fork-tls",
    "ours",
    "the server under test, speaking TLS",
    "twistd",
    (*FORKSERVE, *CALLABLE, "--tls-certificate", "{certificate}"),
    tls=True,
)
C = Peer(
    "c",
    "fork",
    "the C program, its faults mended",
    "{build}/forkserver",
    ("{options}", "{port}"),
)
FORKING_TCP_SERVER = Peer(
    "forking-tcp-server",
    "fork",
    "socketserver.ForkingTCPServer of the standard library",
    "{python}",
    ("-I", "{here}/forking_tcp_server.py", "{options}", "{port}"),
)
FORKING_HEAVY = Peer(
    "forking-tcp-server-heavy",
    "fork",
    "the same with a module of 100 MiB",
    "{python}",
    ("-m", "benchmarks.forking_heavy", "{options}", "{port}"),
)
FORKING_TLS = Peer(
    "forking-tcp-server-tls",
    "fork",
    "the same, speaking TLS",
    "{python}",
    ("-m", "benchmarks.forking_tls", "{certificate}", "{options}", "{port}"),
    tls=True,
)
TCPSERVER = Peer(
    "tcpserver",
    "exec",
    "tcpserver of ucspi-tcp",
    "tcpserver",
    (
        *("-v", "-c", "10000", "-b", "4096", "-R", "-H", "-l", "0", "{options}"),
        *("127.0.0.1", "{port}", "{upper}"),
    ),
)
SOCAT = Peer(
    "socat",
    "exec",
    "socat, without a relaying process (nofork)",
    "socat",
    (
        *("-d", "-d", "{options}"),
        "TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,backlog=4096",
        "EXEC:{upper},nofork",
    ),
)
NCAT = Peer(
    "ncat",
    "exec",
    "ncat of Nmap",
    "ncat",
    ("-v", "-l", "-k", "-n", "-m", "10000", "{options}", "-e", "{upper}", "127.0.0.1", "{port}"),
)
XINETD = Peer(
    "xinetd",
    "exec",
    "xinetd",
    "xinetd",
    ("-dontfork", "-f", "{config}", "{options}"),
    """\
defaults
{{
    log_type = FILE {log}
    log_on_success = HOST
}}
service upper
{{
    type = UNLISTED
    socket_type = stream
    protocol = tcp
    wait = no
    flags = NOLIBWRAP
    user = {user}
    server = {upper}
    port = {port}
    bind = 127.0.0.1
    instances = UNLIMITED
    per_source = UNLIMITED
    cps = 0 0
}}
""",
)
INETD = Peer(
    "inetd",
    "exec",
    "OpenBSD inetd; it has no log of connections",
    "inetd",
    ("-i", "-q", "4096", "-R", "1000000000", "{options}", "{config}"),
    "127.0.0.1:{port} stream tcp nowait {user} {upper} upper\n",
)
TWISTD_INETD = Peer(
    "twistd-inetd",
    "exec",
    "twistd inetd, Twisted's own; it has no log of connections",
    "twistd",
    (*TWISTD, "inetd", "-f", "{config}", "{options}"),
    "{port} stream tcp nowait {user} {upper} upper\n",
)
SYSTEMD_SOCKET_ACTIVATE = Peer(
    "systemd-socket-activate",
    "exec",
    "systemd-socket-activate, a test tool of systemd",
    "systemd-socket-activate",
    ("--accept", "--inetd", "-l", "127.0.0.1:{port}", "{options}", "{upper}"),
)

UNDER_TEST = (OURS, OURS_PROGRAM, OURS_CALLABLE, OURS_HEAVY, OURS_TLS)
FORKING = (C, FORKING_TCP_SERVER, FORKING_HEAVY, FORKING_TLS)
EXECUTING = (
    TCPSERVER,
    SOCAT,
    NCAT,
    XINETD,
    INETD,
    TWISTD_INETD,
    SYSTEMD_SOCKET_ACTIVATE,
)
PEERS = (*UNDER_TEST, *FORKING, *EXECUTING)

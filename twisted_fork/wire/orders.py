"""
The contract between the worlds: what a template, or a spawned child, is told once, and what
each child is told about its connection.  Plain values, which marshal(3) can write.

These are types alone.  The child's side imports this only to be checked.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

__all__ = [
    "Address",
    "Certificates",
    "Details",
    "EchoOrder",
    "HandlerOrder",
    "ImportOrder",
    "Limits",
    "Orders",
    "PemFile",
    "ProgramOrder",
    "Resource",
]

Address = tuple[Any, ...] | str | bytes
"""Of a peer, or of a port, as accept(2) gives it; see inside.handlers.api.ConnectionInfo."""

Details = tuple[int, Address, Address | None, int, dict[int, bytes] | None]
"""Of a connection: its family; the peer's address; the address that was connected to, if a proxy
has told it; how many connections of the same source are alive, itself included; the TLVs of
the PROXY protocol's header by their type, if there was one."""

PemFile = tuple[str, bytes]
"""Path and contents."""


class EchoOrder(TypedDict):
    """Serve with the built-in handler; *print* what is received, too."""

    kind: Literal["echo"]
    print: bool


class ImportOrder(TypedDict):
    """Serve with what has this name in a module; *script*: *module* is a script's path."""

    kind: Literal["import"]
    module: str
    script: bool
    name: str


class ProgramOrder(TypedDict):
    """Become a program: its path, arguments, variables, and the folder it starts in; *clear*: it
    has no variables but those."""

    kind: Literal["program"]
    path: str
    argv: list[str]
    env: dict[str, str]
    clear: bool
    chdir: str | None


HandlerOrder = EchoOrder | ImportOrder | ProgramOrder


Resource = Literal["cpu_seconds", "memory", "open_files", "processes", "file_size"]
"""What setrlimit(2) limits, by the name of its setting."""


class Limits(TypedDict):
    """What a child puts on itself: see setrlimit(2) for the first five, bytes and seconds."""

    cpu_seconds: int | None
    memory: int | None
    open_files: int | None
    processes: int | None
    file_size: int | None
    nice: int | None
    umask: int | None
    uid: int | None
    gid: int | None
    no_new_privs: bool


class Certificates(TypedDict):
    """What TLS is served with."""

    certificate: PemFile
    key: PemFile | None
    client_ca: PemFile | None


class Orders(TypedDict):
    """
    What a template, or a spawned child, is told.

    accounts: what went over each connection is to be told.
    clone: the call that forks children here; see inside.sibling.Cloner.
    handshake_timeout: seconds for TLS.
    launcher: ``fork`` or ``spawn``.
    limits: None if there are none.
    listened_to: somebody cares for the messages of the handler.
    path: where modules are found.
    tls: None if connections are in clear.
    """

    accounts: bool
    clone: str
    connections_per_child: int
    handler: HandlerOrder
    handshake_timeout: float
    launcher: str
    limits: Limits | None
    listened_to: bool
    path: list[str]
    tls: Certificates | None

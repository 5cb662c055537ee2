"""
The contract between the worlds: what a template or a spawned child is told once, and what each
child is told about its connection.  Plain values, which marshal can write.

These are types only.  The child's side imports them only for the type checker.
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
"""Of a peer or a port, as accept(2) gives it; see inside.handlers.api.ConnectionInfo."""

Details = tuple[int, Address, Address | None, int, dict[int, bytes] | None]
"""About a connection: its family; the peer's address; the address that was connected to, if a
proxy has told it; how many connections of the same source are alive, this one included; the TLVs
of its PROXY header by their type, if there are any."""

PemFile = tuple[str, bytes]
"""Its path and its contents."""


class EchoOrder(TypedDict):
    """Serve with the built-in handler; *print*: also write what is received to standard output."""

    kind: Literal["echo"]
    print: bool


class ImportOrder(TypedDict):
    """Serve with what *module* has as *name*; *script*: *module* is the path of a script."""

    kind: Literal["import"]
    module: str
    script: bool
    name: str


class ProgramOrder(TypedDict):
    """Execute a program: path, arguments, environment, and the folder it starts in (None: the
    server's).  *clear*: *env*, and what describes the connection, is its whole environment."""

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
    """What a child applies to itself; the first five with setrlimit(2), in bytes and seconds."""

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

    accounts: children report how many bytes went over each connection.
    clone: the system call that forks children here; see inside.sibling.Cloner.
    handshake_timeout: seconds for a TLS handshake.
    launcher: ``fork`` or ``spawn``.
    limits: None if there are none.
    listened_to: the application wants the messages of handlers.
    path: the module search path, sys.path.
    tls: None if connections are not encrypted.
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

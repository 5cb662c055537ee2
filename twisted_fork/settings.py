"""
The settings: the meaning, bounds and default of every option, in one frozen object.

The command line's options and their help texts are made from the fields of Settings.  An
application makes a Settings object itself.
"""

from __future__ import annotations

import os
from dataclasses import Field, dataclass, field, fields
from typing import Any

from twisted_fork.kinds import (
    BANNER,
    FILE,
    FLAG,
    NAME,
    NETWORKS,
    PREFIX,
    RATE,
    UMASK,
    Kind,
    one_of,
    or_none,
    seconds,
    size,
    whole,
)

__all__ = ["LAUNCHERS", "InvalidSetting", "Settings", "option_name", "parse", "repeatable"]

LAUNCHERS = ("fork", "spawn")

_FILES = ("tls_certificate", "tls_key", "tls_client_ca")
"""Fields that may be given as pathlib.Path; they become str."""


class InvalidSetting(ValueError):
    """A setting has a wrong value; the message names the setting and what it takes."""


def _setting(
    default: Any, kind: Kind, text: str, short: str | None = None, goes_with: str | None = None
) -> Any:
    """
    A field that is an option.

    :param short: the short option.
    :param goes_with: the field that has to be given too, unless this one has its default.
    """
    told = {"help": text, "short": short, "kind": kind, "goes_with": goes_with}
    return field(default=default, metadata=told)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    How connections are served.  Every field has the name of an option.

    :raises InvalidSetting: a value is of the wrong kind or out of its bounds, or requires
        another setting.
    """

    max_children: int = _setting(
        256,
        whole(1, 1_000_000),
        "connections served at once; more wait in the listen backlog",
        "c",
    )
    spare_children: int = _setting(
        4, whole(0, 100_000), "children kept forked, warmed up and waiting", "s"
    )
    connections_per_child: int = _setting(
        1,
        whole(1, 1_000_000_000),
        "connections that a child serves, one after the other, before it exits",
        "k",
    )
    launcher: str = _setting(
        "fork",
        one_of(*LAUNCHERS),
        "fork: children are forked by a template; spawn: each is a fresh interpreter,"
        " slower, with a memory layout of its own",
    )
    grace: float = _setting(
        5.0,
        seconds(0, 1_000_000),
        "at shutdown: seconds that children may finish in before SIGTERM;"
        " SIGKILL after as long again",
    )
    quiet: bool = _setting(
        False,
        FLAG,
        "no log line per connection; starts, stops, troubles and refusals are still logged",
        "q",
    )
    keepalive: bool = _setting(False, FLAG, "set SO_KEEPALIVE on TCP connections")
    nodelay: bool = _setting(False, FLAG, "set TCP_NODELAY on TCP connections")
    tls_certificate: str | None = _setting(
        None, or_none(FILE), "speak TLS, ended in the child: PEM file with the certificate chain"
    )
    tls_key: str | None = _setting(
        None,
        or_none(FILE),
        "PEM file with the private key [default: in the certificate's file]",
        goes_with="tls_certificate",
    )
    tls_client_ca: str | None = _setting(
        None,
        or_none(FILE),
        "require of clients a certificate signed by one of those in this PEM file",
        goes_with="tls_certificate",
    )
    handshake_timeout: float = _setting(
        10.0, seconds(0.001, 1_000_000), "seconds for a TLS handshake, or for a PROXY header"
    )
    proxy_protocol: bool = _setting(
        False, FLAG, "expect a PROXY protocol header, version 1 or 2, on every connection"
    )
    proxy_from: tuple[str, ...] = _setting(
        ("127.0.0.0/8", "::1/128"),
        NETWORKS,
        "network whose peers may send a PROXY header, may be given several times"
        " [default: loopback, and Unix sockets]",
        goes_with="proxy_protocol",
    )

    allow: tuple[str, ...] = _setting(
        (),
        NETWORKS,
        "network that may connect, may be given several times; the most specific network"
        " decides, and a host in no network may not connect [default: everybody]",
    )
    deny: tuple[str, ...] = _setting(
        (), NETWORKS, "network that may not connect, may be given several times"
    )
    max_per_source: int | None = _setting(
        None, or_none(whole(1, 1_000_000)), "connections served at once of one source"
    )
    source_prefix: tuple[int, int] = _setting(
        (32, 64),
        PREFIX,
        "bits of IPv4 and IPv6 addresses that make a source [default: 32:64]",
    )
    rate: tuple[int, float] | None = _setting(
        None,
        or_none(RATE),
        "N/SECONDS, new connections of one source: a burst of N, refilled evenly",
    )
    penalty: float | None = _setting(
        None,
        or_none(seconds(0.001, 1_000_000)),
        "seconds for which a source is refused whose child crashed; doubled each time,"
        " up to 32-fold",
    )
    when_full: str = _setting(
        "wait",
        one_of("wait", "refuse"),
        "at --max-children, wait: leave connections in the backlog; refuse: accept and"
        " close them at once",
    )
    banner_refused: str | None = _setting(
        None,
        or_none(BANNER),
        r"sent to peers that are refused; \n, \r, \t, \\ and \xNN are understood",
    )

    idle_timeout: float | None = _setting(
        None,
        or_none(seconds(0.001, 100_000_000)),
        "end a TCP connection on which nothing was received or sent for so many seconds",
    )
    session_timeout: float | None = _setting(
        None,
        or_none(seconds(0.001, 100_000_000)),
        "end a connection that has lasted so many seconds",
    )
    cpu_seconds: int | None = _setting(
        None, or_none(whole(1, 1_000_000_000)), "CPU time that a child may use"
    )
    memory: int | None = _setting(
        None, or_none(size(1024 * 1024)), "address space that a child may have, such as 512M"
    )
    open_files: int | None = _setting(
        None, or_none(whole(8, 1_000_000)), "descriptors that a child may have"
    )
    processes: int | None = _setting(
        None,
        or_none(whole(1, 1_000_000)),
        "processes that the children's user may have; does not bind root",
    )
    file_size: int | None = _setting(None, or_none(size(0)), "size of files that a child may write")
    nice: int | None = _setting(None, or_none(whole(-20, 19)), "priority of children")
    umask: int | None = _setting(None, or_none(UMASK), "umask of children")
    user: str | None = _setting(
        None, or_none(NAME), "user that children run as; the server stays root"
    )
    group: str | None = _setting(None, or_none(NAME), "group that children run as")
    no_new_privs: bool = _setting(
        False, FLAG, "children cannot gain privileges by executing programs; on with --user"
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, kind = getattr(self, setting.name), setting.metadata["kind"]
            if isinstance(value, os.PathLike) and setting.name in _FILES:
                value = os.fspath(value)
                # the object is frozen, and not yet in use
                object.__setattr__(self, setting.name, value)
            if not kind.fits(value):
                why = kind.hint(value) or f"it takes {kind.value or kind.wanted}"
                raise InvalidSetting(f"{setting.name} cannot be {value!r}: {why}")
        for setting in fields(self):
            other = setting.metadata["goes_with"]
            given = getattr(self, setting.name) != setting.default
            if other is not None and given and not getattr(self, other):
                names = option_name(setting.name), option_name(other)
                raise InvalidSetting("--{} goes with --{} only".format(*names))


def option_name(setting: str) -> str:
    """The long option that sets a field of Settings, without its dashes."""
    return setting.replace("_", "-")


def repeatable(setting: Field[Any]) -> bool:
    """Whether the option may be given several times; then its field is a tuple."""
    return setting.metadata["kind"] is NETWORKS


def parse(setting: Field[Any], text: str) -> Any:
    """
    Make a field's value from the text on the command line; for a repeatable option, one
    element of it.

    :raises InvalidSetting: the text does not fit; the message names the option.
    """
    kind = setting.metadata["kind"]
    try:
        value = kind.make(text)
        if kind.fits((value,) if repeatable(setting) else value):
            return value
    except ValueError:
        pass
    why = kind.hint(text) or f"it takes {kind.wanted}"
    raise InvalidSetting(f"--{option_name(setting.name)} cannot be {text!r}: {why}")

"""
The settings: what every option means, its bounds and its default, in one frozen
object.

The command line's options are made from the fields of Settings, and so are their
help texts; an application makes a Settings object itself.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any

__all__ = ["LAUNCHERS", "InvalidSetting", "Settings", "option_name"]

LAUNCHERS = ("fork", "spawn")


class InvalidSetting(ValueError):
    """A setting's value will not do; the message names it, and what would."""


def _setting(
    default: Any,
    text: str,
    *,
    short: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    metadata = {
        "help": text,
        "short": short,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    How connections are served.  Every field has the name of an option.

    :raises InvalidSetting: a value is of the wrong type or out of its bounds.
    """

    max_children: int = _setting(
        256,
        "connections served at once; more wait in the listen backlog",
        short="c",
        minimum=1,
        maximum=1_000_000,
    )
    spare_children: int = _setting(
        4,
        "children kept forked, warmed up and waiting",
        short="s",
        minimum=0,
        maximum=100_000,
    )
    connections_per_child: int = _setting(
        1,
        "connections that a child serves, one after the other, before it exits",
        short="k",
        minimum=1,
        maximum=1_000_000_000,
    )
    launcher: str = _setting(
        "fork",
        "fork: children are forked by a template; spawn: each is a fresh interpreter,"
        " slower, with a memory layout of its own",
        choices=LAUNCHERS,
    )
    grace: float = _setting(
        5.0,
        "at shutdown: seconds that children may finish in before SIGTERM;"
        " SIGKILL after as long again",
        minimum=0,
        maximum=1_000_000,
    )
    quiet: bool = _setting(
        False,
        "no log line per connection; starts, stops, troubles and refusals are still logged",
        short="q",
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            _check(setting, getattr(self, setting.name))


def option_name(setting: str) -> str:
    """The long option, without its dashes, that sets a field of Settings."""
    return setting.replace("_", "-")


def parse(setting: Field[Any], text: str) -> Any:
    """
    Make a field's value of what was given on the command line.

    :raises InvalidSetting: it does not do; the message names the option.
    """
    value: Any = text
    if isinstance(setting.default, int):
        value = _number(int, setting, text)
    elif isinstance(setting.default, float):
        value = _number(float, setting, text)
    _check(setting, value)
    return value


def _number(kind: type, setting: Field[Any], text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise _invalid(setting, text) from None


def _check(setting: Field[Any], value: Any) -> None:
    rules = setting.metadata
    if isinstance(setting.default, bool):
        good = isinstance(value, bool)
    elif rules["choices"]:
        good = value in rules["choices"]
    else:
        types = (int, float) if isinstance(setting.default, float) else (int,)
        good = (
            isinstance(value, types)
            and not isinstance(value, bool)
            and rules["minimum"] <= value <= rules["maximum"]
        )
    if not good:
        raise _invalid(setting, value)


def _invalid(setting: Field[Any], value: Any) -> InvalidSetting:
    rules = setting.metadata
    if isinstance(setting.default, bool):
        wanted = "True or False"
    elif rules["choices"]:
        wanted = " or ".join(rules["choices"])
    else:
        kind = "a whole number" if isinstance(setting.default, int) else "a number"
        wanted = f"{kind} from {rules['minimum']} to {rules['maximum']}"
    return InvalidSetting(f"--{option_name(setting.name)} cannot be {value!r}: it takes {wanted}")

"""
Tests for the layout of the package: which room may use which, how long a module may be, and the
map of them in the documents.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import twisted_fork

from .cases import Case

PACKAGE = Path(twisted_fork.__file__).parent
ARCHITECTURE = PACKAGE.parent / "docs" / "architecture.md"

MOST_LINES = 300

LEAVES = {
    "settings",
    "policy",
    "kinds",
    "handler",
    "journal",
    "logformat",
    "ending",
    "timers",
    "wire",
}
"""What does not know of the way of a connection."""

MAY_USE = {
    "command": {"service", "entrance", "twisted_fork", *LEAVES},
    "service": {
        "runtime",
        "arguments",
        "agreement",
        "entrance",
        "launchers",
        "pool",
        "kernel",
        *LEAVES,
    },
    "runtime": {"entrance", "launchers", "pool", "kernel", *LEAVES},
    "arguments": {"pool", *LEAVES},
    "agreement": {"handler", "kernel", "settings"},
    "entrance": {"pool", "places", "kernel", *LEAVES},
    "launchers": {"agreement", "pool", "places", "kernel", *LEAVES},
    "pool": {"places", "kernel", *LEAVES},
    "places": LEAVES - {"handler"},
    "kernel": {"journal", "ending", "timers", "settings", "wire"},
    "handler": {"kinds", "wire"},
    "policy": {"settings"},
    "settings": {"kinds"},
    "journal": {"logformat", "ending"},
    "logformat": {"ending"},
    "ending": set(),
    "timers": set(),
    "kinds": set(),
    "inside": {"inside.handlers", "wire"},
    "inside.handlers": {"wire"},
    "wire": set(),
}
"""Of each room, and of each module beside the rooms, what it may import."""

CHILDS = {"inside", "inside.handlers"}
MAY_USE_TWISTED = {"inside.handlers.factory", "inside.handlers.custom", "inside.handlers.imports"}
"""Modules of the child's that import it for handlers that are Twisted factories, and for no
other: test_imports.py sees that they do not when they are imported."""


def modules() -> dict[str, Path]:
    """All of the package, by their names in it."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found["twisted_fork"] = found.pop("")
    return found


def imported(path: Path, known: Mapping[str, object]) -> Iterator[str]:
    """What a module imports, of the package by its name in it; for the type checker, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            package, _, within = node.module.partition(".")
            if package != "twisted_fork":
                yield node.module
                continue
            for alias in node.names:
                full = f"{within}.{alias.name}".lstrip(".")
                yield full if full in known else within or "twisted_fork"


MODULES = modules()
IMPORTS = {
    name: {each for each in imported(path, MODULES) if each != name}
    for name, path in MODULES.items()
}


def room(name: str) -> str:
    """Where a module is; one that is in no room is its own."""
    return name.rpartition(".")[0] or name


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other, around to the first; empty if there are none."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for each in sorted(graph[name]):
            if found := visit(each, [*way, name]):
                return found
        done.add(name)
        return []

    for name in sorted(graph):
        if found := visit(name, []):
            return found
    return []


class RoomTests(Case):
    """Each says, where it fails, where a thing should go instead."""

    def test_every_room_is_known(self) -> None:
        rooms = {room(name) for name, path in MODULES.items() if path.stem != "__init__"}
        self.assertEqual(
            sorted(rooms - {*MAY_USE, "inside.__main__"}),
            [],
            "a new room, or a module in none: say in MAY_USE what it may use, and in"
            " docs/architecture.md what belongs there",
        )

    def test_every_import_is_in_the_documented_direction(self) -> None:
        wrong = []
        for name, names in IMPORTS.items():
            here = room(name)
            if name == "twisted_fork" or here not in MAY_USE or MODULES[name].stem == "__init__":
                continue
            allowed = {here, *MAY_USE[here]}
            wrong += [
                f"{name} imports {each}: {here} may use {', '.join(sorted(allowed))}; move what"
                " both need further down, or pass it in"
                for each in sorted(names)
                if each in MODULES and room(each) not in allowed
            ]
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_the_two_worlds_meet_in_the_wire_alone(self) -> None:
        wrong = []
        for name, names in IMPORTS.items():
            if name == "twisted_fork":
                continue  # it hands on public names of both
            for each in sorted(names & set(MODULES)):
                if (room(name) in CHILDS) != (room(each) in CHILDS) and room(each) != "wire":
                    wrong.append(
                        f"{name} imports {each}: one is the reactor process's, the other the"
                        " child's; what both need belongs into twisted_fork/wire"
                    )
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_children_do_without_twisted(self) -> None:
        wrong = [
            f"{name} imports {each}: children that need Twisted import it in"
            " inside/handlers/factory.py, since every module makes every fork slower"
            for name, names in IMPORTS.items()
            if (room(name) in CHILDS or room(name) == "wire") and name not in MAY_USE_TWISTED
            for each in sorted(names)
            if each.partition(".")[0] in ("twisted", "zope")
        ]
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_no_modules_import_each_other(self) -> None:
        # the package itself hands on names lazily: those imports are for the type checker
        graph = {name: names & set(MODULES) for name, names in IMPORTS.items()}
        graph["twisted_fork"] = set()
        around = " -> ".join(circle(graph))
        self.assertEqual(
            around, "", f"{around}: move what they share into a module of its own, or pass it in"
        )

    def test_a_circle_would_be_seen(self) -> None:
        self.assertEqual(circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}), ["b", "c", "b"])
        self.assertEqual(circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}), [])

    def test_no_module_is_too_long(self) -> None:
        lengths = {name: path.read_text().count("\n") for name, path in MODULES.items()}
        wrong = [
            f"{name} has {length} lines: past {MOST_LINES} it is two; split it where its name"
            " does not fit any more"
            for name, length in lengths.items()
            if length > MOST_LINES
        ]
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_each_room_says_what_belongs_there(self) -> None:
        for name, path in MODULES.items():
            if path.stem == "__init__":
                told = ast.get_docstring(ast.parse(path.read_text())) or ""
                self.assertGreater(len(told), 60, f"{name}: say what belongs there, and what not")

    def test_the_map_names_every_module_once(self) -> None:
        rows = re.findall(r"^\| `([\w/]+\.py)` \|", ARCHITECTURE.read_text(), re.MULTILINE)
        paths = {str(path.relative_to(PACKAGE)) for path in MODULES.values()}
        wanted = {path for path in paths if path == "__init__.py" or "__init__" not in path}
        self.assertEqual(
            {path: rows.count(path) for path in sorted(wanted | set(rows)) if path},
            dict.fromkeys(sorted(wanted), 1),
            "docs/architecture.md: each module has one row in the map, and what is gone has none",
        )

"""
What somebody without privileges needs to run what is tested: an interpreter, packages, handlers.
Whatever they may not read where it is, as in root's home, is copied to where everybody may.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

import twisted
import twisted_fork

HERE = Path(__file__).parents[1]
"""Where the folders are found that have handlers, ``served``, and programs, ``servers``."""

TWISTD = Path(sys.executable).with_name("twistd")
if not TWISTD.exists():
    TWISTD = Path(shutil.which("twistd") or TWISTD)

_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_NOT_NEEDED = shutil.ignore_patterns(
    *("site-packages", "dist-packages", "config-*", "__pycache__"),
    *("test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "turtledemo"),
)
"""Of an interpreter's library."""

_TRY = """
import runpy, sys
import served.plain
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

NOBODY = 65534


@dataclass(frozen=True)
class Means:
    """
    What they have.

    :param python: the interpreter.
    :param twistd: the script.
    :param here: the folder of ``served``, and of ``servers``, where programs become twistd.
    :param path: where the packages are.
    :param libraries: where the interpreter's are; empty if that is known.
    """

    python: str
    twistd: Path
    here: Path
    path: tuple[Path, ...]
    libraries: str = ""

    def command(self) -> list[str]:
        """That of twistd, without its arguments."""
        # another interpreter must not find packages of its own
        options = [] if self.python == sys.executable else ["-S"]
        return [self.python, *options, str(self.twistd)]

    def environment(self) -> dict[str, str]:
        """Ours, with what they need."""
        path = filter(None, [*map(str, (self.here, *self.path)), os.environ.get("PYTHONPATH")])
        found = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
        return {**found, "LD_LIBRARY_PATH": self.libraries} if self.libraries else found


def becoming(uid: int) -> dict[str, Any]:
    """Arguments for subprocess: the user of that id if we are root, else we ourselves."""
    return {"user": uid, "group": uid, "extra_groups": []} if os.getuid() == 0 else {}


_copies: list[Path] = []


def remove_copies() -> None:
    """The tests are over."""
    while _copies:
        shutil.rmtree(_copies.pop())


@cache
def means() -> Means:
    """What somebody without privileges has, or is given."""
    popen = becoming(NOBODY)
    homes = tuple(Path(str(package.__file__)).parents[1] for package in (twisted_fork, twisted))
    installed = [f"/usr/bin/{_VERSION}", f"/usr/local/bin/{_VERSION}"]
    for python in (sys.executable, *installed):
        found = Means(python, TWISTD, HERE, homes)
        if _is_enough(found, popen):
            return found
    folder = Path(tempfile.mkdtemp(prefix="forkecho-public-"))
    _copies.append(folder)
    folder.chmod(0o755)
    _copy_packages(folder)
    for python in (*installed, ""):
        found = Means(python, folder / TWISTD.name, folder, (folder,))
        if not python:
            copied, libraries = _copy_interpreter(folder / "python")
            found = Means(str(copied), found.twistd, folder, (folder,), str(libraries))
        # by us first: it writes a cache that they may only read
        if _is_enough(found, {}) and _is_enough(found, popen):
            return found
    raise AssertionError("nobody but root can run what is tested, not even copies of it")


def _is_enough(found: Means, popen: Mapping[str, Any]) -> bool:
    python, *options, script = found.command()
    command = [python, *options, "-c", _TRY, script, "forkecho", "--version"]
    env = found.environment()
    try:
        ended = subprocess.run(command, capture_output=True, cwd="/", env=env, **popen)
    except OSError:
        return False
    return ended.returncode == 0


def _copy_packages(folder: Path) -> None:
    """What is tested, all that it needs, and the handlers of the tests."""
    for name in dict.fromkeys(_needed("twisted-fork")):
        for file in distribution(name).files or ():
            if ".." not in file.parts:
                _copy(Path(str(file.locate())), folder / file)
    # it may be installed as a link only
    package = Path(str(twisted_fork.__file__)).parent
    shutil.copytree(package, folder / package.name, dirs_exist_ok=True)
    for plugin in package.parent.glob("twisted/plugins/twisted_fork_*.py"):
        _copy(plugin, folder / "twisted" / "plugins" / plugin.name)
    for name in ("served", "servers"):
        _copy(HERE / name, folder / name)
    _copy(TWISTD, folder / TWISTD.name)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    copy: Callable[[Path, Path], object] = shutil.copytree if source.is_dir() else shutil.copy2
    copy(source, target)


def _needed(name: str) -> Iterator[str]:
    """The names of a distribution and of all that it needs, installed here."""
    yield name
    try:
        requirements = map(Requirement, distribution(name).requires or ())
    except PackageNotFoundError:
        return
    for each in requirements:
        if each.marker is None or each.marker.evaluate({"extra": ""}):
            yield from _needed(each.name)


def _copy_interpreter(folder: Path) -> tuple[Path, Path]:
    """
    The one that runs the tests, without what it does not need.

    :returns: the program, and the folder of its shared library.
    """
    folder.mkdir()
    library = folder / "lib"
    standard = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(standard, library / _VERSION, ignore=_NOT_NEEDED)
    for shared in Path(str(sysconfig.get_config_var("LIBDIR"))).glob("libpython*.so*"):
        shutil.copy2(shared, library)
    program = folder / "bin" / _VERSION
    program.parent.mkdir()
    shutil.copy2(os.path.realpath(sys.executable), program)
    return program, library

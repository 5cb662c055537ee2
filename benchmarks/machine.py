"""On what the figures were taken."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NOTABLE_LOAD = 0.5


@dataclass(frozen=True)
class Machine:
    """The machine and the versions, as far as they bear on the figures."""

    cpu: str
    cores: int
    kernel: str
    python: str
    twisted: str
    date: str
    busy: float
    """The load average when the benchmark began: other work, which bends the figures."""

    @classmethod
    def this(cls) -> Machine:
        return cls(
            cpu=_cpu_model(),
            cores=len(os.sched_getaffinity(0)),
            kernel=_numbers(platform.release()),
            python=f"{platform.python_implementation()} {platform.python_version()}",
            twisted=_twisted_version(),
            date=datetime.now(timezone.utc).date().isoformat(),
            busy=os.getloadavg()[0],
        )

    def describe(self) -> str:
        return (
            f"{self.cpu}, {self.cores} cores shared with the load generator, Linux {self.kernel}, "
            f"{self.python}, Twisted {self.twisted}, {self.date}{self._disturbance()}"
        )

    def _disturbance(self) -> str:
        if self.busy < NOTABLE_LOAD:
            return ""
        return f"; other work was running (load average {self.busy:.1f})"

    def as_dict(self) -> dict[str, str | float]:
        return asdict(self)


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def _numbers(release: str) -> str:
    found = re.match(r"[\d.]+", release)
    return found.group().rstrip(".") if found else release


def _twisted_version() -> str:
    try:
        return version("twisted")
    except PackageNotFoundError:
        return "not installed"

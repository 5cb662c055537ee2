"""What a case of the benchmark is: contenders, a measurement, comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.figures import Comparison, Series, Verdict, judge
from benchmarks.load import Answer, Load
from benchmarks.peers import Peer


@dataclass(frozen=True)
class Scale:
    """How long and how large."""

    warmup: float
    seconds: float
    crowd: int
    """Idle connections in the background."""
    bulk_mib: int
    children: int
    """Children whose memory is looked at."""
    slow_warmup: float
    """The same for what takes a second for each connection."""
    slow_seconds: float


FULL = Scale(
    warmup=1.0,
    seconds=4.0,
    crowd=2000,
    bulk_mib=256,
    children=20,
    slow_warmup=5.0,
    slow_seconds=15.0,
)
SMOKE = Scale(
    warmup=0.1,
    seconds=0.3,
    crowd=100,
    bulk_mib=8,
    children=5,
    slow_warmup=0.5,
    slow_seconds=4.0,
)


@dataclass(frozen=True)
class Trial:
    """A server that has just been started, for one measurement."""

    pid: int
    port: int
    load: Load
    scale: Scale


@dataclass(frozen=True)
class Sample:
    """What one measurement gave."""

    value: float | None
    errors: int = 0
    note: str = ""
    details: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, value: float | None, answer: Answer, **details: float) -> Sample:
        return cls(value, answer.errors, answer.complaint(), details)


Measure = Callable[[Trial], Sample]


@dataclass(frozen=True)
class Contender:
    """A server with certain options."""

    label: str
    peer: Peer
    options: tuple[str, ...] = ()
    measure: Measure | None = None
    """How to measure it, where that is not as the case says."""


@dataclass(frozen=True)
class Case:
    """One question that the benchmark answers."""

    name: str
    title: str
    unit: str
    more_is_better: bool
    measure: Measure
    contenders: tuple[Contender, ...]
    comparisons: tuple[Comparison, ...]
    digits: int = 0
    """Digits to show after the point."""


@dataclass
class CaseResult:
    """A case's samples: by label, one for each round."""

    case: Case
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def table(self) -> dict[str, Series]:
        return {
            label: [sample.value for sample in samples] for label, samples in self.samples.items()
        }

    def verdicts(self) -> list[Verdict]:
        table = self.table()
        return [
            judge(comparison, table, self.case.more_is_better)
            for comparison in self.case.comparisons
        ]

    def errors(self, label: str) -> int:
        """Failed exchanges, and rounds that gave no figure at all."""
        samples = self.samples.get(label, [])
        return sum(sample.errors or (sample.value is None) for sample in samples)

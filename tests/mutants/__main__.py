"""``python -m tests.mutants [MODULE...]``: break modules and see whether the tests notice."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .accepted import ACCEPTED
from .operators import Mutant, mutants
from .running import ROOT, Bench

_POOL = [
    "pool.test_session",
    "pool.test_children",
    "pool.test_watchdog",
    "pool.test_pool",
    "places.test_places",
    "pool.test_placement_failures",
    "pool.test_drain",
    "pool.test_faults",
    "pool.test_pool_edges",
    "entrance.test_judge",
    "pool.test_placement",
    "launchers.test_spawn",
    "pool.test_upkeep",
    "pool.test_pool_life",
]
"""What notices whatever is wrong with the pool."""


def _pool(*first: str) -> list[str]:
    """These, then all others of the pool."""
    return [*first, *(name for name in _POOL if name not in first)]


_TEMPLATES = [
    "launchers.test_template",
    "launchers.test_template_edges",
    "launchers.test_fork",
    "launchers.test_fork_edges",
    "launchers.test_templates",
    "launchers.test_templates_edges",
    "launchers.test_templates_reload",
]

_SERVICE = [
    "test_service",
    "test_service_edges",
    "test_runtime",
    "test_runtime_edges",
    "launchers.test_templates_reload",
]

TESTS = {
    "policy": ["test_policy"],
    "agreement": ["test_agreement"],
    "timers": ["test_timers"],
    "logformat": ["test_logformat_edges", "test_journal", "test_logformat"],
    "service": _SERVICE,
    "runtime": _SERVICE,
    "entrance/admission": [
        "entrance.test_admission",
        "entrance.test_judge",
        "entrance.test_admission_edges",
        "places.test_refusals",
        "entrance.test_proxy",
    ],
    "places/places": _pool(
        "places.test_places",
        "places.test_places_edges",
        "entrance.test_judge",
        "entrance.test_admission",
    ),
    "pool/child": [
        "pool.test_child",
        "pool.test_session",
        "pool.test_pool",
        "pool.test_placement_failures",
        "pool.test_deadlines",
        "pool.test_placement",
        "pool.test_pool_edges",
    ],
    "pool/roster": [
        "pool.test_roster",
        "pool.test_roster_edges",
        "pool.test_pool",
        "pool.test_placement",
        "pool.test_pool_life",
    ],
    "pool/upkeep": ["pool.test_upkeep", "pool.test_pool", "pool.test_pool_edges"],
    "pool/deadlines": ["pool.test_deadlines", "pool.test_pool_edges"],
    "pool/children": _pool("pool.test_children"),
    "pool/faults": _pool("pool.test_faults"),
    "pool/placement": _pool("pool.test_placement", "pool.test_placement_failures"),
    "pool/pool": _pool("pool.test_pool"),
    "pool/watchdog": _pool("pool.test_watchdog"),
    **dict.fromkeys(("launchers/template", "launchers/templates"), _TEMPLATES),
    "launchers/fork": [*_TEMPLATES, "test_runtime_edges"],
    "launchers/choice": ["launchers.test_choice", "launchers.test_choice_edges"],
    "kernel/descriptors": ["kernel.test_descriptors"],
    "wire/messages": [
        "wire.test_messages",
        "kernel.test_channels",
        "wire.test_account",
        "wire.test_fuzz_messages",
    ],
    "inside/handlers/echo": [
        "inside.handlers.test_echo",
        "inside.handlers.test_echo_scripted",
        "inside.handlers.test_echo_serving",
    ],
}
"""Of each module that is broken, the test modules that shall notice, the quickest first."""

_LEAST = 90
"""Of a hundred mutants of a module, at least so many have to die."""


class Tally(NamedTuple):
    """What came of one module."""

    module: str
    made: int
    survivors: list[Mutant]
    seconds: float

    @property
    def killed(self) -> int:
        return self.made - len(self.survivors)

    @property
    def percentage(self) -> float:
        return 100 * self.killed / self.made

    @property
    def unexplained(self) -> list[Mutant]:
        """Those for which no reason is given; one reason is none for two."""
        left = list(_reasons(self.module))
        found = []
        for mutant in self.survivors:
            if mutant.place in left:
                left.remove(mutant.place)
            else:
                found.append(mutant)
        return found

    @property
    def good(self) -> bool:
        return self.percentage >= _LEAST and not self.unexplained


def _reasons(module: str) -> dict[tuple[str, str, str], str]:
    return {
        place: reason for reason, places in ACCEPTED.get(module, {}).items() for place in places
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(TESTS)}")
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="how many at a time"
    )
    parser.add_argument("--line", type=int, help="only mutants of this line")
    parser.add_argument("--verbose", action="store_true", help="tell of those that die, too")
    options = parser.parse_args(arguments)
    for module in options.modules:
        if module not in TESTS:
            parser.error(f"{module}: not one of {', '.join(TESTS)}")
    return options


def examine(bench: Bench, module: str, options: argparse.Namespace) -> Tally:
    """Try all mutants of *module*; each that lives is told of at once."""
    began = time.monotonic()
    made = mutants((ROOT / "twisted_fork" / f"{module}.py").read_text())
    if options.line is not None:
        made = [mutant for mutant in made if mutant.line == options.line]
    seconds = bench.baseline(TESTS[module])
    survivors = []
    sources = [mutant.source for mutant in made]
    for index, trial in bench.try_all(module, sources, TESTS[module], seconds):
        mutant = made[index]
        if trial.passed:
            survivors.append(mutant)
        if options.verbose:
            how = "lives" if trial.passed else f"dies ({trial.how}, {trial.seconds:.1f} s)"
            print(_described(module, mutant, how), flush=True)
    survivors.sort(key=lambda mutant: mutant.line)
    return Tally(module, len(made), survivors, time.monotonic() - began)


def _described(module: str, mutant: Mutant, how: str) -> str:
    place = f"{module}.py:{mutant.line} {mutant.within} {mutant.operator}: {how}"
    return f"{place}\n  - {mutant.before}\n  + {mutant.after}"


def report(tallies: Sequence[Tally]) -> None:
    """Tell of those that live, the accepted ones first; then how many there were."""
    for tally in tallies:
        reasons = _reasons(tally.module)
        for mutant in tally.survivors:
            if mutant not in tally.unexplained:
                print(_described(tally.module, mutant, f"may live: {reasons[mutant.place]}"))
    for tally in tallies:
        lived = {mutant.place for mutant in tally.survivors}
        for place in _reasons(tally.module).keys() - lived:
            print(f"{tally.module}.py: may live according to accepted.py, and has not:\n  {place}")
    for tally in tallies:
        for mutant in tally.unexplained:
            print(_described(tally.module, mutant, "LIVES; why it may, accepted.py does not say"))
    print(f"\n{'module':<22}{'mutants':>8}{'killed':>8}{'lived':>7}{'%':>7}{'seconds':>9}")
    for tally in tallies:
        print(
            f"{tally.module:<22}{tally.made:>8}{tally.killed:>8}{len(tally.survivors):>7}"
            f"{tally.percentage:>7.1f}{tally.seconds:>9.0f}{'' if tally.good else '  FAILED'}"
        )
    made, killed = sum(t.made for t in tallies), sum(t.killed for t in tallies)
    print(f"{'all':<22}{made:>8}{killed:>8}{made - killed:>7}{100 * killed / made:>7.1f}")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        bench = Bench(Path(folder), options.jobs)
        tallies = [examine(bench, name, options) for name in options.modules or TESTS]
    report(tallies)
    return 0 if all(tally.good for tally in tallies) else 1


if __name__ == "__main__":
    sys.exit(main())

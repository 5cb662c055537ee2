"""``python -m benchmarks``: run the cases, print the tables, write the results."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import peers, plot, processes, report
from benchmarks.case import FULL, SMOKE, Case, CaseResult, Contender, Sample, Scale, Trial
from benchmarks.cases import CASES
from benchmarks.figures import rotated
from benchmarks.load import LoadError
from benchmarks.machine import Machine
from benchmarks.report import Results
from benchmarks.running import HERE, Bench, Unavailable, compile_programs


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--smoke", action="store_true", help="every case for an instant: does it work at all?"
    )
    parser.add_argument("--rounds", type=int, help="default 5; with --smoke 1", metavar="N")
    parser.add_argument(
        "--case",
        action="append",
        choices=[case.name for case in CASES],
        help="only this case; repeatable",
    )
    parser.add_argument(
        "--peer",
        action="append",
        choices=[peer.name for peer in peers.PEERS],
        help="only this server beside the one under test; repeatable",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to write the results; without it a complete run writes to "
        "benchmarks/results, and a partial or smoke run writes nothing",
    )
    return parser.parse_args(arguments)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def find_peers(bench: Bench, cases: Sequence[Case], wanted: set[str]) -> dict[str, str]:
    """Start every server once; return those that cannot be used, with the reason."""
    unavailable = {}
    for peer in dict.fromkeys(c.peer for case in cases for c in case.contenders):
        if peer.name not in wanted:
            continue
        try:
            with bench.serving(peer):
                pass
        except Unavailable as reason:
            unavailable[peer.name] = str(reason)
            say(f"{peer.name}: left out, {reason}")
    return unavailable


def measure(bench: Bench, case: Case, contender: Contender, scale: Scale) -> Sample:
    """One contender's turn; whatever goes wrong becomes part of the sample."""
    try:
        with bench.serving(contender.peer, contender.options) as server:
            trial = Trial(server.pid, server.port, bench.load, scale)
            return (contender.measure or case.measure)(trial)
    except (Unavailable, LoadError, OSError) as error:
        return Sample(None, errors=1, note=str(error))


def run_case(
    bench: Bench, case: Case, contenders: Sequence[Contender], scale: Scale, rounds: int
) -> CaseResult:
    """All rounds of a case, the contenders taking turns."""
    result = CaseResult(case, {contender.label: [] for contender in contenders})
    for number in range(rounds):
        for position in rotated(len(contenders), number):
            contender = contenders[position]
            sample = measure(bench, case, contender, scale)
            result.samples[contender.label].append(sample)
            figure = f"{report.number(sample.value, case.digits)} {case.unit}"
            trouble = f", {sample.errors} errors {sample.note}" if sample.errors else ""
            say(f"{case.name} {number + 1}/{rounds} {contender.label}: {figure}{trouble}")
    return result


def run(options: argparse.Namespace, scratch: Path) -> Results:
    bench = Bench(scratch)
    scale = SMOKE if options.smoke else FULL
    rounds = options.rounds or (1 if options.smoke else 5)
    cases = [case for case in CASES if not options.case or case.name in options.case]
    wanted = {peer.name for peer in peers.PEERS if not options.peer or peer.name in options.peer}
    wanted.update(peer.name for peer in peers.UNDER_TEST)
    results = Results(Machine.this(), rounds, scale)
    say(results.machine.describe())
    results.unavailable = find_peers(bench, cases, wanted)
    usable = wanted - set(results.unavailable)
    for case in cases:
        contenders = [c for c in case.contenders if c.peer.name in usable]
        if contenders:
            results.cases.append(run_case(bench, case, contenders, scale, rounds))
    return results


def write(results: Results, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(report.as_json(results))
    (directory / "results.md").write_text(report.as_markdown(results))
    if not plot.draw(results, directory / "results.png"):
        say("no picture: matplotlib is not installed, or no case for it was run")


def sound(results: Results) -> bool:
    """Whether the server under test was there and made no error."""
    absent = any(peer.name in results.unavailable for peer in peers.UNDER_TEST)
    return not absent and not any(
        result.errors(contender.label)
        for result in results.cases
        for contender in result.case.contenders
        if contender.peer in peers.UNDER_TEST
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if not compile_programs():
        say("the benchmarks need a C compiler, cc, and there is none")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    processes.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="twisted-fork-benchmarks-") as scratch:
        try:
            results = run(options, Path(scratch))
        except KeyboardInterrupt:
            say("interrupted")
            return 130
    print(report.as_text(results))
    partial = options.smoke or options.case or options.peer
    directory = options.out or (None if partial else HERE / "results")
    if directory is not None:
        write(results, directory)
    return 0 if sound(results) else 1


if __name__ == "__main__":
    sys.exit(main())

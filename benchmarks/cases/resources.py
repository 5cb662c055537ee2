"""What a connection costs: memory of its child, CPU time of the server process."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from benchmarks import peers, processes
from benchmarks.case import Case, Contender, Sample, Trial
from benchmarks.cases.labels import C_PROGRAM, FORKING, FORKING_QUIET, OURS, OURS_QUIET
from benchmarks.figures import Comparison


def child_memory(trial: Trial) -> Sample:
    """MiB that a child has for itself while its connection waits after one exchange."""
    wanted = trial.scale.children
    with trial.load.idle(trial.port, wanted) as crowd:
        pids = processes.serving_children(trial.pid, trial.port)
        figures = [processes.private_mib(pid) for pid in pids]
    sample = Sample(median(figures) if figures else None, crowd.errors)
    if len(figures) == wanted:
        return sample
    return replace(sample, errors=sample.errors + 1, note=f"{len(figures)} of {wanted} children")


def parent_cpu(trial: Trial) -> Sample:
    """Microseconds of CPU time of the process that accepts, for each connection."""
    before = processes.settled_cpu_seconds(trial.pid)
    answer = trial.load.closed(trial.port, 64, trial.scale.warmup, trial.scale.seconds)
    spent = processes.settled_cpu_seconds(trial.pid) - before
    count = answer.number("total")
    return Sample.of(spent / count * 1e6 if count else None, answer)


CASES = (
    Case(
        "memory",
        "Private memory of an idle child",
        "MiB",
        False,
        child_memory,
        (
            Contender(OURS, peers.OURS),
            Contender(C_PROGRAM, peers.C),
            Contender(FORKING, peers.FORKING_TCP_SERVER),
        ),
        (
            Comparison(OURS, at_most=0.6),
            Comparison(OURS, (FORKING,)),
        ),
        digits=2,
    ),
    Case(
        "parent-cpu",
        "CPU time of the accepting process for a connection with a fresh child, 64 clients",
        "µs",
        False,
        parent_cpu,
        (
            Contender(OURS, peers.OURS),
            Contender(OURS_QUIET, peers.OURS, ("-q",)),
            Contender(FORKING, peers.FORKING_TCP_SERVER),
            Contender(FORKING_QUIET, peers.FORKING_TCP_SERVER, ("-q",)),
            Contender(C_PROGRAM, peers.C),
        ),
        (
            Comparison(OURS, (FORKING,), at_most=0.45),
            Comparison(OURS_QUIET, (FORKING_QUIET,), at_most=0.3),
            Comparison(OURS, (C_PROGRAM,)),
        ),
    ),
)

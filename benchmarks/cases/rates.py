"""How many connections, how soon, how many beside a crowd, how many bytes."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from benchmarks import peers
from benchmarks.case import Case, Contender, Measure, Sample, Trial
from benchmarks.cases.labels import C_PROGRAM, C_PROGRAM_QUIET, FORKING, OURS, OURS_QUIET
from benchmarks.figures import Comparison

OPEN_LOOP_RATE = 200.0
BULK_LIMIT = 60.0
BULK_TURNS = 5
MANY_CHILDREN = ("-c", "3000")
LARGE_BUFFERS = ("-b", "65536")
EXECUTING = tuple(peer.name for peer in peers.EXECUTING)


def connection_rate(clients: int) -> Measure:
    """Connections a second that so many clients get through, one after another each."""

    def measure(trial: Trial) -> Sample:
        scale = trial.scale
        answer = trial.load.closed(trial.port, clients, scale.warmup, scale.seconds)
        count = answer.number("connections")
        return Sample.of(count / scale.seconds if count else None, answer)

    return measure


def beside_crowd(measure: Measure) -> Measure:
    """The same, with a crowd of idle connections alive."""

    def measure_beside_crowd(trial: Trial) -> Sample:
        with trial.load.idle(trial.port, trial.scale.crowd) as crowd:
            sample = measure(trial)
        return replace(sample, errors=sample.errors + crowd.errors)

    return measure_beside_crowd


def median_latency(trial: Trial) -> Sample:
    """Milliseconds from the moment when a connection is due to its reply."""
    scale = trial.scale
    answer = trial.load.open(trial.port, OPEN_LOOP_RATE, scale.warmup, scale.seconds)
    tails = {name: answer.number(name) for name in ("min_ms", "p99_ms")}
    details = {name: value for name, value in tails.items() if value is not None}
    return Sample.of(answer.number("median_ms"), answer, **details)


def bulk_rate(trial: Trial) -> Sample:
    """MiB a second that one connection echoes; the median of several, one after another."""
    mib = trial.scale.bulk_mib
    answers = [trial.load.bulk(trial.port, mib << 20, BULK_LIMIT) for _ in range(BULK_TURNS)]
    rates = [mib / float(answer.fields["seconds"]) for answer in answers if not answer.errors]
    notes = {answer.complaint() for answer in answers if answer.errors}
    errors = sum(answer.errors for answer in answers)
    return Sample(median(rates) if rates else None, errors, "; ".join(notes))


CROWD_RATE = connection_rate(32)
CROWDED_RATE = beside_crowd(CROWD_RATE)

CASES = (
    Case(
        "fresh",
        "A fresh child for every connection, 64 clients",
        "connections/s",
        True,
        connection_rate(64),
        (
            Contender(OURS, peers.OURS),
            Contender(C_PROGRAM, peers.C),
            Contender(FORKING, peers.FORKING_TCP_SERVER),
            *(Contender(peer.name, peer) for peer in peers.EXECUTING),
        ),
        (
            Comparison(OURS, (FORKING,), at_least=1.5),
            Comparison(OURS, EXECUTING, at_least=1.15, rival="best that executes a program"),
            Comparison(OURS, (C_PROGRAM,), at_least=0.22),
            *(Comparison(OURS, (name,)) for name in EXECUTING),
        ),
    ),
    Case(
        "reuse",
        "Children that serve up to 1,000 connections each, 64 clients",
        "connections/s",
        True,
        connection_rate(64),
        (
            Contender(OURS, peers.OURS, ("-k", "1000")),
            Contender(OURS_QUIET, peers.OURS, ("-k", "1000", "-q")),
            Contender(C_PROGRAM, peers.C),
            Contender(C_PROGRAM_QUIET, peers.C, ("-q",)),
        ),
        (
            Comparison(OURS, (C_PROGRAM,), at_least=1.1),
            Comparison(OURS_QUIET, (C_PROGRAM_QUIET,), at_least=1.7),
            Comparison(OURS_QUIET, (C_PROGRAM,)),
        ),
    ),
    Case(
        "latency",
        "Connect to reply at 200 connections a second, median",
        "ms",
        False,
        median_latency,
        (
            Contender(OURS, peers.OURS),
            Contender(f"{OURS}, no spares", peers.OURS, ("-s", "0")),
            Contender(C_PROGRAM, peers.C),
            Contender(FORKING, peers.FORKING_TCP_SERVER),
        ),
        (
            Comparison(OURS, (FORKING,), at_most=0.5),
            Comparison(f"{OURS}, no spares", (FORKING,)),
            Comparison(OURS, (C_PROGRAM,)),
        ),
        digits=2,
    ),
    Case(
        "crowd",
        "A fresh child for every connection, 32 clients, beside a crowd of idle ones",
        "connections/s",
        True,
        CROWD_RATE,
        (
            Contender(OURS, peers.OURS, MANY_CHILDREN),
            Contender(f"{OURS}, crowd", peers.OURS, MANY_CHILDREN, CROWDED_RATE),
            Contender(C_PROGRAM, peers.C),
            Contender(f"{C_PROGRAM}, crowd", peers.C, (), CROWDED_RATE),
            Contender(FORKING, peers.FORKING_TCP_SERVER),
            Contender(f"{FORKING}, crowd", peers.FORKING_TCP_SERVER, (), CROWDED_RATE),
        ),
        (
            Comparison(f"{OURS}, crowd", (OURS,), at_least=0.8),
            Comparison(f"{C_PROGRAM}, crowd", (C_PROGRAM,)),
            Comparison(f"{FORKING}, crowd", (FORKING,)),
        ),
    ),
    Case(
        "bulk",
        "One connection's bytes there and back, C with buffers of 64 KiB",
        "MiB/s",
        True,
        bulk_rate,
        (
            Contender(OURS, peers.OURS),
            Contender(C_PROGRAM, peers.C, LARGE_BUFFERS),
            Contender(FORKING, peers.FORKING_TCP_SERVER),
        ),
        (
            Comparison(OURS, (C_PROGRAM,), at_least=0.8),
            Comparison(OURS, (FORKING,)),
        ),
    ),
)

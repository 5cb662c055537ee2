"""Handlers of one's own: a program, a callable, a heavy module, TLS."""

from __future__ import annotations

from benchmarks import peers
from benchmarks.case import Case, Contender, Sample, Trial
from benchmarks.cases.labels import FORKING, OURS
from benchmarks.cases.rates import EXECUTING, connection_rate
from benchmarks.figures import Comparison

BUILT_IN = f"{OURS}, built-in echo"
CALLABLE = f"{OURS}, a callable"
INTERPRETER = f"{OURS}, a fresh interpreter each"
INTERPRETERS_AT_ONCE = 4
SPAWNING = ("--launcher", "spawn", "-s", "0", "-c", str(INTERPRETERS_AT_ONCE))
TLS_CLIENTS = 8


def interpreter_rate(trial: Trial) -> Sample:
    """Connections a second where each waits for a fresh interpreter: few clients, more time."""
    scale = trial.scale
    answer = trial.load.closed(
        trial.port, INTERPRETERS_AT_ONCE, scale.slow_warmup, scale.slow_seconds
    )
    count = answer.number("connections")
    return Sample.of(count / scale.slow_seconds if count else None, answer)


def handshake_rate(trial: Trial) -> Sample:
    """TLS connections a second, each with a full handshake."""
    scale = trial.scale
    answer = trial.load.tls(trial.port, TLS_CLIENTS, scale.warmup, scale.seconds)
    count = answer.number("connections")
    return Sample.of(count / scale.seconds if count else None, answer)


CASES = (
    Case(
        "program",
        "The same program executed for every connection, 64 clients",
        "connections/s",
        True,
        connection_rate(64),
        (
            Contender(OURS, peers.OURS_PROGRAM),
            *(Contender(peer.name, peer) for peer in peers.EXECUTING),
        ),
        (
            Comparison(OURS, EXECUTING, at_least=1.0, rival="best of the others"),
            *(Comparison(OURS, (name,)) for name in EXECUTING),
        ),
    ),
    Case(
        "callable",
        "A Python callable against the built-in echo, a fresh child each, 64 clients",
        "connections/s",
        True,
        connection_rate(64),
        (
            Contender(CALLABLE, peers.OURS_CALLABLE),
            Contender(BUILT_IN, peers.OURS),
        ),
        (Comparison(CALLABLE, (BUILT_IN,), at_least=0.95),),
    ),
    Case(
        "heavy",
        "A handler's module with 100 MiB of small objects, a fresh child each, 64 clients; "
        f"fresh interpreters, {INTERPRETERS_AT_ONCE} clients",
        "connections/s",
        True,
        connection_rate(64),
        (
            Contender(OURS, peers.OURS_HEAVY),
            Contender(FORKING, peers.FORKING_HEAVY),
            Contender(INTERPRETER, peers.OURS_HEAVY, SPAWNING, interpreter_rate),
        ),
        (
            Comparison(OURS, (FORKING,), at_least=1.4),
            Comparison(OURS, (INTERPRETER,), at_least=25),
        ),
        digits=1,
    ),
    Case(
        "tls",
        f"TLS connections with a full handshake and a fresh child each, {TLS_CLIENTS} clients",
        "connections/s",
        True,
        handshake_rate,
        (
            Contender(OURS, peers.OURS_TLS),
            Contender(FORKING, peers.FORKING_TLS),
        ),
        (Comparison(OURS, (FORKING,)),),
    ),
)

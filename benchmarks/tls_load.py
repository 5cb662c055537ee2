"""The load generator for TLS, in Python: ``python tls_load.py PORT PROCESSES WARMUP SECONDS``.

Each process, again and again: connect, shake hands in full, send a line, read it back in
upper case, say goodbye, close. One JSON object on standard output, as ``c/load.c`` has it.
"""

import json
import multiprocessing
import socket
import ssl
import sys
import time
from collections import Counter

LINE = b"abcdefghijklmnopqrstuvwxyz 0123\n"
EXCHANGE_TIMEOUT = 10.0
PAUSE_AFTER_ERROR = 0.05
KINDS = ("connect", "tls", "reply", "resumed", "timeout")


def insecure_context() -> ssl.SSLContext:
    """For a server on this machine whose certificate nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def converse(plain: socket.socket, context: ssl.SSLContext) -> str:
    """One connection's TLS, to its end; returns what was wrong, or nothing."""
    with context.wrap_socket(plain) as secured:
        if secured.session_reused:
            return "resumed"
        secured.sendall(LINE)
        reply = b""
        while len(reply) < len(LINE) and (data := secured.recv(len(LINE))):
            reply += data
        secured.unwrap().close()
    return "" if reply == LINE.upper() else "reply"


def exchange(port: int, source: str, context: ssl.SSLContext) -> str:
    """One connection; returns what was wrong, or nothing."""
    try:
        plain = socket.create_connection(("127.0.0.1", port), EXCHANGE_TIMEOUT, (source, 0))
    except OSError:
        return "connect"
    try:
        with plain:
            return converse(plain, context)
    except TimeoutError:
        return "timeout"
    except OSError:
        return "tls"


def client(port: int, number: int, count_from: float, end: float) -> Counter[str]:
    """What one process does; ``number`` gives it a loopback address, hence ports, of its own."""
    context = insecure_context()
    found: Counter[str] = Counter()
    while time.monotonic() < end:
        trouble = exchange(port, f"127.0.0.{2 + number}", context)
        found[trouble or "total"] += 1
        if trouble:
            time.sleep(PAUSE_AFTER_ERROR)
        elif count_from <= time.monotonic() < end:
            found["connections"] += 1
    return found


def main(arguments: list[str]) -> None:
    port, processes = map(int, arguments[:2])
    warmup, seconds = map(float, arguments[2:])
    count_from = time.monotonic() + warmup
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        plans = [(port, number, count_from, count_from + seconds) for number in range(processes)]
        found = sum(pool.starmap(client, plans, chunksize=1), Counter[str]())
    answer = {
        "mode": "tls",
        "seconds": seconds,
        "connections": found["connections"],
        "total": found["total"],
        "errors": sum(found[kind] for kind in KINDS),
        "kinds": {kind: found[kind] for kind in KINDS},
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""
A handler that uses more than it should, and what the tests ask of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.integration.peers.clients import read_to_end
from tests.integration.servers.harness import Server
from tests.integration.servers.serving import ask_json, order

HANDLER = '''
"""Uses more than it should, in the way that it is told to."""

import json, os, resource, signal, time

def who(connection):
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\\n").split(":\\t", 1) for line in file if ":\\t" in line)
    mask = os.umask(0)
    os.umask(mask)
    told = {
        "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(),
        "no_new_privs": status["NoNewPrivs"], "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "umask": mask, "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "memory": resource.getrlimit(resource.RLIMIT_AS),
        "processes": resource.getrlimit(resource.RLIMIT_NPROC),
        "capabilities": status["CapEff"] + status["CapPrm"],
    }
    connection.sendall(json.dumps(told).encode())

def spins(connection):
    while True:
        pass

def burns(connection):
    while time.process_time() < 1:
        pass
    os.kill(os.getpid(), signal.SIGKILL)

def eats(connection):
    hoard = []
    while True:
        hoard.append(bytearray(16 * 1024 * 1024))

def opens(connection):
    opened = []
    try:
        while len(opened) < 5000:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as failure:
        said = f"{failure.errno} {opened[-1] + 1}"
    for each in opened:
        os.close(each)
    connection.sendall(said.encode())

def writes(connection):
    with open(os.environ["SCRATCH"], "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

def forks(connection):
    try:
        pid = os.fork()
    except OSError as failure:
        connection.sendall(str(failure.errno).encode())
        return
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    connection.sendall(b"forked")

def regains(connection):
    said = []
    for what in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
        try:
            what()
        except OSError as failure:
            said.append(failure.errno)
    connection.sendall(json.dumps(said).encode())

def obeys(connection, peer):
    what = connection.makefile("rb", buffering=0).readline().decode().strip()
    if what:
        globals()[what](connection)
    else:
        while data := connection.recv(65536):
            connection.sendall(data.upper())
'''


StartLimited = Callable[..., Server]
"""Starts a server with that handler; its options are given."""


def answer(server: Server, what: str) -> bytes:
    """What a handler says then."""
    with order(server, what) as connection:
        return read_to_end(connection)


def tell(server: Server) -> dict[str, Any]:
    """What a handler is."""
    return ask_json(server.address, b"who\n")

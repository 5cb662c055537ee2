"""Processes: what /proc tells of them, and ending them all.

The benchmark makes itself the reaper of its descendants, so that a server's orphans
come to it, whatever session they have put themselves in, and can be ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
ESTABLISHED = "01"


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose parent has gone."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third one, the state, on."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()


def children(parent: int) -> list[int]:
    """The processes whose parent that is, zombies included."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                if int(_stat_fields(int(entry))[1]) == parent:
                    found.append(int(entry))
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, without that of its children."""
    fields = _stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settled_cpu_seconds(pid: int, patience: float = 3.0) -> float:
    """The same, once the process has come to rest after its work."""
    deadline = time.monotonic() + patience
    last = -1.0
    while (seconds := cpu_seconds(pid)) != last and time.monotonic() < deadline:
        last = seconds
        time.sleep(0.1)
    return seconds


def private_mib(pid: int) -> float:
    """The memory that a process shares with nobody, its USS, in MiB."""
    kib = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            kib += int(line.split()[1])
    return kib / 1024


def _connected_inodes(port: int) -> set[str]:
    """The sockets of connections that were accepted on a port."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == ESTABLISHED:
            found.add(f"socket:[{fields[9]}]")
    return found


def serving_children(parent: int, port: int) -> list[int]:
    """The children that hold a connection: no template, no spare."""
    connected = _connected_inodes(port)
    found = []
    for pid in children(parent):
        with contextlib.suppress(OSError):
            held = {os.readlink(link.path) for link in os.scandir(f"/proc/{pid}/fd")}
            if held & connected:
                found.append(pid)
    return found


def end(process: subprocess.Popen[bytes], patience: float = 5.0) -> None:
    """End a process that leads a group: politely, then with all that it started."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_orphans(patience: float = 5.0) -> None:
    """End and reap every child of this process. For moments when none is wanted."""
    deadline = time.monotonic() + patience
    while (orphans := children(os.getpid())) and time.monotonic() < deadline:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

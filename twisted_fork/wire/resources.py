"""
Resources that a child may be limited in: see getrlimit(2).
"""

from __future__ import annotations

import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from twisted_fork.wire.orders import Resource

__all__ = ["RESOURCES"]

RESOURCES: dict[Resource, int] = {
    "cpu_seconds": resource.RLIMIT_CPU,
    "memory": resource.RLIMIT_AS,
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "file_size": resource.RLIMIT_FSIZE,
}
"""By the name of the setting."""

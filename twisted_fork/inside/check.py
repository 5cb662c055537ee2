"""
A look at whether a template could work here, before anything is started.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from twisted_fork.inside import sibling

__all__ = ["main"]


def main() -> NoReturn:
    """Exit with status 0; or say on standard error, in one line, what is wrong, and exit with 1."""
    try:
        sibling.Cloner().probe()
    except (sibling.Unsupported, OSError) as failure:
        print(f"children cannot be forked here: {failure}; try --launcher spawn", file=sys.stderr)
        raise SystemExit(1) from None
    raise SystemExit(0)

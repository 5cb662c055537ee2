"""
The start of a template, a spawned child or a check: ``python .../twisted_fork/inside ROLE``.

It is started by its path, so that neither the current directory nor an environment variable
decides which code runs.
"""

from __future__ import annotations

import sys

sys.path[0] = __file__.rsplit("/", 3)[0]


def main() -> None:
    """Run the role that the command line names: template, child or check."""
    role = sys.argv[1]
    if role == "template":
        from twisted_fork.inside import template

        template.main()
    elif role == "child":
        from twisted_fork.inside import spawn

        spawn.main()
    else:
        from twisted_fork.inside import check

        check.main()


main()

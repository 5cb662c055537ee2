"""
A server whose handler uses more than it should.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers.harness import Server
from tests.integration.servers.serving import Serve

from .hungry import HANDLER, StartLimited


@pytest.fixture
def limited(serve: Serve, folder: Path) -> StartLimited:
    """Start a server with the hungry handler; its options are given."""
    (folder / "hungry.py").write_text(HANDLER)
    scratch = folder / "scratch"
    scratch.touch()
    scratch.chmod(0o666)

    def start(*options: str, **more: Any) -> Server:
        variables = {"PYTHONPATH": str(folder), "SCRATCH": str(scratch)}
        return serve(*options, handler=".hungry:obeys", env=variables, **more)

    return start

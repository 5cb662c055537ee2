"""The handler that the soak serves: the fault-injection suite's, found from where this is."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.integration.faults.handlers import obeys

__all__ = ["obeys"]

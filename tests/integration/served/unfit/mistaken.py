"""A module without any handler in it."""

from __future__ import annotations

NUMBER = 7

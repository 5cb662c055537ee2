"""A module that does not import."""

from __future__ import annotations


def _configure() -> None:
    raise RuntimeError("the setting colour is missing\nand more is said of it")


_configure()

"""A module whose import raises what would clear a terminal."""

raise RuntimeError("\x1b[2J\x9b1A caf\xe9 \\x1b\udcff")

"""How Twisted Fork compares: its benchmarks, run with ``python -m benchmarks``."""

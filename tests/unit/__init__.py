"""
The unit tests: each module by itself, without a running reactor.
"""

from hypothesis import settings

settings.register_profile("unit", derandomize=True, deadline=None, database=None)
settings.load_profile("unit")

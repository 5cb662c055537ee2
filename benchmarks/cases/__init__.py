"""The cases. A further file of them adds its ``CASES`` here."""

from benchmarks.case import Case
from benchmarks.cases import handlers, rates, resources

CASES: tuple[Case, ...] = (*rates.CASES, *handlers.CASES, *resources.CASES)

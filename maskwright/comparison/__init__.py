"""Comparison: several models on one budget, one split and the same resamples: a table, paired intervals and a picture."""

from maskwright.comparison.comparing import compare
from maskwright.comparison.result import Comparison, Entrant

__all__ = ["Comparison", "Entrant", "compare"]

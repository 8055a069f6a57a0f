"""Scores: update() accumulates, compute() gives a small dataclass; each names its conventions."""

from __future__ import annotations

from maskwright.metrics.confusion import Confusion, count_pairs
from maskwright.metrics.intervals import Interval, bootstrap, paired_difference, score_statistics
from maskwright.metrics.per_image import ImageScore, image_conventions, image_rates, worst_mean
from maskwright.metrics.semantic import SemanticScores, rates, tally_of

__all__ = [
    "Confusion",
    "ImageScore",
    "Interval",
    "SemanticScores",
    "bootstrap",
    "count_pairs",
    "image_conventions",
    "image_rates",
    "paired_difference",
    "rates",
    "score_statistics",
    "tally_of",
    "worst_mean",
]

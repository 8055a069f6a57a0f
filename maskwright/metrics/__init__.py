"""Scores: update() accumulates, compute() gives a small dataclass; each names its conventions."""

from __future__ import annotations

from maskwright.metrics.boundary import Boundary, BoundaryScores, boundary_conventions, boundary_f1, outline_tally
from maskwright.metrics.confusion import Confusion, count_pairs
from maskwright.metrics.intervals import Interval, bootstrap, paired_difference, score_statistics
from maskwright.metrics.per_image import ImageScore, image_conventions, image_rates, worst_mean
from maskwright.metrics.semantic import SemanticScores, rates, tally_of

__all__ = [
    "Boundary",
    "BoundaryScores",
    "Confusion",
    "ImageScore",
    "Interval",
    "SemanticScores",
    "bootstrap",
    "boundary_conventions",
    "boundary_f1",
    "count_pairs",
    "image_conventions",
    "image_rates",
    "outline_tally",
    "paired_difference",
    "rates",
    "score_statistics",
    "tally_of",
    "worst_mean",
]

"""Scores: update() accumulates, compute() gives a small dataclass; each names its conventions."""

from __future__ import annotations

from maskwright.metrics.boundary import Boundary, BoundaryScores, boundary_conventions, boundary_f1, outline_tally
from maskwright.metrics.coco_scores import CocoScores
from maskwright.metrics.confusion import Confusion, count_pairs
from maskwright.metrics.instances import AveragePrecision
from maskwright.metrics.intervals import Interval, bootstrap, paired_difference, score_statistics
from maskwright.metrics.match_scores import MatchScores
from maskwright.metrics.matching import Matching
from maskwright.metrics.panoptic import Panoptic, PanopticMap
from maskwright.metrics.panoptic_scores import PanopticScores
from maskwright.metrics.per_image import ImageScore, image_conventions, image_rates, worst_mean
from maskwright.metrics.semantic import SemanticScores, rates, tally_of

__all__ = [
    "AveragePrecision",
    "Boundary",
    "BoundaryScores",
    "CocoScores",
    "Confusion",
    "ImageScore",
    "Interval",
    "MatchScores",
    "Matching",
    "Panoptic",
    "PanopticMap",
    "PanopticScores",
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

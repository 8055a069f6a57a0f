"""Boundary F1: how well the outlines of the classes agree, where IoU says how well their areas do.

Source: Csurka, Larlus, Perronnin 2013, "What is a good evaluation measure for semantic segmentation?", BMVC, section 3.2: BF.
For a class, precision is the share of its predicted outline that lies closer than a tolerance to its true outline, recall the
share of the true outline that lies closer to the predicted one, F1 their harmonic mean; the tolerance is 0.75 % of the diagonal.
A score of an image is the mean over its classes, the score of a data set the mean over its images.
Differs: the paper does not say what holds at ignored pixels, at the border of the image and for absent classes: outline_tally
and boundary_f1 do. Instead of a distance transform a class, the outlines of all classes are dilated at once, one bit a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import IGNORE_ID, ClassMap
from maskwright.errors import InputError
from maskwright.metrics.per_image import ImageScore
from maskwright.metrics.semantic import foreground

TOLERANCE = 0.0075  # of the diagonal
BITS = 64  # classes that one pass can hold


@dataclass(frozen=True, eq=False)
class BoundaryScores:
    """Boundary F1 of a data set, in [0, 1]; nan where nothing was there to be scored.

    Attributes:
        mean: over images, of each image's mean over its classes
        images: how many images have a score

    Shapes:
        per_class: (K,) mean over the images in which the class has an outline
        per_image: (n, K) one row an image, nan where the class has no outline in it
    """

    mean: float
    per_class: NDArray[np.float64]
    per_image: NDArray[np.float64]
    images: int


class Boundary:
    """Scores one image after the other; compute() at any time."""

    def __init__(self, classes: ClassMap, tolerance: float = TOLERANCE) -> None:
        self.classes, self.tolerance = classes, tolerance
        self._rows: list[NDArray[np.float64]] = []

    def update(self, truth: NDArray[Any], found: NDArray[Any]) -> NDArray[np.float64]:
        """Add an image, and give back its F1 of each class, (K,); see outline_tally."""
        self._rows.append(boundary_f1(outline_tally(truth, found, self.classes, self.tolerance)))
        return self._rows[-1]

    def compute(self) -> BoundaryScores:
        rows = np.stack(self._rows) if self._rows else np.full((0, len(self.classes)), np.nan)
        means = image_means(rows, self.classes)
        return BoundaryScores(float(mean_known(means, 0)), mean_known(rows, 0), rows, int((~np.isnan(means)).sum()))


def outline_tally(truth: NDArray[Any], found: NDArray[Any], classes: ClassMap, tolerance: float = TOLERANCE) -> NDArray[np.int64]:
    """Lengths of the outlines of one image in pixels, and how much of them the other map has close by.

    The outline of a class are its pixels that touch a pixel of something else above, below, left or right. The border of the
    image is no outline. Nothing is known about ignored pixels: the truth's ignored pixels are taken out of the prediction as
    well, and where a class touches them there is no outline in either. A prediction that is void or no known id has no outline
    of its own, but ends those of its neighbours.

    Shapes:
        truth, found: (H, W) integer class ids
        tolerance: share of the diagonal; a distance counts when it is smaller
        returns: (4, K): truth's outline, its part near the found one; found outline, its part near the truth's

    Raises:
        InputError: the shapes differ, or are not (H, W).
    """
    if truth.shape != found.shape or truth.ndim != 2:
        raise InputError(
            f"boundary F1: the prediction has the shape {found.shape} and the truth {truth.shape}; expected one (H, W)."
        )
    true, answer = (classes.to_indices(labels).astype(np.uint8) for labels in (truth, found))
    counted = true != IGNORE_ID
    maps = [(index, _edges(index, counted)) for index in (true, answer)]
    reach_px = tolerance * float(np.hypot(*truth.shape))
    rows = [np.zeros(len(classes), np.int64) for _ in range(4)]
    for first in range(0, len(classes), BITS):
        count = min(BITS, len(classes) - first)
        near = [_spread(_bits(index, edge, first, count), reach_px) for index, edge in maps]
        for k, (index, edge) in enumerate(maps):
            here = index[edge].astype(np.intp) - first
            inside = (here >= 0) & (here < count)
            here, other = here[inside], near[1 - k][edge][inside]
            close = (other >> here.astype(other.dtype)) & other.dtype.type(1) > 0
            rows[2 * k][first : first + count] = np.bincount(here, minlength=count)
            rows[2 * k + 1][first : first + count] = np.bincount(here[close], minlength=count)
    return np.stack(rows)


def boundary_f1(tally: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 of each class: nan without an outline in truth and prediction, 0 with an outline in one of them only.

    Shapes:
        tally: (..., 4, K), see outline_tally
        returns: (..., K)
    """
    true, hit, found, right = np.moveaxis(np.asarray(tally, np.float64), -2, 0)
    recall = np.divide(hit, true, out=np.zeros_like(hit), where=true > 0)
    precision = np.divide(right, found, out=np.zeros_like(right), where=found > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return np.where((true > 0) | (found > 0), f1, np.nan)


def image_means(scores: NDArray[np.float64], classes: ClassMap) -> NDArray[np.float64]:
    """Score of each image: mean over its classes that have an outline, but the background; (n, K) in, (n,) out."""
    return mean_known(scores[:, foreground(classes)], 1)


def mean_known(scores: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Mean of what is not nan; nan where all is."""
    known = ~np.isnan(scores)
    total, count = np.where(known, scores, 0.0).sum(axis), known.sum(axis)
    return np.asarray(np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0), np.float64)


def boundary_conventions(scores: Sequence[ImageScore], classes: ClassMap) -> tuple[str, ...]:
    """How boundary F1 was counted; nothing where it was not."""
    rows = [s.boundary for s in scores if s.boundary is not None]
    if not rows:
        return ()
    table = np.stack(rows)[:, foreground(classes)]
    over = "classes" if classes.background is None else f"classes but {classes.name_of(classes.background)!r}"
    images, zeros = int((~np.isnan(table)).any(1).sum()), int((table == 0).sum())
    return (
        f"Boundary F1: per image the mean over the {over} that have an outline in truth or prediction, then over the {images} "
        f"images; outlines agree where they are closer than {TOLERANCE:.2%} of the diagonal.",
        f"A class with an outline in one of them only, or with none of it close, has the boundary F1 0 ({zeros} cases); next to "
        f"ignored pixels and along the border of the image there is no outline.",
    )


def _edges(index: NDArray[np.uint8], counted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a class that touch a counted pixel of something else."""
    edge = np.zeros(index.shape, bool)
    for before, after in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        differ = (index[before] != index[after]) & counted[before] & counted[after]
        edge[before] |= differ
        edge[after] |= differ
    return np.asarray(edge & (index != IGNORE_ID), bool)


def _bits(index: NDArray[np.uint8], edge: NDArray[np.bool_], first: int, count: int) -> NDArray[Any]:
    """The outlines as one map: bit k is set on the outline of class first + k."""
    kind = next(t for t in (np.uint8, np.uint16, np.uint32, np.uint64) if np.dtype(t).itemsize * 8 >= count)
    table = np.zeros(256, kind)
    table[first : first + count] = np.left_shift(kind(1), np.arange(count, dtype=kind))
    return table[index] * edge


def _spread(bits: NDArray[Any], reach_px: float) -> NDArray[Any]:
    """Every bit set wherever it is set closer than reach_px: or over the offsets of a disc, row by row.

    A row of the disc at height dy is a run of some half width; runs grow by one pixel at a time, and each is laid down at the
    heights that need it.
    """
    widest = int(np.ceil(reach_px)) - 1
    if widest < 0:
        return np.zeros_like(bits)
    rows = np.arange(widest + 1)
    half = np.ceil(np.sqrt(np.maximum(reach_px**2 - rows**2, 0))).astype(int) - 1  # largest dx with dx^2 + dy^2 < reach^2
    run, out = bits.copy(), np.zeros_like(bits)
    for width in range(widest + 1):
        if 0 < width < bits.shape[1]:
            run[:, width:] |= bits[:, :-width]
            run[:, :-width] |= bits[:, width:]
        for dy in np.flatnonzero(half == width):
            if dy == 0:
                out |= run
            elif dy < bits.shape[0]:
                out[dy:] |= run[:-dy]
                out[:-dy] |= run[dy:]
    return out

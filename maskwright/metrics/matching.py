"""Matches true and found objects one to one at IoU thresholds: what was found, missed, extra, split and merged.

Source: found objects choose by falling score, as COCO's do (greedy.py); without scores the pair of the highest IoU comes first.
What the counts mean, and where they come from, stands in match_scores.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.metrics.boundary import mean_known
from maskwright.metrics.greedy import EXTRA, UNCOUNTED, by_overlap, by_score
from maskwright.metrics.intervals import Statistics, Weights
from maskwright.metrics.match_scores import LINK_IOU, MatchScores, match_rates, percent, ratio
from maskwright.metrics.objects import MIN_SCORE, Objects, check_pair, object_classes, overlaps
from maskwright.metrics.ranked import IOUS

THRESHOLDS = (0.5, 0.75)
ANY_CLASS = "any class"


@dataclass(frozen=True, eq=False)
class ImageMatch:
    """What became of the objects of one image, by their positions in what was given to update(); T thresholds.

    Shapes:
        truth_of: (T, D) for each found object the true one it matches, EXTRA (-1) for none, UNCOUNTED (-2) where it counts
            nowhere: its score is too low, it is a crowd, or it lies in one
        missed: (T, G) bool, true objects that nothing matches; crowds are never missed
        split: (G,) bool; merged: (D,) bool
    """

    truth_of: NDArray[np.int64]
    missed: NDArray[np.bool_]
    split: NDArray[np.bool_]
    merged: NDArray[np.bool_]


class Matching:
    """Matches true and found objects of one image after the other; compute() at any time.

    Args:
        thresholds: of IoU, reached when equalled
        min_score: found objects with a lower score count nowhere; without scores all count
        class_aware: only objects of one class match; else classes do not matter

    Raises:
        InputError: a threshold outside (0, 1], or a class map without a class of objects.
    """

    def __init__(
        self,
        classes: ClassMap,
        thresholds: Sequence[float] = THRESHOLDS,
        *,
        min_score: float = MIN_SCORE,
        class_aware: bool = True,
    ) -> None:
        if not thresholds or not all(0 < t <= 1 for t in thresholds):
            raise InputError(f"IoU thresholds are {tuple(thresholds)}; expected numbers above 0 and up to 1, as {THRESHOLDS}.")
        self.classes, self.thresholds = classes, tuple(float(t) for t in thresholds)
        self.min_score, self.class_aware = float(min_score), class_aware
        self.class_ids, names = object_classes(classes)
        self.names = names if class_aware else (ANY_CLASS,)
        self._levels = np.array([*self.thresholds, *IOUS])  # all matched in one pass
        self._tallies: list[NDArray[np.float64]] = []  # (T, 4, K) an image
        self._links = np.zeros((2, len(self.names)), np.int64)  # split, merged
        self._dsb: list[float] = []
        self._crowds = self._below = 0

    def __len__(self) -> int:
        return len(self._tallies)

    def update(self, truth: Instances, found: Instances) -> ImageMatch:
        """Add an image, and give back what became of its objects.

        Raises:
            InputError: other sizes or classes than the truth's, or a score that is no number.
        """
        check_pair(truth, found, self.classes)
        true, everything = Objects.of(truth), Objects.of(found)
        kept = self._kept(everything, scored=found.scores is not None)
        counted = everything.select(kept)
        overlap = self._candidates(counted, true)
        truth_of = self._taken(overlap, true.crowd, scored=found.scores is not None)
        linked = (overlap > LINK_IOU) & ~true.crowd
        split, merged = linked.sum(0) > 1, linked.sum(1) > 1
        rows = self._rows(true.class_ids), self._rows(counted.class_ids)
        self._links += [_count(row[of], len(self.names)) for row, of in zip(rows, (split, merged), strict=True)]
        self._add(_tally(truth_of, overlap, ~true.crowd, rows, len(self.names)))
        self._crowds += int(true.crowd.sum())
        self._below += int((~everything.crowd).sum()) - len(kept)
        return _described(truth_of[: len(self.thresholds)], true.crowd, split, merged, kept, len(everything))

    def compute(self) -> MatchScores:
        tally = self._stacked().sum(0)
        dsb = float(mean_known(np.array(self._dsb), 0))
        setting = self.names, self.thresholds, self.min_score, self.class_aware
        return MatchScores(*setting, len(self), self._crowds, self._below, tally, self._links[0], self._links[1], dsb)

    def statistics(self) -> Statistics:
        """Rates as a function of how often each image counts, in the order of updates, for intervals.bootstrap.

        Names: precision_50, recall_50, f1_50, mean_iou_50 and so on for each threshold; f1_50.<class>; dsb.
        """
        stacked, dsb = self._stacked(), np.array(self._dsb)
        known = ~np.isnan(dsb)

        def compute(weights: Weights) -> dict[str, NDArray[np.float64]]:
            tally = np.tensordot(weights.astype(np.float64), stacked, 1)  # (R, T, 4, K)
            whole, by_class = match_rates(tally.sum(-1, keepdims=True)), match_rates(tally)["f1"]
            named: dict[str, NDArray[np.float64]] = {}
            for t, threshold in enumerate(self.thresholds):
                named |= {f"{name}_{percent(threshold)}": values[:, t, 0] for name, values in whole.items()}
                named |= {f"f1_{percent(threshold)}.{name}": by_class[:, t, k] for k, name in enumerate(self.names)}
            times = weights[:, known].astype(np.float64)
            return named | {"dsb": ratio(times @ dsb[known], times.sum(1))}

        return compute

    def _stacked(self) -> NDArray[np.float64]:
        """(n, T, 4, K)"""
        return np.array(self._tallies, np.float64).reshape(len(self), len(self.thresholds), 4, len(self.names))

    def _kept(self, found: Objects, scored: bool) -> NDArray[np.intp]:
        """Positions of the found objects that count, by falling score."""
        # Scores are 32 bit: a limit of 0.7 has to be so as well, or a score of 0.7 lies below it.
        limit = float(np.float32(self.min_score)) if scored else -np.inf
        order = found.best_first()
        return order[(found.scores[order] >= limit) & ~found.crowd[order]]

    def _candidates(self, found: Objects, truth: Objects) -> NDArray[np.float64]:
        """Overlaps of the pairs that may match, (D, G); 0 for others."""
        overlap = overlaps(found, truth)
        return np.where(found.class_ids[:, None] == truth.class_ids, overlap, 0.0) if self.class_aware else overlap

    def _taken(self, overlap: NDArray[np.float64], crowd: NDArray[np.bool_], scored: bool) -> NDArray[np.int64]:
        """(levels, D) what each found object matches: a true one, EXTRA, or UNCOUNTED where that is a crowd."""
        if not scored:
            return by_overlap(overlap, self._levels, crowd)
        taken = by_score(overlap, self._levels, crowd[None], crowd)[0]
        of_crowd = np.append(crowd, False)[taken]  # EXTRA is the last place
        return np.where(of_crowd, UNCOUNTED, taken)

    def _rows(self, class_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of each object's class; 0 where classes do not matter."""
        row_of = {i: k if self.class_aware else 0 for k, i in enumerate(self.class_ids)}
        return np.array([row_of[i] for i in class_ids.tolist()], np.int64)

    def _add(self, tally: NDArray[np.float64]) -> None:
        given = len(self.thresholds)
        self._tallies.append(tally[:given].copy())
        counts = tally[given:, :3].sum(-1)  # (10, 3) matched, missed, extra
        self._dsb.append(float(mean_known(ratio(counts[:, 0], counts.sum(1)), 0)))


def _described(
    truth_of: NDArray[np.int64],
    crowd: NDArray[np.bool_],
    split: NDArray[np.bool_],
    merged: NDArray[np.bool_],
    kept: NDArray[np.intp],
    found: int,
) -> ImageMatch:
    """The same for all found objects, in the order in which they were given."""
    whole = np.full((len(truth_of), found), UNCOUNTED, np.int64)
    whole[:, kept] = truth_of
    missed = ~crowd & np.stack([~np.isin(np.arange(len(crowd)), row) for row in whole])
    merged_all = np.zeros(found, bool)
    merged_all[kept] = merged
    return ImageMatch(whole, missed, split, merged_all)


def _tally(
    truth_of: NDArray[np.int64],
    overlap: NDArray[np.float64],
    real: NDArray[np.bool_],
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    classes: int,
) -> NDArray[np.float64]:
    """(levels, 4, K) matched, missed, extra and the sum of the matched IoUs; rows are the classes of true and found objects."""
    tally = np.zeros((len(truth_of), 4, classes))
    for t, taken in enumerate(truth_of):
        pairs = np.flatnonzero(taken >= 0)
        partners = taken[pairs]
        tally[t, 0] = _count(rows[0][partners], classes)
        tally[t, 1] = _count(rows[0][real], classes) - tally[t, 0]
        tally[t, 2] = _count(rows[1][taken == EXTRA], classes)
        tally[t, 3] = np.bincount(rows[0][partners], weights=overlap[pairs, partners], minlength=classes)
    return tally


def _count(rows: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    return np.bincount(rows, minlength=classes).astype(np.int64)

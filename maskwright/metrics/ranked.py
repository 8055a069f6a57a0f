"""Everything found of a class in the order of its score, and the AP of any resample of the images from it, in numpy.

Who computes what: the scores of a data set come from faster-coco-eval (instances.AveragePrecision.compute). AP is no mean over
images, so intervals and scores of groups need it for many choices of images: here each found object is matched once, and a choice
of images only weighs the ranked list anew. Both give the same numbers; tests hold that to 1e-12.

Source: COCO's AP (Lin et al. 2014, arXiv:1405.0312), written from its description: the mean over 101 recalls of the highest
precision at that recall or above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskwright.metrics.boundary import mean_known
from maskwright.metrics.greedy import EXTRA, by_score
from maskwright.metrics.intervals import Statistics, Weights
from maskwright.metrics.objects import MASK, Objects, overlaps

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
LARGEST_PX = 1e10
SIZES_PX = {"all": (0, LARGEST_PX), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, LARGEST_PX)}
CHUNK_VALUES = 1 << 21  # weights of found objects held at a time: 16 MiB


@dataclass(frozen=True, eq=False)
class Ranked:
    """What was found of one class in n images, best score first, and what became of it; D found, A = 4 sizes, T = 10 IoUs.

    Shapes:
        image: (D,) which image
        place: (D,) how many of its class and image have a better score
        scores: (D,) falling
        hit: (A, T, D) bool, matched with a true object that counts
        uncounted: (A, T, D) bool, neither right nor wrong: matched with a crowd or an object of another size, or unmatched and
            of another size itself
        truths: (A, n) int64 true objects that count
    """

    image: NDArray[np.int64]
    place: NDArray[np.int64]
    scores: NDArray[np.float64]
    hit: NDArray[np.bool_]
    uncounted: NDArray[np.bool_]
    truths: NDArray[np.int64]

    def ap_and_recall(self, weights: Weights, size: str, most: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """AP and final recall at each IoU, for each row of how often every image counts.

        Shapes:
            weights: (R, n)
            most: found objects that count an image
            returns: two (T, R); nan in a row without a true object
        """
        a = list(SIZES_PX).index(size)
        rows = max(1, CHUNK_VALUES // max(1, len(self.image)))
        parts = [self._chunk(weights[k : k + rows], a, most) for k in range(0, len(weights), rows)]
        ap, recall = (np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True))
        return ap, recall

    def _chunk(self, weights: Weights, a: int, most: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        true = (weights @ self.truths[a]).astype(np.float64)
        true[true == 0] = np.nan
        scores = np.zeros((2, len(IOUS), len(weights)))
        before = np.zeros(0, np.int64)
        times = seen = np.zeros((len(weights), 0), np.int64)
        for t in range(len(IOUS)):
            counted = np.flatnonzero(~self.uncounted[a, t] & (self.place < most))
            if t == 0 or not np.array_equal(counted, before):  # often the same at every IoU: only crowds make a difference
                before, times = counted, weights[:, self.image[counted]]
                seen = np.cumsum(times, axis=1)
            hits = np.flatnonzero(self.hit[a, t, counted])
            scores[:, t] = _area(np.cumsum(times[:, hits], axis=1), seen[:, hits], true)
        return scores[0], scores[1]


def rank(records: Sequence[tuple[Objects, Objects]], class_ids: Sequence[int], kind: str = MASK, most: int = 100) -> list[Ranked]:
    """Match the found objects of every image by COCO's rule, and rank them; one a class.

    Args:
        records: (truth, found) of each image
        most: found objects of a class that count in an image
    """
    parts: dict[int, list[tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]]] = {i: [] for i in class_ids}
    where: dict[int, list[int]] = {i: [] for i in class_ids}
    truths = {i: np.zeros((len(SIZES_PX), len(records)), np.int64) for i in class_ids}
    for n, (truth, found) in enumerate(records):
        for class_id in np.union1d(truth.class_ids, found.class_ids).tolist():
            true = truth.select(np.flatnonzero(truth.class_ids == class_id))
            of_class = found.select(np.flatnonzero(found.class_ids == class_id))
            uncounted = _other_size(true.areas) | true.crowd
            truths[class_id][:, n] = (~uncounted).sum(1)
            parts[class_id].append(_matched(true, of_class.select(of_class.best_first()[:most]), uncounted, kind))
            where[class_id].append(n)
    return [_merged(parts[i], where[i], truths[i]) for i in class_ids]


def ap_statistics(ranked: Mapping[str, Ranked], most: int = 100, sizes: Sequence[str] = ("all",)) -> Statistics:
    """AP as a function of how often each image is counted, for intervals.bootstrap and group_scores.

    Names: ap, ap50, ap75, ar; ap.<class>, ap50.<class>, ap75.<class>; for further sizes ap_small, ar_small and so on.
    A class without a true object in a resample is left out of its means. An image drawn twice has each found object twice, which
    lifts AP a little where a class has few objects: with many such classes the intervals lie somewhat high and cover less.
    """

    def compute(weights: Weights) -> dict[str, NDArray[np.float64]]:
        named: dict[str, NDArray[np.float64]] = {}
        for size in sizes:
            ap, recall = (
                np.stack(of) for of in zip(*(r.ap_and_recall(weights, size, most) for r in ranked.values()), strict=True)
            )
            mean_ap, end = ap.mean(1), "" if size == "all" else f"_{size}"  # (K, R)
            named |= {f"ap{end}": mean_known(mean_ap, 0), f"ar{end}": mean_known(recall.mean(1), 0)}
            if size == "all":
                named |= {"ap50": mean_known(ap[:, 0], 0), "ap75": mean_known(ap[:, 5], 0)}
                for k, name in enumerate(ranked):
                    named |= {f"ap.{name}": mean_ap[k], f"ap50.{name}": ap[k, 0], f"ap75.{name}": ap[k, 5]}
        return named

    return compute


def group_scores(statistics: Statistics, groups: Sequence[str | None]) -> dict[str, dict[str, float]]:
    """Scores of the images of each group by themselves; images without a group are left out."""
    names = list(dict.fromkeys(g for g in groups if g is not None))
    weights = np.array([[g == name for g in groups] for name in names], np.int64).reshape(len(names), len(groups))
    scores = statistics(weights) if names else {}
    return {name: {score: float(values[k]) for score, values in scores.items()} for k, name in enumerate(names)}


def _matched(
    truth: Objects, found: Objects, uncounted: NDArray[np.bool_], kind: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Scores, hits and what counts nowhere among the found objects of one class and image; (A, T, D) the last two."""
    taken = by_score(overlaps(found, truth, kind), IOUS, uncounted, truth.crowd)
    missing = taken == EXTRA
    # Position EXTRA is the last column, which stands for "no true object".
    nothing = np.concatenate([uncounted, np.zeros((len(uncounted), 1), bool)], axis=1)
    of_uncounted = np.take_along_axis(nothing[:, None], np.where(missing, len(truth), taken), axis=2)
    dropped = of_uncounted | (missing & _other_size(found.extent(kind))[:, None])
    return found.scores, ~missing & ~of_uncounted, dropped


def _other_size(areas: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(A, N) whether an object is not of each size; both borders of a size belong to it."""
    low, high = np.array(list(SIZES_PX.values()), np.float64).T[..., None]
    return np.asarray((areas < low) | (areas > high), bool)


def _merged(
    parts: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]],
    where: Sequence[int],
    truths: NDArray[np.int64],
) -> Ranked:
    """All images of a class in one list, by falling score; of equal scores the earlier image comes first."""
    none = np.zeros((len(SIZES_PX), len(IOUS), 0), bool)
    counts = [len(scores) for scores, _, _ in parts]
    scores = np.concatenate([np.zeros(0), *(part[0] for part in parts)])
    order = np.argsort(-scores, kind="stable")
    image = np.repeat(np.array(where, np.int64), counts)
    place = np.concatenate([np.zeros(0, np.int64), *(np.arange(count) for count in counts)])
    hit, uncounted = (np.concatenate([none, *(part[k] for part in parts)], axis=2)[..., order] for k in (1, 2))
    return Ranked(image[order], place[order], scores[order], hit, uncounted, truths)


def _area(right: NDArray[np.int64], seen: NDArray[np.int64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """AP and final recall from the ranked hits alone: between them precision only falls, so no peak is lost.

    Shapes:
        right, seen: (R, H) hits, and found objects that count, up to each hit
        true: (R,) true objects, nan for none
        returns: (2, R)
    """
    if not right.shape[1]:
        return np.stack([np.where(np.isnan(true), np.nan, 0.0)] * 2)
    precision = right / np.maximum(seen, 1)  # a hit that counts no time stands before any that does
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = right / true[:, None]
    reached = np.searchsorted(RECALLS, recall.ravel(), side="right").reshape(recall.shape)  # recalls at or below
    ap = (np.diff(reached, axis=1, prepend=0) * best).sum(1) / len(RECALLS)
    return np.stack([np.where(np.isnan(true), np.nan, ap), recall[:, -1]])

"""How well objects were found: every image's true and found ones go to COCO's AP, the matches and panoptic quality."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from maskwright.data.dataset import Dataset, Pair
from maskwright.errors import InputError
from maskwright.evaluation.kept import Extremes
from maskwright.evaluation.object_result import ObjectEvaluation, ObjectScore
from maskwright.evaluation.pictures import compare_objects
from maskwright.instances import Instances
from maskwright.metrics import Interval, Panoptic, PanopticMap, bootstrap
from maskwright.metrics.coco_scores import SIZES
from maskwright.metrics.instances import MAX_DETS, AveragePrecision
from maskwright.metrics.intervals import RESAMPLES
from maskwright.metrics.matching import Matching
from maskwright.result import Segmentation
from maskwright.sample import Sample

Find = Callable[[Sample], Segmentation | Instances]

MANY = 300  # objects of a class that count where an image may hold more than COCO's 100
UNSCORED = "{} found objects state no score and count as sure (1): AP cannot rank them, F1 and panoptic quality need no ranks."


def score_objects(
    find: Find,
    dataset: Dataset,
    pairs: Sequence[Pair],
    *,
    split: str = "",
    predictions: str = "",
    intervals: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
    keep: int = 0,
    min_score: float = 0.5,
    progress: Callable[[int, int], None] | None = None,
) -> ObjectEvaluation:
    """Score what `find` says about each pair, at the truth's own size.

    Args:
        find: image (and truth) -> objects of dataset.classes with scores, all of them: COCO's AP ranks also what is unlikely
        min_score: of objects that are matched and counted
        the others: see scoring.score

    Raises:
        InputError: no pairs, a truth that does not tell objects apart, or objects of another size or of other classes.
    """
    if not pairs:
        raise InputError(f"{dataset.name}: no images; scoring needs images with their truth.")
    precision, matching = AveragePrecision(dataset.classes), Matching(dataset.classes, min_score=min_score)
    panoptic = Panoptic(dataset.classes)
    scores: list[ObjectScore] = []
    pictures = Extremes(keep)
    most = unscored = 0
    for done, pair in enumerate(pairs, start=1):
        sample = dataset.read(pair)
        truth, found = _checked(sample, find(sample))
        # AP ranks by scores; where none are stated all objects are equally sure.
        unscored += 0 if found.scores is not None else len(found)
        precision.update(truth, found if found.scores is not None else replace(found, scores=np.ones(len(found), np.float32)))
        scores.append(ObjectScore.of(sample, matching.update(truth, found)))
        panoptic.update(PanopticMap.of(truth), PanopticMap.of(found, min_score=min_score))
        most = max(most, *np.bincount(truth.class_ids, minlength=1).tolist())
        shown = found if found.scores is None else found.select(found.scores >= min_score)
        pictures.offer(scores[-1], partial(compare_objects, sample, shown, f"{sample.name}: {scores[-1].said}"))
        if progress:
            progress(done, len(pairs))
    if most > MAX_DETS[-1]:
        precision.max_dets = (1, 10, max(MANY, most))
    return ObjectEvaluation(
        dataset=dataset.name,
        split=split or " + ".join(dict.fromkeys(p.split for p in pairs)),
        predictions=predictions,
        classes=dataset.classes,
        masks=precision.compute("mask"),
        boxes=precision.compute("box"),
        matches=matching.compute(),
        panoptic=panoptic.compute(),
        per_image=tuple(scores),
        intervals=_intervals(precision, matching, panoptic, [s.group for s in scores], resamples if intervals else 0, seed),
        notes=(UNSCORED.format(unscored),) if unscored else (),
        pictures=pictures.kept(),
        kept=keep,
    )


def _checked(sample: Sample, answer: Segmentation | Instances) -> tuple[Instances, Instances]:
    found = answer.instances if isinstance(answer, Segmentation) else answer
    if sample.instances is None or found is None:
        which = "its truth does" if sample.instances is None else "the prediction does"
        raise InputError(f"{sample.name}: {which} not tell objects apart; score classes of pixels instead, or give objects.")
    return sample.instances, found


def _intervals(
    precision: AveragePrecision,
    matching: Matching,
    panoptic: Panoptic,
    groups: Sequence[str | None],
    resamples: int,
    seed: int,
) -> dict[str, Interval]:
    """Of all scores, each on the same resamples; without resamples the values alone."""
    masks, boxes = (
        bootstrap(precision.statistics(kind, sizes), groups, resamples=resamples, seed=seed)
        for kind, sizes in (("mask", SIZES), ("box", ("all",)))
    )
    matches, segments = (bootstrap(part.statistics(), groups, resamples=resamples, seed=seed) for part in (matching, panoptic))
    # All classes are things here: the scores of things are those of all, and of stuff there are none.
    quality = {name: interval for name, interval in segments.items() if not name.endswith(("_things", "_stuff"))}
    return {**masks, **{f"box_{name}": interval for name, interval in boxes.items()}, **matches, **quality}

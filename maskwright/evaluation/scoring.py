"""score(): masks of classes against a data set, image after image; nothing but the counts is kept. Training uses it too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.data.dataset import Dataset, Pair
from maskwright.errors import InputError
from maskwright.evaluation.kept import Extremes
from maskwright.evaluation.pictures import compare
from maskwright.evaluation.predictions import some
from maskwright.evaluation.result import Evaluation
from maskwright.metrics import (
    ImageScore,
    SemanticScores,
    bootstrap,
    boundary_f1,
    count_pairs,
    outline_tally,
    score_statistics,
    tally_of,
)
from maskwright.metrics.intervals import RESAMPLES
from maskwright.result import Segmentation
from maskwright.sample import Sample, size

Predict = Callable[[Sample], Segmentation | NDArray[Any]]
Progress = Callable[[int, int], None]


def score(
    predict: Predict,
    dataset: Dataset,
    pairs: Sequence[Pair],
    *,
    split: str = "",
    predictions: str = "",
    intervals: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
    keep: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Score what predict says about each pair, at the truth's own size.

    Args:
        predict: image (and truth) -> class ids of dataset.classes, (H, W); other ids count as wrong
        split, predictions: names for the report
        intervals: False leaves the bootstrap out, for validation during training
        keep: so many pictures of the worst and of the best images are kept
        progress: called with (scored, all) after each image

    Raises:
        InputError: no pairs, a pair without a mask, a prediction of another size or for other classes, or a file that
            cannot be read.
    """
    unlabelled = [p.name for p in pairs if not p.labelled]
    if unlabelled or not pairs:
        what = f"{len(unlabelled)} images have no mask ({some(unlabelled)})" if unlabelled else "no images"
        raise InputError(
            f"{dataset.name}: {what}; scoring needs images with their truth. Add the masks or leave these images out."
        )
    total = np.zeros((len(dataset.classes), len(dataset.classes) + 1), np.int64)
    ignored_px = 0
    scores: list[ImageScore] = []
    edges: list[NDArray[np.float64]] = []
    pictures = Extremes(keep)
    for done, pair in enumerate(pairs, start=1):
        sample = dataset.read(pair)
        truth, found = _checked(sample, predict(sample))
        matrix, ignored = count_pairs(truth, found, dataset.classes)
        total += matrix
        ignored_px += ignored
        outlines = boundary_f1(outline_tally(truth, found, dataset.classes))
        scores.append(ImageScore.of(pair.name, pair.group, tally_of(matrix), dataset.classes, outlines))
        edges.append(outlines)
        one = scores[-1]
        title = f"{one.name}: {one.said}"
        pictures.offer(one, partial(compare, sample, truth, found, title))
        if progress:
            progress(done, len(pairs))
    return Evaluation(
        dataset=dataset.name,
        split=split or _split_of(pairs),
        predictions=predictions,
        scores=SemanticScores.of(total, dataset.classes, ignored_px),
        per_image=tuple(scores),
        intervals=bootstrap(
            score_statistics(np.stack([s.tally for s in scores]), dataset.classes, np.stack(edges)),
            [s.group for s in scores],
            resamples=resamples if intervals else 0,
            seed=seed,
        ),
        pictures=pictures.kept(),
        kept=keep,
    )


def _checked(sample: Sample, answer: Segmentation | NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if sample.labels is None:
        raise InputError(f"{sample.name}: has no truth to be scored against.")
    if isinstance(answer, Segmentation) and answer.classes.ids != sample.classes.ids:
        raise InputError(
            f"{sample.name}: the prediction is for the class ids {answer.classes.ids}, the truth for {sample.classes.ids}; "
            f"give both the same class map with --classes."
        )
    found = answer.labels if isinstance(answer, Segmentation) else np.asarray(answer)
    if found.shape != sample.labels.shape:
        shown = size(found.shape) if found.ndim == 2 else f"of the shape {found.shape}"
        raise InputError(
            f"{sample.name}: the prediction is {shown}, the truth {size(sample.labels.shape)}; "
            f"scores are taken at the truth's size. Give predictions of that size."
        )
    return sample.labels, found


def _split_of(pairs: Sequence[Pair]) -> str:
    return " + ".join(dict.fromkeys(p.split for p in pairs))

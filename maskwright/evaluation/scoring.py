"""evaluate(): a run, a folder of masks or arrays against a data set; score(): the loop inside, which training uses too.

One image after the other is read, answered and counted; nothing but the counts is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, Pair
from maskwright.errors import InputError
from maskwright.evaluation.opening import Data, Given, Opening, choose_split, described, open_data, predictor_of
from maskwright.evaluation.pictures import compare
from maskwright.evaluation.predictions import PredictionFolder, some
from maskwright.evaluation.result import Evaluation, check_free
from maskwright.inference.predictor import Predictor
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


def evaluate(
    predictions: Given,
    data: Data,
    *,
    split: str | None = None,
    classes: ClassMap | Path | str | None = None,
    images: str | None = None,
    masks: str | None = None,
    group: str | None = None,
    holdout_groups: Sequence[str] = (),
    snap: bool = False,
    missing_as_wrong: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
    keep: int = 8,
    device: str = "auto",
    exact: bool = False,
    tile: int | None = None,
    flips: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a run or anybody's predictions, with intervals and with every convention said.

    Args:
        predictions: a run folder, a .safetensors file or a Predictor; a folder of mask files, paired with the images by
            name; or arrays of class ids (H, W), one an image, in the order of the data
        data: a folder, a Dataset, or (images, masks) as two lists
        split: default: held-out if groups were held out, test if the data has one, else val, else everything
        classes, images, masks, group, snap: how the data is opened, see open_dataset
        holdout_groups: groups to score as split held-out; default: those that the run held out of this data
        missing_as_wrong: an image without a prediction file counts as wrong instead of being an error
        out: folder for evaluation.json and the pictures of the `keep` worst and best images, or a .json file
        device, exact, tile, flips: how the run predicts, see Predictor
        resamples, seed: of the bootstrap
        progress: called with (scored, all) after each image

    Raises:
        InputError, FormatError: data or predictions cannot be used; the message names the file.
        CheckpointError: the run cannot be loaded.
    """
    predictor = predictor_of(predictions, device=device, exact=exact, tile=tile, flips=flips)
    dataset, seen = open_data(data, Opening(classes, images, masks, group, snap, holdout_groups), predictions, predictor)
    pairs, chosen, notes = choose_split(dataset, split, ((predictor.manifest.scores or {}).get("split") if predictor else None))
    if out is not None and not overwrite:
        check_free(out)
    folder = None
    if isinstance(predictions, (str, Path)) and predictor is None:
        folder = PredictionFolder.open(Path(predictions), dataset, pairs, missing_as_wrong=missing_as_wrong)
    predict = folder or (_of_model(predictor) if predictor else _of_arrays(predictions, pairs))
    evaluation = score(
        predict,
        dataset,
        pairs,
        split=chosen,
        predictions=described(predictions, predictor),
        resamples=resamples,
        seed=seed,
        keep=keep if out is not None and Path(out).suffix != ".json" else 0,
        progress=progress,
    )
    evaluation = replace(evaluation, notes=(*notes, *seen, *(folder.notes if folder else ())))
    if out is not None:
        evaluation.save(out, overwrite=overwrite)
    return evaluation


def _of_model(predictor: Predictor) -> Predict:
    return lambda sample: predictor(sample.image)


def _of_arrays(given: Any, pairs: Sequence[Pair]) -> Predict:
    if not isinstance(given, Sequence) and not isinstance(given, np.ndarray):
        raise InputError(
            f"predictions were given as {type(given).__name__}; expected a run, a folder of masks, or a list of arrays (H, W)."
        )
    if len(given) != len(pairs):
        raise InputError(f"{len(given)} predictions for {len(pairs)} images; give one an image, in the order of the data.")
    number = {pair.name: k for k, pair in enumerate(pairs)}
    return lambda sample: np.asarray(given[number[sample.name]])


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
    unlabelled = [p.name for p in pairs if p.mask is None]
    if unlabelled or not pairs:
        what = f"{len(unlabelled)} images have no mask ({some(unlabelled)})" if unlabelled else "no images"
        raise InputError(
            f"{dataset.name}: {what}; scoring needs images with their truth. Add the masks or leave these images out."
        )
    total = np.zeros((len(dataset.classes), len(dataset.classes) + 1), np.int64)
    ignored_px = 0
    scores: list[ImageScore] = []
    edges: list[NDArray[np.float64]] = []
    pictures = _Extremes(keep)
    for done, pair in enumerate(pairs, start=1):
        sample = dataset.read(pair)
        truth, found = _checked(sample, predict(sample))
        matrix, ignored = count_pairs(truth, found, dataset.classes)
        total += matrix
        ignored_px += ignored
        outlines = boundary_f1(outline_tally(truth, found, dataset.classes))
        scores.append(ImageScore.of(pair.name, pair.group, tally_of(matrix), dataset.classes, outlines))
        edges.append(outlines)
        pictures.offer(scores[-1], sample, truth, found)
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


class _Extremes:
    """Pictures of the `count` worst and best images so far, drawn as they pass: small, however large the images are."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.worst: dict[tuple[float, str], NDArray[np.uint8]] = {}
        self.best: dict[tuple[float, str], NDArray[np.uint8]] = {}

    def offer(self, score: ImageScore, sample: Sample, truth: NDArray[Any], found: NDArray[Any]) -> None:
        if not self.count or np.isnan(score.mean_dice):
            return
        key, picture = (score.mean_dice, score.name), None
        for kept, furthest in ((self.worst, max), (self.best, min)):
            if len(kept) == self.count and furthest([*kept, key]) == key:
                continue
            if picture is None:
                picture = compare(sample, truth, found, f"{score.name}: Dice {score.mean_dice:.4f}, IoU {score.mean_iou:.4f}")
            kept[key] = picture
            if len(kept) > self.count:
                del kept[furthest(kept)]

    def kept(self) -> dict[str, NDArray[np.uint8]]:
        return {name: picture for (_, name), picture in {**self.worst, **self.best}.items()}


def _split_of(pairs: Sequence[Pair]) -> str:
    return " + ".join(dict.fromkeys(p.split for p in pairs))

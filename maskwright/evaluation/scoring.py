"""evaluate(): a run, a folder of masks or arrays against a data set; score(): the loop inside, which training uses too.

One image after the other is read, answered and counted; nothing but the counts is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.coco_results import read_results
from maskwright.annotations.imagesize import image_hw
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, Pair
from maskwright.errors import InputError
from maskwright.evaluation.kept import Extremes, check_free
from maskwright.evaluation.object_result import ObjectEvaluation
from maskwright.evaluation.objects import Find, score_objects
from maskwright.evaluation.opening import Data, Given, Opening, choose_split, described, open_data, predictor_of
from maskwright.evaluation.pictures import compare
from maskwright.evaluation.predictions import PredictionFolder, some
from maskwright.evaluation.result import Evaluation
from maskwright.inference.backends import Precision
from maskwright.inference.predictor import Predictor
from maskwright.instances import Instances
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
AnyEvaluation = Evaluation | ObjectEvaluation


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
    runtime: str = "auto",
    precision: Precision = "auto",
    exact: bool = False,
    tile: int | None = None,
    flips: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> AnyEvaluation:
    """Score a run or anybody's predictions, with intervals and with every convention said.

    A model that finds objects is scored by its objects, and so are lists of Instances; all else by the class of each pixel.

    Args:
        predictions: a run folder, a .safetensors file or a Predictor; a folder of mask files, paired with the images by
            name; a .json file of COCO results; or arrays of class ids (H, W) or Instances, one an image, in the order of the data
        data: a folder, a Dataset, or (images, masks) as two lists
        split: default: held-out if groups were held out, test if the data has one, else val, else everything
        classes, images, masks, group, snap: how the data is opened, see open_dataset
        holdout_groups: groups to score as split held-out; default: those that the run held out of this data
        missing_as_wrong: an image without a prediction file counts as wrong instead of being an error
        out: folder for evaluation.json and the pictures of the `keep` worst and best images, or a .json file
        device, runtime, precision, exact, tile, flips: how the run predicts, see Predictor; scored is what predict takes for many
            images
        resamples, seed: of the bootstrap
        progress: called with (scored, all) after each image

    Raises:
        InputError, FormatError: data or predictions cannot be used; the message names the file.
        CheckpointError: the run cannot be loaded.
    """
    given = predictions
    predictor = predictor_of(
        predictions, device=device, runtime=runtime, precision=precision, exact=exact, tile=tile, flips=flips
    )
    if predictor is not None:
        predictor.prepare()
    results = Path(predictions) if isinstance(predictions, (str, Path)) and _is_results(Path(predictions)) else None
    objects = predictor.finds_objects if predictor else results is not None or _are_objects(predictions)
    how = Opening(classes, images, masks, group, snap, holdout_groups, objects or None)
    dataset, seen = open_data(data, how, predictions, predictor)
    pairs, chosen, notes = choose_split(dataset, split, ((predictor.manifest.scores or {}).get("split") if predictor else None))
    if out is not None and not overwrite:
        check_free(out)
    folder = None
    if results is not None and dataset.annotations is not None:
        sizes = {p.name: image_hw(p.image) for p in pairs if isinstance(p.image, Path)}
        by_name = read_results(results, dataset.annotations, sizes)
        predictions = [by_name[p.name] for p in pairs]
        notes = (*notes, f"{sum(not len(found) for found in predictions)} of the images have no result: nothing was found there.")
    elif isinstance(predictions, (str, Path)) and predictor is None:
        folder = PredictionFolder.open(Path(predictions), dataset, pairs, missing_as_wrong=missing_as_wrong)
    settings = _Settings(
        split=chosen,
        predictions=described(given, predictor),
        resamples=resamples,
        seed=seed,
        keep=keep if out is not None and Path(out).suffix != ".json" else 0,
        progress=progress,
    )
    evaluation: AnyEvaluation
    if objects:
        evaluation = score_objects(_finding(predictor, predictions, pairs), dataset, pairs, **settings)
    else:
        predict = folder or (_of_model(predictor) if predictor else _of_arrays(predictions, pairs))
        evaluation = score(predict, dataset, pairs, **settings)
    evaluation = replace(evaluation, notes=(*notes, *seen, *(folder.notes if folder else ())))
    if out is not None:
        evaluation.save(out, overwrite=overwrite)
    return evaluation


def _of_model(predictor: Predictor) -> Predict:
    return lambda sample: predictor(sample.image)


class _Settings(TypedDict):
    split: str
    predictions: str
    resamples: int
    seed: int
    keep: int
    progress: Progress | None


def _is_results(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".json"


def _are_objects(given: Any) -> bool:
    return isinstance(given, Sequence) and bool(given) and isinstance(given[0], Instances)


def _finding(predictor: Predictor | None, given: Any, pairs: Sequence[Pair]) -> Find:
    """Objects of an image: a model's, all of them, since scores rank what is unlikely too; or the list's."""
    if predictor is not None:
        return lambda sample: predictor.all_objects(sample.image)
    number = {pair.name: k for k, pair in enumerate(_counted(given, pairs))}
    return lambda sample: given[number[sample.name]]


def _of_arrays(given: Any, pairs: Sequence[Pair]) -> Predict:
    if not isinstance(given, Sequence) and not isinstance(given, np.ndarray):
        raise InputError(
            f"predictions were given as {type(given).__name__}; expected a run, a folder of masks, or a list of arrays (H, W)."
        )
    number = {pair.name: k for k, pair in enumerate(_counted(given, pairs))}
    return lambda sample: np.asarray(given[number[sample.name]])


def _counted(given: Any, pairs: Sequence[Pair]) -> Sequence[Pair]:
    if len(given) != len(pairs):
        raise InputError(f"{len(given)} predictions for {len(pairs)} images; give one an image, in the order of the data.")
    return pairs


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

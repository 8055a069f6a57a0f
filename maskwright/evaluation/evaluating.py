"""evaluate(): whatever was given as predictions, against whatever is the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from maskwright.annotations.formats import detect
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, Pair
from maskwright.errors import InputError
from maskwright.evaluation.kept import check_free
from maskwright.evaluation.object_predictions import kind_of, open_objects
from maskwright.evaluation.object_result import ObjectEvaluation
from maskwright.evaluation.objects import Find, score_objects
from maskwright.evaluation.opening import Data, Given, Opening, choose_split, described, open_data, predictor_of
from maskwright.evaluation.predictions import PredictionFolder
from maskwright.evaluation.result import Evaluation
from maskwright.evaluation.scoring import Predict, Progress, score
from maskwright.inference.backends import Precision
from maskwright.inference.freed import reusing_memory
from maskwright.inference.predictor import Predictor
from maskwright.instances import Instances
from maskwright.metrics.intervals import RESAMPLES

AnyEvaluation = Evaluation | ObjectEvaluation


@reusing_memory()
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

    A model that finds objects is scored by its objects, and so are lists of Instances, files of objects, and folders that hold
    some where the truth tells objects apart; all else by the class of each pixel.

    Args:
        predictions: a run folder, a .safetensors file or a Predictor; a folder of mask files or of annotations of objects, or one
            such file or one of COCO results, paired with the images by name; or arrays of class ids (H, W) or Instances, one an
            image, in the order of the data
        data: a folder, a Dataset, or (images, masks) as two lists
        split: default: held-out if groups were held out, test if the data has one, else val, else everything
        classes, images, masks, group, snap: how the data is opened, see open_dataset
        holdout_groups: groups to score as split held-out; default: those that the run held out of this data
        missing_as_wrong: an image without a prediction counts as wrong (as one without objects) instead of being an error
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
    path = Path(predictions) if isinstance(predictions, (str, Path)) and predictor is None else None
    kind = kind_of(path) if path is not None and (path.is_file() or _tells_objects(data, masks)) else ""
    objects = predictor.finds_objects if predictor else bool(kind) or _are_objects(predictions)
    how = Opening(classes, images, masks, group, snap, holdout_groups, objects or None)
    dataset, seen = open_data(data, how, predictions, predictor)
    pairs, chosen, notes = choose_split(dataset, split, ((predictor.manifest.scores or {}).get("split") if predictor else None))
    if out is not None and not overwrite:
        check_free(out)
    folder = answers = None
    if path is not None and kind:
        answers = open_objects(path, kind, dataset, pairs, missing_as_wrong=missing_as_wrong)
    elif path is not None:
        folder = PredictionFolder.open(path, dataset, pairs, missing_as_wrong=missing_as_wrong)
        notes = (*notes, f"{path}: no objects here: scored as classes.") if dataset.annotations is not None else notes
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
        evaluation = score_objects(answers or _finding(predictor, predictions, pairs), dataset, pairs, **settings)
    else:
        predict = folder or (_of_model(predictor) if predictor else _of_arrays(predictions, pairs))
        evaluation = score(predict, dataset, pairs, **settings)
    read = folder or answers
    evaluation = replace(evaluation, notes=(*notes, *seen, *(read.notes if read else ()), *evaluation.notes))
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


def _tells_objects(data: Data, masks: str | None) -> bool:
    """Whether the truth has objects, unless its masks were asked for."""
    if isinstance(data, Dataset):
        return data.annotations is not None
    return isinstance(data, (str, Path)) and masks is None and bool(detect(Path(data)))


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

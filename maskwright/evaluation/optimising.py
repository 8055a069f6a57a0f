"""optimise(): measure how a run is quickest on this machine, and prepare int8 for it, scored before and after."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskwright.checkpoint import load_checkpoint, weights_hash
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset
from maskwright.errors import InputError
from maskwright.evaluation.objects import score_objects
from maskwright.evaluation.opening import Opening, open_data
from maskwright.evaluation.scoring import score
from maskwright.inference.agreement import refusals
from maskwright.inference.converting import free_axes, to_openvino
from maskwright.inference.decode import decode
from maskwright.inference.freed import reusing_memory
from maskwright.inference.labelling import EXAMPLE_HW
from maskwright.inference.measuring import Measurement, here, keep_measurement, measure
from maskwright.inference.objects import Detect, decode_objects
from maskwright.inference.predictor import Predictor
from maskwright.inference.prepared import NETWORK, keep_prepared
from maskwright.inference.probes import read_probes, spread
from maskwright.inference.quantising import MOST_DROP, SCORING, Quantisation, check_drop, quantised
from maskwright.inference.quantising_objects import quantised_objects
from maskwright.inference.runtimes import Run, require
from maskwright.inference.tiled import TILE_PX, in_pieces
from maskwright.instances import Instances
from maskwright.models.mask_rcnn.model import MaskRCNN
from maskwright.progress import Stages, of_stage
from maskwright.sample import Sample

CALIBRATED_ON = 64  # training images
OBJECTS_CALIBRATED_ON, OBJECTS_SCORED_ON = 16, 60  # objects take longer, and each of their graphs is scored by itself
SCORED_ON = 200  # validation images at most, each scored once in fp32 and once for every model that is tried


@dataclass(frozen=True)
class Optimised:
    """What optimise() found: of the runtimes, and of int8 where that was asked for."""

    run: Path
    measured: Measurement | None
    int8: Quantisation | None

    def to_json(self) -> dict[str, Any]:
        """Everything that was measured, as plain numbers and texts."""
        parts = {"runtimes": self.measured, "int8": self.int8}
        return {"run": str(self.run), **{name: part.to_dict() for name, part in parts.items() if part is not None}}

    def lines(self) -> list[str]:
        """For people, a sentence each."""
        ways = [*self.measured.lines(), *refusals(self.measured.ways)] if self.measured else []
        how = [self.int8.line(), "Use it with --precision int8."] if self.int8 else []
        return [*ways, *how]


@reusing_memory()
def optimise(
    run: str | Path,
    data: str | Path | Dataset | None = None,
    *,
    int8: bool = False,
    most_drop: float = MOST_DROP,
    classes: str | Path | ClassMap | None = None,
    progress: Stages | None = None,
) -> Optimised:
    """Measure every installed runtime on the run's probes and keep that for later predictions; prepare int8 where asked.

    Args:
        run: run folder
        data: for int8, the data that the run was trained on: its training images calibrate, those it was validated on decide
        int8: quantise, and write RUN/int8 if the score falls by less than most_drop
        most_drop: of the mean IoU, or of the mask AP of a model that finds objects; in [0, 1]
        progress: called with (what is being done, done, all)

    Raises:
        InputError: no probes and no int8 to prepare, int8 without data, a most_drop outside [0, 1], or the score falls too far.
        CheckpointError, MissingExtraError: the run cannot be loaded, or a package is missing.
    """
    check_drop("--most-drop", 100 * most_drop)
    run = Path(run)
    model, manifest = load_checkpoint(run)
    if int8 and data is None:
        raise InputError(f"{run}: int8 is calibrated and scored on images; give the data that the run was trained on.")
    probes = read_probes(run)
    if not probes and not int8:
        raise InputError(f"{run}: has no probes to measure on (it was trained by an earlier version); train again.")
    cpu = torch.device("cpu")
    measured = None
    if probes:
        measured = measure(model, manifest, cpu, probes, progress=lambda way: of_stage(progress, f"measuring {way}")(0, 1))
        keep_measurement(model, cpu, measured)
    if not int8 or data is None:
        return Optimised(run, measured, None)
    require("openvino")
    predictor = Predictor.load(run, cpu, exact=True)
    dataset, _ = open_data(data, Opening(classes=classes, objects=predictor.finds_objects or None), run, predictor)
    prepared = _prepared_objects if predictor.finds_objects else _prepared_network
    said = prepared(run, dataset, str((manifest.scores or {}).get("split", "val")), most_drop, progress)
    return Optimised(run, measured, said)


def _prepared_network(run: Path, dataset: Dataset, split: str, most_drop: float, progress: Stages | None) -> Quantisation:
    model, manifest = load_checkpoint(run)
    preprocess, classes = manifest.preprocessing(), manifest.class_map()
    fitted, pairs = dataset.split("train"), dataset.split(split)
    images = [_as_seen(preprocess(dataset.read(fitted[k]).image)[0]) for k in spread(len(fitted), CALIBRATED_ON)]
    scored = tuple(pairs[k] for k in spread(len(pairs), SCORED_ON))

    def mean_iou(network: Run) -> float:
        def predict(sample: Sample) -> NDArray[Any]:
            x, frame = preprocess(sample.image)
            return decode(in_pieces(lambda part: network(part)[0], x), frame, classes).labels

        found = score(predict, dataset, scored, intervals=False, progress=of_stage(progress, SCORING))
        return float(found.scores.mean_iou)

    whole = to_openvino(model.eval(), (torch.zeros(2, preprocess.channels, *EXAMPLE_HW),), (free_axes(0, 2, 3),))
    found, said = quantised(whole, [image.numpy() for image in images], mean_iou, most_drop, progress=progress)
    keep_prepared(run, {NETWORK: found}, said, weights=weights_hash(model), more=_how(split, len(scored)))
    return said


def _as_seen(x: Tensor) -> Tensor:
    """(1, C, h, w) as the network sees it; of an image that is larger than a tile the one in its middle."""
    for axis in (2, 3):
        length = min(x.shape[axis], TILE_PX)
        x = x.narrow(axis, (x.shape[axis] - length) // 2, length)
    return x.contiguous()


def _prepared_objects(run: Path, dataset: Dataset, split: str, most_drop: float, progress: Stages | None) -> Quantisation:
    model, manifest = load_checkpoint(run)
    if not isinstance(model, MaskRCNN):
        raise InputError(f"{run}: {manifest.model} finds objects in another way than Mask R-CNN; take bf16 or fp32.")
    preprocess, classes = manifest.preprocessing(), manifest.class_map()
    fitted, pairs = dataset.split("train"), dataset.split(split)
    images = [preprocess(dataset.read(fitted[k]).image)[0] for k in spread(len(fitted), OBJECTS_CALIBRATED_ON)]
    scored = tuple(pairs[k] for k in spread(len(pairs), OBJECTS_SCORED_ON))

    def mask_ap(detect: Detect) -> float:
        def find(sample: Sample) -> Instances:
            x, frame = preprocess(sample.image)
            return decode_objects(detect(x), frame, classes, name=sample.name)

        step = of_stage(progress, SCORING)
        return float(np.nan_to_num(score_objects(find, dataset, scored, intervals=False, progress=step).masks.ap))

    models, types, said = quantised_objects(model.eval(), images, mask_ap, most_drop, progress)
    more = {"types": types, **_how(split, len(scored))}
    keep_prepared(run, models, said, weights=weights_hash(model), more=more)
    return said


def _how(split: str, scored: int) -> dict[str, Any]:
    created = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    return {"split": split, "scored": scored, "machine": here(torch.device("cpu")), "created": created}

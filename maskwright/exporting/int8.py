"""The artefact in int8: calibrated on training images, as many of its layers as the score on the validation images allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskwright.data.dataset import Dataset, Pair
from maskwright.errors import InputError
from maskwright.evaluation.objects import score_objects
from maskwright.exporting.artefacts import named, openvino_model, save_openvino
from maskwright.exporting.objects import instances_of
from maskwright.inference.predictor import Predictor
from maskwright.inference.quantising import SCORING, numbers_of, quantised
from maskwright.inference.runtimes import Run
from maskwright.metrics import Confusion
from maskwright.progress import Report, Stages, of_stage

CALIBRATED_ON = 64  # training images


def write_int8(
    program: torch.export.ExportedProgram,
    file: Path,
    facts: Mapping[str, Any],
    outputs: tuple[str, ...],
    exact: Predictor,
    dataset: Dataset,
    pairs: Sequence[Pair],
    most_drop: float,
    progress: Stages | None = None,
) -> dict[str, Any]:
    """An OpenVINO model whose score on `pairs`, mean IoU or mask AP, is at most `most_drop` below that of fp32.

    Returns:
        what was measured, for the certificate

    Raises:
        InputError: see quantised; or images of more than 8 bits, or data without training images.
    """
    if facts["dtype"] != "uint8":
        raise InputError(f"int8 is calibrated on 8-bit images, these are {facts['dtype']}; take bf16 or fp32.")
    if "train" not in dataset.splits:
        # Calibrated on the images that judge it, the score would flatter it.
        raise InputError(
            f"{dataset.name}: has no split train, and int8 is calibrated on training images; give the data that the run was "
            f"trained on with --data, or take bf16 or fp32."
        )
    fitted = dataset.split("train")
    chosen = [fitted[k] for k in sorted(set(np.linspace(0, len(fitted) - 1, CALIBRATED_ON).astype(int).tolist()))]
    images = [dataset.read(pair).image for pair in chosen]
    if exact.finds_objects:
        # Where nothing is found the heads see nothing, which is no value to be calibrated on.
        images = [image for image in images if len(exact.all_objects(image))]
        if not images:
            raise InputError(f"int8 is calibrated on objects, and in {len(chosen)} images none was found; take bf16 or fp32.")
    scoring = of_stage(progress, SCORING)
    validate = _mask_ap_on(exact, dataset, pairs, scoring) if exact.finds_objects else _mean_iou_on(dataset, pairs, scoring)
    whole = openvino_model(program, outputs)
    never = numbers_of(whole) if exact.finds_objects else ()
    calibration = [image.pixels[None] for image in images]
    model, said = quantised(
        whole, calibration, validate, most_drop, never=never, beside="fp32", progress=progress
    )  # as it is certified
    save_openvino(named(model, outputs), file, facts, compress=False)
    return said.to_dict()


def _mean_iou_on(dataset: Dataset, pairs: Sequence[Pair], progress: Report) -> Callable[[Run], float]:
    def validate(run: Run) -> float:
        counted = Confusion(dataset.classes)
        for done, pair in enumerate(pairs, start=1):
            sample = dataset.read(pair)
            if sample.labels is not None:
                counted.update(sample.labels, run(torch.tensor(sample.image.pixels[None]))[0][0].numpy())
            progress(done, len(pairs))
        return float(counted.compute().mean_iou)

    return validate


def _mask_ap_on(exact: Predictor, dataset: Dataset, pairs: Sequence[Pair], progress: Report) -> Callable[[Run], float]:
    def validate(run: Run) -> float:
        found = score_objects(
            lambda sample: instances_of(run(torch.tensor(sample.image.pixels[None])), sample.image, exact),
            dataset,
            pairs,
            intervals=False,
            progress=progress,
        )
        return float(np.nan_to_num(found.masks.ap))

    return validate

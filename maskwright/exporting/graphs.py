"""From a checkpoint to the traced graph of an artefact, and what its outputs are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, Pair
from maskwright.errors import InputError
from maskwright.exporting.artefacts import TARGETS, WIDENED_FOR_OPENVINO, InBfloat16, Target, save_openvino
from maskwright.exporting.pixels import Pixels
from maskwright.inference.converting import free_axes, openvino_of, traced
from maskwright.inference.graph import PixelGraph
from maskwright.inference.object_graph import OUTPUTS, ObjectGraph
from maskwright.inference.predictor import Predictor
from maskwright.inference.quantising import quantised
from maskwright.inference.runtimes import Run
from maskwright.metrics import Confusion
from maskwright.published import load_model

Ports = Mapping[str, tuple[str, tuple[int, ...]]]  # name -> number type and lengths, -1 where they are free
CALIBRATED_ON = 64  # training images


def outputs_of(exact: Predictor) -> Ports:
    """What the artefact of a model gives."""
    if not exact.finds_objects:
        return {"labels": (exact.classes.dtype.name, (-1, -1, -1))}
    boxes, scores, labels, masks = OUTPUTS
    return {
        boxes: ("float32", (-1, 4)),
        scores: ("float32", (-1,)),
        labels: ("int64", (-1,)),
        masks: ("float32", (-1, 28, 28)),
    }


def check_objects(exact: Predictor, to: str, precision: str) -> None:
    """Refuse what a model that finds objects cannot be exported to.

    Raises:
        InputError: int8 is for classes of pixels, and so is bf16 in a .pt2: coordinates of boxes need more digits.
    """
    if exact.finds_objects and (precision == "int8" or (to, precision) == ("torch", "bf16")):
        raise InputError(f"{exact.manifest.model} finds objects; export it in fp32, or with --to onnx or openvino also in bf16.")


def traced_graph(
    target: Target, run: str | Path, exact: Predictor, pixels: Pixels, precision: str
) -> torch.export.ExportedProgram:
    """The whole way from stored pixels to ids or objects, with free sizes."""
    model, _ = load_model(run)
    if exact.finds_objects:
        objects = ObjectGraph(model, exact.preprocess, exact.classes, value_range=pixels.value_range)  # type: ignore[arg-type]
        return traced(objects, (pixels.example()[:1],), (free_axes(1, 2),))
    net = InBfloat16(model) if (target.file, precision) == ("model.pt2", "bf16") else model
    graph = PixelGraph(net, exact.preprocess, exact.classes, value_range=pixels.value_range)
    wide = WIDENED_FOR_OPENVINO.get(pixels.dtype, pixels.dtype) if target is TARGETS["openvino"] else pixels.dtype
    return traced(graph, (replace(pixels, dtype=wide).example(),), (free_axes(0, 1, 2),))


def write_int8(
    program: torch.export.ExportedProgram,
    file: Path,
    facts: Mapping[str, Any],
    dataset: Dataset,
    pairs: tuple[Pair, ...],
    most_drop: float,
) -> dict[str, Any]:
    """An OpenVINO model in int8, calibrated on training images, as many layers as the validation images allow.

    Returns:
        what was measured, for the certificate

    Raises:
        InputError: see quantised; or images of more than 8 bits.
    """
    if facts["dtype"] != "uint8":
        raise InputError(f"int8 is calibrated on 8-bit images, these are {facts['dtype']}; take bf16 or fp32.")
    fitted = dataset.split("train") if "train" in dataset.splits else pairs
    chosen = [fitted[k] for k in sorted(set(np.linspace(0, len(fitted) - 1, CALIBRATED_ON).astype(int).tolist()))]
    calibration = [dataset.read(pair).image.pixels[None] for pair in chosen]
    model, said = quantised(openvino_of(program), calibration, _mean_iou_on(dataset, pairs, dataset.classes), most_drop)
    for port, name in ((model.inputs[0], "image"), (model.outputs[0], "labels")):
        port.get_tensor().set_names({name})
    save_openvino(model, file, facts, compress=False)
    return said.to_dict()


def _mean_iou_on(dataset: Dataset, pairs: tuple[Pair, ...], classes: ClassMap) -> Callable[[Run], float]:
    def validate(run: Run) -> float:
        counted = Confusion(classes)
        for pair in pairs:
            sample = dataset.read(pair)
            if sample.labels is not None:
                counted.update(sample.labels, run(torch.tensor(sample.image.pixels[None]))[0][0].numpy())
        return float(counted.compute().mean_iou)

    return validate

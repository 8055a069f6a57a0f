"""Guarded int8 for a network of objects: one graph after the other, each as far as the score of the whole allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskwright.errors import InputError
from maskwright.inference.conversions import openvino_model
from maskwright.inference.machine import Cpu, computes_bf16
from maskwright.inference.object_parts import GRAPHS, detect_by, graphs_of, parts_of
from maskwright.inference.objects import Detect
from maskwright.inference.quantising import MOST_DROP, Quantisation, layers_of, quantised
from maskwright.inference.runtimes import Run, on_openvino
from maskwright.models.mask_rcnn.model import MaskRCNN
from maskwright.models.mask_rcnn.parts import Parts
from maskwright.progress import Stages

if TYPE_CHECKING:
    import openvino

ROUNDED = ("look", "boxes")  # OpenVINO 2026.4 crashes where it compiles a mask head in int8; it stays in the type beside
MOST_CROPS = 64  # of an image, to calibrate a head on


def quantised_objects(
    net: MaskRCNN,
    images: Sequence[Tensor],
    validate: Callable[[Detect], float],
    most_drop: float = MOST_DROP,
    progress: Stages | None = None,
) -> tuple[dict[str, openvino.Model], dict[str, str], Quantisation]:
    """The graphs with ROUNDED in int8, as many of their layers as the score allows, and what was measured.

    A graph that cannot be rounded at all stays in fp32.

    Args:
        images: prepared, (1, C, h, w) each, to calibrate on
        validate: the score of a way to find objects; higher is better
        most_drop: by how much the score may fall, of all graphs together
        progress: see quantised

    Returns:
        the graphs by name, the number type of each ("int8", "bf16" or "fp32"), and the measurement of all

    Raises:
        InputError: there are no images, or no graph can be rounded.
        MissingExtraError: nncf is not installed.
    """
    if not images:
        raise InputError("int8 has to be calibrated on images, there are none; give the data that the model was trained on.")
    threads = torch.get_num_threads()
    models = {name: openvino_model(*graph) for name, graph in graphs_of(net).items()}
    types = dict.fromkeys(GRAPHS, "fp32")
    runs: dict[str, Run] = {name: on_openvino(model, "fp32", threads=threads) for name, model in models.items()}
    before = after = validate(_detect(net, runs))
    if computes_bf16(Cpu()):
        types["masks"], runs["masks"] = "bf16", on_openvino(models["masks"], "bf16", threads=threads)
    seen, kept = _inputs_of(net, images), []
    layers = {name: layers_of(models[name]) for name in ROUNDED}
    for name in ROUNDED:

        def score(run: Run, name: str = name) -> float:
            return validate(_detect(net, {**runs, name: run}))

        try:
            if not seen[name]:
                raise InputError("no image has objects to calibrate on.")
            models[name], said = quantised(
                models[name], seen[name], score, most_drop, before=before, threads=threads, progress=progress
            )
        except InputError:
            kept += [f"{name} {layer}" for layer in layers[name]]
            continue
        runs[name], types[name], after = on_openvino(models[name], "int8", threads=threads), "int8", said.after
        kept += [f"{name} {layer}" for layer in said.kept]
    if "int8" not in types.values():
        raise InputError(f"int8 costs more than {100 * most_drop:g} points in each part of the network; take bf16 or fp32.")
    return models, types, Quantisation(before, after, most_drop, len(images), sum(map(len, layers.values())), tuple(kept))


def _detect(net: MaskRCNN, runs: dict[str, Run]) -> Detect:
    return detect_by(net, parts_of(*(runs[name] for name in GRAPHS)))


def _inputs_of(net: MaskRCNN, images: Sequence[Tensor]) -> dict[str, list[list[NDArray[Any]]]]:
    """What each graph gets of each image, a head MOST_CROPS crops at most; no entry where an image has none."""
    seen: dict[str, list[list[NDArray[Any]]]] = {name: [] for name in ROUNDED}

    def watched(name: str, part: Callable[..., Any]) -> Callable[..., Any]:
        def call(given: Tensor) -> Any:
            if len(given):
                some = (
                    given if name == "look" else given[:: -(-len(given) // MOST_CROPS)].permute(0, 2, 3, 1)
                )  # as it takes crops
                seen[name].append([np.ascontiguousarray(some.numpy())])
            return part(given)

        return call

    detect = detect_by(net, Parts(watched("look", net.look), watched("boxes", net.box_head), net.mask_head.of_classes))
    for image in images:
        detect(image)
    return seen

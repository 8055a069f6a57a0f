"""From a checkpoint to the traced graph of an artefact, and what its outputs are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges

from maskwright.errors import InputError
from maskwright.exporting.artefacts import TARGETS, WIDENED_FOR_OPENVINO, InBfloat16, Target
from maskwright.exporting.pixels import Pixels
from maskwright.inference.converting import free_axes, traced
from maskwright.inference.graph import PixelGraph
from maskwright.inference.object_graph import OUTPUTS, ObjectGraph
from maskwright.inference.predictor import Predictor
from maskwright.published import load_model

Ports = Mapping[str, tuple[str, tuple[int, ...]]]  # name -> number type and lengths, -1 where they are free


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
        InputError: bf16 in a .pt2 is for classes of pixels: coordinates of boxes need more digits.
    """
    if exact.finds_objects and (to, precision) == ("torch", "bf16"):
        raise InputError(f"{exact.manifest.model} finds objects; export it --to torch in fp32, or --to onnx or openvino in bf16.")


def traced_graph(
    target: Target, run: str | Path, exact: Predictor, pixels: Pixels, precision: str
) -> torch.export.ExportedProgram:
    """The whole way from stored pixels to ids or objects, with free sizes."""
    model, _ = load_model(run)
    if exact.finds_objects:
        objects = ObjectGraph(model, exact.preprocess, exact.classes, value_range=pixels.value_range)  # type: ignore[arg-type]
        program = traced(objects, (pixels.example()[:1],), (free_axes(1, 2),))
        return of_every_size(program) if target is TARGETS["torch"] else program
    net = InBfloat16(model) if (target.file, precision) == ("model.pt2", "bf16") else model
    graph = PixelGraph(net, exact.preprocess, exact.classes, value_range=pixels.value_range)
    wide = WIDENED_FOR_OPENVINO.get(pixels.dtype, pixels.dtype) if target is TARGETS["openvino"] else pixels.dtype
    program = traced(graph, (replace(pixels, dtype=wide).example(),), (free_axes(0, 1, 2),))
    return of_every_size(program) if target is TARGETS["torch"] else program


def of_every_size(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The same graph without the lengths that the tracer demands; it is changed in place.

    To choose how results lie in memory the tracer tells one from several, of pixels and of objects, and then refuses what comes
    to one: sides up to 32 px where the stride is 32, images with one object or none. No answer depends on it.
    """
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    given = [n for n in program.graph.nodes if n.op == "placeholder" and n.name in program.graph_signature.user_inputs]
    free = [n.node.expr for node in given for n in node.meta["val"].shape if isinstance(n, torch.SymInt)]
    program.range_constraints.update(dict.fromkeys(free, ValueRanges(1, int_oo)))
    return program

"""The files of each target: written from a graph, and run by the target's own package alone, as its users will.

Nothing is pickled: ONNX and OpenVINO files hold no pickle, and a .pt2 of torch.export is a zip of raw weights and JSON (its only
one would be the example inputs, which are left out).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskwright.errors import InputError, MissingExtraError
from maskwright.inference.conversions import save_openvino_model
from maskwright.inference.converting import onnx_of, openvino_of
from maskwright.inference.lean import KERNEL_AXES, in_type
from maskwright.inference.rewriting import near_in_bf16
from maskwright.inference.rounding import diffused, diffused_transposed
from maskwright.inference.telemetry import openvino_core, without_telemetry

if TYPE_CHECKING:
    import onnx

Arrays = tuple[NDArray[Any], ...]
Answer = Callable[[NDArray[Any]], Arrays]  # (B, H, W, C) as stored to the graph's outputs
INPUT = "image"
WIDENED_FOR_OPENVINO = {"uint16": "int32"}  # its importer does not know the type; the model takes it all the same


@dataclass(frozen=True)
class Target:
    """A kind of artefact.

    Attributes:
        file: its name in the folder
        packages: what writing and running it needs, and the extra that brings each
        precisions: number types that it can be had in
        write: (traced graph, file, facts about the model, names of the outputs, precision)
        load: (file, precision) to what answers
    """

    file: str
    packages: Mapping[str, str]
    precisions: tuple[str, ...]
    write: Callable[[torch.export.ExportedProgram, Path, Mapping[str, Any], tuple[str, ...], str], None]
    load: Callable[[Path, str], Answer]


class InBfloat16(nn.Module):
    """A network whose weights and sums are bf16, between fp32 borders."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = in_type(net, torch.bfloat16)

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.net(image.bfloat16())
        return answer.float()


def target_of(name: str, precision: str) -> Target:
    """The row of a target, whose packages are there.

    Raises:
        InputError: an unknown target, or a precision that it cannot be had in. MissingExtraError: a package is missing.
    """
    if name not in TARGETS:
        raise InputError(f"--to {name!r} is unknown; known: {', '.join(TARGETS)}.")
    target = TARGETS[name]
    if precision not in target.precisions:
        raise InputError(f"--precision {precision!r} cannot be had with --to {name}; known: {', '.join(target.precisions)}.")
    for package, extra in target.packages.items():
        if find_spec(package) is None:
            raise MissingExtraError(package, extra, f"an export to {name}")
    return target


def write_onnx(
    program: torch.export.ExportedProgram, file: Path, facts: Mapping[str, Any], outputs: tuple[str, ...], precision: str
) -> None:
    """The graph with the facts as metadata_props; with bf16 its large weights are stored so, and widened when it is loaded."""
    model = onnx_of(program, inputs=[INPUT], outputs=outputs)
    if precision == "bf16":
        _store_as_bf16(model)
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))
    file.write_bytes(model.SerializeToString())


def write_openvino(
    program: torch.export.ExportedProgram, file: Path, facts: Mapping[str, Any], outputs: tuple[str, ...], precision: str
) -> None:
    """model.xml and model.bin with the facts in rt_info; with bf16 the weights are stored as fp16, which is half of them."""
    openvino = without_telemetry("openvino", "an export to openvino")
    model = openvino_model(program, outputs)
    if precision == "bf16":
        near_in_bf16(model)
    if len(outputs) == 1 and facts["dtype"] in WIDENED_FOR_OPENVINO:
        steps = openvino.preprocess.PrePostProcessor(model)
        steps.input(0).tensor().set_element_type(openvino.Type(np.dtype(facts["dtype"])))
        model = steps.build()
    save_openvino(named(model, outputs), file, facts, compress=precision == "bf16")


def openvino_model(program: torch.export.ExportedProgram, outputs: tuple[str, ...]) -> Any:
    """A traced graph as an openvino.Model."""
    if len(outputs) == 1:
        return openvino_of(program)
    # What ends in as many objects as there are, its importer of traced graphs cannot follow; that of ONNX can.
    stored = onnx_of(program, inputs=[INPUT], outputs=outputs).SerializeToString()
    return openvino_core("an export to openvino").read_model(stored)


def named(model: Any, outputs: tuple[str, ...]) -> Any:
    """An openvino.Model whose ports have their names."""
    model.inputs[0].get_tensor().set_names({INPUT})
    for port, name in zip(model.outputs, outputs, strict=True):
        port.get_tensor().set_names({name})
    return model


def save_openvino(model: Any, file: Path, facts: Mapping[str, Any], *, compress: bool) -> None:
    for key, value in facts.items():
        model.set_rt_info(value if isinstance(value, str) else json.dumps(value), ["maskwright", key])
    save_openvino_model(model, file, compress=compress)


def write_torch(
    program: torch.export.ExportedProgram, file: Path, facts: Mapping[str, Any], _outputs: tuple[str, ...], _precision: str
) -> None:
    """A .pt2 archive with the facts as extra file classes.json."""
    program.example_inputs = None
    # Written by torch itself to a disk that is full, it would end the process.
    archive = BytesIO()
    torch.export.save(program, archive, extra_files={"classes.json": json.dumps(facts)})
    file.write_bytes(archive.getbuffer())


def load_onnx(file: Path, _precision: str) -> Answer:
    session = import_module("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda image: tuple(session.run(None, {INPUT: image}))


def load_openvino(file: Path, precision: str) -> Answer:
    core = openvino_core("an export to openvino")
    hint = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}
    compiled = core.compile_model(core.read_model(file), "CPU", hint)

    def answer(image: NDArray[Any]) -> Arrays:
        found = compiled(image)
        return tuple(np.array(found[port]) for port in compiled.outputs)

    return answer


def load_torch(file: Path, _precision: str) -> Answer:
    module = torch.export.load(file).module()

    def answer(image: NDArray[Any]) -> Arrays:
        with torch.inference_mode():
            found = module(torch.tensor(image))
        return tuple(t.numpy() for t in (found if isinstance(found, tuple) else (found,)))

    return answer


def _store_as_bf16(model: onnx.ModelProto) -> None:
    """Large fp32 weights become bf16 with a Cast behind them: half the file, computed in fp32."""
    import onnx
    from onnx import numpy_helper

    casts = []
    layers = {node.input[1]: node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")}
    for weight in model.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or np.prod(weight.dims) < LEAST_WEIGHTS:
            continue
        name = weight.name
        values, layer = torch.from_numpy(numpy_helper.to_array(weight).copy()), layers.get(name)
        if layer is not None and values.ndim == KERNEL_AXES:
            strides = next((tuple(a.ints) for a in layer.attribute if a.name == "strides"), (1, 1))
            turned = layer.op_type == "ConvTranspose"
            rounded = diffused_transposed(values, strides, torch.bfloat16) if turned else diffused(values, torch.bfloat16)
        else:
            rounded = values.bfloat16()
        bits = rounded.view(torch.int16).numpy().tobytes()
        weight.CopyFrom(
            onnx.TensorProto(data_type=onnx.TensorProto.BFLOAT16, dims=weight.dims, raw_data=bits, name=f"{name}_bf16")
        )
        casts.append(onnx.helper.make_node("Cast", [weight.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])


LEAST_WEIGHTS = 1024  # of a tensor that is worth a conversion

TARGETS = {
    "onnx": Target(
        "model.onnx",
        {"onnx": "export", "onnxscript": "export", "onnxruntime": "export"},
        ("fp32", "bf16"),
        write_onnx,
        load_onnx,
    ),
    "openvino": Target("model.xml", {"openvino": "fast"}, ("fp32", "bf16", "int8"), write_openvino, load_openvino),
    "torch": Target("model.pt2", {}, ("fp32", "bf16"), write_torch, load_torch),
}

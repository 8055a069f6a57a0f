"""From a torch module to an OpenVINO model or an ONNX model, in memory, with free batch, height and width.

Both go through torch.export, so what is converted is the module as Python runs it, traced once; the networks are written so that
nothing in them asks whether two sizes are equal (models/sizes.py). What OpenVINO's importer does not know is added to it here:
the antialiased resizing of images and the arithmetic of free sizes.
"""

from __future__ import annotations

import logging
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from maskwright.errors import InputError, MissingExtraError
from maskwright.inference.rewriting import rewritten
from maskwright.inference.telemetry import without_telemetry

if TYPE_CHECKING:
    import onnx
    import openvino

Dynamic = Sequence[Mapping[int, Any] | None]


def free_axes(*axes: int) -> dict[int, Any]:
    """What `dynamic` takes for an input whose axes of these numbers may have any length."""
    return dict.fromkeys(axes, torch.export.Dim.DYNAMIC)


def to_openvino(module: nn.Module, example: Sequence[Tensor], dynamic: Dynamic | None = None) -> openvino.Model:
    """The module as an OpenVINO model, weights in fp32; see traced and openvino_of."""
    return openvino_of(traced(module, example, dynamic))


def to_onnx(module: nn.Module, example: Sequence[Tensor], dynamic: Dynamic | None = None) -> onnx.ModelProto:
    """The module as an ONNX model; see traced and onnx_of."""
    return onnx_of(traced(module, example, dynamic))


def traced(module: nn.Module, example: Sequence[Tensor], dynamic: Dynamic | None = None) -> torch.export.ExportedProgram:
    """The module as a graph with its weights: what the conversions start from, and what torch.export.save takes.

    Args:
        module: takes tensors and gives tensors, one or several; it is put into evaluation mode and stays so
        example: inputs as it will see them, on their free axes of length 2 or more
        dynamic: for each input the axes that may have any length, see free_axes; None fixes all sizes

    Raises:
        InputError: what the module does depends on the values of its input, or fixes a size that should be free.
    """
    # The tracer takes seconds and memory that nothing needs where a conversion is kept.
    from torch._dynamo.exc import UserError
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    try:
        # A number type that the caller computes in would be written into the graph.
        with torch.no_grad(), torch.autocast("cpu", enabled=False), _quiet():
            return torch.export.export(
                module.eval(),
                tuple(example),
                dynamic_shapes=None if dynamic is None else tuple(dynamic),
                strict=False,
                # What the tracer cannot prove for all sizes the graph asks when it runs.
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except (GuardOnDataDependentSymNode, UserError) as error:
        raise InputError(f"{type(module).__name__} cannot be traced with these sizes free: {_last_line(error)}") from error


def openvino_of(program: torch.export.ExportedProgram) -> openvino.Model:
    """A traced module as an OpenVINO model, weights in fp32; inputs and outputs in the module's order.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        InputError: the module has an operation that OpenVINO does not know; the message names it.
    """
    package = without_telemetry("openvino", "conversion for OpenVINO")
    values = (node.meta.get("val") for node in program.graph.nodes)
    if any(isinstance(value, Tensor) and value.dtype == torch.uint16 for value in values):
        raise InputError("OpenVINO's importer knows no uint16; give the graph int32, and class ids below 256.")
    failures = package.frontend
    try:
        with _quiet():
            model = package.convert_model(program, extension=_extensions())
    except (failures.OpConversionFailure, failures.OpValidationFailure, failures.GeneralFailure) as error:
        raise InputError(f"the network cannot be converted for OpenVINO: {_last_line(error)}") from error
    # The importer leaves every length free.
    model.reshape({port: package.PartialShape(shape) for port, shape in zip(model.inputs, _input_shapes(program), strict=True)})
    return rewritten(model)


def onnx_of(
    program: torch.export.ExportedProgram, *, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> onnx.ModelProto:
    """A traced module as an ONNX model in the exporter's current opset, weights inside.

    Args:
        inputs, outputs: names for them

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        InputError: the module has an operation that ONNX does not know; the message names it.
    """
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "export", "conversion to ONNX")
    try:
        with _quiet():
            made = torch.onnx.export(program, dynamo=True, input_names=inputs, output_names=outputs, verbose=False)
    except torch.onnx.OnnxExporterError as error:
        raise InputError(f"the network cannot be converted to ONNX: {_last_line(error.__cause__ or error)}") from error
    return made.model_proto  # type: ignore[union-attr]  # None comes only of the exporter's older road


def _input_shapes(program: torch.export.ExportedProgram) -> list[list[int]]:
    """Of every input its lengths, -1 where they are free."""
    taken = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in taken]
    return [[n if isinstance(n, int) else -1 for n in node.meta["val"].shape] for node in nodes]


def _extensions() -> list[Any]:
    """What OpenVINO's importer of traced graphs lacks: PIL's resizing, and remainder and extremes of sizes."""
    from openvino import opset15
    from openvino.frontend.pytorch import ConversionExtension

    def resizing(mode: str) -> Callable[[Any], Any]:
        def resize(node: Any) -> Any:
            size = opset15.convert(node.get_input(1), "i64")
            how = {"axes": np.array([2, 3]), "coordinate_transformation_mode": "half_pixel", "cube_coeff": -0.5}
            return opset15.interpolate(node.get_input(0), size, mode, "sizes", **how).outputs()

        return resize

    def of_two(operation: Callable[..., Any]) -> Callable[[Any], Any]:
        return lambda node: operation(node.get_input(0), node.get_input(1)).outputs()

    def quotient(one: Any, other: Any) -> Any:
        return opset15.divide(opset15.convert(one, "f32"), opset15.convert(other, "f32"))

    sizes = {
        operator.truediv: quotient,
        operator.mod: opset15.floor_mod,
        torch.sym_max: opset15.maximum,
        torch.sym_min: opset15.minimum,
    }
    return [
        ConversionExtension("aten._upsample_bilinear2d_aa.default", resizing("bilinear_pillow")),
        ConversionExtension("aten._upsample_bicubic2d_aa.default", resizing("bicubic_pillow")),
        *(ConversionExtension(str(function), of_two(operation)) for function, operation in sizes.items()),
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracers' remarks on their own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch.onnx", "onnxscript", "torch.fx.experimental")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _last_line(error: BaseException) -> str:
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip(" -")]
    return lines[-1] if lines else type(error).__name__

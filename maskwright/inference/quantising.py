"""int8 that is guarded: an OpenVINO model calibrated on images, accepted only while a score falls by less than was allowed.

NNCF's post-training quantisation does the arithmetic (Kozlov et al. 2020, arXiv:2002.08679). Where the score falls too far,
layers go back to higher precision: those first whose own rounding changes the answers most, twice as many at each turn.
Differs from NNCF's accuracy control: that takes layers back one at a time and scores the whole validation set after each.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from maskwright.errors import InputError
from maskwright.inference.runtimes import Run, on_openvino
from maskwright.inference.telemetry import without_telemetry
from maskwright.progress import Report, Stages, of_stage

if TYPE_CHECKING:
    import openvino

MOST_DROP = 0.005  # of a score in [0, 1]: half a point
SCORING = "scoring int8 against fp32"  # the stage in which whoever validates is
RANKED_ON = 4  # calibration images on which the layers are compared
LAYERS = ("Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData", "MatMul")
MAP_AXES = 4  # batch, channels, height, width

Validate = Callable[[Run], float]


def check_drop(option: str, points: float) -> None:
    """Refuse points that no score can be held to.

    Raises:
        InputError: they are not in [0, 100].
    """
    if not 0 <= points <= 100:  # nan is refused as well: no loss is above it, so all would pass
        raise InputError(f"{option} {points:g}: expected points that the score may fall by, from 0 to 100, such as 0.5.")


@dataclass(frozen=True)
class Quantisation:
    """What was reached.

    Attributes:
        before, after: the score in fp32 and in int8
        most_drop: by how much it was allowed to fall
        images: that it was calibrated on
        layers: in the network; kept: the names of those that stayed in higher precision
    """

    before: float
    after: float
    most_drop: float
    images: int
    layers: int
    kept: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def line(self) -> str:
        back = f"{len(self.kept)} of {self.layers} layers" if self.kept else f"none of {self.layers} layers"
        return f"int8: score {self.after:.4f}, in fp32 {self.before:.4f} (at most {self.most_drop:g} lower); {back} went back"


def quantised(
    model: openvino.Model,
    calibration: Iterable[NDArray[Any] | Sequence[NDArray[Any]]],
    validate: Validate,
    most_drop: float = MOST_DROP,
    *,
    before: float | None = None,
    threads: int | None = None,
    never: Sequence[str] = (),
    beside: str | None = None,
    progress: Stages | None = None,
) -> tuple[openvino.Model, Quantisation]:
    """The model in int8, with as few layers in higher precision as the score allows, and what was measured.

    Args:
        model: in fp32; it is not changed
        calibration: inputs as the model takes them, one an image: an array, or arrays where it has several inputs
        validate: the score of a run, tensors in and a tuple of tensors out; higher is better
        most_drop: by how much the score may fall
        before: the score that it may fall from; None: the model's own in fp32
        never: names of operations between the layers that stay as they are
        beside: the number type of what is not int8, see runtimes.on_openvino
        progress: told how far it is with calibrating, and with comparing layers where some must go back

    Raises:
        InputError: there are no calibration images, or the score falls too far with all layers but one back in fp32.
        MissingExtraError: nncf is not installed.
    """
    images = list(calibration)
    if not images:
        raise InputError("int8 has to be calibrated on images, there are none; give the data that the model was trained on.")
    threads = threads or torch.get_num_threads()
    before = validate(on_openvino(model, "fp32", threads=threads)) if before is None else before
    names = layers_of(model)
    kept: tuple[str, ...] = ()
    order: list[str] = []
    while True:
        found = _quantised(model, images, (*never, *kept), of_stage(progress, "calibrating int8"))
        after = validate(on_openvino(found, "int8", threads=threads, beside=beside))
        if before - after <= most_drop:
            return found, Quantisation(before, after, most_drop, len(images), len(names), kept)
        order = order or ranked(model, found, images[:RANKED_ON], threads, progress)
        if len(kept) >= len(order) - 1:
            raise InputError(
                f"int8 costs {100 * (before - after):.2f} points with all layers but one in higher precision, at most "
                f"{100 * most_drop:g} are allowed; take bf16 or fp32."
            )
        kept = tuple(order[: min(max(1, 2 * len(kept)), len(order) - 1)])


def layers_of(model: openvino.Model) -> list[str]:
    """The names of the layers that int8 makes quicker, from the image on."""
    return [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in LAYERS]


def numbers_of(model: openvino.Model) -> list[str]:
    """The names of the operations between layers that give no map, as coordinates of boxes: 256 steps are too coarse for them."""
    between = [op for op in model.get_ordered_ops() if op.get_type_name() not in (*LAYERS, "Constant", "Parameter", "Result")]
    ranks = [(op.get_friendly_name(), op.get_output_partial_shape(0).rank) for op in between]
    return [name for name, rank in ranks if rank.is_static and rank.get_length() < MAP_AXES]


def ranked(
    model: openvino.Model,
    coarse: openvino.Model,
    images: Sequence[NDArray[Any] | Sequence[NDArray[Any]]],
    threads: int,
    progress: Stages | None = None,
) -> list[str]:
    """The quantised layers, that one first which brings the answers nearest to fp32 when its own input is not rounded."""
    expected = _answers(model, "fp32", images, threads)
    names = [op.get_friendly_name() for op in coarse.get_ordered_ops() if op.get_type_name() in LAYERS and _rounding(op)]
    distance, step = {}, of_stage(progress, "comparing the layers in int8")
    for done, name in enumerate(names, start=1):
        distance[name] = _distance(expected, _answers(_freed(coarse, name), "int8", images, threads))
        step(done, len(names))
    return sorted(distance, key=lambda name: distance[name])


def _freed(coarse: openvino.Model, name: str) -> openvino.Model:
    """A model in which the input of one quantised layer goes round the rounding."""
    freed = coarse.clone()
    op = next(op for op in freed.get_ordered_ops() if op.get_friendly_name() == name)
    op.input(0).replace_source_output(_rounding(op).input_value(0))
    return freed


def _rounding(op: Any) -> Any:
    """The FakeQuantize that rounds a layer's input; None where it is not rounded."""
    source = op.input_value(0).get_node()
    return source if source.get_type_name() == "FakeQuantize" else None


def _answers(
    model: openvino.Model, precision: str, images: Sequence[NDArray[Any] | Sequence[NDArray[Any]]], threads: int
) -> list[tuple[Tensor, ...]]:
    run = on_openvino(model, precision, threads=threads)
    return [run(*(torch.tensor(x) for x in _inputs(image))) for image in images]


def _distance(expected: Sequence[tuple[Tensor, ...]], found: Sequence[tuple[Tensor, ...]]) -> float:
    """Mean over all answers of the share that differs (whole numbers), or of the squared error against the variance (others).

    It is 1 at most. Of objects, likeliest first, one answer may hold fewer: it is filled up with zeros.
    """
    parts = []
    for ours, theirs in zip(expected, found, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            a, b = _filled_up(a, len(b)), _filled_up(b, len(a))
            if not a.numel():
                continue
            if a.is_floating_point():
                # Of few objects the variance says little: then the size counts.
                spread = torch.maximum(a.var(correction=0), a.square().mean() / 4).clamp(min=1e-12)
                parts.append(min(1.0, float((a - b).square().mean() / spread)))
            else:
                parts.append(float((a != b).float().mean()))
    return float(np.mean(parts)) if parts else 0.0


def _filled_up(answer: Tensor, length: int) -> Tensor:
    return F.pad(answer, [0, 0] * (answer.ndim - 1) + [0, max(0, length - len(answer))])


def _quantised(
    model: openvino.Model, images: Sequence[NDArray[Any] | Sequence[NDArray[Any]]], kept: Sequence[str], progress: Report
) -> openvino.Model:
    read = iter(range(1, len(images) + 1))

    def given(image: NDArray[Any] | Sequence[NDArray[Any]]) -> Any:
        progress(next(read, len(images)), len(images))
        return tuple(_inputs(image)) if several else _inputs(image)[0]

    nncf = without_telemetry("nncf", "precision int8")
    nncf.set_log_level(logging.ERROR)
    several = len(model.inputs) > 1
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        return nncf.quantize(
            model.clone(),
            nncf.Dataset(images, given),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(names=list(kept)) if kept else None,
        )


def _inputs(image: NDArray[Any] | Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    return [image] if isinstance(image, np.ndarray) else list(image)

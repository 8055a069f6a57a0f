"""Whether the quick number type answers as fp32 does, measured on validation images; what was measured stands in the manifest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskwright.classes import ClassMap
from maskwright.inference.backends import computes_bf16, forward_on
from maskwright.inference.decode import decode
from maskwright.inference.objects import MIN_SCORE, decode_objects, detect_on
from maskwright.inference.tiled import in_pieces
from maskwright.metrics.confusion import Confusion
from maskwright.transforms import Frame

# What bf16 must reach against fp32 on the validation images: of all pixels, and as the IoU of each class that is there.
LEAST_AGREEMENT = 0.999
LEAST_CLASS_IOU = 0.99


@dataclass(frozen=True)
class Agreement:
    """How bf16 did against fp32; to_dict() is what the manifest keeps.

    Attributes:
        precision: "bf16" if it was quicker and agreed, else "fp32"
        reason: why, in one sentence
        pixels: share of pixels that got the same class
        classes: IoU of the two answers per class name; nan for a class in neither
        images: how many images were compared
        fp32_s, bf16_s: seconds an image, median
    """

    precision: Literal["fp32", "bf16"]
    reason: str
    pixels: float
    classes: dict[str, float]
    images: int
    fp32_s: float
    bf16_s: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_bf16(
    model: nn.Module, images: Iterable[Tensor], classes: ClassMap, device: torch.device, *, objects: bool = False
) -> Agreement | None:
    """Run preprocessed images in fp32 and bf16 and say which the model should be used in; None where bf16 is no option.

    Args:
        objects: the model finds objects; then the classes of the pixels that they cover are compared

    Shapes:
        images: (1, C, h, w) float32 each
    """
    if not computes_bf16(device):
        return None
    answers = [_answering(model, classes, device, precision, objects) for precision in ("fp32", "bf16")]
    confusion, fp32_s, bf16_s = Confusion(classes), [], []  # type: tuple[Confusion, list[float], list[float]]
    for image in images:
        labels = []
        for answer, spent in zip(answers, (fp32_s, bf16_s), strict=True):
            if len(spent) == 0:
                answer(image)  # the first run prepares the kernels
            start = time.perf_counter()
            labels.append(answer(image))
            spent.append(time.perf_counter() - start)
        confusion.update(*labels)
    return judge(confusion, median(fp32_s), median(bf16_s), len(fp32_s)) if fp32_s else None


def _answering(
    model: nn.Module, classes: ClassMap, device: torch.device, precision: str, objects: bool
) -> Callable[[Tensor], NDArray[Any]]:
    """From an image to the class ids of its pixels, at the size that the network sees."""
    if objects:
        detect = detect_on(model, device, precision)
        return lambda image: decode_objects(detect(image), _same(image), classes, min_score=MIN_SCORE).to_labels()
    forward = forward_on(model, device, precision)
    return lambda image: decode(in_pieces(forward, image), _same(image), classes).labels


def _same(image: Tensor) -> Frame:
    hw = image.shape[2], image.shape[3]
    return Frame(hw, hw)


def judge(confusion: Confusion, fp32_s: float, bf16_s: float, images: int) -> Agreement:
    """The verdict on bf16 from how its classes (columns) meet those of fp32 (rows), and the seconds that each took."""
    precision: Literal["fp32", "bf16"] = "fp32"
    scores = confusion.compute()
    ious = {name: float(v) for name, v in zip(scores.classes.names, scores.iou, strict=True)}
    low = [f"{name} {v:.4f}" for name, v in ious.items() if v < LEAST_CLASS_IOU]
    speed = f"{fp32_s * 1000:.0f} ms an image in fp32, {bf16_s * 1000:.0f} ms in bf16"
    if bf16_s >= fp32_s:
        reason = f"bf16 is not quicker ({speed})"
    elif scores.pixel_accuracy < LEAST_AGREEMENT:
        reason = f"bf16 agrees on {scores.pixel_accuracy:.4%} of the pixels, {LEAST_AGREEMENT:.1%} are needed"
    elif low:
        reason = f"bf16 and fp32 differ in single classes (IoU {', '.join(low)}; {LEAST_CLASS_IOU} is needed)"
    else:
        precision, reason = "bf16", f"{speed}, and they agree on {scores.pixel_accuracy:.4%} of the pixels"
    return Agreement(precision, reason, scores.pixel_accuracy, ious, images, fp32_s, bf16_s)

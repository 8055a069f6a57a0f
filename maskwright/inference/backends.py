"""Where and in which number type a model runs, and whether the quick type agrees with fp32.

"exact" is the reference: eager fp32 in the layout the model was written in, no TF32, deterministic kernels. Everything
else may differ from it in the last bits of a logit. bf16 is taken without being asked for only where the manifest says
that it agreed on the validation images and this machine computes it in hardware; that rule looks at no clock, so the
same run on the same machine always answers the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.inference.decode import decode
from maskwright.inference.tiled import Forward, in_pieces
from maskwright.metrics.confusion import Confusion
from maskwright.transforms import Frame

Precision = Literal["auto", "fp32", "bf16", "fp16"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
# What bf16 must reach against fp32 on the validation images: of all pixels, and as the IoU of each class that is there.
LEAST_AGREEMENT = 0.999
LEAST_CLASS_IOU = 0.99


def choose_device(wished: str | torch.device = "auto") -> torch.device:
    """The device by its name; "auto" is CUDA where there is one, else Apple's mps, else the CPU.

    Raises:
        InputError: the name is unknown, or this machine has no such device.
    """
    if wished == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wished)
    except RuntimeError:
        raise InputError(f"no device {wished!r}; known: auto, cpu, cuda, cuda:1, mps.") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise InputError(f"device {str(wished)!r} is not there; this machine has {', '.join(k for k, v in there.items() if v)}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {str(wished)!r} is not there; this machine has {torch.cuda.device_count()} CUDA devices.")
    return device


def computes_bf16(device: torch.device) -> bool:
    """Whether bf16 runs in hardware; emulated it is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public name for these
    return device.type == "cpu" and any(getattr(torch.cpu, name, lambda: False)() for name in known)


def choose_precision(wished: Precision, measured: str, device: torch.device, *, exact: bool = False) -> str:
    """The number type to run in: "fp32", "bf16" or "fp16".

    Args:
        measured: the manifest's word on what agreed with fp32; "auto" takes it where the device computes it

    Raises:
        InputError: the wish is unknown, contradicts exact, or is fp16 on a device other than CUDA.
    """
    if wished not in get_args(Precision):
        raise InputError(f"no precision {wished!r}; known: {', '.join(get_args(Precision))}.")
    if exact and wished not in ("auto", "fp32"):
        raise InputError(f"exact means fp32, but precision {wished!r} was asked for; leave one of the two out.")
    if wished == "fp16" and device.type != "cuda":
        raise InputError(f"fp16 is for CUDA devices, this is {device.type}; take bf16 or fp32.")
    if wished == "auto":
        return "bf16" if measured == "bf16" and not exact and computes_bf16(device) else "fp32"
    return wished


def forward_on(model: nn.Module, device: torch.device, precision: str, *, exact: bool = False) -> Forward:
    """Logits of an image: moved to the device, run without gradients in the number type, given back as fp32.

    The model is moved and put into evaluation mode here and stays so.

    Shapes:
        image: (B, C, H, W) float32 on any device
        returns: (B, K, H, W) float32 on the device
    """
    layout = torch.contiguous_format if exact else torch.channels_last
    model = model.to(device).to(memory_format=layout).eval()

    def forward(image: Tensor) -> Tensor:
        with ExitStack() as settings:
            settings.enter_context(torch.inference_mode())
            if exact and device.type == "cuda":
                settings.enter_context(torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False))
            if precision != "fp32":
                settings.enter_context(torch.autocast(device.type, _DTYPES[precision]))
            logits: Tensor = model(image.to(device).contiguous(memory_format=layout))
            return logits.float()

    return forward


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


def compare_bf16(model: nn.Module, images: Iterable[Tensor], classes: ClassMap, device: torch.device) -> Agreement | None:
    """Run preprocessed images in fp32 and bf16 and say which the model should be used in; None where bf16 is no option.

    Shapes:
        images: (1, C, h, w) float32 each
    """
    if not computes_bf16(device):
        return None
    forwards = [forward_on(model, device, precision) for precision in ("fp32", "bf16")]
    confusion, fp32_s, bf16_s = Confusion(classes), [], []  # type: tuple[Confusion, list[float], list[float]]
    for image in images:
        hw = image.shape[2], image.shape[3]
        labels = []
        for forward, spent in zip(forwards, (fp32_s, bf16_s), strict=True):
            if len(spent) == 0:
                forward(image)  # the first run prepares the kernels
            start = time.perf_counter()
            labels.append(decode(in_pieces(forward, image), Frame(hw, hw), classes).labels)
            spent.append(time.perf_counter() - start)
        confusion.update(*labels)
    return judge(confusion, median(fp32_s), median(bf16_s), len(fp32_s)) if fp32_s else None


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

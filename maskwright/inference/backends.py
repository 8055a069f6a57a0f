"""Where and in which number type a model runs.

"exact" is the reference: eager fp32 in the layout the model was written in, no TF32, deterministic kernels. Everything
else may differ from it in the last bits of a logit. bf16 is taken without being asked for only where the manifest says
that it agreed on the validation images and this machine computes it in hardware; that rule looks at no clock, so that torch
always answers the same for the same run on the same machine. Whether another runtime answers is for engine.py to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, get_args

from maskwright.errors import InputError
from maskwright.inference.machine import Device, as_torch, computes_bf16
from maskwright.inference.tiled import Forward
from maskwright.later import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # as torch calls them


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


def choose_precision(wished: Precision, measured: str, device: Device, *, exact: bool = False) -> str:
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
    if wished == "int8":
        raise InputError("precision int8 is for OpenVINO; take the runtime openvino, or bf16 or fp32.")
    if wished == "fp16" and device.type != "cuda":
        raise InputError(f"fp16 is for CUDA devices, this is {device.type}; take bf16 or fp32.")
    if wished == "auto":
        return "bf16" if measured == "bf16" and not exact and computes_bf16(device) else "fp32"
    return wished


def forward_on(model: nn.Module, device: Device, precision: str, *, exact: bool = False, many: bool = False) -> Forward:
    """Logits of an image: moved to the device, run without gradients in the number type, given back as fp32.

    The model is moved and put into evaluation mode here and stays so.

    Args:
        many: images come, which pay for a lean copy (lean.py), and on a CUDA device for recording the pass (replay.py). In a
            number type other than fp32 the weights are those of the first image in any case

    Shapes:
        image: (B, C, H, W) float32 on any device
        returns: (B, K, H, W) float32 on the device
    """
    answer = answering(model, device, precision, exact=exact, many=many)

    def forward(image: Tensor) -> Tensor:
        logits: Tensor = answer(image).float()
        return logits

    if not many or exact or not _records(device):
        return forward
    from maskwright.inference.replay import Replay

    dropouts = list(dropouts_of(model))
    replay = Replay(forward, as_torch(device), lambda: (*model.parameters(), *model.buffers()))
    return lambda image: (forward if any(m.training for m in dropouts) else replay)(image)


def _records(device: Device) -> bool:
    return device.type == "cuda"


def answering(
    model: nn.Module, device: Device, precision: str, *, exact: bool = False, many: bool = False, part: str = ""
) -> Callable[[Tensor], Any]:
    """What a model of any kind gives for an image; see forward_on.

    Args:
        part: of the model, in which a lean copy differs, see lean
    """
    from maskwright.inference.lean import lean

    place, layout = as_torch(device), torch.contiguous_format if exact else torch.channels_last
    model, sampled = model.to(place).to(memory_format=layout), not model.training
    dropouts = set(dropouts_of(model))
    for layer in model.modules():  # dropout stays where whoever samples has switched it on already
        layer.training &= sampled and layer in dropouts
    running: list[nn.Module] = [model] if exact or (precision == "fp32" and not many) else []
    making = Lock()

    def answer(image: Tensor) -> Any:
        x = image.to(place).contiguous(memory_format=layout)
        with making:
            if not running:
                running.append(lean(model, x, getattr(torch, _DTYPES[precision]), part=part, fold=many))
        with ExitStack() as settings:
            computing(settings, place, precision, exact)
            return running[0](x)

    return answer


def dropouts_of(model: nn.Module) -> Iterator[nn.Module]:
    """Every layer of dropout in a network."""
    from torch.nn.modules.dropout import _DropoutNd  # the one base class of every dropout layer; it has no public name

    return (layer for layer in model.modules() if isinstance(layer, _DropoutNd))


def computing(settings: ExitStack, device: torch.device, precision: str, exact: bool) -> None:
    """Enter what a forward pass runs under: no gradients, the number type, and with exact the same bits every time."""
    settings.enter_context(torch.inference_mode())
    if exact and device.type == "cuda":
        settings.enter_context(torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False))
    # In fp32 as well: the caller may compute in another one. A recorded pass (replay.py) must find no weight converted before.
    # Older torch warns of fp32, even where it is not enabled.
    lowers = precision != "fp32"
    lowered = getattr(torch, _DTYPES[precision]) if lowers else torch.bfloat16
    settings.enter_context(torch.autocast(device.type, lowered, enabled=lowers, cache_enabled=False))

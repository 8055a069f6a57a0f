"""What a network costs and sees, in numbers: parameters, multiply-adds, receptive field. Nothing is trained, nothing timed.

Parameters and multiply-adds are counted on torch's "meta" device, which computes shapes and no values, by torch's own counter of
floating point operations (convolutions, transposed ones, matrix products, attention; two operations are one multiply-add).
The receptive field is measured: every layer is replaced by the mean of what it looks at, and the pixels of the image are counted
to which the gradient of one logit reaches. Norms and gates only scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from maskwright.models.mask_rcnn.model import MaskRCNN
from maskwright.models.outline import outlined
from maskwright.models.registry import build, entry_of
from maskwright.models.sizes import resized
from maskwright.models.weight_sources import licence_of

HW = (360, 480)  # CamVid's frames at half their size
CHANNELS, CLASSES = 3, 21
# The receptive field is as high as wide; it is measured along a strip, and where that is too short, along a longer one.
STRIPS_HW = ((32, 1024), (32, 3072))


@dataclass(frozen=True)
class Description:
    """One row of `maskwright models`.

    Attributes:
        name, task, paper, summary, arguments: of its registry entry
        parameters: with its default arguments, CHANNELS and CLASSES
        multiply_adds: for one image of HW
        receptive_field: side in px of the square that the logit of the middle pixel can depend on; None: the whole image
        weights: what `--weights` takes for it, each with its licence
    """

    name: str
    task: str
    paper: str
    summary: str
    arguments: tuple[str, ...]
    parameters: int
    multiply_adds: int
    receptive_field: int | None
    weights: tuple[tuple[str, str], ...]


def describe(name: str, model_args: Mapping[str, Any] | None = None) -> Description:
    """The numbers of a model of the registry; its default arguments but for model_args.

    Raises:
        InputError: see registry.build.
    """
    given = dict(channels=CHANNELS, classes=CLASSES, **(model_args or {}))
    entry = entry_of(name)
    with outlined():
        outline = build(name, **given).eval()
    with torch.random.fork_rng(devices=[]):
        field = receptive_field(fixed_part(build(name, **given).eval(), entry.task), CHANNELS)
    return Description(
        name=name,
        task=entry.task,
        paper=entry.paper,
        summary=entry.summary,
        arguments=entry.arguments,
        parameters=sum(p.numel() for p in outline.parameters()),
        multiply_adds=multiply_adds(fixed_part(outline, entry.task), CHANNELS),
        receptive_field=field,
        weights=tuple((form, licence_of(form)) for form in entry.weights),
    )


def fixed_part(model: nn.Module, task: str) -> nn.Module:
    """What of a model is the same for every image: all of it; of a network of objects its graphs, run as often as they may be."""
    return AllObjects(model) if task == "instance" and isinstance(model, MaskRCNN) else model


class AllObjects(nn.Module):
    """A network of objects with every box that it may look at; gives its finest maps at the image's size."""

    def __init__(self, net: MaskRCNN) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        maps = self.net.features(image)
        self.net.rpn(maps)
        for head, count, px in ((self.net.box_head, self.net.proposals, 7), (self.net.mask_head, self.net.detections, 14)):
            head(maps[0].new_zeros(count, maps[0].shape[1], px, px))
        return resized(maps[0], (image.shape[-2], image.shape[-1]))


@torch.no_grad()
def multiply_adds(model: nn.Module, channels: int, hw: tuple[int, int] = HW) -> int:
    """Multiplications with an addition that one image of size hw takes; additions of biases and poolings do not count.

    Arguments:
        model: in evaluation mode, on any device; on "meta" nothing is computed
    """
    device = next(model.parameters()).device
    # Attention as plain products: of its fused forms the counter knows only some.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, channels, *hw, device=device))
    return int(counter.get_total_flops()) // 2


def receptive_field(model: nn.Module, channels: int, strips_hw: Iterable[tuple[int, int]] = STRIPS_HW) -> int | None:
    """Pixels along a row of the image that the logit of the middle pixel can depend on.

    The number can differ by less than a step of the deepest map between pixels, as these lie differently in its grid.

    Arguments:
        model: in evaluation mode, on the CPU; its weights play no part and are kept

    Returns:
        None where it reaches an end of the longest strip: through a pooling over the image or attention, the whole image
    """
    fields = (_along(model, torch.ones(1, channels, *hw, requires_grad=True)) for hw in strips_hw)
    return next((field for field in fields if field is not None), None)


def _along(model: nn.Module, image: Tensor) -> int | None:
    h, w = image.shape[2:]
    with torch.random.fork_rng(devices=[]), Averaging():
        logits = model(image)
        (gradient,) = torch.autograd.grad(logits[0, :, h // 2, w // 2].sum(), image)
    reached = gradient.abs().sum(dim=(0, 1, 2)).nonzero().flatten()  # columns
    first, last = int(reached[0]), int(reached[-1])
    return None if first == 0 or last == w - 1 else last - first + 1


class Averaging(TorchFunctionMode):
    """Runs a net as if each layer gave the mean of all that it looks at, almost the same in each channel.

    Means let the gradient through everywhere, cannot cancel, stay near one from layer to layer, and cost a hundredth of the
    layer itself, since all channels are computed as one (_as_channels says why they are not quite the same).
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _MEANS.get(func, func)(*args, **(kwargs or {}))


# Each takes the arguments of the function that it stands for.
# ruff: noqa: ARG001
def _conv(
    x: Tensor, weight: Tensor, bias: object = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    kernel = _flat_kernel(weight)
    return _as_channels(F.conv2d(x.mean(1, keepdim=True), kernel, None, stride, padding, dilation), len(weight))


def _conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: object = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    one = F.conv_transpose2d(x.mean(1, keepdim=True), _flat_kernel(weight), None, stride, padding, output_padding, 1, dilation)
    return _as_channels(one, weight.shape[1] * groups)


def _as_channels(one: Tensor, channels: int) -> Tensor:
    """(B, 1, h, w) to (B, channels, h, w), each channel's rows and columns off by up to a tenth: poolings that keep positions
    then choose others in each channel, and together look everywhere."""
    h, w = one.shape[2:]
    return one * torch.empty(channels, h, 1).uniform_(0.9, 1.1) * torch.empty(channels, 1, w).uniform_(0.9, 1.1)


def _flat_kernel(weight: Tensor) -> Tensor:
    return torch.full((1, 1, *weight.shape[2:]), 1 / weight.shape[2:].numel())


def _linear(x: Tensor, weight: Tensor, bias: object = None) -> Tensor:
    return x.mean(-1, keepdim=True).expand(*x.shape[:-1], len(weight)).clone()


def _at_most_one(x: Tensor, *_args: object, **_kwargs: object) -> Tensor:
    """In place of norms and gates: keeps values in range, and unlike a sigmoid never stops the gradient."""
    return x / x.detach().abs().amax().clamp(min=torch.finfo(x.dtype).tiny)


def _max_pool(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    return F.avg_pool2d(x, kernel_size, stride, padding, ceil_mode)


def _max_pool_with_indices(x: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    return _max_pool(x, *args, **kwargs), F.max_pool2d_with_indices(x, *args, **kwargs)[1]


_MEANS: dict[Callable[..., Any], Callable[..., Any]] = {
    F.conv2d: _conv,
    F.conv_transpose2d: _conv_transpose,
    F.linear: _linear,
    **dict.fromkeys((F.batch_norm, F.layer_norm, F.group_norm), _at_most_one),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid, torch.tanh, Tensor.tanh, F.hardsigmoid, F.relu6, F.hardtanh), _at_most_one),
    F.max_pool2d: _max_pool,
    F.max_pool2d_with_indices: _max_pool_with_indices,
}

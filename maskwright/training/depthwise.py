"""Depthwise convolutions that learn as quickly as they answer, on a processor.

oneDNN has no quick backward pass for two kinds of them, and takes many times as long as for their neighbours: in bf16 the
gradient of the image where the convolution has a stride, and in any number type the gradient of kernels larger than 3 x 3. The
first is computed in float32 here. The second is put together from 3 x 3 parts, each of which is the gradient of a small
convolution over the shifted image. A training step of a network on EfficientNet-Lite0 takes some 0.7 of the time so, to the same
values up to rounding: benchmarks/depthwise.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUICK_PX = 3  # side of the kernels whose weights have a quick gradient


def quicken(net: nn.Module) -> int:
    """Let the depthwise convolutions of a network that is to be trained use the passes of this file; how many there are.

    Weights, names and values stay; in evaluation, on other devices and in graphs the layers are what they were.
    """
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d) and _slow(layer)]
    for layer in layers:
        layer._conv_forward = partial(_forward, layer)  # type: ignore[method-assign]  # also called by subclasses that pad first
    return len(layers)


def _slow(layer: nn.Conv2d) -> bool:
    """Whether oneDNN is slow on it and this file knows it: square, depthwise, with zeros around, not dilated, without bias."""
    (k, other), (stride, across) = layer.kernel_size, layer.stride
    depthwise = 1 < layer.in_channels == layer.out_channels == layer.groups
    plain = layer.bias is None and layer.padding_mode == "zeros" and layer.dilation == (1, 1) and layer.padding != "same"
    return depthwise and plain and k == other >= QUICK_PX and stride == across and (k > QUICK_PX or stride > 1)


def _forward(layer: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    learns = layer.training and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    if not (learns and x.device.type == "cpu" and x.ndim == 4 and x.dtype != torch.float64):
        plain: Tensor = nn.Conv2d._conv_forward(layer, x, weight, bias)
        return plain
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
    padding = (0, 0) if layer.padding == "valid" else layer.padding
    out: Tensor = _Depthwise.apply(x, weight, layer.stride, padding)
    return out


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution with zeros around.

    Shapes:
        x: (B, C, H, W); weight: (C, 1, k, k); stride, padding: (down, across)
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = ctx.needs_input_grad[:2]
        found_x = _of_image(gradient, x, weight, ctx.stride, ctx.padding) if of_x else None
        found_weight = _of_weight(gradient, x, weight, ctx.stride, ctx.padding) if of_weight else None
        return found_x, found_weight, None, None


def _of_image(gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    if stride == (1, 1):
        return _backward(gradient, x, weight, stride, padding, of_image=True)
    # Of x its shape and layout alone count.
    like_x = torch.empty_like(x, dtype=torch.float32)
    return _backward(gradient.float(), like_x, weight.float(), stride, padding, of_image=True).to(x.dtype)


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    k, small = weight.shape[-1], weight[:, :, :QUICK_PX, :QUICK_PX]
    if k == QUICK_PX:
        return _backward(gradient, x, weight, stride, padding, of_image=False)
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    # What a 3 x 3 kernel sees on its way from the first output to the last.
    h, w = ((n - 1) * step + QUICK_PX for n, step in zip(gradient.shape[-2:], stride, strict=True))
    found = torch.empty_like(weight)
    firsts = [*range(0, k - QUICK_PX, QUICK_PX), k - QUICK_PX]
    for top in firsts:
        for left in firsts:
            seen = padded[:, :, top : top + h, left : left + w]
            part = _backward(gradient, seen, small, stride, (0, 0), of_image=False)
            found[:, :, top : top + QUICK_PX, left : left + QUICK_PX] = part
    return found


def _backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int], *, of_image: bool
) -> Tensor:
    wanted = [of_image, not of_image, False]
    found = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), wanted
    )
    answer: Tensor = found[0 if of_image else 1]
    return answer

"""A network as it answers: batch norms inside the convolutions before them, weights in the number type that computes.

A batch norm with fixed statistics is a factor and a summand for each channel, which a convolution's weights take in (Jacob et al.
2018, arXiv:1712.05877, section 3.2): one pass over every map less. And autocast converts each weight anew in every forward; here
it is converted once.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.fusion import fuse_conv_bn_eval

TRIED_PX = 64  # side of the image on which pairs are found, and both networks compared
MOST_OFF = 1e-3  # of a map's largest value; what is wired otherwise than it looked is off by about as much as there is

Convolution = nn.Conv2d | nn.ConvTranspose2d
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)  # these alone: what is derived from them may do more
_WEIGHED = (*_CONVOLUTIONS, nn.Linear)


def lean(net: nn.Module, image: Tensor, dtype: torch.dtype, *, part: str = "") -> nn.Module:
    """A copy of a network for evaluation, quicker and the same up to rounding; the network itself stays as it is.

    Tensors that are not changed, and layers of dropout, are shared with the network: what is switched there is switched here.

    Args:
        net: in evaluation mode but for dropout
        image: of the kind that comes, on the network's device: (B, C, H, W); its values do not matter
        dtype: that it runs in under autocast; float32 leaves weights as they are
        part: in which batch norms are looked for: it takes the image and gives a map or several; "" is the network itself
    """
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(image.device.type, enabled=False), _without_dropout(net):
        found = _sharing(net) if part else _folded(net, image)
        if part:
            found.set_submodule(part, _folded(net.get_submodule(part), image))
        if dtype != torch.float32:
            for layer in found.modules():
                if type(layer) in _WEIGHED:
                    _convert(layer, dtype)
    return found


def _folded(net: nn.Module, image: Tensor) -> nn.Module:
    h, w = (min(side, TRIED_PX) for side in image.shape[-2:])
    draw = torch.Generator().manual_seed(0)
    tried = torch.randn(1, image.shape[1], h, w, generator=draw).to(image.device, memory_format=torch.channels_last)
    expected, pairs = _watched(net, tried)
    found = _sharing(net)
    names = {layer: name for name, layer in net.named_modules()}
    for convolution, norm in pairs:
        turned = isinstance(convolution, nn.ConvTranspose2d)
        found.set_submodule(names[convolution], fuse_conv_bn_eval(convolution, norm, transpose=turned))
        found.set_submodule(names[norm], _behind(norm))
    return found if not pairs or all(map(_alike, _maps(found(tried)), _maps(expected))) else _sharing(net)


def _maps(answer: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [answer] if isinstance(answer, Tensor) else answer


def _alike(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= MOST_OFF * expected.abs().max())


def _watched(net: nn.Module, tried: Tensor) -> tuple[Any, list[tuple[Convolution, nn.BatchNorm2d]]]:
    """The answer, and each convolution with the batch norm that took what it gave; both were called once.

    Whether something else took it too cannot be seen here, but in the numbers.
    """
    gave: dict[int, tuple[Convolution, Tensor, int]] = {}  # by id, of tensors that are kept so that no other takes their id
    pairs: list[tuple[Convolution, nn.BatchNorm2d]] = []
    calls: dict[nn.Module, int] = {}

    def after(layer: Convolution, _taken: Any, given: Tensor) -> None:
        calls[layer] = calls.get(layer, 0) + 1
        gave[id(given)] = layer, given, given._version

    def before(layer: nn.BatchNorm2d, taken: tuple[Tensor, ...]) -> None:
        calls[layer] = calls.get(layer, 0) + 1
        giver = gave.get(id(taken[0]))
        if giver and giver[2] == taken[0]._version:
            pairs.append((giver[0], layer))

    hooks = [layer.register_forward_hook(after) for layer in net.modules() if type(layer) in _CONVOLUTIONS]
    hooks += [layer.register_forward_pre_hook(before) for layer in net.modules() if _foldable(layer)]
    try:
        expected = net(tried)
    finally:
        for hook in hooks:
            hook.remove()
    return expected, [pair for pair in pairs if all(calls[layer] == 1 for layer in pair)]


def _foldable(layer: nn.Module) -> bool:
    known = (nn.BatchNorm2d, *_norm_and_activation())
    return type(layer) in known and layer.running_mean is not None


def _norm_and_activation() -> tuple[type[nn.Module], ...]:
    """timm's batch norm with what follows it; nothing where timm is not loaded, for then no network has one."""
    layers = sys.modules.get("timm.layers")
    return (layers.BatchNormAct2d,) if layers else ()


def _behind(norm: Any) -> nn.Module:
    """What a norm does besides."""
    return nn.Sequential(norm.drop, norm.act) if type(norm) in _norm_and_activation() else nn.Identity()


def _sharing(net: nn.Module) -> nn.Module:
    """A copy with modules of its own and the same tensors and dropout layers."""
    return copy.deepcopy(net, {id(shared): shared for shared in (*net.parameters(), *net.buffers(), *_dropouts(net))})


def _dropouts(net: nn.Module) -> list[nn.Module]:
    return [layer for layer in net.modules() if isinstance(layer, _DropoutNd)]


@contextmanager
def _without_dropout(net: nn.Module) -> Iterator[None]:
    """Whoever samples has switched it on already."""
    on = [layer for layer in _dropouts(net) if layer.training]
    try:
        for layer in on:
            layer.eval()
        yield
    finally:
        for layer in on:
            layer.train()


def _convert(layer: nn.Module, dtype: torch.dtype) -> None:
    for name, tensor in list(layer.named_parameters(recurse=False)):
        setattr(layer, name, nn.Parameter(tensor.to(dtype), requires_grad=False))

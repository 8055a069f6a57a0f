"""A network as it answers: batch norms inside the convolutions before them, weights in the number type that computes.

A batch norm with fixed statistics is a factor and a summand for each channel, which a convolution's weights take in (Jacob et al.
2018, arXiv:1712.05877, section 3.2): one pass over every map less. And autocast converts each weight anew in every forward; here
it is converted once, in such a way that kernels keep their sums (rounding.py).

Networks that put maxima back to where they were (SegNet) keep their batch norms: rounding decides between equal maxima.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

from maskwright.inference.rounding import diffused, diffused_transposed

KERNEL_AXES = 4  # of a convolution's weight
TRIED_PX = 64  # side of the image on which pairs are found, and the copy is compared with the network
MOST_OFF = 1e-3, 1e-6  # of how far a channel's values spread, and of the largest value of all channels

Convolution = nn.Conv2d | nn.ConvTranspose2d
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)  # these alone: what is derived from them may do more
_WEIGHED = (*_CONVOLUTIONS, nn.Linear)
# What a network raises that cannot be run in this way, or on an image of this size.
_TRIPS = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, AssertionError)


def lean(net: nn.Module, image: Tensor, dtype: torch.dtype, *, part: str = "", fold: bool = True) -> nn.Module:
    """A copy of a network for evaluation, quicker and the same up to rounding; the network itself stays as it is.

    Tensors that are not changed, and layers of dropout, are shared with the network: what is switched there is switched here.
    Other threads may run the network meanwhile. What cannot be made leaner is a plain copy, and what
    cannot be copied the network itself.

    Args:
        net: in evaluation mode but for dropout
        image: of the kind that comes, on the network's device: (B, C, H, W); its values do not matter
        dtype: that it runs in under autocast; float32 leaves weights as they are
        part: in which batch norms are looked for: it takes the image and gives a map or several; "" is the network itself
        fold: batch norms too, which takes some passes and pays where many images come
    """
    try:
        own = _copied(net)
    except _TRIPS:  # as weights that are made anew by an older weight norm
        return net
    h, w = (min(side, TRIED_PX) for side in image.shape[-2:])
    draw = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(image.device.type, enabled=False):
        tried = torch.randn(1, image.shape[1], h, w, generator=draw).to(image.device, memory_format=torch.channels_last)
        found = _folded(own, tried, part) if fold else own
        if dtype != torch.float32:
            found = _converted(found, tried, dtype, part)
        for name, layer in net.named_modules(remove_duplicate=False):
            if isinstance(layer, _DropoutNd) and name:
                found.set_submodule(name, layer)
    return found


def _copied(net: nn.Module) -> nn.Module:
    """Modules of its own, none of which drops anything, and the same tensors."""
    return copy.deepcopy(net, {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}).eval()


def _folded(net: nn.Module, tried: Tensor, part: str) -> nn.Module:
    """A copy with each batch norm that can be, inside its convolution; the network itself where the copy answers otherwise."""
    found = _copied(net)
    inner, names = found.get_submodule(part), {layer: name for name, layer in net.get_submodule(part).named_modules()}
    try:
        with _Positions() as positions:
            expected, pairs = _watched(net.get_submodule(part), tried)
        if positions.asked:
            return net
        for convolution, norm in pairs:
            turned = isinstance(convolution, nn.ConvTranspose2d)
            inner.set_submodule(names[convolution], fuse_conv_bn_eval(convolution, norm, transpose=turned))
            inner.set_submodule(names[norm], _behind(norm))
        return found if not pairs or all(map(_alike, _maps(inner(tried)), _maps(expected))) else net
    except _TRIPS:
        return net


def _converted(net: nn.Module, tried: Tensor, dtype: torch.dtype, part: str) -> nn.Module:
    """A copy with weights in a number type; the network itself where it computes with them outside autocast."""
    found = _copied(net)
    _narrowed(found, dtype)
    try:
        with torch.autocast(tried.device.type, dtype):
            found.get_submodule(part)(tried)
    except _TRIPS:
        return net
    return found


def in_type(net: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network itself, all of it in a number type; kernels keep their sums."""
    _narrowed(net, dtype)
    return net.to(dtype)


def _narrowed(net: nn.Module, dtype: torch.dtype) -> None:
    """Put new weights into layers that are sums of products."""
    for layer in net.modules():
        if type(layer) in _WEIGHED:
            for name, tensor in list(layer.named_parameters(recurse=False)):
                setattr(layer, name, nn.Parameter(_narrow(layer, tensor, dtype), requires_grad=False))


def _narrow(layer: nn.Module, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight in a number type; kernels keep their sums."""
    if tensor.ndim != KERNEL_AXES or not isinstance(layer, _CONVOLUTIONS):
        return tensor.to(dtype)
    turned = isinstance(layer, nn.ConvTranspose2d)
    rounded = diffused_transposed(tensor, layer.stride, dtype) if turned else diffused(tensor, dtype)  # type: ignore[arg-type]
    return torch.empty_like(tensor, dtype=dtype).copy_(rounded)  # in the layout that it had


def _maps(answer: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [answer] if isinstance(answer, Tensor) else answer


def _alike(found: Tensor, expected: Tensor) -> bool:
    """Whether each channel is the same up to rounding, however loud another one is."""
    found, expected = (x.transpose(0, 1).flatten(1) for x in (found, expected))  # (C, N)
    spread = (expected - expected.mean(dim=1, keepdim=True)).abs().amax(dim=1)
    off = (found - expected).abs().amax(dim=1)
    return bool((off <= MOST_OFF[0] * spread + MOST_OFF[1] * expected.abs().max()).all())


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
        giver = gave.get(id(taken[0])) if taken else None
        if giver and giver[2] == taken[0]._version:
            pairs.append((giver[0], layer))

    hooks = [layer.register_forward_hook(after) for layer in net.modules() if _takes_factors(layer)]
    hooks += [layer.register_forward_pre_hook(before) for layer in net.modules() if _foldable(layer)]
    try:
        expected = net(tried)
    finally:
        for hook in hooks:
            hook.remove()
    return expected, [pair for pair in pairs if all(calls[layer] == 1 for layer in pair)]


class _Positions(TorchFunctionMode):
    """Sees whether any pooling is asked where its maxima stood."""

    asked = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.asked |= func is F.max_pool2d_with_indices
        return func(*args, **(kwargs or {}))


def _takes_factors(layer: Any) -> bool:
    """Plain convolutions whose weights are their own (older weight norms make them anew before each call)."""
    if type(layer) not in _CONVOLUTIONS or layer._forward_pre_hooks:
        return False
    return type(layer) is nn.Conv2d or bool(layer.groups == 1)  # of transposed ones in groups torch folds wrongly


def _foldable(layer: nn.Module) -> bool:
    known = (nn.BatchNorm2d, *_norm_and_activation())
    drops = any(isinstance(inner, _DropoutNd) for inner in layer.modules())
    return type(layer) in known and layer.running_mean is not None and not drops


def _norm_and_activation() -> tuple[type[nn.Module], ...]:
    """timm's batch norm with what follows it; nothing where timm is not loaded, for then no network has one."""
    layers = sys.modules.get("timm.layers")
    return (layers.BatchNormAct2d,) if layers else ()


def _behind(norm: Any) -> nn.Module:
    """What a norm does besides."""
    return nn.Sequential(norm.drop, norm.act) if type(norm) in _norm_and_activation() else nn.Identity()

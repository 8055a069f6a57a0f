"""Encoders from timm: any image classifier of that library whose maps halve from step to step, for any number of channels.

Source: timm (Apache-2.0), its `features_only` models.
Differs: fixed-size encoders are refused at the start instead of at the first odd image; padding that timm works out from every
map's size is a constant here (SameOnGrid, MeanOnGrid).
Weights: any that timm publishes, or a file; see loading.load_weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.helpers import to_2tuple
from timm.layers.pool2d_same import AvgPool2dSame
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.models.arguments import check_encoder
from maskwright.models.sizes import on_grid

OUTPUT_STRIDES = (32, 16, 8)


class FromTimm(nn.Module):
    """What all encoders that hold a timm model have in common: its name, and weights under timm's names (loading.load_weights).

    Attributes:
        name, channels: of the timm model, of the image
        net: the timm model; subclasses make it

    Raises:
        InputError: the name is none, or timm has no such model; near names are shown.
    """

    net: nn.Module

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        check_encoder(name)
        if not timm.is_model(name):
            near = get_close_matches(name, timm.list_models(), n=5)
            raise InputError(
                f"no encoder named {name!r} in timm {timm.__version__}; did you mean {', '.join(near) or 'resnet34'}?"
            )
        self.name, self.channels = name, channels

    def fitted(self, stored: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Published weights, under timm's names, in this encoder's shapes: resized here where those depend on the image."""
        return stored


class TimmEncoder(FromTimm):
    """A timm model without its head: maps that halve in size from one to the next.

    Arguments:
        output_stride: 16 or 8: the last stages keep their maps at that stride and dilate their convolutions instead, so that
            strides are as (2, 4, 8, 8, 8); weights are the same. 32: as the model was made

    Attributes:
        widths, strides: channels and pixels per step of each map, shallowest first
        any_size: whether images of any size go in as they are, each map's sides being H / stride and W / stride rounded up

    Shapes:
        forward: (B, C, H, W), H and W multiples of strides[-1], to maps (B, widths[i], H / strides[i], W / strides[i])

    Raises:
        InputError: timm has no such model (near names are shown), its maps do not halve, or it takes one size only; it cannot
            dilate to `output_stride`.
    """

    def __init__(self, name: str, channels: int, *, output_stride: int = 32) -> None:
        super().__init__(name, channels)
        if output_stride not in OUTPUT_STRIDES or not isinstance(output_stride, int):
            known = ", ".join(map(str, OUTPUT_STRIDES))
            raise InputError(f"output_stride={output_stride!r} is not usable; expected one of {known}.")
        # Swin pads its windows to any size, but only if told to.
        options = {"strict_img_size": False} if name.startswith("swin") else {}
        dilated = output_stride < 32
        net = _features(name, in_chans=channels, **options, **({"output_stride": output_stride} if dilated else {}))
        self.net = net
        for place, layer in list(net.named_modules()):
            if isinstance(layer, Conv2dSame):
                net.set_submodule(place, SameOnGrid(layer))
            elif isinstance(layer, AvgPool2dSame) and layer.stride in (1, (1, 1)):
                net.set_submodule(place, MeanOnGrid(layer))
        self.widths: tuple[int, ...] = tuple(net.feature_info.channels())
        self.strides: tuple[int, ...] = tuple(net.feature_info.reduction())
        self.channels_last_axis = str(getattr(net, "output_fmt", "")).endswith("NHWC")
        if any(s & (s - 1) for s in self.strides) or (not dilated and any(a >= b for a, b in pairwise(self.strides))):
            raise InputError(
                f"encoder {name!r} gives maps at strides {list(self.strides)}; expected sizes that halve from map to map, "
                "as in resnet34."
            )
        if dilated and self.strides[-1] != output_stride:
            raise InputError(
                f"encoder {name!r} gives maps at strides {list(self.strides)} and does not reach output_stride={output_stride}; "
                "choose another, as resnet34."
            )
        self._try_two_sizes()
        self.any_size = self._takes_any_size()

    def forward(self, image: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.net(image)
        if not self.channels_last_axis:
            return maps
        maps = [m.permute(0, 3, 1, 2) for m in maps]
        # A graph for any size needs strides that do not depend on where a side of 1 px would stand.
        return [m.contiguous() for m in maps] if torch.compiler.is_compiling() else maps

    def filled(self, image: Tensor) -> Tensor:
        """The image, with its border repeated up to the grid of the last map only where this encoder cannot do without.

        For networks that need no exact ratio between their maps: they then see the same borders as where they were published.
        In training an image of one cell is filled up to two along each side, for batch norm.
        """
        grid = self.strides[-1]
        one_cell = self.training and max(image.shape[-2:]) <= grid
        return image if self.any_size and not one_cell else on_grid(image, grid, least=2 if one_cell else 1)

    def freeze(self, stages: int) -> None:
        """Let the weights that the first so many maps come from stay as they are; norms still follow the images in training."""
        training, side = self.training, 2 * self.strides[-1]
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        if not weights:
            return
        with torch.enable_grad():
            maps = self.eval()(torch.zeros(1, self.channels, side, side))[:stages]
            used = torch.autograd.grad(torch.stack([m.sum() for m in maps]).sum(), weights, allow_unused=True)
        for weight, gradient in zip(weights, used, strict=True):
            if gradient is not None:
                weight.requires_grad_(False)
        self.train(training)

    def _try_two_sizes(self) -> None:
        """One pass over an oblong image: transformers of fixed size fail here rather than on the user's first image."""
        h, w = 2 * self.strides[-1], 3 * self.strides[-1]
        expected = [(1, c, h // s, w // s) for c, s in zip(self.widths, self.strides, strict=True)]
        try:
            found = self._shapes(h, w)
        except (RuntimeError, AssertionError) as error:
            raise InputError(
                f"encoder {self.name!r} does not take images of any size ({error}); choose another, as resnet34."
            ) from error
        if found != expected:
            raise InputError(
                f"encoder {self.name!r} turns {h} x {w} px into {found}, expected {expected}; choose another, as resnet34."
            )

    def _takes_any_size(self) -> bool:
        # Other steps than these (timm's ..Same layers, pooling that rounds up) pad by what they find, which no graph can hold.
        layers = [m for m in self.net.modules() if not list(m.children())]
        steps = [m for m in layers if getattr(m, "stride", 1) not in (1, (1, 1))]
        if not all(type(m) in (nn.Conv2d, nn.MaxPool2d) and not getattr(m, "ceil_mode", False) for m in steps):
            return False
        h, w = 1, self.strides[-1] + 1  # no side is a multiple of any stride but 1
        try:
            found = self._shapes(h, w)
        except (RuntimeError, AssertionError):
            return False
        return found == [(1, c, -(-h // s), -(-w // s)) for c, s in zip(self.widths, self.strides, strict=True)]

    @torch.no_grad()
    def _shapes(self, h: int, w: int) -> list[tuple[int, ...]]:
        self.net.eval()
        try:
            return [tuple(m.shape) for m in self(torch.zeros(1, self.channels, h, w))]
        finally:
            self.net.train()


class SameOnGrid(nn.Conv2d):
    """timm's convolution with TensorFlow's padding, for maps whose sides its stride divides: the padding is then a constant.

    timm works it out from every map's size, over which torch.export with free sizes takes minutes. Weights are shared.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        with torch.device("meta"):
            super().__init__(
                conv.in_channels,
                conv.out_channels,
                conv.kernel_size,  # type: ignore[arg-type]
                stride=conv.stride,  # type: ignore[arg-type]
                dilation=conv.dilation,  # type: ignore[arg-type]
                groups=conv.groups,
                bias=conv.bias is not None,
            )
        self.weight, self.bias = conv.weight, conv.bias
        spans = [(k - 1) * d + 1 for k, d in zip(conv.kernel_size, conv.dilation, strict=True)]
        more = [max(span - stride, 0) for span, stride in zip(spans, conv.stride, strict=True)]
        self.borders = [n for total in reversed(more) for n in (total // 2, total - total // 2)]

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.borders))


class MeanOnGrid(nn.Module):
    """timm's mean over neighbours at stride 1, in dilated ResNets of kind D, with its padding as a constant likewise."""

    def __init__(self, pool: AvgPool2dSame) -> None:
        super().__init__()
        self.size = to_2tuple(pool.kernel_size)
        self.borders = [n for total in reversed(self.size) for n in ((total - 1) // 2, total // 2)]

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, self.borders), self.size, 1)


def _features(name: str, **options: Any) -> Any:
    """timm's features_only model, an nn.Module with a `feature_info`."""
    try:
        return timm.create_model(name, features_only=True, pretrained=False, **options)
    except (RuntimeError, AttributeError, ValueError) as error:
        raise InputError(f"timm cannot give the maps of {name!r} ({error}); choose another encoder, as resnet34.") from error
    except (TypeError, AssertionError, NotImplementedError) as error:
        if "output_stride" not in options:
            raise
        raise InputError(
            f"encoder {name!r} cannot dilate its convolutions to output_stride={options['output_stride']} ({error}); "
            "choose another, as resnet34, or output_stride=32."
        ) from error

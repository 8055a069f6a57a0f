"""The parts that U-Nets are made of: two convolutions, a step up, an attention gate, a central crop; He's initial weights.

Source: Ronneberger, Fischer, Brox 2015, arXiv:1505.04597, figure 1 and section 3; the gate: Oktay et al. 2018,
arXiv:1804.03999, figure 2. Written from the papers.
Differs: norms, padding, identity shortcuts and upsampling by interpolation are options; the first paper has none of them.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORMS = ("batch", "group", "none")
UPS = ("transpose", "bilinear", "nearest")
GATE_OPEN = 3.0  # sigmoid(3) = 0.95


class TwoConvs(nn.Module):
    """Twice a 3x3 convolution, a norm and a ReLU: the blue arrows of figure 1.

    Unpadded convolutions take 4 px from each side length. With residual=True the input is added before the last ReLU,
    cropped to the unpadded size, through a 1x1 convolution where the numbers of channels differ.

    Shapes:
        x: (B, channels_in, h, w)
        returns: (B, channels_out, h, w) padded, (B, channels_out, h - 4, w - 4) unpadded
    """

    def __init__(self, channels_in: int, channels_out: int, *, padded: bool, norm: str, residual: bool = False) -> None:
        super().__init__()
        self.padded = padded
        self.convs = nn.Sequential(
            *_conv(channels_in, channels_out, padded, norm),
            nn.ReLU(inplace=True),
            *_conv(channels_out, channels_out, padded, norm),
        )
        self.shortcut: nn.Module | None = None
        if residual:
            self.shortcut = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.convs(x)
        if self.shortcut is not None:
            y = y + self.shortcut(x if self.padded else crop_to(x, y))
        return F.relu(y, inplace=True)


class Up(nn.Module):
    """Twice the size and another number of channels: the green arrows of figure 1.

    "bilinear" convolves (1x1) before it interpolates: the same result as after, at a quarter of the work. "nearest" repeats
    every pixel, without weights, and leaves the channels as they are.

    Attributes:
        channels: of what comes out
    """

    def __init__(self, channels_in: int, channels_out: int, how: str) -> None:
        super().__init__()
        self.repeat, self.interpolate = how == "nearest", how == "bilinear"
        self.channels = channels_in if self.repeat else channels_out
        if not self.repeat:
            size = 1 if self.interpolate else 2
            kind = nn.Conv2d if self.interpolate else nn.ConvTranspose2d
            self.conv = kind(channels_in, channels_out, size, stride=size)

    def forward(self, x: Tensor) -> Tensor:
        if self.repeat:
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.conv(x)
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False) if self.interpolate else x


class AttentionGate(nn.Module):
    """Dims those pixels of a map that the coarser map below has no use for (arXiv:1804.03999, equations 1 and 2, figure 2).

    Both are brought to the coarser grid and to half of the map's channels, added, and squeezed to one coefficient in (0, 1)
    a pixel. Interpolated to the map's own size, it multiplies every channel. The bias of the squeeze starts at GATE_OPEN, so
    that an untrained gate lets nearly everything through, as the paper has it.

    Shapes:
        skip: (B, channels_skip, 2h, 2w)
        coarser: (B, channels_coarser, h, w)
        returns: (B, channels_skip, 2h, 2w)
    """

    def __init__(self, channels_skip: int, channels_coarser: int) -> None:
        super().__init__()
        inner = max(1, channels_skip // 2)
        self.of_skip = nn.Conv2d(channels_skip, inner, 2, stride=2, bias=False)
        self.of_coarser = nn.Conv2d(channels_coarser, inner, 1)
        self.squeeze = nn.Conv2d(inner, 1, 1)

    def forward(self, skip: Tensor, coarser: Tensor) -> Tensor:
        both = F.relu(self.of_skip(skip) + self.of_coarser(coarser))
        passed = self.squeeze(both).sigmoid()  # (B, 1, h, w)
        return skip * F.interpolate(passed, scale_factor=2.0, mode="bilinear", align_corners=False)


class Stage(nn.Module):
    """One step of the expanding path: up, beside the cropped map of the contracting path, two convolutions.

    With attention=True the map goes through a gate that listens to the map below. With up="nearest" it stands behind what comes
    from below, as in segmentation-models-pytorch.

    Shapes:
        x: (B, channels_in, h, w)
        skip: (B, channels_skip, at least 2h, at least 2w), or None where the encoder has no map of that size
        returns: (B, channels_out, 2h, 2w), unpadded 4 px less on each side length
    """

    def __init__(
        self,
        channels_in: int,
        channels_skip: int,
        channels_out: int,
        *,
        up: str,
        padded: bool,
        norm: str,
        residual: bool,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.padded = padded
        self.up = Up(channels_in, channels_out, up)
        self.gate = AttentionGate(channels_skip, channels_in) if attention and channels_skip else None
        self.convs = TwoConvs(channels_skip + self.up.channels, channels_out, padded=padded, norm=norm, residual=residual)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        below, x = x, self.up(x)
        if skip is not None:
            skip = skip if self.padded else crop_to(skip, x)
            skip = skip if self.gate is None else self.gate(skip, below)
            x = torch.cat([x, skip] if self.up.repeat else [skip, x], dim=1)
        out: Tensor = self.convs(x)
        return out


def crop_to(x: Tensor, like: Tensor) -> Tensor:
    """The central part of x that is as high and wide as `like`: the grey arrows of figure 1."""
    (h, w), (height, width) = x.shape[-2:], like.shape[-2:]
    top, left = (h - height) // 2, (w - width) // 2
    return x[..., top : top + height, left : left + width]


def he_init(module: nn.Module) -> None:
    """Draw all convolutions from a Gaussian with standard deviation sqrt(2 / N), biases 0; for nn.Module.apply.

    N is the number of incoming nodes of one neuron (section 3): kernel height x width x channels, those of its own group
    only. A 2x2 transposed convolution with stride 2 reaches every output pixel once, so its N is the channels alone.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        taps = 1 if isinstance(module, nn.ConvTranspose2d) else math.prod(module.kernel_size)
        nn.init.normal_(module.weight, std=math.sqrt(2 * module.groups / (taps * module.in_channels)))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, AttentionGate) and module.squeeze.bias is not None:
        nn.init.constant_(module.squeeze.bias, GATE_OPEN)  # not 0 as its convolution had it: apply() visits the parts first


def _conv(channels_in: int, channels_out: int, padded: bool, norm: str) -> list[nn.Module]:
    # A norm subtracts the mean, and a bias in front of it with it: only the plain form has biases.
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=int(padded), bias=norm == "none")
    if norm == "batch":
        return [conv, nn.BatchNorm2d(channels_out)]
    if norm == "group":
        # At most 32 groups, of at least four channels where there are as many.
        return [conv, nn.GroupNorm(math.gcd(32, max(1, channels_out // 4), channels_out), channels_out)]
    return [conv]

"""What a pixel cannot see from where it stands: pooled maps, and the convolution with norm that all heads are made of.

Source: image pooling of DeepLabV3, arXiv:1706.05587, section 3.3; pyramid pooling of PSPNet, arXiv:1612.01105, section 3.2.
Differs: batch norm behind a pooling takes its running statistics where a batch holds one value a channel (PooledNorm).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.models.sizes import resized

BINS = (1, 2, 3, 6)  # sides of the pyramid's pooled maps


class PooledNorm(nn.BatchNorm2d):
    """Batch norm of maps that may be 1x1: with one value a channel it uses its running statistics, in training too.

    One value has no variance: it would be normed to zero whatever it is, and torch raises instead. The running statistics are
    what evaluation uses anyway; they start at mean 0 and variance 1, where such a batch passes unchanged. It does not update
    them, so that a net that only ever sees single images keeps that identity. Keys are those of nn.BatchNorm2d.

    Edge cases: with two images a channel becomes -1 and +1 in training, as in every implementation; four and more are better.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


class ImagePooling(nn.Sequential):
    """The mean over the map, convolved, normed and laid over the map again: (B, c, h, w) to (B, out, h, w)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels_in, channels_out, 1, bias=False),
            PooledNorm(channels_out),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        for layer in self:
            x = layer(x)
        return x.expand(-1, -1, h, w)


class PyramidPooling(nn.Module):
    """Means over 1x1, 2x2, 3x3 and 6x6 parts of the map, beside the map itself, and a 3x3 convolution over all.

    Shapes:
        x: (B, channels_in, h, w)
        returns: (B, channels_out, h, w)
    """

    def __init__(self, channels_in: int, channels_out: int, bins: Sequence[int] = BINS) -> None:
        super().__init__()
        self.pooled = nn.ModuleList(
            nn.Sequential(
                Means(side),
                nn.Conv2d(channels_in, channels_out, 1, bias=False),
                PooledNorm(channels_out),
                nn.ReLU(),
            )
            for side in bins
        )
        self.fuse = nn.Sequential(*conv_norm(channels_in + len(bins) * channels_out, channels_out))

    def forward(self, x: Tensor) -> Tensor:
        hw = (x.shape[-2], x.shape[-1])
        out: Tensor = self.fuse(torch.cat([x, *(resized(part(x), hw) for part in self.pooled)], dim=1))
        return out


class Means(nn.Module):
    """The mean of each of side x side parts of a map, as nn.AdaptiveAvgPool2d, also where the sizes are free in a trace.

    The tracer would keep how the parts overlap at the size that it has seen. A part's mean is that of its rows' means, so two
    products with the shares of each row and column give it for every size.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            return F.adaptive_avg_pool2d(x, self.side)
        down, across = (self._shares(x.shape[axis], x) for axis in (-2, -1))
        return torch.matmul(torch.matmul(down, x), across.T)  # (B, C, side, side)

    def _shares(self, length: int, like: Tensor) -> Tensor:
        """(side, length): how much of each part's mean every row is."""
        parts, rows = (torch.arange(n, device=like.device) for n in (self.side, length))
        first = torch.div(parts * length, self.side, rounding_mode="floor")
        behind = torch.div((parts + 1) * length + self.side - 1, self.side, rounding_mode="floor")
        inside = ((rows >= first[:, None]) & (rows < behind[:, None])).to(like.dtype)
        return inside / inside.sum(dim=1, keepdim=True)


def conv_norm(channels_in: int, channels_out: int, size: int = 3, *, norm: str = "batch", dilation: int = 1) -> list[nn.Module]:
    """Convolution without bias that keeps h and w, norm, ReLU."""
    padding = dilation * (size // 2)
    conv = nn.Conv2d(channels_in, channels_out, size, padding=padding, dilation=dilation, bias=False)
    return [conv, norm_of(channels_out, norm), nn.ReLU()]


def norm_of(channels: int, norm: str) -> nn.Module:
    """Batch norm, or group norm with at most 32 groups, of at least four channels where there are as many."""
    if norm == "group":
        return nn.GroupNorm(math.gcd(32, max(1, channels // 4), channels), channels)
    return nn.BatchNorm2d(channels)

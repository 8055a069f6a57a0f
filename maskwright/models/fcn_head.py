"""The second half of an FCN: scores of maps at strides 32, 16 and 8, added from coarse to fine and brought to full size.

Source: Long, Shelhamer, Darrell 2015, arXiv:1411.4038, sections 3.3 and 4.2, figure 3; the factors of training at once: journal
version Shelhamer et al., arXiv:1605.06211, and its code. Written from the papers.
Differs: see models/fcn.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.models.layers import he_init

AT_ONCE = (1e-2, 1e-4)  # factors of pool4 and pool3 where all strides are trained together


class SkipHead(nn.Module):
    """Figure 3: scores at stride 32, doubled and added to those of finer maps down to `stride`, then brought to full size.

    Arguments:
        widths: channels of the maps at strides 32, 16 and 8
    """

    def __init__(
        self,
        stride: int,
        widths: tuple[int, int, int],
        classes: int,
        *,
        learn_last: bool,
        at_once: bool = False,
        shift_px: int = 0,
    ) -> None:
        super().__init__()
        self.factors = AT_ONCE if at_once else (1.0, 1.0)
        self.score = nn.Conv2d(widths[0], classes, 1)
        self.score.apply(he_init)
        self.up2 = Upsampling(classes, 2) if stride <= 16 else None
        self.score_pool4 = _skip_score(widths[1], classes) if stride <= 16 else None
        self.up4 = Upsampling(classes, 2) if stride <= 8 else None
        self.score_pool3 = _skip_score(widths[2], classes) if stride <= 8 else None
        self.last = Upsampling(classes, stride, learnt=learn_last, shift_px=shift_px)

    def forward(self, deepest: Tensor, pool4: Tensor, pool3: Tensor) -> Tensor:
        """Maps (B, ., h, w), (B, ., 2h, 2w), (B, ., 4h, 4w) to logits (B, K, 32h, 32w)."""
        x: Tensor = self.score(deepest)
        if self.score_pool4 is not None and self.up2 is not None:
            x = self.up2(x) + self.score_pool4(pool4 * self.factors[0])
        if self.score_pool3 is not None and self.up4 is not None:
            x = self.up4(x) + self.score_pool3(pool3 * self.factors[1])
        logits: Tensor = self.last(x)
        return logits


class Upsampling(nn.Module):
    """`factor` times the size, by a transposed convolution from all classes to all that starts as bilinear interpolation.

    Arguments:
        factor: an even number
        learnt: False keeps the bilinear interpolation and has no weights
        shift_px: how far the centre of a pixel of x lies right of and below the centre of its factor x factor cell

    Shapes:
        x: (B, classes, h, w)
        returns: (B, classes, factor * h, factor * w)
    """

    def __init__(self, classes: int, factor: int, *, learnt: bool = True, shift_px: int = 0) -> None:
        super().__init__()
        self.factor, self.shift_px = factor, shift_px
        self.conv: nn.ConvTranspose2d | None = None
        if learnt:
            self.conv = nn.ConvTranspose2d(classes, classes, 2 * factor, stride=factor, bias=False)
            bilinear_init(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2] * self.factor, x.shape[-1] * self.factor
        # One more pixel on each side: without it the outermost half cells would be interpolated towards zero.
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        start = self.factor - self.shift_px
        if self.conv is None:
            x = F.interpolate(x, scale_factor=float(self.factor), mode="bilinear", align_corners=False)
        else:
            x = self.conv(x)
            start += self.factor // 2  # each pixel spreads over twice its cell, half of the surplus on each side
        return x[..., start : start + h, start : start + w]


@torch.no_grad()
def bilinear_init(conv: nn.ConvTranspose2d) -> None:
    """Make a transposed convolution interpolate each class linearly along both axes, and mix no classes."""
    factor = conv.stride[0]
    distance = (torch.arange(2 * factor) - (factor - 0.5)).abs()  # from the pixel's centre, in pixels of the output
    hat = 1 - distance / factor
    conv.weight.zero_()
    conv.weight.diagonal().copy_((hat[:, None] * hat)[..., None].expand(-1, -1, conv.in_channels))  # (k, k, classes)


def _skip_score(channels: int, classes: int) -> nn.Conv2d:
    """Starts at zero, so that a finer net begins with the answers of the coarser one that it starts from."""
    conv = nn.Conv2d(channels, classes, 1)
    for p in conv.parameters():
        nn.init.zeros_(p)
    return conv

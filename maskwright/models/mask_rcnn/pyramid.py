"""The feature pyramid: maps of all depths with the same number of channels, each seeing what the deeper ones saw.

Source: Lin et al. 2017, arXiv:1612.03144, figure 3 and section 4.1 (the coarsest level for the proposals alone).
Differs: any timm encoder; a norm after each convolution is an option (torchvision's second version has it). models/fpn.py, for
semantic segmentation, has other norms and activations and no coarsest level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.models.context import norm_of

if TYPE_CHECKING:
    from maskwright.models.encoders import TimmEncoder

FINEST = 4  # stride of the finest level


class DetectionPyramid(nn.Module):
    """An encoder's maps from stride 4 on to as many maps of one width, and one more by taking every second place of the last.

    Attributes:
        strides: pixels of the image per place of each level but the last

    Shapes:
        maps: the encoder's, finest first
        returns: (B, width, h_i, w_i) for each level, finest first; the last has (h + 1) // 2 rows of the one before

    Raises:
        InputError: the encoder has no map at stride 4, or only that one.
    """

    def __init__(self, encoder: TimmEncoder, width: int, norm: str) -> None:
        super().__init__()
        self.levels = tuple(i for i, stride in enumerate(encoder.strides) if stride >= FINEST)
        self.strides = tuple(encoder.strides[i] for i in self.levels)
        if len(self.levels) < 2 or self.strides[0] != FINEST:
            raise InputError(
                f"encoder {encoder.name!r} gives maps at strides {list(encoder.strides)}; Mask R-CNN needs one at stride "
                f"{FINEST} and deeper ones, as in resnet50."
            )
        self.lateral = nn.ModuleList(conv(encoder.widths[i], width, 1, norm) for i in self.levels)
        self.smooth = nn.ModuleList(conv(width, width, 3, norm) for _ in self.levels)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_uniform_(part.weight, a=1)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        found = [lateral(maps[i]) for lateral, i in zip(self.lateral, self.levels, strict=True)]
        for i in range(len(found) - 1, 0, -1):
            found[i - 1] = found[i - 1] + F.interpolate(found[i], scale_factor=2.0, mode="nearest")
        found = [smooth(m) for smooth, m in zip(self.smooth, found, strict=True)]
        return [*found, F.max_pool2d(found[-1], 1, stride=2)]


def conv(channels_in: int, channels_out: int, size: int, norm: str, *, relu: bool = False) -> nn.Sequential:
    """A convolution that keeps h and w, its norm unless that is "none", a ReLU if asked for."""
    layers: list[nn.Module] = [nn.Conv2d(channels_in, channels_out, size, padding=size // 2, bias=norm == "none")]
    if norm != "none":
        layers.append(norm_of(channels_out, norm))
    if relu:
        layers.append(nn.ReLU(inplace=True))
    bias = layers[0].bias
    if isinstance(bias, Tensor):
        nn.init.zeros_(bias)
    return nn.Sequential(*layers)

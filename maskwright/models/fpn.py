"""Feature pyramid networks for semantic segmentation: maps of all depths brought to one width, from coarse to fine, then fused.

Source: FPN: Lin et al. 2017, arXiv:1612.03144, figure 3, with the semantic branch of Panoptic FPN, Kirillov, Girshick, He,
Dollar 2019, arXiv:1901.02446, figure 3. UPerNet: Xiao et al. 2018, arXiv:1807.10221, figure 4: pyramid pooling on the deepest
map, the fused maps laid side by side.
Differs: any timm encoder; maps finer than stride 4 are left out; norm="batch" for speed on a processor, where it melts into the
convolution (Panoptic FPN norms groups). UPerNet has 256 channels everywhere where its authors' code has 512, enlarges by
repetition on the way up where that interpolates, and drops channels before its head; its other heads (scene, object parts,
material, texture) are not here.
Weights: none; a timm encoder may start from a file (loading.load_weights).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.models.arguments import check_choice, check_flag, check_share, check_whole
from maskwright.models.context import PyramidPooling, conv_norm
from maskwright.models.encoders import TimmEncoder
from maskwright.models.layers import he_init
from maskwright.models.sizes import check_image, cropped, on_grid, resized

FINEST = 4  # stride of the map at which all are fused
NORMS = ("group", "batch")


class FPN(nn.Module):
    """Semantic segmentation at the size of the image, for any height and width.

    Arguments:
        channels, classes: channels of the image, channels of the logits
        encoder: name of a timm model
        width: channels of the pyramid; the branches that are summed have half as many
        pyramid_pooling: pools the deepest map over 1x1, 2x2, 3x3 and 6x6 parts before the way up, as UPerNet does
        norm: "group" (the paper's) or "batch" (faster)
        dropout: share of the fused map's channels dropped in training

    Raises:
        InputError: an argument is out of range, or the encoder cannot serve; the message names it.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        encoder: str = "resnet50",
        width: int = 256,
        pyramid_pooling: bool = False,
        norm: str = "group",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_whole(channels=channels, classes=classes, width=width)
        check_flag(pyramid_pooling=pyramid_pooling)
        check_choice("norm", norm, NORMS)
        check_share(dropout=dropout)
        self.channels, self.classes = channels, classes
        self.encoder = TimmEncoder(encoder, channels)
        self.pyramid = Pyramid(self.encoder, width, pyramid_pooling=pyramid_pooling)
        half = max(1, width // 2)
        self.branches = nn.ModuleList(
            nn.Sequential(*_branch(width, half, steps, norm)) for steps in range(len(self.pyramid.levels))
        )
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(half, classes, 1)
        for part in (self.pyramid, self.branches, self.head):
            part.apply(he_init)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of every pixel, (B, C, H, W) with any H and W from 1 px to (B, K, H, W).

        Edge cases: the right and lower border are repeated up to the grid of the deepest map.
        """
        check_image(image, self.channels)
        whole = on_grid(image, self.encoder.strides[-1], least=2 if self.training else 1)
        maps = self.pyramid(self.encoder(whole))
        fused = self.branches[0](maps[0])
        for branch, deeper in zip(self.branches[1:], maps[1:], strict=True):
            fused = fused + branch(deeper)
        logits = self.head(self.dropout(fused))  # (B, K, h / 4, w / 4)
        return cropped(resized(logits, (whole.shape[-2], whole.shape[-1])), image)


class UPerNet(nn.Module):
    """Semantic segmentation at the size of the image: the pyramid with pooling, all its maps side by side in one convolution.

    Every convolution but the last is followed by batch norm and ReLU, and the deepest map, which pyramid pooling has just
    convolved, is not smoothed again, as in the authors' code.

    Arguments: those of FPN; `width` channels everywhere

    Raises:
        InputError: an argument is out of range, or the encoder cannot serve; the message names it.
    """

    def __init__(self, channels: int, classes: int, *, encoder: str = "resnet50", width: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        check_whole(channels=channels, classes=classes, width=width)
        check_share(dropout=dropout)
        self.channels, self.classes = channels, classes
        self.encoder = TimmEncoder(encoder, channels)
        self.pyramid = Pyramid(self.encoder, width, pyramid_pooling=True, normed=True)
        self.fuse = nn.Sequential(*conv_norm(width * len(self.pyramid.levels), width), nn.Dropout2d(dropout))
        self.head = nn.Conv2d(width, classes, 1)
        for part in (self.pyramid, self.fuse, self.head):
            part.apply(he_init)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of every pixel, (B, C, H, W) with any H and W from 1 px to (B, K, H, W).

        Edge cases: the right and lower border are repeated up to the grid of the deepest map.
        """
        check_image(image, self.channels)
        whole = on_grid(image, self.encoder.strides[-1], least=2 if self.training else 1)
        finest, *others = self.pyramid(self.encoder(whole))
        hw = (finest.shape[-2], finest.shape[-1])
        logits = self.head(self.fuse(torch.cat([finest, *(resized(m, hw) for m in others)], dim=1)))
        return cropped(resized(logits, (whole.shape[-2], whole.shape[-1])), image)


class Pyramid(nn.Module):
    """Figure 3 of FPN: 1x1 convolutions to one width, the deeper map doubled and added on the way up, 3x3 convolutions.

    Arguments:
        normed: UPerNet's form, see there; FPN's convolutions have neither norm nor ReLU

    Attributes:
        levels: which of the encoder's maps take part, shallowest first

    Shapes:
        maps: the encoder's, each half as high and wide as the one before
        returns: (B, width, h_i, w_i) for each level
    """

    def __init__(self, encoder: TimmEncoder, width: int, *, pyramid_pooling: bool, normed: bool = False) -> None:
        super().__init__()
        self.levels = tuple(i for i, stride in enumerate(encoder.strides) if stride >= FINEST)
        if not self.levels or encoder.strides[self.levels[0]] != FINEST:
            raise InputError(
                f"encoder {encoder.name!r} gives maps at strides {list(encoder.strides)}; a feature pyramid needs one at stride "
                f"{FINEST}, as in resnet34."
            )
        *shallow, deepest = (encoder.widths[i] for i in self.levels)
        top: nn.Module = PyramidPooling(deepest, width) if pyramid_pooling else nn.Conv2d(deepest, width, 1)
        if normed:
            lateral: list[nn.Module] = [nn.Sequential(*conv_norm(c, width, 1)) for c in shallow]
            smooth: list[nn.Module] = [*(nn.Sequential(*conv_norm(width, width)) for _ in shallow), nn.Identity()]
        else:
            lateral = [nn.Conv2d(c, width, 1) for c in shallow]
            smooth = [nn.Conv2d(width, width, 3, padding=1) for _ in self.levels]
        self.lateral, self.smooth = nn.ModuleList([*lateral, top]), nn.ModuleList(smooth)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        found = [lateral(maps[i]) for lateral, i in zip(self.lateral, self.levels, strict=True)]
        for i in range(len(found) - 1, 0, -1):
            found[i - 1] = found[i - 1] + F.interpolate(found[i], scale_factor=2.0, mode="nearest")
        return [smooth(m) for smooth, m in zip(self.smooth, found, strict=True)]


class Double(nn.Module):
    """Twice as high and wide, bilinear."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _branch(channels_in: int, channels_out: int, steps: int, norm: str) -> list[nn.Module]:
    """One row of Panoptic FPN's figure 3: as many times convolution and doubling as bring the map to stride 4, at least one
    convolution."""
    layers = conv_norm(channels_in, channels_out, norm=norm)
    for step in range(steps):
        layers += [Double()] if step == 0 else [*conv_norm(channels_out, channels_out, norm=norm), Double()]
    return layers

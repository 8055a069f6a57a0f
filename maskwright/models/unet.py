"""U-Net: a contracting path, an expanding path, and a copy of every map from the one beside the other.

Source: Ronneberger, Fischer, Brox 2015, arXiv:1505.04597. padded=False is figure 1: unpadded 3x3 convolutions, no norm, central
crops, 31,030,658 parameters at one channel in and two classes out, images of any size by the overlap-tile strategy (figure 2).
Differs: padded=True (the default) keeps sizes and norms batches; residual=True adds identity shortcuts; encoder="resnet34"
takes the contracting path from timm, with a narrower expanding path that ends at full size. None of these are the paper's.
attention=True is Attention U-Net (Oktay et al. 2018, arXiv:1804.03999, figure 1): a gate on every copied map but the one of
full size, which its section 3 leaves as it is.
Weights: none; a timm encoder may start from a file (loading.load_weights). On a timm encoder, up="nearest", head_px=3 is the net
that segmentation-models-pytorch calls Unet, and its weights fit (from_smp).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.models.arguments import check_choice, check_counts, check_flag, check_share, check_whole
from maskwright.models.layers import NORMS, UPS, Stage, TwoConvs, he_init
from maskwright.models.sizes import check_image, cropped, on_grid

if TYPE_CHECKING:
    from maskwright.models.encoders import TimmEncoder

WIDTH, DEPTH, MAX_WIDTH = 64, 4, 1024
SMP_NAMES = (  # of segmentation-models-pytorch's Unet, and ours
    (r"^encoder\.(model\.)?", "encoder.net."),
    (r"^decoder\.blocks\.(\d+)\.conv1\.", r"expanding.stages.\1.convs.convs."),
    (r"^decoder\.blocks\.(\d+)\.conv2\.0\.", r"expanding.stages.\1.convs.convs.3."),
    (r"^decoder\.blocks\.(\d+)\.conv2\.1\.", r"expanding.stages.\1.convs.convs.4."),
    (r"^segmentation_head\.0\.", "head."),
)
MOST_DEPTH = 8  # the deepest map's pixel then stands for 256 x 256; deeper nets would only pad


class UNet(nn.Module):
    """Semantic segmentation at the size of the image, for any height and width.

    Arguments:
        channels, classes: channels of the image, channels of the logits
        width: channels of the first maps; every step down doubles them, up to max_width
        depth: steps down; a pixel of the deepest map stands for 2^depth x 2^depth pixels
        padded: False is the paper's form
        norm: "batch", "group" or "none"; None: batch norm in the padded form, none in the paper's
        residual: identity shortcuts around each pair of convolutions (of the expanding path only, if there is an encoder)
        up: "transpose" (the paper's), "bilinear" or "nearest"; unpadded, "bilinear" keeps tiles from agreeing to the last digit
        dropout: share of the deepest map's values dropped in training (section 3.1 of the paper names no number)
        encoder: name of a timm model that takes the place of the contracting path, or None
        decoder: channels of the expanding path, deepest first, one a step; None: as the contracting path, or with
            an encoder 16 at full size, doubling to 256 at depth
        attention: a gate on each map that is copied, except at full size; as "bilinear", it looks across the cut edges of
            tiles, so that unpadded tiles agree to the last digit only without it
        head_px: side of the last convolution's kernel, odd; more than 1 needs padded=True

    Raises:
        InputError: an argument is out of range, or does not go with `encoder`; the message names it.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        width: int = WIDTH,
        depth: int = DEPTH,
        padded: bool = True,
        norm: str | None = None,
        residual: bool = False,
        up: str = "transpose",
        max_width: int = MAX_WIDTH,
        dropout: float = 0.0,
        encoder: str | None = None,
        decoder: Sequence[int] | None = None,
        attention: bool = False,
        head_px: int = 1,
    ) -> None:
        super().__init__()
        check_flag(padded=padded, residual=residual, attention=attention)
        check_counts(**({} if decoder is None else {"decoder": decoder}))
        if norm is None:
            norm = "batch" if padded else "none"
        check_whole(channels=channels, classes=classes, width=width, depth=depth, max_width=max_width, head_px=head_px)
        check_share(dropout=dropout)
        check_choice("norm", norm, NORMS)
        check_choice("up", up, UPS)
        if depth > MOST_DEPTH:
            raise InputError(f"depth={depth} is not usable; expected at most {MOST_DEPTH}.")
        if head_px % 2 == 0 or (head_px > 1 and not padded):
            raise InputError(f"head_px={head_px} is not usable; expected an odd number, and 1 where padded=False.")
        if encoder is not None and (not padded or (width, depth, max_width) != (WIDTH, DEPTH, MAX_WIDTH)):
            raise InputError(
                f"width, depth, max_width and padded=False describe the paper's contracting path, which encoder={encoder!r} "
                "replaces; leave them out, and set the expanding path's channels with `decoder`."
            )
        self.channels, self.classes, self.padded = channels, classes, padded
        self.encoder: TimmEncoder | Contracting
        if encoder is not None:
            from maskwright.models.encoders import TimmEncoder  # timm, which a path of our own does not need

            self.encoder = TimmEncoder(encoder, channels)
        else:
            widths = tuple(min(width * 2**i, max_width) for i in range(depth + 1))
            self.encoder = Contracting(channels, widths, padded=padded, norm=norm, residual=residual)
            self.encoder.apply(he_init)
        self.dropout = nn.Dropout(dropout)
        if attention and not any(stride > 1 for stride in self.encoder.strides[:-1]):
            raise InputError(f"attention=True gates the copied maps below full size, and depth={depth} has none; take 2 or more.")
        self.expanding = Expanding(self.encoder, decoder, up=up, padded=padded, norm=norm, residual=residual, attention=attention)
        self.head = nn.Conv2d(self.expanding.widths[-1], classes, head_px, padding=head_px // 2)
        self.expanding.apply(he_init)
        self.head.apply(he_init)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of every pixel.

        Shapes:
            image: (B, C, H, W) float, any H and W from 1 px
            returns: (B, K, H, W)

        Edge cases: padded, the right and lower border are repeated up to the grid of the deepest map. Unpadded, the
        image continues as in a mirror by as much as the convolutions take (92 px at depth 4), as often as it must.
        """
        check_image(image, self.channels)
        if self.padded:
            # In training two cells: batch norm refuses a single image whose deepest map is one pixel.
            logits = self._paths(on_grid(image, self.encoder.strides[-1], least=2 if self.training else 1))
        else:
            logits = self._paths(self.with_margins(image))
        return cropped(logits, image)  # (B, K, H, W)

    def valid_forward(self, image: Tensor) -> Tensor:
        """Figure 1 as drawn: logits of the pixels that see no border, (B, C, 572, 572) to (B, K, 388, 388) at depth 4.

        The logits' first pixel is pixel (margin_px, margin_px) of the image.

        Raises:
            InputError: the model is padded, or a side is none that `valid_px` returns.
        """
        if self.padded:
            raise InputError("valid_forward belongs to the paper's form; build the model with padded=False.")
        depth = len(self.encoder.strides) - 1
        for side in image.shape[-2:]:
            fits = valid_px(side - 2 * margin_px(depth), depth)
            if side != fits:
                raise InputError(
                    f"a side of {side} px does not go through {depth} unpadded steps; the next that does has {fits} px."
                )
        return self._paths(image)

    def with_margins(self, image: Tensor) -> Tensor:
        """The image with the mirrored border that valid_forward needs to answer for all its pixels (figure 2).

        Shapes:
            image: (B, C, H, W)
            returns: (B, C, valid_px(H), valid_px(W)); the image begins at (margin_px, margin_px)
        """
        depth = len(self.encoder.strides) - 1
        margin = margin_px(depth)
        for axis in (2, 3):
            length = image.shape[axis]
            there_and_back = torch.full((1,), max(2 * (length - 1), 1), device=image.device)
            index = torch.arange(-margin, valid_px(length, depth) - margin, device=image.device) % there_and_back
            image = image.index_select(axis, torch.minimum(index, there_and_back - index))
        return image

    def _paths(self, image: Tensor) -> Tensor:
        maps = self.encoder(image)
        x = self.expanding(self.dropout(maps[-1]), maps[:-1])
        logits: Tensor = self.head(x)
        return logits


class Contracting(nn.Module):
    """The left half of figure 1: two convolutions at every depth, 2x2 max pooling between them."""

    def __init__(self, channels: int, widths: tuple[int, ...], *, padded: bool, norm: str, residual: bool) -> None:
        super().__init__()
        self.widths = widths
        self.strides = tuple(2**i for i in range(len(widths)))
        pairs = zip((channels, *widths), widths, strict=False)
        self.blocks = nn.ModuleList(TwoConvs(c, out, padded=padded, norm=norm, residual=residual) for c, out in pairs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) to the maps of every depth, shallowest first: (B, widths[i], H / 2^i, W / 2^i) if padded."""
        maps: list[Tensor] = []
        for block in self.blocks:
            x = block(F.max_pool2d(x, 2) if maps else x)
            maps.append(x)
        return maps


class Expanding(nn.Module):
    """The right half of figure 1: doubles the size until it is the image's, taking in the encoder's map of each size."""

    def __init__(
        self,
        encoder: TimmEncoder | Contracting,
        widths: Sequence[int] | None,
        *,
        up: str,
        padded: bool,
        norm: str,
        residual: bool,
        attention: bool,
    ) -> None:
        super().__init__()
        strides = [encoder.strides[-1] >> i for i in range(1, encoder.strides[-1].bit_length())]
        skips = dict(zip(encoder.strides[:-1], encoder.widths[:-1], strict=True))
        if widths is None and isinstance(encoder, Contracting):
            widths = encoder.widths[-2::-1]
        self.widths = tuple(widths) if widths is not None else tuple(min(256, 16 * s) for s in strides)
        if len(self.widths) != len(strides):
            raise InputError(
                f"decoder={list(self.widths)} does not fit; this encoder needs {len(strides)} numbers of channels, deepest first."
            )
        self.has_skip = [s in skips for s in strides]
        channels_in = (encoder.widths[-1], *self.widths[:-1])
        self.stages = nn.ModuleList(
            Stage(c, skips.get(s, 0), out, up=up, padded=padded, norm=norm, residual=residual, attention=attention and s > 1)
            for c, s, out in zip(channels_in, strides, self.widths, strict=True)
        )

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        skips = list(skips)
        for stage, has_skip in zip(self.stages, self.has_skip, strict=True):
            x = stage(x, skips.pop() if has_skip else None)
        return x


def margin_px(depth: int) -> int:
    """Pixels that the unpadded form takes from each border: 92 at depth 4.

    The loss on a side length is 4 px at depth 0 and l(d) = 4 + 2 l(d - 1) + 4, hence l(d) = 12 * 2^d - 8.
    """
    return (6 << depth) - 4


def valid_px(wanted_px: int, depth: int) -> int:
    """The shortest side for which every 2x2 pooling divides evenly and at least wanted_px of logits come out.

    A side whose deepest map enters with s px is s 2^d + 4 (2^d - 1) px long and yields (s - 8) 2^d + 4 px; s is 8 or more.
    """
    grid = 1 << depth
    # Not -(-n // grid): runtimes round the quotient of a negative number towards zero.
    steps = max(0, (wanted_px - 4 + grid - 1) // grid)
    return (steps + 8) * grid + 4 * (grid - 1)


def from_smp(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of segmentation-models-pytorch's Unet under our keys, for a net with up="nearest", head_px=3 on its encoder.

    Only names change. Its encoders that fit are those with timm's names inside: the ResNets, and all that it calls "tu-".
    """
    renamed = {}
    for key, tensor in state_dict.items():
        for theirs, ours in SMP_NAMES:
            key = re.sub(theirs, ours, key)
        renamed[key] = tensor
    return renamed

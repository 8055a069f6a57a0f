"""U-Net++: between a U-Net's two paths, nested columns of nodes bring the copied maps closer to what they are joined with.

Source: Zhou, Siddiquee, Tajbakhsh, Liang 2018, arXiv:1807.10165, figure 1 and equation 1. Written from the paper.
norm="none" is its form: 9.04 M parameters at three channels in and one class out (table 3).
Differs: batch norm by default; on a timm encoder the nodes are narrower and end at the size of the encoder's finest map, mostly
half of the image's, from where the logits are interpolated; deep supervision averages logits, the paper the probabilities.
Weights: none; a timm encoder may start from a file (loading.load_weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.models.arguments import check_choice, check_counts, check_flag, check_whole
from maskwright.models.layers import NORMS, UPS, TwoConvs, Up, he_init
from maskwright.models.outputs import WithAuxiliary
from maskwright.models.sizes import check_image, cropped, on_grid, resized
from maskwright.models.unet import MOST_DEPTH, Contracting

if TYPE_CHECKING:
    from maskwright.models.encoders import TimmEncoder

WIDTH, DEPTH = 32, 4


class UNetPlusPlus(nn.Module):
    """Figure 1: node (i, j) sees all nodes before it in row i, at one size, and the node below it in row i + 1.

    Arguments:
        channels, classes: channels of the image, channels of the logits
        width: channels of the first row; every row below has twice as many
        depth: steps down, and nested columns
        norm: "batch", "group" or "none"
        up: "transpose" (the paper's), "bilinear" or "nearest"
        deep_supervision: a head on each column's node of the first row; the losses of all count alike in training, and the
            answer is their mean (the paper's accurate mode)
        encoder: name of a timm model that takes the place of the first column, or None
        decoder: channels of the nodes of each row above the deepest, deepest first; None: as the encoder's map of
            that row, on a timm encoder 16 times its stride up to 256

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
        norm: str = "batch",
        up: str = "transpose",
        deep_supervision: bool = False,
        encoder: str | None = None,
        decoder: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        check_whole(channels=channels, classes=classes, width=width, depth=depth)
        check_flag(deep_supervision=deep_supervision)
        check_counts(**({} if decoder is None else {"decoder": decoder}))
        check_choice("norm", norm, NORMS)
        check_choice("up", up, UPS)
        if depth > MOST_DEPTH:
            raise InputError(f"depth={depth} is not usable; expected at most {MOST_DEPTH}.")
        if encoder is not None and (width, depth) != (WIDTH, DEPTH):
            raise InputError(
                f"width and depth describe the paper's first column, which encoder={encoder!r} replaces; "
                "leave them out, and set the channels of the nodes with `decoder`."
            )
        self.channels, self.classes = channels, classes
        self.encoder: TimmEncoder | Contracting
        if encoder is not None:
            from maskwright.models.encoders import TimmEncoder  # timm, which a path of our own does not need

            self.encoder = TimmEncoder(encoder, channels)
            widths = [min(256, 16 * stride) for stride in self.encoder.strides[:-1]]
        else:
            self.encoder = Contracting(
                channels, tuple(width * 2**i for i in range(depth + 1)), padded=True, norm=norm, residual=False
            )
            self.encoder.apply(he_init)
            widths = list(self.encoder.widths[:-1])
        widths = list(decoder)[::-1] if decoder is not None else widths
        self.nodes = nested(self.encoder, widths, norm=norm, up=up)
        self.depth = len(widths)
        heads = self.depth if deep_supervision else 1
        self.heads = nn.ModuleList(nn.Conv2d(widths[0], classes, 1) for _ in range(heads))
        self.nodes.apply(he_init)
        self.heads.apply(he_init)

    def forward(self, image: Tensor) -> Tensor | WithAuxiliary:
        """Logits of every pixel.

        Shapes:
            image: (B, C, H, W) float, any H and W from 1 px; filled up to the grid of the deepest map inside
            returns: (B, K, H, W); in training with deep supervision, the last column's and beside it the others'
        """
        check_image(image, self.channels)
        x = on_grid(image, self.encoder.strides[-1], least=2 if self.training else 1)
        rows = [[m] for m in self.encoder(x)]  # rows[i][j] is node (i, j)
        for j in range(1, self.depth + 1):
            for i in range(self.depth + 1 - j):
                rows[i].append(self.nodes[f"{i}_{j}"](rows[i], rows[i + 1][j - 1]))
        full = (x.shape[-2], x.shape[-1])
        last = rows[0][-len(self.heads) :]
        logits = [cropped(resized(head(m), full), image) for head, m in zip(self.heads, last, strict=True)]
        if self.training and len(logits) > 1:
            return WithAuxiliary(logits[-1], tuple(logits[:-1]), weight=1.0)
        return torch.stack(logits).mean(dim=0) if len(logits) > 1 else logits[0]  # (B, K, H, W)


class Node(nn.Module):
    """Equation 1: all nodes before it in its row and the enlarged node below, side by side, through two convolutions.

    Shapes:
        row: each (B, ., 2h, 2w), channels_row in all
        below: (B, channels_below, h, w)
        returns: (B, channels_out, 2h, 2w)
    """

    def __init__(self, channels_row: int, channels_below: int, channels_out: int, *, norm: str, up: str) -> None:
        super().__init__()
        self.up = Up(channels_below, channels_out, up)
        self.convs = TwoConvs(channels_row + self.up.channels, channels_out, padded=True, norm=norm)

    def forward(self, row: Sequence[Tensor], below: Tensor) -> Tensor:
        out: Tensor = self.convs(torch.cat([*row, self.up(below)], dim=1))
        return out


def nested(encoder: TimmEncoder | Contracting, widths: Sequence[int], *, norm: str, up: str) -> nn.ModuleDict:
    """The nodes right of the encoder, node (i, j) by the name "i_j".

    Arguments:
        widths: channels of the nodes of each row above the deepest, shallowest first
    """
    depth = len(encoder.strides) - 1
    doubling = [encoder.strides[0] * 2**i for i in range(depth + 1)]
    if depth < 1 or list(encoder.strides) != doubling:
        raise InputError(
            f"an encoder with maps at strides {list(encoder.strides)} has gaps; U-Net++ needs strides that double, as resnet34's."
        )
    if len(widths) != depth:
        raise InputError(
            f"decoder={list(widths[::-1])} does not fit; this encoder needs {depth} numbers of channels, deepest first."
        )
    nodes = nn.ModuleDict()
    for j in range(1, depth + 1):
        below = encoder.widths if j == 1 else widths
        for i in range(depth + 1 - j):
            row = encoder.widths[i] + (j - 1) * widths[i]
            nodes[f"{i}_{j}"] = Node(row, below[i + 1], widths[i], norm=norm, up=up)
    return nodes

"""EoMT: a plain ViT whose last blocks also take in queries, each of which becomes a mask and its class. No decoder.

Source: Kerssies et al. 2025, "Your ViT is secretly an image segmentation model", arXiv:2503.19108, section 3:
queries join the patches' tokens before the last L2 blocks; a mask module of two small heads; in training masked attention, whose
share falls to nothing block by block ("mask annealing").
Differs: any timm ViT in its own patch size (the paper brings DINOv2 to 16x16); semantic segmentation; instances and
panoptic segmentation need only another reading of Queries.
Weights: none of ours; the ViT may start from a file (loading.load_weights).
"""

from __future__ import annotations

import math

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.models.arguments import check_whole
from maskwright.models.outputs import Queries
from maskwright.models.plain_vit import PlainViT
from maskwright.models.sizes import check_image, cropped, on_grid, resized

QUERIES = 100  # the paper's number for semantic segmentation
POWER = 0.9  # of the polynomial by which the share of masked attention falls


class EoMT(nn.Module):
    """Mask classification at the size of the image, for any height and width.

    Arguments:
        channels, classes: channels of the image, channels of the logits
        encoder: name of a plain ViT of timm
        queries: masks that are proposed; at least as many as an image has classes
        query_blocks: L2, the last blocks that the queries go through; the paper takes 3 of 12, 4 of 24

    Attributes:
        mask_share: (L2,) the share of queries that in training see only the patches of their own mask so far, one share a
            block, first block first; not saved, `anneal` sets it. Evaluation masks nothing

    Raises:
        InputError: an argument is out of range, or the encoder cannot serve; the message names it.
    """

    mask_share: Tensor

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        encoder: str = "vit_small_patch16_224",
        queries: int = QUERIES,
        query_blocks: int = 3,
    ) -> None:
        super().__init__()
        check_whole(channels=channels, classes=classes, queries=queries, query_blocks=query_blocks)
        self.channels, self.classes = channels, classes
        self.encoder = PlainViT(encoder, channels)
        if query_blocks > len(self.encoder.blocks):
            raise InputError(
                f"query_blocks={query_blocks} is not usable; encoder {encoder!r} has {len(self.encoder.blocks)} blocks."
            )
        self.query_blocks, width = query_blocks, self.encoder.width
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.class_head = nn.Linear(width, classes + 1)
        self.mask_head = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.upscale = nn.Sequential(*(Upscale(width) for _ in range(doublings(self.encoder.patch))))
        self.register_buffer("mask_share", torch.ones(query_blocks), persistent=False)

    def anneal(self, progress: float) -> None:
        """Set mask_share for this share of the training done, before each step; see mask_shares."""
        self.mask_share.copy_(torch.tensor(mask_shares(progress, self.query_blocks)))

    def forward(self, image: Tensor) -> Tensor | Queries:
        """Logits of every pixel in evaluation, in training what every query proposes, after the last block and before each of L2.

        Shapes:
            image: (B, C, H, W) float, any H and W from 1 px
            returns: (B, K, H, W), or Queries with `earlier` of L2 pairs

        Edge cases: the right and lower border are repeated up to whole patches; masks in training stand for the image alone.
        """
        check_image(image, self.channels)
        h, w = image.shape[-2:]
        whole = on_grid(image, self.encoder.patch)
        grid = (whole.shape[-2] // self.encoder.patch, whole.shape[-1] // self.encoder.patch)
        whole_hw = (whole.shape[-2], whole.shape[-1])
        (masks, classes), earlier = self._blocks(self.encoder(whole), grid)
        if not self.training:
            return cropped(Queries(masks, classes, whole_hw).semantic(), image)
        of_image = [(_of_image(m, whole_hw, image), c) for m, c in earlier]
        return Queries(_of_image(masks, whole_hw, image), classes, (h, w), tuple(of_image))

    def _blocks(self, tokens: Tensor, grid: tuple[int, int]) -> tuple[tuple[Tensor, Tensor], list[tuple[Tensor, Tensor]]]:
        """Proposals after the last block, and in training before each of the last L2, which the queries go through in front."""
        blocks = self.encoder.blocks
        for block in blocks[: -self.query_blocks]:
            tokens = block(tokens)
        tokens = torch.cat([self.queries.expand(tokens.shape[0], -1, -1).to(tokens), tokens], dim=1)
        earlier = []
        for i, block in enumerate(blocks[-self.query_blocks :]):
            if self.training:
                earlier.append(self._proposals(tokens, grid))
                tokens = self.encoder.attend(block, tokens, self._allowed(earlier[-1][0], grid, self.mask_share[i]))
            else:
                tokens = block(tokens)
        return self._proposals(tokens, grid), earlier

    def _proposals(self, tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Masks (B, Q, h, w) and classes (B, Q, K + 1) that the tokens stand for: the mask module."""
        tokens = self.encoder.normed(tokens)
        queries, patches = tokens[:, : len(self.queries)], tokens[:, len(self.queries) + self.encoder.prefix :]
        features = self.upscale(patches.transpose(1, 2).reshape(tokens.shape[0], -1, *grid))  # (B, width, h, w)
        masks = torch.einsum("bqd,bdhw->bqhw", self.mask_head(queries), features)
        return masks, self.class_head(queries)

    @torch.no_grad()
    def _allowed(self, masks: Tensor, grid: tuple[int, int], share: Tensor) -> Tensor:
        """(B, 1, T, T): all see all, but a `share` of the queries sees of the patches only those inside its own mask.

        A query with an empty mask still sees the other queries and the prefix.
        """
        inside = resized(masks.float(), grid).flatten(2) > 0  # (B, Q, patches)
        b, q, patches = inside.shape
        free = torch.rand(b, q, 1, device=masks.device) >= share
        others = q + self.encoder.prefix
        of_queries = torch.cat([inside.new_ones(b, q, others), inside | free], dim=2)
        of_others = inside.new_ones(b, self.encoder.prefix + patches, others + patches)
        return torch.cat([of_queries, of_others], dim=1).unsqueeze(1)


class Upscale(nn.Module):
    """Twice as high and wide: 2x2 transposed convolution, GELU, 3x3 convolution of each channel, norm over the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.act = nn.GELU()
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = LayerNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(self.act(self.up(x))))
        return out


def doublings(patch: int) -> int:
    """How often a map of patches is doubled to stand at about a quarter of the image's size: 2 for 16 and 14 px, 1 for 8 px."""
    return max(1, round(math.log2(patch / 4)))


def mask_shares(progress: float, blocks: int) -> list[float]:
    """The share of masked attention in each of the last L2 blocks, first block first, for a share of the training done.

    Training has L2 + 2 equal parts. In the first all blocks are masked; then one block a part lets go, from 1 to 0 as
    (1 - t)^0.9, the first block first; in the last part nothing is masked, as in evaluation.

    Source: arXiv:2503.19108, section 3.3, "mask annealing", and its published schedules.
    """
    parts = min(max(progress, 0.0), 1.0) * (blocks + 2)
    return [(1 - min(max(parts - 1 - i, 0.0), 1.0)) ** POWER for i in range(blocks)]


def _of_image(masks: Tensor, whole_hw: tuple[int, int], image: Tensor) -> Tensor:
    """The masks of the image alone: as they are where it came in whole patches, at the image's own size otherwise."""
    return masks if whole_hw == tuple(image.shape[-2:]) else cropped(resized(masks, whole_hw), image)

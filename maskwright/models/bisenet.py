"""BiSeNetV2: a shallow wide branch for detail beside a deep narrow one for meaning, each of which guides the other.

Source: Yu, Gao, Wang, Yu, Shen, Sang 2020, arXiv:2004.02147, table 1 and figures 3 to 6. Written from the paper.
Differs: an expansion ends in a ReLU, and the convolutions that close the context embedding and the aggregation have batch norm
and ReLU as every Conv2d of table 1; figures 4 to 6 draw neither, the published reproductions have both. Context that is pooled
over a whole image is normed by its running statistics in training on a single image (context.PooledNorm), and the first norm on
it has no scale and shift of its own, which could not be told from those of the layers behind. The 3x3 convolution of a
gather-and-expansion layer keeps its channels and the depthwise one multiplies them by six, as figure 5 is commonly read.
Weights: none; made to be trained from scratch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.models.arguments import check_flag, check_whole
from maskwright.models.context import PooledNorm
from maskwright.models.layers import he_init
from maskwright.models.outputs import WithAuxiliary
from maskwright.models.sizes import check_image, cropped, on_grid, resized

DETAIL_WIDTHS = (64, 64, 128)  # table 1, stages S1 to S3
SEMANTIC_WIDTHS = (16, 32, 64, 128)  # S1-2, S3, S4, S5: a quarter of the detail branch's, then on
LAYERS = (2, 2, 4)  # gather-and-expansion layers of S3, S4, S5; the first of each halves the size
EXPANSION = 6
GRID_PX = 32


class BiSeNetV2(nn.Module):
    """Real-time segmentation, figure 3: detail at an eighth of the size, meaning at a thirty-second, aggregation, one head.

    Arguments:
        channels, classes: channels of the image, channels of the logits
        width_multiplier: alpha of the paper: times the widths of table 1
        depth_multiplier: d of the paper: times the gather-and-expansion layers of each stage (BiSeNetV2-Large: 2.0 and 3)
        head_width, booster_width: inner channels of the head and of each booster; the multiplier leaves them as they are
        boosters: heads on four stages of the semantic branch, which are trained too and play no part in the answer

    Raises:
        InputError: an argument is out of range; the message names it.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        width_multiplier: float = 1.0,
        depth_multiplier: int = 1,
        head_width: int = 1024,
        booster_width: int = 128,
        boosters: bool = True,
    ) -> None:
        super().__init__()
        check_whole(channels=channels, classes=classes, depth_multiplier=depth_multiplier)
        check_whole(head_width=head_width, booster_width=booster_width)
        check_flag(boosters=boosters)
        if isinstance(width_multiplier, bool) or not isinstance(width_multiplier, int | float) or not 0 < width_multiplier <= 16:
            raise InputError(f"width_multiplier={width_multiplier!r} is not usable; expected a number above 0 and up to 16.")
        self.channels, self.classes = channels, classes
        detail, semantic = ([max(2, round(c * width_multiplier)) for c in w] for w in (DETAIL_WIDTHS, SEMANTIC_WIDTHS))
        self.detail = detail_branch(channels, detail)
        self.semantic = SemanticBranch(channels, semantic, [n * depth_multiplier for n in LAYERS])
        self.aggregation = GuidedAggregation(detail[-1], semantic[-1])
        self.head = segmentation_head(detail[-1], head_width, classes)
        places = self.semantic.widths if boosters else []
        self.boosters = nn.ModuleList(segmentation_head(c, booster_width, classes) for c in places)
        self.apply(he_init)

    def forward(self, image: Tensor) -> Tensor | WithAuxiliary:
        """Logits of every pixel; in training those of the boosters beside them, each loss at full weight.

        Shapes:
            image: (B, C, H, W) float, any H and W from 1 px; filled up to multiples of 32 px inside
            returns: (B, K, H, W); in training, if there are boosters, the same and four more of that shape
        """
        check_image(image, self.channels)
        x = on_grid(image, GRID_PX, least=2 if self.training else 1)
        *stages, meaning = self.semantic(x)
        maps = [self.head(self.aggregation(self.detail(x), meaning))]
        if self.training:
            # Without boosters there is nothing to pair the stages with.
            maps += [booster(m) for booster, m in zip(self.boosters, stages, strict=False)]
        filled = (x.shape[-2], x.shape[-1])
        logits, *boosted = (cropped(resized(m, filled), image) for m in maps)  # (B, K, H, W)
        return WithAuxiliary(logits, tuple(boosted), weight=1.0) if boosted else logits


def detail_branch(channels: int, widths: list[int]) -> nn.Sequential:
    """Table 1, left: three stages that halve the size, of two, three and three 3x3 convolutions."""
    s1, s2, s3 = widths
    return nn.Sequential(
        *(conv(channels, s1, stride=2), conv(s1, s1)),
        *(conv(s1, s2, stride=2), conv(s2, s2), conv(s2, s2)),
        *(conv(s2, s3, stride=2), conv(s3, s3), conv(s3, s3)),
    )


class SemanticBranch(nn.Module):
    """Table 1, right: the stem, three stages of gather-and-expansion layers, the context embedding.

    Attributes:
        widths: channels of the first four maps that forward gives

    Shapes:
        image: (B, C, H, W), H and W multiples of 32
        returns: maps at strides 4, 8, 16, 32 and, with the context in it, 32 again
    """

    def __init__(self, channels: int, widths: list[int], layers: list[int]) -> None:
        super().__init__()
        self.widths = widths
        self.stem = Stem(channels, widths[0])
        self.stages = nn.ModuleList()
        for before, width, count in zip(widths, widths[1:], layers, strict=False):
            rest = [GatherExpansion(width, width, stride=1) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(GatherExpansion(before, width, stride=2), *rest))
        self.context = ContextEmbedding(widths[-1])

    def forward(self, image: Tensor) -> list[Tensor]:
        maps: list[Tensor] = [self.stem(image)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return [*maps, self.context(maps[-1])]


class Stem(nn.Module):
    """Figure 4 (a): from the image to a quarter of its size, once by convolution and once by pooling, side by side."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = conv(channels, width, stride=2)
        self.left = nn.Sequential(conv(width, width // 2, 1), conv(width // 2, width, stride=2))
        self.last = conv(2 * width, width)

    def forward(self, image: Tensor) -> Tensor:
        x = self.first(image)
        x = torch.cat([self.left(x), F.max_pool2d(x, 3, stride=2, padding=1)], dim=1)
        out: Tensor = self.last(x)  # (B, width, H / 4, W / 4)
        return out


class ContextEmbedding(nn.Module):
    """Figure 4 (b): the mean over the whole image, convolved and added to every pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Without scale and shift: the convolution behind takes up the one, and the norm after that takes away the other.
        self.norm = PooledNorm(width, affine=False)
        self.pooled = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), PooledNorm(width), nn.ReLU(inplace=True))
        self.last = conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        context = self.pooled(self.norm(x.mean(dim=(2, 3), keepdim=True)))  # (B, width, 1, 1)
        out: Tensor = self.last(x + context)
        return out


class GatherExpansion(nn.Module):
    """Figure 5: gather by a 3x3 convolution, expand by depthwise ones to six times the channels, project back, add the input.

    With stride 2, (c), a second depthwise convolution follows and the input is halved by a separable one.
    """

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        expanded = EXPANSION * channels_in
        self.gather = conv(channels_in, channels_in)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 1:
            self.expand: nn.Module = conv(channels_in, expanded, groups=channels_in)
        else:
            self.expand = nn.Sequential(
                conv(channels_in, expanded, stride=stride, groups=channels_in, relu=False),
                conv(expanded, expanded, groups=expanded),
            )
            self.shortcut = nn.Sequential(
                conv(channels_in, channels_in, stride=stride, groups=channels_in, relu=False),
                conv(channels_in, channels_out, 1, relu=False),
            )
        self.project = conv(expanded, channels_out, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.project(self.expand(self.gather(x))) + self.shortcut(x), inplace=True)


class GuidedAggregation(nn.Module):
    """Figure 6: each branch at both sizes, weighed by what the other one says there, and summed at the detail's size.

    Shapes:
        detail: (B, width, 4h, 4w)
        meaning: (B, semantic_width, h, w)
        returns: (B, width, 4h, 4w)
    """

    def __init__(self, width: int, semantic_width: int) -> None:
        super().__init__()
        self.detail_kept = separable(width, width)
        self.detail_down = nn.Sequential(
            conv(width, width, stride=2, relu=False), nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
        )
        self.meaning_up = conv(semantic_width, width, relu=False)
        self.meaning_kept = separable(semantic_width, width)
        self.last = conv(width, width)

    def forward(self, detail: Tensor, meaning: Tensor) -> Tensor:
        hw = (detail.shape[-2], detail.shape[-1])
        fine = self.detail_kept(detail) * resized(self.meaning_up(meaning), hw).sigmoid()  # (B, width, 4h, 4w)
        coarse = self.detail_down(detail) * self.meaning_kept(meaning).sigmoid()  # (B, width, h, w)
        out: Tensor = self.last(fine + resized(coarse, hw))
        return out


def segmentation_head(channels_in: int, inner: int, classes: int) -> nn.Sequential:
    """Figure 3, yellow: a 3x3 convolution to `inner` channels, C_t in the paper, and a 1x1 convolution to the classes."""
    return nn.Sequential(conv(channels_in, inner), nn.Conv2d(inner, classes, 1))


def separable(channels_in: int, channels_out: int) -> nn.Sequential:
    """A depthwise convolution with its norm, and a 1x1 convolution without."""
    return nn.Sequential(conv(channels_in, channels_in, groups=channels_in, relu=False), nn.Conv2d(channels_in, channels_out, 1))


def conv(
    channels_in: int, channels_out: int, kernel: int = 3, *, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Module:
    """Conv2d of table 1: a convolution, batch norm and, if relu, a ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))

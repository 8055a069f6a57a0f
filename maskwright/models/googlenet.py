"""GoogLeNet without its classifiers: nine inception modules, as an encoder with maps at strides 2 to 32.

Source: Szegedy et al. 2015, arXiv:1409.4842, table 1 and figure 2b. Written from the paper.
Differs: a batch norm after every convolution instead of a bias, no local response norm, and 3x3 convolutions in the third
branch, as in torchvision's weights; five_by_five=True has the 5x5 of the paper. The auxiliary classifiers are left out.
Weights: torchvision's googlenet (BSD-3, trained on ImageNet) loads key by key; it saw images in [0, 1] with mean and standard
deviation 0.5 in each channel (transform_input=True there).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from timm.models import adapt_input_conv
from torch import Tensor, cat, nn

from maskwright.models.arguments import check_flag, check_whole
from maskwright.models.layers import he_init

WIDTH = 64  # of the first convolution; every other width of table 1 scales with it
EPS = 1e-3  # of the batch norms that the published weights were trained with

# Table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool proj.
TABLE_1 = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class GoogLeNetEncoder(nn.Module):
    """The 21 layers of convolutions of GoogLeNet, under torchvision's keys.

    Arguments:
        channels: of the image
        width: channels of the first convolution; the other widths of table 1 scale with it, rounded, at least 1
        five_by_five: 5x5 convolutions in the third branch, as in the paper; the published weights have 3x3

    Attributes:
        widths, strides: channels and pixels per step of each map (conv1, conv3, 3b, 4e, 5b), shallowest first
        shifts_px: how far the centre of a map pixel's field of view lies right of and below the centre of its cell. The
            3x3 poolings look one pixel further right and down than their 2x2 cell: half a step of the map before each.

    Shapes:
        forward: (B, C, H, W), H and W multiples of 32, to maps (B, widths[i], H / strides[i], W / strides[i])
    """

    def __init__(self, channels: int, *, width: int = WIDTH, five_by_five: bool = False) -> None:
        super().__init__()
        check_whole(channels=channels, width=width)
        check_flag(five_by_five=five_by_five)
        self.channels = channels
        stem, reduced, deep = (_scaled(c, width) for c in (64, 64, 192))
        self.conv1 = ConvNorm(channels, stem, 7, stride=2)
        self.conv2 = ConvNorm(stem, reduced, 1)
        self.conv3 = ConvNorm(reduced, deep, 3)
        modules: dict[str, Inception] = {}
        channels_in = deep
        for name, row in TABLE_1.items():
            modules[name] = Inception(channels_in, tuple(_scaled(c, width) for c in row), 5 if five_by_five else 3)
            channels_in = modules[name].width
            self.add_module(f"inception{name}", modules[name])
        self.widths = (stem, deep, modules["3b"].width, modules["4e"].width, modules["5b"].width)
        self.strides = (2, 4, 8, 16, 32)
        self.shifts_px = (-0.5, 0.5, 2.5, 6.5, 6.5)
        self.apply(he_init)

    def forward(self, image: Tensor) -> list[Tensor]:
        half = self.conv1(image)
        quarter = self.conv3(self.conv2(halved(half)))
        eighth = self._modules_of("3", halved(quarter))
        sixteenth = self._modules_of("4", halved(eighth))
        deepest = self._modules_of("5", F.max_pool2d(sixteenth, 2))
        return [half, quarter, eighth, sixteenth, deepest]

    def _modules_of(self, stage: str, x: Tensor) -> Tensor:
        for name in TABLE_1:
            if name.startswith(stage):
                x = getattr(self, f"inception{name}")(x)
        return x


class Inception(nn.Module):
    """Figure 2b: four branches side by side; the same size out, `width` channels."""

    def __init__(self, channels: int, widths: tuple[int, ...], third_kernel: int) -> None:
        super().__init__()
        ones, reduce3, three, reduce5, five, projected = widths
        self.width = ones + three + five + projected
        self.branch1 = ConvNorm(channels, ones, 1)
        self.branch2 = nn.Sequential(ConvNorm(channels, reduce3, 1), ConvNorm(reduce3, three, 3))
        self.branch3 = nn.Sequential(ConvNorm(channels, reduce5, 1), ConvNorm(reduce5, five, third_kernel))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), ConvNorm(channels, projected, 1))

    def forward(self, x: Tensor) -> Tensor:
        return cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class ConvNorm(nn.Module):
    """Convolution that keeps the size (or halves it at stride 2), batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels_out, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.bn(self.conv(x)).relu()
        return found


def halved(x: Tensor) -> Tensor:
    """3x3 max pooling in steps of 2, the last window of each side one pixel short: (B, C, 2h, 2w) to (B, C, h, w), x >= 0.

    The pixel that is missing there is filled with 0, which is no larger than what a ReLU leaves.
    """
    return F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 3, stride=2)


def googlenet_encoder_weights(state_dict: Mapping[str, Tensor], channels: int = 3) -> dict[str, Tensor]:
    """What of a torchvision googlenet's state dict belongs to a GoogLeNetEncoder of so many channels.

    The three classifiers are left out. A first convolution of three channels is fitted to another number as timm does it.
    """
    found = {key: tensor for key, tensor in state_dict.items() if not key.startswith(("fc.", "aux1.", "aux2."))}
    first = found.get("conv1.conv.weight")
    if first is not None and first.shape[1] == 3 and channels != 3:
        found["conv1.conv.weight"] = adapt_input_conv(channels, first.float())
    return found


def _scaled(channels: int, width: int) -> int:
    return max(1, round(channels * width / WIDTH))

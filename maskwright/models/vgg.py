"""VGG-16: thirteen 3x3 convolutions in five stages, each followed by 2x2 max pooling, and three fully connected layers.

Source: Simonyan, Zisserman 2015, arXiv:1409.1556, table 1, configuration D. Written from the paper.
Differs: maps of other sizes than 7x7 are averaged down to 7x7, so that images of any size go in (torchvision's way; the paper
turns the layers into convolutions, as models/fcn.py does); batch_norm=True norms each convolution; weights are drawn after He.
Weights: torchvision's vgg16 and vgg16_bn (BSD-3, trained on ImageNet) load key by key.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch.nn.functional as F
from timm.models import adapt_input_conv
from torch import Tensor, nn

from maskwright.models.arguments import check_flag, check_share, check_whole
from maskwright.models.layers import he_init
from maskwright.models.sizes import check_image

WIDTH, FC_WIDTH = 64, 4096
CONVS = (2, 2, 3, 3, 3)  # of each stage, configuration D
STEPS = (1, 2, 4, 8, 8)  # widths of the stages in units of the first
GRID_PX = 32  # five poolings: a pixel of the last map stands for 32 x 32
FC_SIDE = 7  # the first fully connected layer sees 7x7 pixels of the last map: 224 px


class Pooled(NamedTuple):
    """What an encoder leaves when it pools after every stage, shallowest first.

    Attributes:
        maps: (B, widths[i], h // 2, w // 2) after the pooling of stage i
        indices: int64 of the same shape: where each maximum stood in its plane before the pooling, row * w + column
        sizes: (h, w) before the pooling
    """

    maps: list[Tensor]
    indices: list[Tensor]
    sizes: list[tuple[int, int]]


class VGG16Encoder(nn.Module):
    """The thirteen convolutions of VGG-16, under torchvision's keys `features.N`.

    Attributes:
        widths, strides: channels and pixels per step of each stage's maps, shallowest first
        stages: the layers of the five stages without the poolings, for nets that pool in their own way:
            `for stage in encoder.stages: x = pool(through(stage, x))`

    Shapes:
        forward: (B, C, H, W) to maps (B, widths[i], H // strides[i], W // strides[i]) after the last ReLU of each stage
        pooled: the same maps after the poolings, with the places of the maxima

    Edge cases: an odd row or column at the end is left out by the pooling; a side needs 16 px (pooled: 32 px).
    """

    def __init__(self, channels: int, *, batch_norm: bool = False, width: int = WIDTH) -> None:
        super().__init__()
        check_whole(channels=channels, width=width)
        check_flag(batch_norm=batch_norm)
        self.channels = channels
        self.widths = tuple(width * step for step in STEPS)
        self.strides = (1, 2, 4, 8, 16)
        self.features = vgg16_features(channels, width, batch_norm)[:-1]
        self.features.apply(he_init)

    @property
    def stages(self) -> list[list[nn.Module]]:
        found: list[list[nn.Module]] = [[]]
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                found.append([])
            else:
                found[-1].append(layer)
        return found

    def forward(self, image: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        x = image
        for stage in self.stages:
            x = through(stage, F.max_pool2d(x, 2) if maps else x)
            maps.append(x)
        return maps

    def pooled(self, image: Tensor) -> Pooled:
        found = Pooled([], [], [])
        x = image
        for stage in self.stages:
            x = through(stage, x)
            found.sizes.append((x.shape[-2], x.shape[-1]))
            x, places = F.max_pool2d(x, 2, return_indices=True)
            found.maps.append(x)
            found.indices.append(places)
        return found


class VGG16(nn.Module):
    """The whole classifier: (B, C, H, W) to logits (B, classes), under torchvision's keys `features.N` and `classifier.N`.

    Arguments:
        channels, classes: channels of the image, classes to tell apart
        batch_norm: a batch norm after every convolution (torchvision's vgg16_bn)
        width: channels of the first stage; the stages have 1, 2, 4, 8 and 8 times as many
        fc_width: width of the two hidden fully connected layers
        dropout: share of their values dropped in training (section 3.1 of the paper)

    Edge cases: sides of less than 32 px are filled up to 32 by repeating the right and lower border.
    """

    def __init__(
        self,
        channels: int = 3,
        classes: int = 1000,
        *,
        batch_norm: bool = False,
        width: int = WIDTH,
        fc_width: int = FC_WIDTH,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_whole(channels=channels, classes=classes, width=width, fc_width=fc_width)
        check_flag(batch_norm=batch_norm)
        check_share(dropout=dropout)
        self.channels, self.classes = channels, classes
        self.features = vgg16_features(channels, width, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d(FC_SIDE)
        self.classifier = nn.Sequential(
            nn.Linear(width * STEPS[-1] * FC_SIDE**2, fc_width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(fc_width, fc_width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(fc_width, classes),
        )
        self.features.apply(he_init)
        self.classifier.apply(_he_init_linear)

    def forward(self, image: Tensor) -> Tensor:
        check_image(image, self.channels)
        bottom, right = (max(0, GRID_PX - side) for side in image.shape[-2:])
        if bottom or right:
            image = F.pad(image, (0, right, 0, bottom), mode="replicate")
        x = self.avgpool(self.features(image))  # (B, 512, 7, 7)
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


def vgg16_features(channels: int, width: int, batch_norm: bool) -> nn.Sequential:
    """Table 1, column D, from the first convolution to the fifth pooling; numbered as torchvision numbers them."""
    layers: list[nn.Module] = []
    channels_in = channels
    for count, step in zip(CONVS, STEPS, strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(channels_in, width * step, 3, padding=1))
            channels_in = width * step
            layers += [nn.BatchNorm2d(channels_in)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def through(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """x after one layer after the other."""
    for layer in layers:
        x = layer(x)
    return x


def vgg_encoder_weights(state_dict: Mapping[str, Tensor], channels: int = 3) -> dict[str, Tensor]:
    """What of a VGG-16 classifier's state dict belongs to a VGG16Encoder of so many channels.

    The fully connected layers are left out. A first convolution of three channels is fitted to another number as
    timm does it: one channel takes the sum over the three, C channels repeat them in order and scale by 3 / C.
    """
    found = {key: tensor for key, tensor in state_dict.items() if key.startswith("features.")}
    first = found.get("features.0.weight")
    if first is not None and first.shape[1] == 3 and channels != 3:
        found["features.0.weight"] = adapt_input_conv(channels, first.float())
    return found


def _he_init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=math.sqrt(2 / module.in_features))
        nn.init.zeros_(module.bias)

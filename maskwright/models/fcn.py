"""FCN: a classifier slid over the image, its coarse scores brought to full size with the help of finer maps.

Source: Long, Shelhamer, Darrell 2015, arXiv:1411.4038, figures 2 and 3; journal version Shelhamer et al., arXiv:1605.06211.
Written from the papers.
Differs: the paper's code pads the image by 100 px, since fc6 takes six steps of 32 px from each map, and crops what comes out.
Here fc6 pads its own map by three steps: every map stays on the image's grid for any height and width, and an image of 480x360
costs less than half. pad_image=True adds 96 px of zeros, a whole number of steps, around the image instead. Scores are extended
by one pixel before they are upsampled, so that they do not fade at the border. The score of the deepest map is drawn after He
and not zero. The last upsampling is learnt like the others, as its weights are counted in the paper's 134 M; learn_last=False
fixes it, as the paper does. FCNGoogLeNet has batch norm, and 16s and 8s forms that the paper does not have.
Weights: torchvision's vgg16, vgg16_bn and googlenet (BSD-3), see fcn_weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.models.arguments import check_flag, check_share, check_whole
from maskwright.models.fcn_head import SkipHead
from maskwright.models.googlenet import GoogLeNetEncoder
from maskwright.models.layers import he_init
from maskwright.models.sizes import check_image, cropped, on_grid
from maskwright.models.vgg import FC_SIDE, FC_WIDTH, GRID_PX, WIDTH, VGG16Encoder, through, vgg_encoder_weights

STRIDES = (32, 16, 8)
MARGIN = FC_SIDE // 2  # steps of 32 px that fc6 takes from each side of its map


class FCN(nn.Module):
    """FCN-32s, FCN-16s or FCN-8s on VGG-16: logits at the size of the image, for any height and width.

    Nets of different strides have the same names for what they share, so that a finer one can start from a coarser one.

    Arguments:
        stride: 32, 16 or 8 px between the finest scores
        channels, classes: channels of the image, channels of the logits
        batch_norm: a batch norm after every convolution of VGG-16 (torchvision's vgg16_bn); the paper has none
        width: channels of the first stage, 64 in the paper; the stages have 1, 2, 4, 8 and 8 times as many
        fc_width: channels of fc6 and fc7, 4096 in the paper
        dropout: share of the values of fc6 and fc7 dropped in training
        learn_last: whether the last upsampling is a transposed convolution too or stays bilinear; its
            (2 stride x classes)^2 weights are many where there are many classes
        at_once: scale pool4 and pool3 by 0.01 and 0.0001, to train all strides together instead of one from another
        pad_image: extend the image by 96 px of zeros on each side, as the paper does (see above)

    Raises:
        InputError: an argument is out of range; the message names it.
    """

    def __init__(
        self,
        stride: int,
        channels: int,
        classes: int,
        *,
        batch_norm: bool = False,
        width: int = WIDTH,
        fc_width: int = FC_WIDTH,
        dropout: float = 0.5,
        learn_last: bool = True,
        at_once: bool = False,
        pad_image: bool = False,
    ) -> None:
        super().__init__()
        _check_stride(stride)
        check_whole(channels=channels, classes=classes, width=width, fc_width=fc_width)
        check_flag(batch_norm=batch_norm, learn_last=learn_last, at_once=at_once, pad_image=pad_image)
        check_share(dropout=dropout)
        self.channels, self.classes, self.stride, self.pad_image = channels, classes, stride, pad_image
        self.encoder = VGG16Encoder(channels, batch_norm=batch_norm, width=width)
        self.fc6 = nn.Conv2d(self.encoder.widths[-1], fc_width, FC_SIDE)
        self.fc7 = nn.Conv2d(fc_width, fc_width, 1)
        self.dropout = nn.Dropout(dropout)
        self.fc6.apply(he_init)
        self.fc7.apply(he_init)
        pool3, pool4 = self.encoder.widths[2:4]
        self.head = SkipHead(stride, (fc_width, pool4, pool3), classes, learn_last=learn_last, at_once=at_once)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of every pixel.

        Shapes:
            image: (B, C, H, W) float, any H and W from 1 px
            returns: (B, K, H, W)

        Edge cases: the right and lower border are repeated up to a multiple of 32 px.
        """
        check_image(image, self.channels)
        x = on_grid(image, GRID_PX)
        if self.pad_image:
            pool3, pool4, pool5 = self._pools(F.pad(x, (MARGIN * GRID_PX,) * 4))
            pool3, pool4 = _without_border(pool3, 4 * MARGIN), _without_border(pool4, 2 * MARGIN)
        else:
            pool3, pool4, pool5 = self._pools(x)
            pool5 = F.pad(pool5, (MARGIN,) * 4)
        logits: Tensor = self.head(self._fully_connected(pool5), pool4, pool3)
        return cropped(logits, image)

    def heat_map(self, image: Tensor) -> Tensor:
        """Figure 2: the classifier's logits wherever a window of 224 px fits, in steps of 32 px, with nothing padded.

        Shapes:
            image: (B, C, H, W), sides of at least 224 px
            returns: (B, K, H // 32 - 6, W // 32 - 6); one logit a class for an image of 224 x 224 px
        """
        check_image(image, self.channels)
        least = FC_SIDE * GRID_PX
        if min(image.shape[-2:]) < least:
            raise InputError(f"a heat map needs sides of at least {least} px, found {tuple(image.shape[-2:])}.")
        scores: Tensor = self.head.score(self._fully_connected(self._pools(image)[-1]))
        return scores

    def _pools(self, x: Tensor) -> list[Tensor]:
        """pool3, pool4, pool5 of VGG-16: (B, widths[i], h / 8, ...), (.. / 16), (.. / 32)."""
        found: list[Tensor] = []
        for stage in self.encoder.stages:
            x = F.max_pool2d(through(stage, x), 2)
            found.append(x)
        return found[2:]

    def _fully_connected(self, pool5: Tensor) -> Tensor:
        """(B, 8 width, h, w) to (B, fc_width, h - 6, w - 6)."""
        x = self.dropout(F.relu(self.fc6(pool5), inplace=True))
        found: Tensor = self.dropout(F.relu(self.fc7(x), inplace=True))
        return found


class FCNGoogLeNet(nn.Module):
    """FCN on GoogLeNet, its average pooling left out: stride 32 is the paper's, 16 and 8 add scores of modules 4e and 3b.

    Arguments:
        channels, classes: channels of the image, channels of the logits
        stride: 32, 16 or 8 px between the finest scores
        width: channels of the first convolution, 64 in the paper; the other widths scale with it
        five_by_five: 5x5 convolutions as in the paper; the published weights have 3x3 in their place
        dropout: share of the deepest map's values dropped in training, 40 % in the paper
        learn_last: see FCN
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        stride: int = 32,
        width: int = WIDTH,
        five_by_five: bool = False,
        dropout: float = 0.4,
        learn_last: bool = True,
    ) -> None:
        super().__init__()
        _check_stride(stride)
        check_whole(channels=channels, classes=classes, width=width)
        check_flag(five_by_five=five_by_five, learn_last=learn_last)
        check_share(dropout=dropout)
        self.channels, self.classes, self.stride = channels, classes, stride
        self.encoder = GoogLeNetEncoder(channels, width=width, five_by_five=five_by_five)
        self.dropout = nn.Dropout(dropout)
        # The maps look 6.5, 6.5 and 2.5 px further right and down than their cells: scores are moved by whole pixels, and
        # the half step of the last map between strides 16 and 8 is left to its learnt upsampling.
        shift_px = int(self.encoder.shifts_px[self.encoder.strides.index(stride)])
        third, fourth, fifth = self.encoder.widths[2:]
        self.head = SkipHead(stride, (fifth, fourth, third), classes, learn_last=learn_last, shift_px=shift_px)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W), any H and W from 1 px, to logits (B, K, H, W)."""
        check_image(image, self.channels)
        third, fourth, fifth = self.encoder(on_grid(image, GRID_PX, least=2 if self.training else 1))[2:]
        logits: Tensor = self.head(self.dropout(fifth), fourth, third)
        return cropped(logits, image)


def fcn_weights(state_dict: Mapping[str, Tensor], channels: int = 3, *, with_score: bool = False) -> dict[str, Tensor]:
    """A VGG-16 classifier's weights under the keys of an FCN of so many channels, fully connected layers as convolutions.

    A row of fc6 holds its weights channel by channel, each a 7x7 map row by row, which is the order of a convolution's
    kernel: the numbers stay and only the shape changes. A layer of which every number is NaN is left out.

    Arguments:
        state_dict: of models.vgg.VGG16, or of torchvision's vgg16 or vgg16_bn
        with_score: give the classifier's last layer to the score of the deepest map; it must tell the same classes apart
    """
    found = {f"encoder.{key}": tensor for key, tensor in vgg_encoder_weights(state_dict, channels).items()}
    names = {"classifier.0": "fc6", "classifier.3": "fc7"} | ({"classifier.6": "head.score"} if with_score else {})
    for old, new in names.items():
        side = FC_SIDE if new == "fc6" else 1
        matrix, bias = state_dict[f"{old}.weight"], state_dict[f"{old}.bias"]
        if _is_blank(matrix) and _is_blank(bias):
            continue
        found[f"{new}.weight"] = matrix.reshape(len(matrix), -1, side, side)
        found[f"{new}.bias"] = bias
    return found


def _is_blank(x: Tensor) -> bool:
    """Whether every number is NaN, as where torchvision's VGG16_Weights.IMAGENET1K_FEATURES has no layer to give."""
    return not x.is_meta and bool(x.isnan().all())


def _without_border(x: Tensor, px: int) -> Tensor:
    return x[..., px:-px, px:-px]


def _check_stride(stride: int) -> None:
    if stride not in STRIDES or not isinstance(stride, int):
        raise InputError(f"stride={stride!r} is not known; expected one of {', '.join(map(str, STRIDES))}.")

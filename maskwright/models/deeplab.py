"""DeepLabV3 and V3+: atrous convolutions at several rates beside each other, and in V3+ a small decoder behind them.

Source: V3: Chen, Papandreou, Schroff, Adam 2017, arXiv:1706.05587, figure 5 (atrous spatial pyramid pooling with the image's
mean). V3+: Chen, Zhu, Papandreou, Schroff, Adam 2018, arXiv:1802.02611, figure 2. The form of V3 is torchvision's.
Differs: any timm encoder, no multi-grid; V3 has torchvision's 3x3 convolution behind the pyramid, its dropout and its auxiliary
head, none of which the paper has; V3+ norms and rectifies after the depthwise convolution too, as section 3.2 does in Xception;
the image's mean is normed by running statistics where a batch has one image (context.PooledNorm).
Weights: torchvision's deeplabv3_resnet50 and 101 (BSD-3) through from_torchvision; a timm encoder may start from a file.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.models.arguments import check_counts, check_flag, check_share, check_whole
from maskwright.models.context import ImagePooling, conv_norm
from maskwright.models.encoders import TimmEncoder
from maskwright.models.fcn_resnet import auxiliary_head, full_size
from maskwright.models.fcn_resnet import from_torchvision as from_torchvision  # the prefixes are the same
from maskwright.models.layers import he_init
from maskwright.models.outputs import Output
from maskwright.models.sizes import check_image, cropped, resized

WIDTH, LOW_WIDTH = 256, 48
RATES_AT_16 = (6, 12, 18)  # at output stride 16; doubled at 8 (arXiv:1706.05587, section 4.1)


class DeepLabV3(nn.Module):
    """Semantic segmentation at the size of the image, for any height and width.

    Arguments:
        channels, classes: channels of the image, channels of the logits
        encoder: name of a timm model
        output_stride: pixels of the image to one of the last map: 8, 16 or 32; below 32 the encoder dilates
        rates: of the pyramid's 3x3 convolutions; None: 6, 12, 18 at output stride 16, doubled at 8, halved at 32
        width: channels of the pyramid's branches
        dropout: share of the pyramid's values dropped in training
        auxiliary: whether training has a second head, on the last map but one
        auxiliary_width: its channels; None: a quarter of its map's

    Raises:
        InputError: an argument is out of range, or the encoder cannot serve; the message names it.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        encoder: str = "resnet50",
        output_stride: int = 8,
        rates: Sequence[int] | None = None,
        width: int = WIDTH,
        dropout: float = 0.5,
        auxiliary: bool = True,
        auxiliary_width: int | None = None,
    ) -> None:
        super().__init__()
        check_whole(channels=channels, classes=classes, width=width)
        check_whole(**({} if auxiliary_width is None else {"auxiliary_width": auxiliary_width}))
        check_flag(auxiliary=auxiliary)
        _check_rates(rates)
        check_share(dropout=dropout)
        self.channels, self.classes = channels, classes
        self.encoder = TimmEncoder(encoder, channels, output_stride=output_stride)
        rates = rates_at(output_stride) if rates is None else rates
        self.head = nn.Sequential(
            ASPP(self.encoder.widths[-1], width, rates, dropout=dropout),
            *conv_norm(width, width),
            nn.Conv2d(width, classes, 1),
        ).apply(he_init)
        self.auxiliary = auxiliary_head(self.encoder, classes, auxiliary_width) if auxiliary else None

    def forward(self, image: Tensor) -> Output:
        """Logits of every pixel; in training beside those of the auxiliary head.

        Shapes:
            image: (B, C, H, W) float, any H and W from 1 px
            returns: (B, K, H, W), or WithAuxiliary of such

        Edge cases: a ResNet takes any size as it is, rounding up the sides of its maps; see TimmEncoder.filled.
        """
        check_image(image, self.channels)
        whole = self.encoder.filled(image)
        maps = self.encoder(whole)
        return full_size(self.head(maps[-1]), self.auxiliary, maps[-2], image, whole)


class DeepLabV3Plus(nn.Module):
    """DeepLabV3's pyramid, then a decoder that takes in the encoder's map at stride 4; all its 3x3 convolutions separable.

    Arguments: those of DeepLabV3, without auxiliary head (the paper has none), and
        low_width: channels to which the map at stride 4 is reduced; the paper's table 1 chooses 48

    Raises:
        InputError: an argument is out of range, or the encoder cannot serve; the message names it.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        encoder: str = "resnet50",
        output_stride: int = 16,
        rates: Sequence[int] | None = None,
        width: int = WIDTH,
        low_width: int = LOW_WIDTH,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_whole(channels=channels, classes=classes, width=width, low_width=low_width)
        _check_rates(rates)
        check_share(dropout=dropout)
        self.channels, self.classes = channels, classes
        self.encoder = TimmEncoder(encoder, channels, output_stride=output_stride)
        if 4 not in self.encoder.strides[:-1]:
            raise InputError(
                f"encoder {encoder!r} gives maps at strides {list(self.encoder.strides)}; the decoder of DeepLabV3+ needs one at "
                "stride 4 before the last, as in resnet34."
            )
        self.low = self.encoder.strides.index(4)
        rates = rates_at(output_stride) if rates is None else rates
        self.aspp = ASPP(self.encoder.widths[-1], width, rates, dropout=dropout, separable=True)
        self.reduce = nn.Sequential(*conv_norm(self.encoder.widths[self.low], low_width, 1))
        self.decoder = nn.Sequential(*separable_conv(width + low_width, width), *separable_conv(width, width))
        self.head = nn.Conv2d(width, classes, 1)
        for part in (self.aspp, self.reduce, self.decoder, self.head):
            part.apply(he_init)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of every pixel, (B, C, H, W) with any H and W from 1 px to (B, K, H, W)."""
        check_image(image, self.channels)
        whole = self.encoder.filled(image)
        maps = self.encoder(whole)
        low = self.reduce(maps[self.low])  # (B, low_width, h / 4, w / 4)
        deep = resized(self.aspp(maps[-1]), (low.shape[-2], low.shape[-1]))
        logits = self.head(self.decoder(torch.cat([deep, low], dim=1)))
        return cropped(resized(logits, (whole.shape[-2], whole.shape[-1])), image)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: a 1x1 convolution, 3x3 ones at several rates and the image's mean, then 1x1 over all.

    Shapes:
        x: (B, channels_in, h, w)
        returns: (B, width, h, w)
    """

    def __init__(self, channels_in: int, width: int, rates: Sequence[int], *, dropout: float, separable: bool = False) -> None:
        super().__init__()
        wide = separable_conv if separable else atrous_conv
        self.convs = nn.ModuleList(
            [
                nn.Sequential(*conv_norm(channels_in, width, 1)),
                *(nn.Sequential(*wide(channels_in, width, rate)) for rate in rates),
                ImagePooling(channels_in, width),
            ]
        )
        self.project = nn.Sequential(*conv_norm(len(self.convs) * width, width, 1), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(torch.cat([conv(x) for conv in self.convs], dim=1))
        return out


def atrous_conv(channels_in: int, channels_out: int, rate: int) -> list[nn.Module]:
    """3x3 convolution whose taps lie `rate` pixels apart, norm, ReLU."""
    return conv_norm(channels_in, channels_out, dilation=rate)


def separable_conv(channels_in: int, channels_out: int, rate: int = 1) -> list[nn.Module]:
    """The same in two: 3x3 on each channel by itself, then 1x1 over all channels; norm and ReLU after both."""
    depthwise = nn.Conv2d(channels_in, channels_in, 3, padding=rate, dilation=rate, groups=channels_in, bias=False)
    return [depthwise, nn.BatchNorm2d(channels_in), nn.ReLU(), *conv_norm(channels_in, channels_out, 1)]


def rates_at(output_stride: int) -> tuple[int, ...]:
    """The paper's rates, the same in pixels of the image: 12, 24, 36 at output stride 8, 6, 12, 18 at 16, 3, 6, 9 at 32."""
    return tuple(rate * 16 // output_stride for rate in RATES_AT_16)


def _check_rates(rates: Sequence[int] | None) -> None:
    if rates is not None:
        check_counts(rates=rates)
        if not rates:
            raise InputError("rates=[] is not usable; expected at least one, as 6, 12, 18, or null for those of the paper.")

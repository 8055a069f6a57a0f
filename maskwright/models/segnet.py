"""SegNet: an encoder-decoder whose decoder puts every value back where the encoder's pooling took it from.

Source: Badrinarayanan, Kendall, Cipolla 2015, arXiv:1511.00561, figure 2 (SegNet) and section 3 (SegNet-Basic); dropout
between the deep stages: Kendall, Badrinarayanan, Cipolla 2015, arXiv:1511.02680 (Bayesian SegNet). Written from the papers.
Differs: SegNet's decoder convolutions that are followed by batch norm have no bias, which the norm would subtract again
(3,712 numbers of 29.45 M; SegNet-Basic has none in the paper either). SegNet has a ReLU after each of them, as figure 2 draws
it, SegNet-Basic has none in its decoder, as section 3 says. Images are not normalised by local contrast.
Weights: encoder from torchvision's vgg16_bn (BSD-3, trained on ImageNet), key by key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from maskwright.models.arguments import check_share, check_whole
from maskwright.models.layers import he_init
from maskwright.models.sizes import check_image, cropped, on_grid
from maskwright.models.unpooling import max_pool_with_positions, unpool
from maskwright.models.vgg import CONVS, VGG16Encoder, through

WIDTH = 64
BASIC_STAGES, BASIC_KERNEL = 4, 7
# How many of the deepest stages, on each side of the middle, Bayesian SegNet follows by dropout: the central four of
# SegNet-Basic's eight, which its comparison of places found best, and six of SegNet's ten, as in its authors' released net.
CENTRAL, BASIC_CENTRAL = 3, 2


class SegNet(nn.Module):
    """Figure 2: the 13 convolutions of VGG-16 down, 13 up, and unpooling in between; the last convolution gives the logits.

    Arguments:
        channels, classes: channels of the image, channels of the logits
        width: channels of the first stage; the five stages have 1, 2, 4, 8 and 8 times as many
        dropout: share of values dropped after the three deepest stages of both paths; Bayesian SegNet has 0.5, and
            inference.uncertainty.monte_carlo then gives a map of what the net is unsure of

    Raises:
        InputError: an argument is out of range; the message names it.
    """

    def __init__(self, channels: int, classes: int, *, width: int = WIDTH, dropout: float = 0.0) -> None:
        super().__init__()
        check_whole(channels=channels, classes=classes, width=width)
        check_share(dropout=dropout)
        self.channels, self.classes = channels, classes
        self.encoder = VGG16Encoder(channels, batch_norm=True, width=width)
        self.decoder = nn.ModuleList(_decoder_stages(self.encoder.widths, classes))
        self.dropout = nn.Dropout(dropout)
        self.decoder.apply(he_init)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of every pixel.

        Shapes:
            image: (B, C, H, W) float, any H and W from 1 px; filled up to multiples of 32 px inside
            returns: (B, K, H, W)
        """
        check_image(image, self.channels)
        x = on_grid(image, 2 ** len(self.decoder), least=2 if self.training else 1)
        x = down_and_up(x, self.encoder.stages, self.decoder, self.dropout, CENTRAL)
        return cropped(x, image)  # (B, K, H, W)


class SegNetBasic(nn.Module):
    """The small SegNet of section 3: four stages down and four up, of one 7x7 convolution each, all equally wide.

    Arguments:
        channels, classes, dropout: as for SegNet; the dropout is after the two deepest stages of both paths
        width: channels of every stage

    Raises:
        InputError: an argument is out of range; the message names it.
    """

    def __init__(self, channels: int, classes: int, *, width: int = WIDTH, dropout: float = 0.0) -> None:
        super().__init__()
        check_whole(channels=channels, classes=classes, width=width)
        check_share(dropout=dropout)
        self.channels, self.classes = channels, classes
        inputs = (channels, *[width] * (BASIC_STAGES - 1))
        self.encoder = nn.ModuleList(nn.Sequential(*_normed(c, width, BASIC_KERNEL), nn.ReLU(inplace=True)) for c in inputs)
        self.decoder = nn.ModuleList(nn.Sequential(*_normed(width, width, BASIC_KERNEL)) for _ in inputs)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(width, classes, 1)
        self.apply(he_init)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of every pixel: (B, C, H, W), any H and W from 1 px, to (B, K, H, W)."""
        check_image(image, self.channels)
        x = on_grid(image, 2**BASIC_STAGES, least=2 if self.training else 1)
        x = down_and_up(x, [[stage] for stage in self.encoder], self.decoder, self.dropout, BASIC_CENTRAL)
        return cropped(self.classifier(x), image)  # (B, K, H, W)


def down_and_up(
    x: Tensor, down: Sequence[Iterable[nn.Module]], up: Iterable[nn.Module], dropout: nn.Module, central: int
) -> Tensor:
    """Every stage of `down` followed by pooling; every stage of `up`, deepest first, on what was unpooled there.

    Arguments:
        dropout: applied after the `central` deepest stages of both paths

    Shapes:
        x: (B, C, H, W), H and W multiples of 2^stages
        returns: (B, channels of the last stage, H, W)
    """
    places: list[tuple[Tensor, tuple[int, int]]] = []  # of each stage: positions of the maxima, size before the pooling
    for depth, stage in enumerate(down, start=1):
        x = through(stage, x)
        hw = (x.shape[-2], x.shape[-1])
        x, positions = max_pool_with_positions(x)
        places.append((positions, hw))
        if depth > len(down) - central:
            x = dropout(x)
    for height, layers in enumerate(up):
        x = layers(unpool(x, *places.pop()))
        if height < central:
            x = dropout(x)
    return x


def _decoder_stages(widths: Sequence[int], classes: int) -> list[nn.Sequential]:
    """The encoder's stages in a mirror, deepest first; the last convolution of each narrows to the width of the next."""
    stages = []
    for depth, (count, width) in enumerate(zip(CONVS, widths, strict=True)):
        layers: list[nn.Module] = []
        for _ in range(count - 1):
            layers += [*_normed(width, width, 3), nn.ReLU(inplace=True)]
        if depth == 0:
            layers.append(nn.Conv2d(width, classes, 3, padding=1))
        else:
            layers += [*_normed(width, widths[depth - 1], 3), nn.ReLU(inplace=True)]
        stages.append(nn.Sequential(*layers))
    return stages[::-1]


def _normed(channels_in: int, channels_out: int, kernel: int) -> list[nn.Module]:
    # The norm subtracts the mean, and a bias in front of it with it.
    return [nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(channels_out)]

"""FCN on a dilated ResNet: a 3x3 convolution and a score layer on maps at an eighth of the image, resized once.

Source: Long, Shelhamer, Darrell 2015, arXiv:1411.4038, in the form in which torchvision publishes weights (fcn_resnet50,
fcn_resnet101): ResNet with its last two stages dilated (arXiv:1511.07122, section 4), one head, an auxiliary head on the last
map but one whose loss counts half in training.
Differs: from the paper, no score layers on shallow maps and no transposed convolutions (models/fcn.py has them); from
torchvision, any timm encoder, any number of channels; new heads are drawn after He.
Weights: torchvision's (BSD-3, trained on a part of COCO with the 21 classes of VOC) through from_torchvision; a timm encoder may
start from a file (loading.load_weights).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from maskwright.models.arguments import check_flag, check_share, check_whole
from maskwright.models.context import conv_norm
from maskwright.models.encoders import TimmEncoder
from maskwright.models.layers import he_init
from maskwright.models.outputs import Output, WithAuxiliary
from maskwright.models.sizes import check_image, cropped, resized

AUXILIARY_WEIGHT = 0.5
PREFIXES = {"backbone.": "encoder.net.", "classifier.": "head.", "aux_classifier.": "auxiliary."}  # torchvision's, ours


class FCNHead(nn.Sequential):
    """3x3 convolution, norm, ReLU, dropout, score layer: (B, channels_in, h, w) to (B, K, h, w)."""

    def __init__(self, channels_in: int, classes: int, *, width: int | None = None, dropout: float = 0.1) -> None:
        width = max(1, channels_in // 4) if width is None else width
        super().__init__(*conv_norm(channels_in, width), nn.Dropout(dropout), nn.Conv2d(width, classes, 1))


class FCNResNet(nn.Module):
    """Semantic segmentation at the size of the image, for any height and width.

    Arguments:
        channels, classes: channels of the image, channels of the logits
        encoder: name of a timm model
        output_stride: pixels of the image to one of the last map: 8, 16 or 32; below 32 the encoder dilates
        width: channels of the heads; None: a quarter of their map's
        dropout: share of the head's values dropped in training
        auxiliary: whether training has the second head

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
        width: int | None = None,
        dropout: float = 0.1,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        check_whole(channels=channels, classes=classes, **({} if width is None else {"width": width}))
        check_flag(auxiliary=auxiliary)
        check_share(dropout=dropout)
        self.channels, self.classes = channels, classes
        self.encoder = TimmEncoder(encoder, channels, output_stride=output_stride)
        self.head = FCNHead(self.encoder.widths[-1], classes, width=width, dropout=dropout).apply(he_init)
        self.auxiliary = auxiliary_head(self.encoder, classes, width) if auxiliary else None

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


def auxiliary_head(encoder: TimmEncoder, classes: int, width: int | None = None) -> nn.Module:
    """The head on the last map but one."""
    return FCNHead(encoder.widths[-2], classes, width=width).apply(he_init)


def full_size(rough: Tensor, auxiliary: nn.Module | None, features: Tensor, image: Tensor, whole: Tensor) -> Output:
    """The logits at the image's size, in training beside those of the auxiliary head.

    Shapes:
        rough: (B, K, h, w), logits of the filled-up image
        features: the map that the auxiliary head looks at
        image, whole: (B, C, H, W) as it came, and filled up at the right and lower border
        returns: (B, K, H, W), or WithAuxiliary of such
    """
    hw = (whole.shape[-2], whole.shape[-1])
    logits = cropped(resized(rough, hw), image)
    if auxiliary is None or not auxiliary.training:
        return logits
    return WithAuxiliary(logits, (cropped(resized(auxiliary(features), hw), image),), AUXILIARY_WEIGHT)


def from_torchvision(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's weights of a segmentation ResNet under our keys: of fcn_resnet50 and 101, deeplabv3_resnet50 and 101.

    Only names change. Weights without `aux_classifier.` fit a model built with auxiliary=False.
    """
    renamed = {}
    for key, tensor in state_dict.items():
        theirs = next((p for p in PREFIXES if key.startswith(p)), "")
        renamed[PREFIXES.get(theirs, "") + key.removeprefix(theirs)] = tensor
    return renamed

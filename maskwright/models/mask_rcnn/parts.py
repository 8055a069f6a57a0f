"""The dense parts of Mask R-CNN: what may run somewhere else than in torch, and the same as graphs that a runtime takes.

Between them stand the functions that depend on the values (model.MaskRCNN.detect). The graphs give maps and take crops with the
channels last, as RoIAlign reads and writes them, so that nothing is turned around on the way; their linear layer is turned once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from maskwright.models.mask_rcnn.heads import BOX_PX, BoxHead, MaskHead

if TYPE_CHECKING:
    from maskwright.models.mask_rcnn.model import MaskRCNN

Looked = tuple[list[Tensor], Tensor, Tensor]
Look = Callable[[Tensor], Looked]


class Parts(NamedTuple):
    """What computes the dense parts.

    Attributes:
        look: (B, C, H, W) to the pyramid's maps, objectness (B, N) and deltas (B, N, 4) of all anchors
        boxes: crops (R, width, 7, 7) to class logits (R, K) and deltas (R, K, 4)
        masks: crops (R, width, 14, 14) and classes (R,) to the logits of these classes, (R, 1, 28, 28)
    """

    look: Look
    boxes: Callable[[Tensor], tuple[Tensor, Tensor]]
    masks: Callable[[Tensor, Tensor], Tensor]


class LookGraph(nn.Module):
    """(B, C, H, W), sides multiples of the deepest stride, to the maps (B, h_i, w_i, width), objectness and deltas."""

    def __init__(self, net: MaskRCNN) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps, objectness, deltas = self.net.look(image)
        return (*(m.permute(0, 2, 3, 1).contiguous() for m in maps), objectness, deltas)


class BoxGraph(nn.Module):
    """Crops (R, 7, 7, width) to logits (R, K) and deltas (R, K, 4)."""

    def __init__(self, head: BoxHead) -> None:
        super().__init__()
        first = head.layers[0]
        assert isinstance(first, nn.Linear)
        self.head, self.turned = head, nn.Linear(first.in_features, first.out_features)
        with torch.no_grad():
            by_pixel = first.weight.view(first.out_features, -1, BOX_PX, BOX_PX).permute(0, 2, 3, 1)
            self.turned.weight.copy_(by_pixel.flatten(1))
            self.turned.bias.copy_(first.bias)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        if len(self.head.convs):
            crops = self.head.convs(crops.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.head.answer(self.head.layers[1:](self.turned(crops.flatten(1))))


class MaskGraph(nn.Module):
    """Crops (R, 14, 14, width) and classes (R,) to the logits (R, 1, 28, 28)."""

    def __init__(self, head: MaskHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, crops: Tensor, classes: Tensor) -> Tensor:
        return self.head.of_classes(crops.permute(0, 3, 1, 2), classes)

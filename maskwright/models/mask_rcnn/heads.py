"""The three heads: where something may be, what it is and where exactly, and which of its pixels.

Source: proposals: Ren et al. 2015, arXiv:1506.01497, figure 3 left, shared by all levels (arXiv:1612.03144, section 4.1); boxes:
the same, section 4.2, two layers of 1024; masks: He et al. 2017, arXiv:1703.06870, figure 4 right. Initial weights of the class
and box layers: Girshick 2015, arXiv:1504.08083, section 2.3 (Gaussians of 0.01 and 0.001), where torchvision has PyTorch's own.
Differs: convolutions in front of the box head and norms are options, as in torchvision's second version; all widths are free.
Every head is a fixed graph, for any number of boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.models.mask_rcnn.pyramid import conv

BOX_PX = 7  # side of what the box head sees of a level
MASK_PX = 14  # of what the mask head sees; its masks are twice as large
CONVS = 4  # of the mask head, and of the box head where it has any


class ProposalHead(nn.Module):
    """For every anchor whether it shows an object, and how to move and stretch it towards that object.

    Shapes:
        maps: (B, width, h_i, w_i) for each level
        returns: objectness (B, N) logits and deltas (B, N, 4) of all anchors, in the order of `anchors_of`
    """

    def __init__(self, width: int, anchors: int, *, convs: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(conv(width, width, 3, "none", relu=True) for _ in range(convs)))
        self.objectness = nn.Conv2d(width, anchors, 1)
        self.deltas = nn.Conv2d(width, 4 * anchors, 1)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                _gaussian(part, 0.01)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        seen = [self.convs(m) for m in maps]
        objectness = torch.cat([_by_place(self.objectness(s)) for s in seen], dim=1)
        # Channels are grouped by anchor, (A, 4), so that each anchor's four numbers stand together.
        deltas = torch.cat([_by_place(self.deltas(s)) for s in seen], dim=1)
        return objectness, deltas.reshape(deltas.shape[0], deltas.shape[1] // 4, 4)


class BoxHead(nn.Module):
    """What each box shows, and for every class how to move and stretch the box.

    Arguments:
        convs: False: two fully connected layers; True: four convolutions with the norm, then one

    Shapes:
        crops: (R, width, 7, 7) of the levels
        returns: class logits (R, K), background first, and deltas (R, K, 4)
    """

    def __init__(self, width: int, classes: int, *, convs: bool, hidden: int, norm: str) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(conv(width, width, 3, norm, relu=True) for _ in range(CONVS if convs else 0)))
        layers: list[nn.Module] = [nn.Linear(width * BOX_PX**2, hidden), nn.ReLU()]
        self.layers = nn.Sequential(*layers, *([] if convs else [nn.Linear(hidden, hidden), nn.ReLU()]))
        self.classes = nn.Linear(hidden, classes)
        self.deltas = nn.Linear(hidden, 4 * classes)
        _he_normal(self.convs)
        _gaussian(self.classes, 0.01)
        _gaussian(self.deltas, 0.001)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        return self.answer(self.layers(self.convs(crops).flatten(1)))

    def answer(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """The last two layers, on (R, hidden)."""
        deltas: Tensor = self.deltas(seen)
        return self.classes(seen), deltas.reshape(deltas.shape[0], deltas.shape[1] // 4, 4)


class MaskHead(nn.Module):
    """For every class the pixels of the box that belong to the object, as if it were of that class.

    Shapes:
        crops: (R, width, 14, 14) of the levels
        returns: (R, K, 28, 28) logits
    """

    def __init__(self, width: int, classes: int, *, hidden: int, norm: str) -> None:
        super().__init__()
        widths = [width] + [hidden] * CONVS
        self.convs = nn.Sequential(*(conv(a, b, 3, norm, relu=True) for a, b in pairwise(widths)))
        self.up = nn.ConvTranspose2d(hidden, hidden, 2, stride=2)
        self.logits = nn.Conv2d(hidden, classes, 1)
        _he_normal(self)

    def forward(self, crops: Tensor) -> Tensor:
        out: Tensor = self.logits(self._seen(crops))
        return out

    def of_classes(self, crops: Tensor, classes: Tensor) -> Tensor:
        """The logits of one class for each box, (R, 1, 28, 28), without computing those of the others.

        Shapes:
            classes: (R,) int64 in [0, K)
        """
        seen = self._seen(crops)
        kernels, biases = self.logits.weight.flatten(1)[classes], self.logits.bias
        out = torch.bmm(kernels.unsqueeze(1).to(seen), seen.flatten(2))  # (R, 1, 28 x 28)
        if biases is not None:
            out = out + biases[classes].view(-1, 1, 1)
        return out.view(crops.shape[0], 1, *seen.shape[2:])

    def _seen(self, crops: Tensor) -> Tensor:
        """(R, hidden, 28, 28)"""
        return F.relu(self.up(self.convs(crops)))


def _by_place(x: Tensor) -> Tensor:
    """(B, C, h, w) to (B, h x w x C)."""
    return x.permute(0, 2, 3, 1).flatten(1)


def _gaussian(layer: nn.Conv2d | nn.Linear, std: float) -> None:
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _he_normal(part: nn.Module) -> None:
    for layer in part.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

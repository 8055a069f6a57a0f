"""ObjectGraph: a stored image to its objects as one graph, Mask R-CNN with everything between its parts.

The same functions as MaskRCNN.detect, for one image and without a Python number in them: how many boxes are left is known only
when the graph runs. Non-maximum suppression and RoIAlign are operations of ONNX; the groups that must not touch each other
(levels, classes) are moved apart, so that one suppression does for all.
Differs from Predictor: by rounding, in resizing and in the net. Masks stay 28 x 28 probabilities of each box; whoever uses the
graph pastes them in a few lines.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.ops import nms

from maskwright.classes import ClassMap
from maskwright.inference.graph import PixelsIn
from maskwright.models.mask_rcnn.anchors import anchors_of
from maskwright.models.mask_rcnn.boxes import FROM_ANCHORS, FROM_PROPOSALS, clipped, decoded, large_enough
from maskwright.models.mask_rcnn.detections import LEAST_PX
from maskwright.models.mask_rcnn.heads import BOX_PX, MASK_PX
from maskwright.models.mask_rcnn.model import MaskRCNN
from maskwright.models.mask_rcnn.proposals import LEAST_PX as LEAST_PROPOSAL_PX
from maskwright.models.mask_rcnn.proposals import OVERLAP
from maskwright.models.mask_rcnn.roi import pooled
from maskwright.transforms import Preprocess

OUTPUTS = ("boxes", "scores", "labels", "masks")


class ObjectGraph(nn.Module):
    """One stored image to its objects, best first.

    Shapes:
        image: (1, H, W, C) of any number type
        returns: boxes (N, 4) xyxy in pixels of the image, scores (N,), labels (N,) int64 class ids, masks (N, 28, 28) in [0, 1]
    """

    ids: Tensor

    def __init__(
        self, model: MaskRCNN, preprocess: Preprocess, classes: ClassMap, *, value_range: tuple[float, float] = (0.0, 255.0)
    ) -> None:
        super().__init__()
        self.pixels = PixelsIn(preprocess, value_range=value_range)
        self.net = copy.deepcopy(model).eval()
        fold_batch_norms(self.net)
        self.register_buffer("ids", torch.tensor(classes.ids), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.pixels(image)  # (1, C, h, w)
        hw = x.shape[2], x.shape[3]
        maps, objectness, deltas = self.net.look(x)
        proposals = self._proposals(maps, objectness[0], deltas[0], hw)  # (P, 4)
        logits, moves = self.net.box_head(self._cut(maps, proposals, BOX_PX))  # (P, K), (P, K, 4)
        boxes, scores, classes = self._detected(logits, moves, proposals, hw)
        masks = self.net.mask_head.of_classes(self._cut(maps, boxes, MASK_PX), classes).sigmoid()  # (N, 1, 28, 28)
        grown = image.shape[2] / hw[1], image.shape[1] / hw[0]
        in_image = torch.stack(
            [boxes[:, 0] * grown[0], boxes[:, 1] * grown[1], boxes[:, 2] * grown[0], boxes[:, 3] * grown[1]], 1
        )
        return in_image, scores, self.ids[classes], masks.squeeze(1)

    def _proposals(self, maps: list[Tensor], objectness: Tensor, deltas: Tensor, hw: tuple[int, int]) -> Tensor:
        net, strides = self.net, self.net.pyramid.strides
        hws = [(m.shape[2], m.shape[3]) for m in maps]
        anchors = anchors_of(hws, (hws[0][0] * strides[0], hws[0][1] * strides[0]), net.cells)
        best, level, before = [], [], 0
        for number, (h, w) in enumerate(hws):
            count = h * w * net.cells.shape[1]
            part = objectness.narrow(0, before, count)
            found = part.topk(torch.sym_min(count, net.proposals)).indices
            best.append(found + before)
            level.append(torch.full_like(found, number))
            before = before + count
        chosen, levels = torch.cat(best), torch.cat(level)
        boxes = clipped(decoded(deltas[chosen], anchors[chosen], FROM_ANCHORS), hw)
        scores = objectness[chosen].sigmoid().where(large_enough(boxes, LEAST_PROPOSAL_PX), -1.0)
        kept = _likeliest(boxes, scores, levels, OVERLAP, net.proposals, hw[0] + hw[1])
        return boxes[kept]

    def _detected(self, logits: Tensor, deltas: Tensor, proposals: Tensor, hw: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        scores = logits.softmax(dim=1)[:, 1:]
        proposal, column = (scores > self.net.least_score).nonzero(as_tuple=True)
        classes, scores = column + 1, scores[proposal, column]
        boxes = clipped(decoded(deltas[proposal, classes], proposals[proposal], FROM_PROPOSALS), hw)
        scores = scores.where(large_enough(boxes, LEAST_PX), -1.0)
        kept = _likeliest(boxes, scores, classes, self.net.overlap, self.net.detections, hw[0] + hw[1])
        return boxes[kept], scores[kept], classes[kept]

    def _cut(self, maps: list[Tensor], boxes: Tensor, px: int) -> Tensor:
        rois = F.pad(boxes, (1, 0))  # all of image 0
        return pooled(maps[:-1], rois, px, self.net.pyramid.strides, canonical_px=self.net.canonical_px)


def fold_batch_norms(net: nn.Module) -> None:
    """Put each batch norm behind a convolution into its weights, for evaluation; the same up to rounding.

    Over boxes a batch norm cannot be traced, for it asks whether there are any.
    """
    for part in [m for m in net.modules() if isinstance(m, nn.Sequential)]:
        for (before, layer), (name, norm) in pairwise(list(part._modules.items())):
            if type(layer) is nn.Conv2d and type(norm) is nn.BatchNorm2d:  # no kinds of them that do more
                part.set_submodule(before, fuse_conv_bn_eval(layer, norm))
                part.set_submodule(name, nn.Identity())


def _likeliest(boxes: Tensor, scores: Tensor, groups: Tensor, overlap: float, most: int, far: int) -> Tensor:
    """Numbers of the boxes that are much like no likelier one of their group, best first, at most `most` of them."""
    # Clipped boxes reach from 0 to the image's far corner.
    shift = groups.to(boxes) * (far + 1)
    kept: Tensor = nms(boxes + shift[:, None], scores, overlap)
    kept = kept[scores[kept] >= 0]
    return kept[:most]

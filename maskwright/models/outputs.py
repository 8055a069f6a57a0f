"""What a network gives back: logits, and in training, where its paper trains more than that, what the loss needs besides.

In evaluation mode every semantic network returns a plain tensor of logits (B, K, H, W).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maskwright.models.sizes import resized

BLOCK = 25  # queries whose masks are enlarged at a time


class WithAuxiliary(NamedTuple):
    """Logits and those of auxiliary heads, which exist to carry gradients to early layers and are gone after training.

    Attributes:
        logits: (B, K, H, W)
        auxiliary: each (B, K, H, W)
        weight: the factor of each auxiliary loss
    """

    logits: Tensor
    auxiliary: tuple[Tensor, ...]
    weight: float


class Queries(NamedTuple):
    """Mask classification: every query proposes one mask and says what it shows (arXiv:2107.06278, section 3.2).

    Attributes:
        masks: (B, Q, h, w) logits of each query's mask, usually at a quarter of the image's size
        classes: (B, Q, K + 1) logits of its class; the last one means "nothing"
        hw: size (H, W) of the image, to which `semantic` brings the masks
        earlier: the same of earlier blocks, which are trained alike; (masks, classes) each
    """

    masks: Tensor
    classes: Tensor
    hw: tuple[int, int]
    earlier: tuple[tuple[Tensor, Tensor], ...] = ()

    def semantic(self) -> Tensor:
        """Scores of every class: the sum over queries of p(class) x p(mask), as log-probabilities' stand-in.

        Masks are enlarged as logits, before the sigmoid, so that a border runs where the enlarged logits change their sign; a few
        queries at a time, since all of them at the image's size would be most of the memory that a forward pass takes.

        Shapes:
            returns: (B, K, H, W), log of the sum, so that a softmax over it gives each class its share

        Source: arXiv:2107.06278, section 3.4, semantic inference.
        """
        probs = self.classes.float().softmax(dim=-1)[..., :-1]  # (B, Q, K)
        blocks = zip(torch.split(probs, BLOCK, dim=1), torch.split(self.masks.float(), BLOCK, dim=1), strict=True)
        summed = sum(torch.einsum("bqk,bqhw->bkhw", p, resized(m, self.hw).sigmoid()) for p, m in blocks)
        return torch.as_tensor(summed).clamp(min=1e-6).log()


class Detections(NamedTuple):
    """The objects that a network finds in one image, best first.

    Attributes:
        boxes: (N, 4) xyxy in pixels, half open
        scores: (N,) in [0, 1]
        classes: (N,) int64, channel numbers from 1 on
        masks: (N, 1, m, m) probabilities of the pixels of each box, which m x m cells divide
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    masks: Tensor

    def scaled(self, from_hw: tuple[int, int], to_hw: tuple[int, int]) -> Detections:
        """The same objects in an image of another size: where it was resized to from_hw, in pixels of the original, to_hw."""
        old, new = (torch.tensor([hw[1], hw[0]] * 2, dtype=self.boxes.dtype, device=self.boxes.device) for hw in (from_hw, to_hw))
        return self._replace(boxes=self.boxes * (new / old))


class InstanceLosses(NamedTuple):
    """The five losses of Mask R-CNN, scalars; `_asdict()` names them, `total` is what is minimised.

    Attributes:
        objectness, proposal_boxes: of the proposals (torchvision: loss_objectness, loss_rpn_box_reg)
        classes, boxes: of the box head (loss_classifier, loss_box_reg)
        masks: of the mask head (loss_mask)
    """

    objectness: Tensor
    proposal_boxes: Tensor
    classes: Tensor
    boxes: Tensor
    masks: Tensor

    @property
    def total(self) -> Tensor:
        return torch.stack(list(self)).sum()


Output = Tensor | WithAuxiliary | Queries | InstanceLosses

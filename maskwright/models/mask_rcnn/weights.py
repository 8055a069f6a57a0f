"""torchvision's weights of a Mask R-CNN: the arguments that they are for, and their names, today's and the first, under ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# The arguments of MaskRCNN with which torchvision's published weights give torchvision's answers.
TORCHVISION_V1: dict[str, object] = {"encoder": "resnet50", "encoder_norm": "frozen", "encoder_eps": 0.0}
TORCHVISION_V2: dict[str, object] = {"encoder": "resnet50", "norm": "batch", "proposal_convs": 2, "box_convs": True}

# Today's torchvision and ours; behind them the names of its first files, which had no norms to make room for.
RENAMED = (
    (r"backbone\.body\.(.*)", r"encoder.net.\1"),
    (r"backbone\.fpn\.inner_blocks\.(\d+)\.(\d+\..*)", r"pyramid.lateral.\1.\2"),
    (r"backbone\.fpn\.layer_blocks\.(\d+)\.(\d+\..*)", r"pyramid.smooth.\1.\2"),
    (r"backbone\.fpn\.inner_blocks\.(\d+)\.(weight|bias)", r"pyramid.lateral.\1.0.\2"),
    (r"backbone\.fpn\.layer_blocks\.(\d+)\.(weight|bias)", r"pyramid.smooth.\1.0.\2"),
    (r"rpn\.head\.conv\.(\d+\..*)", r"rpn.convs.\1"),
    (r"rpn\.head\.conv\.(weight|bias)", r"rpn.convs.0.0.\1"),
    (r"rpn\.head\.cls_logits\.(.*)", r"rpn.objectness.\1"),
    (r"rpn\.head\.bbox_pred\.(.*)", r"rpn.deltas.\1"),
    (r"roi_heads\.box_head\.fc6\.(.*)", r"box_head.layers.0.\1"),
    (r"roi_heads\.box_head\.fc7\.(.*)", r"box_head.layers.2.\1"),
    (r"roi_heads\.box_head\.5\.(.*)", r"box_head.layers.0.\1"),
    (r"roi_heads\.box_head\.(\d+\.\d+\..*)", r"box_head.convs.\1"),
    (r"roi_heads\.box_predictor\.cls_score\.(.*)", r"box_head.classes.\1"),
    (r"roi_heads\.box_predictor\.bbox_pred\.(.*)", r"box_head.deltas.\1"),
    (r"roi_heads\.mask_head\.(\d+\.\d+\..*)", r"mask_head.convs.\1"),
    *((rf"roi_heads\.mask_head\.mask_fcn{i + 1}\.(.*)", rf"mask_head.convs.{i}.0.\1") for i in range(4)),
    (r"roi_heads\.mask_predictor\.conv5_mask\.(.*)", r"mask_head.up.\1"),
    (r"roi_heads\.mask_predictor\.mask_fcn_logits\.(.*)", r"mask_head.logits.\1"),
)


def from_torchvision(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of maskrcnn_resnet50_fpn or maskrcnn_resnet50_fpn_v2 under our names; only names change.

    They fit a MaskRCNN built with TORCHVISION_V1 or TORCHVISION_V2.
    """
    return {_renamed(key): tensor for key, tensor in state_dict.items()}


def _renamed(key: str) -> str:
    for theirs, ours in RENAMED:
        match = re.fullmatch(theirs, key)
        if match:
            return match.expand(ours)
    return key

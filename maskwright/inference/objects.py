"""From what a network of objects finds at the size it saw to Instances at the image's own size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.inference.backends import answering
from maskwright.inference.machine import Device
from maskwright.instances import Instances
from maskwright.later import torch
from maskwright.models.mask_rcnn.paste import pasted
from maskwright.transforms import Frame

if TYPE_CHECKING:
    from torch import Tensor, nn

    from maskwright.models.outputs import Detections

MIN_SCORE = 0.5  # of an object that is shown and written; scores are taken over all of them


class Detect(Protocol):
    """One image, (1, C, h, w) float32, to its objects."""

    def __call__(self, image: Tensor) -> Detections: ...


def detect_on(model: nn.Module, device: Device, precision: str, *, exact: bool = False, many: bool = False) -> Detect:
    """The objects of one image: moved to the device, run without gradients in the number type; see backends.forward_on."""
    answer = answering(model, device, precision, exact=exact, many=many, part="encoder")

    def detect(image: Tensor) -> Detections:
        (found,) = answer(image)
        return found  # type: ignore[no-any-return]  # of one image

    return detect


def decode_objects(found: Detections, frame: Frame, classes: ClassMap, *, min_score: float = 0.0, name: str = "") -> Instances:
    """The objects at the image's own size, best first, each mask straight into runs.

    Args:
        min_score: objects below it are left out, and so are masks without a pixel

    Raises:
        InputError: the answer is not finite, which a value of nan in the image does.
    """
    found = found.scaled(frame.work_hw, frame.hw)
    if not bool(torch.isfinite(found.scores).all() and torch.isfinite(found.boxes).all()):
        raise InputError("the model's answer holds numbers that are not finite; look for nan or extreme values in the image.")
    sure = found.scores >= min_score
    boxes, scores, channels, masks = (part[sure].cpu() for part in found)
    runs = pasted(masks, boxes, frame.hw)
    there = [k for k, mask in enumerate(runs) if mask.area_px]
    return Instances(
        frame.hw,
        classes,
        classes.to_ids(channels.numpy()[there]).astype(np.int64),
        tuple(runs[k] for k in there),
        scores=scores.float().numpy()[there],
        boxes_xyxy=boxes.float().numpy()[there],
        name=name or "image",
    )

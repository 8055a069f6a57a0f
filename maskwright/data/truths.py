"""The layers of objects that augmentation works on, as the truth that a network of objects learns from."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from maskwright.models.mask_rcnn.truth import Truth
from maskwright.transforms.objects import ObjectLayers


def truth_of_layers(objects: ObjectLayers) -> Truth:
    """Boxes, classes and mask crops of the objects that are left in a training window; those of crowds as boxes alone."""
    numbers, boxes = objects.boxes()
    crowd = objects.crowds[numbers - 1]
    kept = (~crowd).nonzero()[:, 0].tolist()
    h, w = objects.layers.shape[1:]
    windows, crops = [], []
    for k in kept:
        x0, y0, x1, y1 = (int(v) for v in boxes[k])
        # One pixel of background around the object, as far as the image goes: see models/mask_rcnn/truth.py.
        window = (max(x0 - 1, 0), max(y0 - 1, 0), min(x1 + 1, w), min(y1 + 1, h))
        inner = objects.crop(int(numbers[k]), boxes[k])
        ring = (x0 - window[0], window[2] - x1, y0 - window[1], window[3] - y1)
        windows.append(window)
        crops.append(pad(inner.to(torch.uint8), ring).flatten())
    sizes = torch.tensor([0, *(len(c) for c in crops)])
    return Truth(
        boxes=boxes[kept],
        classes=objects.classes[numbers - 1][kept],
        windows=torch.tensor(windows, dtype=torch.int64).reshape(-1, 4),
        starts=sizes.cumsum(0)[:-1] if kept else torch.zeros(0, dtype=torch.int64),
        pixels=torch.cat([torch.zeros(0, dtype=torch.uint8), *crops]),
        crowds=boxes[crowd],
    )


def moved(targets: Tensor | list[Truth], device: torch.device) -> Tensor | list[Truth]:
    """What is true of a batch, on the device; channel numbers as int64, which losses take."""
    if isinstance(targets, Tensor):
        return targets.to(device, non_blocking=True).long()
    return [truth.to(device) for truth in targets]

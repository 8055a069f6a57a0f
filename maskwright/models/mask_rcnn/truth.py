"""What training knows of an image: boxes, classes, crowds, and the masks as crops, so that hundreds of objects stay small.

The target of a proposal is RoIAlign of its object's mask: torchvision's reading of He et al. 2017, arXiv:1703.06870, section 3.1.
Cut from a crop it has the same values as cut from the whole image: a crop holds one pixel of background around its object, beyond
which all is zero in both, except at the image's border, where it ends with the image and both go on with the last pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import roi_align

from maskwright.errors import InputError
from maskwright.ops.rle import Rle


@dataclass(frozen=True, eq=False)
class Truth:
    """The objects of one image of a batch, in the batch's pixels. Six tensors, whatever the number of objects.

    Attributes:
        boxes: (N, 4) float32 xyxy, half open
        classes: (N,) int64, channel numbers from 1 on
        windows: (N, 4) int64 xyxy, the part of the image that each crop shows
        starts: (N,) int64, where each crop begins in `pixels`
        pixels: (P,) uint8, 0 or 1: the crops row by row, one behind the other
        crowds: (M, 4) float32 xyxy, boxes of masks that hold many objects nobody told apart

    Raises:
        InputError: lengths or shapes that do not go together.
    """

    boxes: Tensor
    classes: Tensor
    windows: Tensor
    starts: Tensor
    pixels: Tensor
    crowds: Tensor

    def __post_init__(self) -> None:
        n = len(self.boxes)
        found = {f.name: tuple(getattr(self, f.name).shape) for f in fields(self)}
        wanted = {"boxes": (n, 4), "classes": (n,), "windows": (n, 4), "starts": (n,), "crowds": (len(self.crowds), 4)}
        wrong = [f"{name} {found[name]} instead of {shape}" for name, shape in wanted.items() if found[name] != shape]
        if wrong:
            raise InputError(f"a truth of {n} objects has {', '.join(wrong)}; make it with truth_of.")

    def __len__(self) -> int:
        return len(self.boxes)

    def mask(self, k: int) -> Tensor:
        """The crop of one object, (h, w) uint8, showing windows[k]."""
        x0, y0, x1, y1 = (int(c) for c in self.windows[k])
        start = int(self.starts[k])
        return self.pixels[start : start + (y1 - y0) * (x1 - x0)].view(y1 - y0, x1 - x0)

    def to(self, device: torch.device | str) -> Truth:
        return replace(self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})

    def usable(self) -> Truth:
        """Without the objects whose box is empty or not finite: nothing could be moved or stretched to them."""
        kept = (self.boxes[:, 2:] > self.boxes[:, :2]).all(dim=1) & self.boxes.isfinite().all(dim=1)
        if bool(kept.all()):
            return self
        columns = {name: getattr(self, name)[kept] for name in ("boxes", "classes", "windows", "starts")}
        return replace(self, **columns)


def truth_of(
    masks: Sequence[Rle],
    classes: Sequence[int],
    *,
    crowd: Sequence[bool] = (),
    boxes_xyxy: Sequence[Sequence[float]] | None = None,
) -> Truth:
    """The truth of one image from its masks at the size at which the network sees it.

    Arguments:
        classes: channel numbers from 1 on, one a mask
        crowd: true for masks of crowds; default: none
        boxes_xyxy: one a mask; default: the smallest box around each mask

    Edge cases: a mask without a pixel, or with an empty box, is left out.

    Raises:
        InputError: lengths differ.
    """
    boxes: list[tuple[float, ...]] = [m.box_xyxy for m in masks] if boxes_xyxy is None else [tuple(b) for b in boxes_xyxy]
    crowds = list(crowd) or [False] * len(masks)
    if not len(masks) == len(classes) == len(boxes) == len(crowds):
        raise InputError(
            f"{len(masks)} masks, {len(classes)} classes, {len(boxes)} boxes and {len(crowds)} crowd flags; give one each."
        )
    there = [k for k, m in enumerate(masks) if m.area_px and boxes[k][2] > boxes[k][0] and boxes[k][3] > boxes[k][1]]
    kept = [k for k in there if not crowds[k]]
    windows = [_with_border(masks[k]) for k in kept]
    crops = [masks[k].crop(window) for k, window in zip(kept, windows, strict=True)]
    return Truth(
        boxes=torch.tensor([boxes[k] for k in kept], dtype=torch.float32).reshape(-1, 4),
        classes=torch.tensor([int(classes[k]) for k in kept], dtype=torch.int64),
        windows=torch.tensor(windows, dtype=torch.int64).reshape(-1, 4),
        starts=torch.tensor(np.cumsum([0, *(c.size for c in crops)])[: len(crops)], dtype=torch.int64),
        pixels=torch.from_numpy(np.concatenate([np.zeros(0, bool), *(c.ravel() for c in crops)]).view(np.uint8)),
        crowds=torch.tensor([boxes[k] for k in there if crowds[k]], dtype=torch.float32).reshape(-1, 4),
    )


def mask_targets(truth: Truth, boxes: Tensor, objects: Tensor, px: int) -> Tensor:
    """The share of each of px x px cells of a box that its object covers.

    Shapes:
        boxes: (R, 4) xyxy inside the image; objects: (R,) int64, positions in the truth
        returns: (R, px, px) in [0, 1]
    """
    targets = boxes.new_zeros(len(boxes), px, px)
    for k in sorted(set(objects.tolist())):
        here = (objects == k).nonzero()[:, 0]
        corner = truth.windows[k, :2].repeat(2).to(boxes)
        crop = truth.mask(k).to(boxes)[None, None]
        targets[here] = roi_align(crop, [boxes[here] - corner], px, sampling_ratio=-1)[:, 0]
    return targets


def _with_border(mask: Rle) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = mask.box_xyxy
    return max(x0 - 1, 0), max(y0 - 1, 0), min(x1 + 1, mask.hw[1]), min(y1 + 1, mask.hw[0])

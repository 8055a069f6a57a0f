"""Masks of 28 x 28 probabilities to runs at the image's size, without an array of that size.

Source: He et al. 2017, arXiv:1703.06870, section 3.1: a mask is resized to its box and cut at 0.5. Borders as in torchvision: the
mask gets a ring of zeros, the box grows with it, and its corners are cut to whole pixels.
Differs: within a column the resized mask is linear between two rows of the 30 x 30 values, so that its runs start and end where
those lines cross the threshold. Nothing is resized along the column, and an object costs its width, not its area.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from maskwright.later import torch
from maskwright.ops.rle import Rle

if TYPE_CHECKING:
    from torch import Tensor

RING = 1


def pasted(masks: Tensor, boxes: Tensor, hw: tuple[int, int], *, threshold: float = 0.5) -> list[Rle]:
    """The pixels of each object: where its mask, resized bilinearly to its box, is at least `threshold`.

    Shapes:
        masks: (N, 1, m, m) probabilities; what is not a number lies outside of the object
        boxes: (N, 4) xyxy in pixels of an image of size hw; may reach beyond it
        threshold: above 0
    """
    corners = _grown(boxes.detach().float().cpu(), masks.shape[-1]).numpy()
    values = np.pad(masks.detach().float().cpu().nan_to_num(0.0).numpy()[:, 0], ((0, 0), (RING, RING), (RING, RING)))
    return [_runs(mask, corner, hw, threshold) for mask, corner in zip(values, corners, strict=True)]


def _grown(boxes: Tensor, px: int) -> Tensor:
    """Boxes that hold the ring as well, first and last pixel, (N, 4) int64."""
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * (float(px + 2 * RING) / px)
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    return torch.cat([centre - half, centre + half], dim=1).to(torch.int64)


def _runs(mask: NDArray[np.float32], corners: NDArray[np.int64], hw: tuple[int, int], threshold: float) -> Rle:
    """Of one mask (m, m) with its ring, resized to the box from its first to its last pixel."""
    x0, y0, x1, y1 = (int(c) for c in corners)
    h, m = max(y1 - y0 + 1, 1), len(mask)
    columns = np.arange(max(x0, 0), min(x1 + 1, hw[1]))
    rows = _across(mask, columns - x0, max(x1 - x0 + 1, 1))  # (m, c): the mask's rows at each column of the image
    inside = rows >= threshold
    upper, lower = rows[:-1], rows[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.arange(m - 1)[:, None] + (threshold - upper) / (lower - upper)
    cut = _first_row(np.nan_to_num(crossing, nan=0.0, posinf=0.0, neginf=0.0), m, h)
    border = _first_row(np.arange(m, dtype=np.float64), m, h)[:, None]
    starts = np.where(inside[:-1], border[:-1], cut)
    ends = np.where(inside[1:], border[1:], cut)
    ends = np.where(inside[:-1] | inside[1:], ends, starts)
    # The ring lies below the threshold, so that rows before the first and after the last of these lines are outside.
    starts, ends = (np.clip(edge + y0, 0, hw[0]) + columns * hw[0] for edge in (starts, ends))
    return Rle.from_runs(starts.T.ravel(), ends.T.ravel(), hw)


def _across(mask: NDArray[np.float32], columns: NDArray[np.int64], w: int) -> NDArray[np.float64]:
    """The rows of the mask at some columns of its resized form, w wide: bilinear between centres, constant beyond them."""
    m = mask.shape[1]
    at = np.maximum((columns + 0.5) * m / w - 0.5, 0)
    left = at.astype(np.int64)
    right = np.minimum(left + 1, m - 1)
    return np.asarray(mask[:, left] + (at - left) * (mask[:, right].astype(np.float64) - mask[:, left]), np.float64)


def _first_row(at: NDArray[np.float64], m: int, h: int) -> NDArray[np.int64]:
    """The first of h rows whose centre lies at or below a place on the mask, in its rows from the first one's centre on."""
    return np.ceil((at + 0.5) * h / m - 0.5).astype(np.int64)

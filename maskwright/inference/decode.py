"""From logits at the size the net saw to class ids at the image's own size.

Bringing logits back to the full size and choosing the class are done together, a block of rows at a time: the full-size
logits of a large image (K x H x W floats) never stand in memory, and choosing by comparison, class after class, is many
times faster on a CPU than torch.argmax over the class axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.transforms import Frame

BLOCK_VALUES = 1 << 20  # of a block's K x rows x W logits: 4 MiB stay near the processor


@dataclass(frozen=True, eq=False)
class Decoded:
    """labels (H, W) class ids; confidence (H, W) and probs (K, H, W) float32 in [0, 1] where they were asked for."""

    labels: NDArray[Any]
    confidence: NDArray[np.float32] | None
    probs: NDArray[np.float32] | None


def decode(raw: Iterable[Tensor], frame: Frame, classes: ClassMap, *, confidence: bool = False, probs: bool = False) -> Decoded:
    """The class of each pixel of the original image; the lower channel wins a tie.

    Logits are interpolated bilinearly to the original size before the classes are chosen, so labels, confidence and probs
    always agree with each other.

    Shapes:
        raw: logits at frame.work_hw in bands from top to bottom, (1, K, rows, w) each; mostly a single one

    Raises:
        InputError: a logit is not finite, which a value of nan in the image does.
    """
    height, width = frame.hw
    labels = np.empty((height, width), classes.dtype)
    sure = np.empty((height, width), np.float32) if confidence else None
    shares = np.empty((len(classes), height, width), np.float32) if probs else None
    for top, logits in full_size_blocks(raw, frame):
        rows = slice(top, top + logits.shape[1])
        if not bool(torch.isfinite(logits.sum())):
            raise InputError("the model's answer holds numbers that are not finite; look for nan or extreme values in the image.")
        labels[rows] = classes.to_ids(_highest(logits).cpu().numpy())
        if sure is not None or shares is not None:
            chances = logits.softmax(dim=0)  # (K, rows, W)
            if shares is not None:
                shares[:, rows] = chances.cpu().numpy()
            if sure is not None:
                sure[rows] = chances.amax(dim=0).cpu().numpy()
    return Decoded(labels, sure, shares)


def full_size_blocks(bands: Iterable[Tensor], frame: Frame) -> Iterator[tuple[int, Tensor]]:
    """Logits at frame.hw in blocks of full width: (first row, (K, rows, W)), from top to bottom.

    The same numbers as Frame.restore up to rounding; unchanged to the bit where the sizes are equal.
    """
    (height, width), (work_height, _) = frame.hw, frame.work_hw
    above, below, share = _neighbours(height, work_height)
    kept = torch.empty(0)  # (K, n, w) the rows of the net's answer from row `first` on
    first = done = 0
    for band in bands:
        kept = torch.cat((kept.to(band.device), band[0].float()), dim=1) if kept.numel() else band[0].float()
        ready = int(torch.searchsorted(below, first + kept.shape[1]))  # rows whose lower neighbour has come
        step = max(1, BLOCK_VALUES // (kept.shape[0] * max(width, kept.shape[2])))
        for top in range(done, ready, step):
            stop = min(top + step, ready)
            if frame.hw == frame.work_hw:
                yield top, kept[:, top - first : stop - first]
                continue
            near, far = (kept[:, (i[top:stop] - first).to(kept.device)] for i in (above, below))
            rows = torch.lerp(near, far, share[top:stop, None].to(kept.device))
            yield top, F.interpolate(rows, size=width, mode="linear", align_corners=False)
        done = ready
        if done < height:
            drop = min(int(above[done]) - first, kept.shape[1])
            kept, first = kept[:, drop:], first + drop


def _neighbours(length: int, work_length: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each of length full-size rows: the two rows of the answer it lies between, and the share of the second.

    Pixels are areas, so row y of the image lies at (y + 0.5) * work / full - 0.5 of the answer (align_corners=False).
    """
    at = ((torch.arange(length, dtype=torch.float64) + 0.5) * (work_length / length) - 0.5).clamp(0, work_length - 1)
    above = at.floor().long()
    return above, (above + 1).clamp(max=work_length - 1), (at - above).float()


def _highest(logits: Tensor) -> Tensor:
    """(rows, W) int16: the channel of (K, rows, W) with the highest logit; the lower one wins a tie."""
    best = logits[0].clone()
    chosen = torch.zeros(best.shape, dtype=torch.int16, device=logits.device)
    for k in range(1, logits.shape[0]):
        chosen.masked_fill_(logits[k] > best, k)
        torch.maximum(best, logits[k], out=best)
    return chosen

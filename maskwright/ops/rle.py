"""Run-length encoding: a mask as the lengths of its runs, so that 500 objects on a large image stay small.

Counts are COCO's: the pixels column by column, first the length of the run of background (0 where the first pixel belongs to the
mask), then of foreground, and so on by turns. Both of COCO's written forms are read and written: the list, and the text of 6-bit
characters.

Source: the COCO API's mask format (Lin et al. 2014, arXiv:1405.0312), written from its description.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import FormatError

_FIRST_CHARACTER = 48
_MORE, _SIGN, _PAYLOAD, _BITS = 0x20, 0x10, 0x1F, 5


@dataclass(frozen=True, eq=False)
class Rle:
    """One mask of an image, as runs.

    Attributes:
        hw: size of the whole image
        counts: (R,) int64, lengths of runs of background and foreground by turns, column by column; their sum is H x W

    Raises:
        FormatError: the counts do not add up to the image, or one is negative.
    """

    hw: tuple[int, int]
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts)
        if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts.size and counts.min() < 0):
            raise FormatError("run lengths are whole numbers from 0 on.")
        h, w = self.hw
        if int(counts.sum()) != h * w:
            raise FormatError(f"the runs cover {int(counts.sum())} pixels, the image has {w}x{h} = {h * w}.")
        object.__setattr__(self, "counts", counts.astype(np.int64))

    @classmethod
    def from_mask(cls, mask: NDArray[Any]) -> Rle:
        """Of a whole mask (H, W), true or non-zero where the object is."""
        return cls.from_crop(mask, (0, 0), (mask.shape[0], mask.shape[1]))

    @classmethod
    def from_crop(cls, crop: NDArray[Any], corner_xy: tuple[int, int], hw: tuple[int, int]) -> Rle:
        """Of a part of the image, background elsewhere; what lies outside the image is cut off.

        Costs the size of the crop, not of the image.

        Shapes:
            crop: (h, w), true or non-zero where the object is
            corner_xy: pixel of the image at crop[0, 0]; may be negative
        """
        x, y = corner_xy
        crop = np.asarray(crop)[max(0, -y) : max(0, hw[0] - y), max(0, -x) : max(0, hw[1] - x)]
        x, y = max(0, x), max(0, y)
        h, w = crop.shape
        # One row of background above each column and one below the last, so that every run starts and ends in its own column.
        columns = np.zeros((w, h + 1), np.int8)
        columns[:, 1:] = (crop != 0).T
        change = np.diff(columns.ravel(), append=np.int8(0))
        starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
        # Entry k of the change stands between elements k and k + 1: row k % (h + 1) of column k // (h + 1).
        starts, ends = ((x + k // (h + 1)) * hw[0] + y + k % (h + 1) for k in (starts, ends))
        return cls.from_runs(starts, ends, hw)

    @classmethod
    def from_runs(cls, starts: NDArray[np.int64], ends: NDArray[np.int64], hw: tuple[int, int]) -> Rle:
        """Of runs of foreground by their first position and the one behind their last, ascending and not overlapping.

        Positions count column by column: x * H + y. Runs that touch become one; empty ones are left out.
        """
        starts, ends = starts[ends > starts], ends[ends > starts]
        if starts.size:
            apart = starts[1:] > ends[:-1]
            starts, ends = starts[np.r_[True, apart]], ends[np.r_[apart, True]]
        borders = np.stack([starts, ends], axis=1).ravel()
        counts = np.diff(borders, prepend=0, append=hw[0] * hw[1])
        return cls(hw, counts if counts[-1] or counts.size == 1 else counts[:-1])

    @classmethod
    def from_text(cls, text: str | bytes, hw: tuple[int, int]) -> Rle:
        """Of COCO's compressed text.

        Raises:
            FormatError: characters that cannot stand there, a text that ends within a number, or a wrong sum.
        """
        raw = text.encode("latin-1", "replace") if isinstance(text, str) else text
        values = np.frombuffer(raw, np.uint8).astype(np.int64) - _FIRST_CHARACTER
        if values.size and (values.min() < 0 or values.max() >= 64 or values[-1] & _MORE):
            raise FormatError("the compressed run lengths are damaged or cut short.")
        last = np.flatnonzero(values & _MORE == 0)
        first = np.r_[0, last[:-1] + 1] if last.size else last
        if np.any(last - first > 8):
            raise FormatError("the compressed run lengths are damaged or cut short.")
        place = np.arange(values.size) - np.repeat(first, last - first + 1)
        numbers = np.add.reduceat((values & _PAYLOAD) << (_BITS * place), first) if last.size else last
        negative = values[last] & _SIGN != 0
        numbers = numbers - np.where(negative, np.int64(1) << (_BITS * (last - first + 1)), 0)
        # From the fourth count on, each is written as its difference to the count two before it.
        numbers[1::2] = np.cumsum(numbers[1::2])
        numbers[2::2] = np.cumsum(numbers[2::2])
        return cls(hw, numbers)

    def to_text(self) -> str:
        """COCO's compressed text; see from_text."""
        rest = self.counts.copy()
        rest[3:] -= self.counts[1:-2]
        rows = []
        open_ = np.ones(rest.size, bool)
        while open_.any():
            payload = rest & _PAYLOAD
            rest = rest >> _BITS
            # Done when what is left is only the sign that the last character carries.
            more = np.where(payload & _SIGN, rest != -1, rest != 0)
            rows.append(np.where(open_, payload + np.where(more, _MORE, 0) + _FIRST_CHARACTER, 0))
            open_ = open_ & more
        characters = np.stack(rows, axis=1).ravel() if rows else np.zeros(0, np.int64)
        return characters[characters > 0].astype(np.uint8).tobytes().decode("ascii")

    @cached_property
    def runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First position of each run of foreground, and the one behind its last; positions are x * H + y."""
        borders = np.cumsum(self.counts)
        return borders[0:-1:2], borders[1::2]

    @cached_property
    def area_px(self) -> int:
        return int(self.counts[1::2].sum())

    @cached_property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """The smallest box around the mask, half open, in pixels; (0, 0, 0, 0) for an empty mask."""
        starts, ends = self.runs
        starts, ends = starts[ends > starts], ends[ends > starts]
        if not starts.size:
            return 0, 0, 0, 0
        h = self.hw[0]
        left, right = starts // h, (ends - 1) // h
        if np.any(left != right):
            top, bottom = 0, h
        else:
            top, bottom = int((starts % h).min()), int(((ends - 1) % h).max()) + 1
        return int(left.min()), top, int(right.max()) + 1, bottom

    def to_mask(self) -> NDArray[np.bool_]:
        """The whole mask, (H, W) bool."""
        return self.crop((0, 0, self.hw[1], self.hw[0]))

    def crop(self, box_xyxy: tuple[int, int, int, int]) -> NDArray[np.bool_]:
        """The mask within a box inside the image, (y1 - y0, x1 - x0) bool; costs the box's columns only."""
        h = self.hw[0]
        x0, y0, x1, y1 = box_xyxy
        change = np.zeros((x1 - x0) * h + 1, np.int8)
        for positions, step in zip(self.runs, (1, -1), strict=True):
            inside = np.clip(positions - x0 * h, 0, (x1 - x0) * h)
            np.add.at(change, inside, step)
        flat = np.cumsum(change[:-1], dtype=np.int8) > 0
        return np.ascontiguousarray(flat.reshape(x1 - x0, h)[:, y0:y1].T)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rle) and self.hw == other.hw and np.array_equal(self._plain, other._plain)

    def __hash__(self) -> int:
        return hash((self.hw, self._plain.tobytes()))

    @cached_property
    def _plain(self) -> NDArray[np.int64]:
        """The counts as from_runs writes them: files may hold empty runs in between."""
        return Rle.from_runs(*self.runs, self.hw).counts

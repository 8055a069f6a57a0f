"""The run lengths of Label Studio's brush: numbers of few bits, packed without gaps.

The list holds bytes. Read as one row of bits they are: 32 bits for how many values follow; 5 bits for the width of a value, less
one; four times 4 bits for the widths of lengths, less one. Then blocks until all values are there: one bit that says whether one
value is repeated, 2 bits that choose one of the four widths, the length less one in that width, and then either the one value or
as many values as the length. The values are the picture's red, green, blue and alpha, row by row; the mask is where alpha is
not 0.

Source: the description of the format in Label Studio's documentation ("Units of image annotations", brush masks) and the packing
of thi.ng/rle-pack that it names. Written from the description.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.records import LARGEST_MASK_PX
from maskwright.errors import FormatError

CHANNELS = 4
_COUNT_BITS, _WIDTH_BITS, _LENGTH_WIDTH_BITS, _CHOICE_BITS = 32, 5, 4, 2


class _Bits:
    """A row of bits, read from the front."""

    def __init__(self, data: NDArray[np.uint8], where: str) -> None:
        self._bits = np.unpackbits(data)
        self._where = where
        self._at = 0

    def values(self, count: int, width: int) -> NDArray[np.int64]:
        """The next count numbers of this width, the highest bit first."""
        end = self._at + count * width
        if end > self._bits.size:
            raise FormatError(f"{self._where}: its brush run lengths are cut short.")
        bits = self._bits[self._at : end].reshape(count, width)
        self._at = end
        return np.asarray(bits @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64)), np.int64)

    def number(self, width: int) -> int:
        return int(self.values(1, width)[0])


def decode_brush(data: NDArray[np.uint8], hw: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """The mask of a brush, (H, W) bool.

    Raises:
        FormatError: the list is cut short, or holds another size than the image's.
    """
    bits = _Bits(data, where)
    total = bits.number(_COUNT_BITS)
    if hw[0] * hw[1] > LARGEST_MASK_PX:
        raise FormatError(f"{where}: its brush is said to cover {hw[1]}x{hw[0]} pixels, more than any image that is read.")
    if total != hw[0] * hw[1] * CHANNELS:
        raise FormatError(f"{where}: its brush holds {total} values; expected {CHANNELS} for each of {hw[1]}x{hw[0]} pixels.")
    width = bits.number(_WIDTH_BITS) + 1
    lengths = [bits.number(_LENGTH_WIDTH_BITS) + 1 for _ in range(4)]
    alpha = np.zeros(hw[0] * hw[1], bool)
    done = 0
    while done < total:
        repeated = bits.number(1)
        count = min(bits.number(lengths[bits.number(_CHOICE_BITS)]) + 1, total - done)
        values = bits.values(1 if repeated else count, width)
        # Position p of the values is channel p % 4 of pixel p // 4; only alpha, channel 3, matters.
        first, last = done // CHANNELS, (done + count) // CHANNELS
        if repeated:
            alpha[first:last] = values[0] != 0
        else:
            pixels = np.arange(first, last)
            alpha[first:last] = values[pixels * CHANNELS + CHANNELS - 1 - done] != 0
        done += count
    return alpha.reshape(hw)

"""Which images are the same picture: exactly, or so nearly that one side of a split gives the other away.

Two steps decide "nearly": a 256-bit difference hash finds candidates (pictures that get brighter in the same places), then
the correlation of the pictures at 32x32 confirms them. The hash alone would call two plain backgrounds with different small
objects alike; the correlation alone would call any two chest X-rays related.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from maskwright.io.image import Image

HASH_SIDE = 16
THUMB_SIDE = 32
MOST_BITS_APART = 24
LEAST_CORRELATION = 0.985
ROWS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Look:
    """What is kept of a picture to compare it with thousands.

    Attributes:
        digest: of size, type and every pixel
        bits: (4,) uint64, the difference hash
        thumb: (32 * 32,) float16, mean 0 and length 1; all 0 for a plain picture
    """

    digest: bytes
    bits: NDArray[np.uint64]
    thumb: NDArray[np.float16]


def look_at(image: Image) -> Look:
    """Digest, difference hash and thumbnail of one picture."""
    digest = hashlib.blake2b(f"{image.pixels.shape}{image.pixels.dtype}".encode(), digest_size=16)
    digest.update(image.pixels.data)
    grey = PIL.Image.fromarray(image.to_uint8()).convert("L")
    small = np.asarray(grey.resize((HASH_SIDE + 1, HASH_SIDE), PIL.Image.Resampling.BOX), np.int16)
    bits = np.packbits(small[:, 1:] > small[:, :-1]).view(np.uint64)  # (4,)
    thumb = np.asarray(grey.resize((THUMB_SIDE, THUMB_SIDE), PIL.Image.Resampling.BOX), np.float32).ravel()
    thumb = thumb - thumb.mean()
    length = float(np.linalg.norm(thumb))
    return Look(digest.digest(), bits, (thumb / length if length > 1e-3 else np.zeros_like(thumb)).astype(np.float16))


def same_pictures(looks: Sequence[Look | None]) -> list[list[int]]:
    """Groups of positions whose pictures are equal in every pixel; groups of one are left out."""
    groups: dict[bytes, list[int]] = {}
    for k, look in enumerate(looks):
        if look is not None:
            groups.setdefault(look.digest, []).append(k)
    return [group for group in groups.values() if len(group) > 1]


def near_pictures(looks: Sequence[Look | None], sides: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of positions on different sides whose pictures are nearly, but not exactly, the same.

    sides: the split of each picture; where all are alike every pair is compared.
    """
    kept = [(k, look) for k, look in enumerate(looks) if look is not None]
    if not kept:
        return
    bits = np.stack([look.bits for _, look in kept])  # (N, 4)
    thumbs = np.stack([look.thumb for _, look in kept])  # (N, 1024)
    names, side = np.unique([sides[k] for k, _ in kept], return_inverse=True)
    for start in range(0, len(kept), ROWS_AT_ONCE):
        rows = np.arange(start, min(start + ROWS_AT_ONCE, len(kept)))
        apart = np.bitwise_count(bits[rows, None] ^ bits[None, start:]).sum(axis=2, dtype=np.int64)  # (R, N - start)
        candidate = (apart <= MOST_BITS_APART) & (rows[:, None] < np.arange(start, len(kept)))
        if len(names) > 1:
            candidate &= side[rows, None] != side[None, start:]
        first, second = np.nonzero(candidate)
        two = (thumbs[k].astype(np.float32) for k in (rows[first], second + start))
        alike = np.einsum("nd,nd->n", *two) >= LEAST_CORRELATION
        for i, j in zip(rows[first[alike]], second[alike] + start, strict=True):
            if kept[i][1].digest != kept[j][1].digest:
                yield kept[i][0], kept[j][0]

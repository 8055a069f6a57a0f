"""Objects of overlapping tiles to the objects of the whole image: those cut by a tile's edge are joined, none is there twice.

Tiles come row by row. Two objects of one class in two tiles are the same where their masks agree within the pixels that both
tiles saw: by intersection over union; or, since a cut object may be seen as several parts, where most of a cut one lies within
the other, or a connected part of one is a part of the other. What is the same is joined by a union-find over all tiles. An object
that no later row of tiles sees is given out, so that memory holds those of one row, and of each only the runs of its own box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from maskwright.inference.tiling import Tile
from maskwright.instances import Instances
from maskwright.later import ndimage
from maskwright.ops.rle import Rle

Box = tuple[int, int, int, int]  # xyxy in pixels of the whole image, half open

AGREE = 0.5  # of the masks of one object in two tiles, as in most matchings of objects
# Nets draw masks on grids of 28 x 28 and up: one that ends within a cell of the edge goes up to it, for all they can say.
CELLS = 28


@dataclass(frozen=True)
class Piece:
    """An object as one tile saw it.

    Attributes:
        corner_xy: pixel of the whole image at the box's first pixel
        mask: runs within the object's own box
        class_id, score: as found
        seen: what the tile saw
        cut: whether the object reaches an edge of the tile that is none of the image
    """

    corner_xy: tuple[int, int]
    mask: Rle
    class_id: int
    score: float
    seen: Box
    cut: bool = False

    @property
    def box(self) -> Box:
        (x, y), (h, w) = self.corner_xy, self.mask.hw
        return x, y, x + w, y + h

    def within(self, box: Box) -> NDArray[np.bool_]:
        """The mask within a box of the image, (h, w); the box may reach beyond the object."""
        x0, y0, x1, y1 = box
        out = np.zeros((y1 - y0, x1 - x0), bool)
        left, top, right, bottom = _common(self.box, box)
        if left < right and top < bottom:
            x, y = self.corner_xy
            crop = self.mask.crop((left - x, top - y, right - x, bottom - y))
            out[top - y0 : bottom - y0, left - x0 : right - x0] = crop
        return out


def pieces_of(found: Instances, tile: Tile, hw: tuple[int, int]) -> list[Piece]:
    """The objects of a tile in pixels of the whole image of size hw; empty masks are left out.

    Shapes:
        found: of the size of the tile
    """
    seen = (tile.cols.start, tile.rows.start, tile.cols.stop, tile.rows.stop)
    scores = np.ones(len(found), np.float32) if found.scores is None else found.scores
    pieces = []
    for mask, class_id, score in zip(found.masks, found.class_ids.tolist(), scores.tolist(), strict=True):
        x0, y0, *_ = box = mask.box_xyxy
        if mask.area_px:
            own = Rle.from_mask(mask.crop(box))
            piece = Piece((seen[0] + x0, seen[1] + y0), own, class_id, score, seen)
            pieces.append(replace(piece, cut=_is_cut(piece, hw)))
    return pieces


class Stitcher:
    """Pieces of one image in, row of tiles by row of tiles; whole objects out, in the order in which they are finished."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._owner: list[int] = []  # union-find: the index of another piece of the same object, of the first its own

    def add(self, pieces: Sequence[Piece]) -> None:
        """The pieces of one tile."""
        before = len(self._pieces)
        self._pieces += pieces
        self._owner += range(before, len(self._pieces))
        boxes = np.array([piece.box for piece in self._pieces], np.int64).reshape(-1, 4)
        for new in range(before, len(self._pieces)):
            meets = (boxes[:before, :2] < boxes[new, 2:]).all(axis=1) & (boxes[:before, 2:] > boxes[new, :2]).all(axis=1)
            for old in np.flatnonzero(meets).tolist():
                if is_same(self._pieces[old], self._pieces[new]):
                    self._owner[self._first(old)] = self._first(new)

    def finished(self, next_row: int | None) -> Iterator[Piece]:
        """The whole objects that no tile to come sees, whose uppermost pixel row is next_row; None: no tile comes."""
        groups: dict[int, list[Piece]] = {}
        for k, piece in enumerate(self._pieces):
            groups.setdefault(self._first(k), []).append(piece)
        self._pieces, self._owner = [], []
        for group in groups.values():
            if next_row is None or all(piece.box[3] <= next_row for piece in group):
                yield joined(group)
                continue
            first = len(self._pieces)
            self._pieces += group
            self._owner += [first] * len(group)

    def _first(self, k: int) -> int:
        while self._owner[k] != k:
            self._owner[k] = self._owner[self._owner[k]]
            k = self._owner[k]
        return k


def is_same(one: Piece, other: Piece) -> bool:
    """Whether two tiles saw the same object."""
    shared = _common(one.seen, other.seen)
    if one.class_id != other.class_id or one.seen == other.seen:
        return False
    # What both tiles saw is compared within the boxes: beyond them there is nothing of either.
    x0, y0, x1, y1 = _common(shared, _around(one.box, other.box))
    if x0 >= x1 or y0 >= y1:
        return False
    a, b = one.within((x0, y0, x1, y1)), other.within((x0, y0, x1, y1))
    both, area, other_area = int((a & b).sum()), int(a.sum()), int(b.sum())
    if both >= AGREE * (area + other_area - both):
        return both > 0
    part, least = (one, area) if area < other_area else (other, other_area)
    if part.cut and both > 0 and both >= AGREE * least:
        return True
    return one.cut and other.cut and both > 0 and _parts_agree(a, b)


def _parts_agree(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> bool:
    """Whether a connected part of a is one of b: what is one object beyond the common pixels may be several parts within them."""
    (numbers_a, _), (numbers_b, parts_b) = (ndimage.label(mask, np.ones((3, 3))) for mask in (a, b))
    areas_a, areas_b = np.bincount(numbers_a.ravel()), np.bincount(numbers_b.ravel())
    pairs, both = np.unique(numbers_a[a & b].astype(np.int64) * (parts_b + 1) + numbers_b[a & b], return_counts=True)
    either = areas_a[pairs // (parts_b + 1)] + areas_b[pairs % (parts_b + 1)] - both
    return bool((both >= AGREE * either).any())


def joined(group: Sequence[Piece]) -> Piece:
    """One object of its pieces, with the best score.

    A tile that saw the object whole has the best mask, if it is most of what all saw; else all masks together.
    """
    score = max(piece.score for piece in group)
    box = _around(*(piece.box for piece in group))
    mask = np.zeros((box[3] - box[1], box[2] - box[0]), bool)
    for piece in group:
        x, y = piece.corner_xy[0] - box[0], piece.corner_xy[1] - box[1]
        mask[y : y + piece.mask.hw[0], x : x + piece.mask.hw[1]] |= piece.mask.to_mask()
    whole = max((piece for piece in group if not piece.cut), key=lambda piece: piece.score, default=None)
    if whole is not None and whole.mask.area_px >= AGREE * mask.sum():
        return replace(whole, score=score)
    return replace(group[0], corner_xy=(box[0], box[1]), mask=Rle.from_mask(mask), score=score)


def _is_cut(piece: Piece, hw: tuple[int, int]) -> bool:
    (x0, y0, x1, y1), (left, top, right, bottom) = piece.box, piece.seen
    cell_x, cell_y = 1 + (x1 - x0) // CELLS, 1 + (y1 - y0) // CELLS
    across = (left > 0 and x0 - left < cell_x) or (right < hw[1] and right - x1 < cell_x)
    return across or (top > 0 and y0 - top < cell_y) or (bottom < hw[0] and bottom - y1 < cell_y)


def _common(one: Box, other: Box) -> Box:
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])


def _around(*boxes: Box) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)

"""The confusion matrix of a whole data set in exact integers, at native size, one image after the other.

Differs from the usual: the matrix has one column more than rows, (K, K+1). The last takes predictions that are void or no known
id: they count as wrong and are never dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.later import torch
from maskwright.metrics.semantic import SemanticScores

# A block of both label arrays and its pair codes stays in the L1/L2 cache; and torch, which starts threads above this many
# values, counts it on the calling thread: on a busy machine its thread team costs many times what it brings.
BLOCK_PX = 1 << 15
OUT_OF_RANGE = 1 << 16  # stands for every label that no class map can name


class Confusion:
    """Counts (truth, found) pairs of class ids over any number of images, whatever their sizes.

    Example:
        confusion = Confusion(classes)
        for truth, found in pairs: confusion.update(truth, found)
        print(confusion.compute().mean_iou)
    """

    def __init__(self, classes: ClassMap) -> None:
        self.classes = classes
        self.matrix = np.zeros((len(classes), len(classes) + 1), np.int64)
        self.ignored_px = 0

    def update(self, truth: NDArray[Any], found: NDArray[Any]) -> None:
        """Add one image, or a stack of them.

        Pixels whose truth is classes.ignore_id count nowhere. Nothing is added when an error is raised.

        Shapes:
            truth, found: any shape, the same for both; integer class ids of any dtype

        Raises:
            InputError: the shapes differ, an array is not of integers, or the truth holds an id that is not in the class map.
        """
        counts, ignored_px = count_pairs(truth, found, self.classes)
        self.matrix += counts
        self.ignored_px += ignored_px

    def merge(self, other: Confusion) -> None:
        """Add what another one counted, as if its images had been given to this one.

        Raises:
            InputError: the two count different classes.
        """
        if self.classes.ids != other.classes.ids:
            raise InputError(
                f"confusion matrices of classes {self.classes.ids} and {other.classes.ids} cannot be added; "
                f"give both the same class map."
            )
        self.matrix += other.matrix
        self.ignored_px += other.ignored_px

    def compute(self) -> SemanticScores:
        return SemanticScores.of(self.matrix, self.classes, self.ignored_px)


def count_pairs(truth: NDArray[Any], found: NDArray[Any], classes: ClassMap) -> tuple[NDArray[np.int64], int]:
    """Confusion matrix of one image and its number of ignored pixels.

    No pixel is looked up, masked or remapped: pairs of *stored* values are counted first, and the small table of counts is then
    folded into the classes. That is why ids that are not 0..K-1 and ignored pixels cost nothing.

    Shapes:
        truth, found: any shape, the same for both; integer class ids
        returns: (K, K+1) int64, rows are the truth

    Raises:
        InputError: see Confusion.update.
    """
    truth, found = np.asarray(truth), np.asarray(found)
    if truth.shape != found.shape:
        raise InputError(
            f"the prediction has the shape {found.shape} and the truth {truth.shape}; give predictions at the truth's own size."
        )
    truth_codes, row_of = _codes(truth, classes)
    found_codes, column_of = _codes(found, classes)
    pairs = _pair_counts(truth_codes, found_codes)  # (highest truth code + 1, highest found code + 1)
    known = len(classes)
    rows = np.zeros((known + 2, pairs.shape[1]), np.int64)
    np.add.at(rows, row_of[: len(pairs)], pairs)
    if rows[known + 1].any():
        raise InputError(_unknown_truth(truth, classes))
    matrix = np.zeros((known + 1, known), np.int64)  # transposed: (found, truth)
    np.add.at(matrix, np.minimum(column_of[: pairs.shape[1]], known), rows[:known].T)
    return matrix.T.copy(), int(rows[known].sum())


def _codes(labels: NDArray[Any], classes: ClassMap) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Labels as a flat array of small codes, and the table from code to row: 0..K-1, K ignored, K+1 unknown."""
    if labels.dtype.kind not in "iub":
        raise InputError(
            f"labels are {labels.dtype}; expected integer class ids (for logits or probabilities take the argmax first)."
        )
    flat = labels.reshape(-1)
    row_of = np.full(OUT_OF_RANGE + 1, len(classes) + 1, np.intp)
    row_of[[*classes.ids, classes.ignore_id]] = np.arange(len(classes) + 1)
    small = _as_uint8(flat)
    if small is None:
        return _rows(flat, row_of.astype(np.uint8 if len(classes) < 255 else np.int32)), np.arange(len(classes) + 2)
    if small.size and small.max() == 255:
        # One step round the byte takes 255, the usual mark of ignored pixels, next to the low ids: a table of 20 x 20 pairs stays
        # in the cache, one of 256 x 256 does not.
        return small + np.uint8(1), np.roll(row_of[:256], 1)
    return small, row_of[:256]


def _as_uint8(flat: NDArray[Any]) -> NDArray[np.uint8] | None:
    """The same values as uint8, or None if one does not fit."""
    if flat.dtype in (np.uint8, np.bool_):
        return flat.view(np.uint8)
    small = np.empty(flat.shape, np.uint8)
    for block in _blocks(flat.size):
        if flat[block].min() < 0 or flat[block].max() > 255:
            return None
        np.copyto(small[block], flat[block], casting="unsafe")
    return small


def _rows(flat: NDArray[Any], row_of: NDArray[Any]) -> NDArray[Any]:
    """Row of each id, flat."""
    rows = np.empty(flat.shape, row_of.dtype)
    for block in _blocks(flat.size):
        ids = np.minimum(flat[block].astype(np.int64), OUT_OF_RANGE)
        rows[block] = row_of[np.where(ids < 0, OUT_OF_RANGE, ids)]
    return rows


def _pair_counts(truth: NDArray[Any], found: NDArray[Any]) -> NDArray[np.int64]:
    """How often each pair of codes occurs: flat arrays of n codes >= 0 in, (highest truth + 1, highest found + 1) counts out.

    torch.bincount counts 16-bit numbers as they are, where numpy's first widens them to 64 bit: a quarter of the memory traffic.
    """
    if truth.size == 0:
        return np.zeros((1, 1), np.int64)
    shape = int(truth.max()) + 1, int(found.max()) + 1
    bins = shape[0] * shape[1]
    pair = np.empty(min(BLOCK_PX, truth.size), np.int16 if bins < 1 << 15 else np.int32)
    stride = pair.dtype.type(shape[1])
    counts = np.zeros(bins, np.int64)
    for block in _blocks(truth.size):
        codes = pair[: len(truth[block])]
        np.multiply(truth[block], stride, out=codes, dtype=codes.dtype, casting="unsafe")
        np.add(codes, found[block], out=codes, dtype=codes.dtype, casting="unsafe")
        counts += torch.bincount(torch.from_numpy(codes), minlength=bins).numpy()
    return counts.reshape(shape)


def _blocks(size: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK_PX) for start in range(0, size, BLOCK_PX))


def _unknown_truth(truth: NDArray[Any], classes: ClassMap) -> str:
    unknown = np.setdiff1d(truth, [*classes.ids, classes.ignore_id])
    return (
        f"the truth holds label ids {unknown[:10].tolist()} that are not in the class map (known: {classes.ids}, ignore: "
        f"{classes.ignore_id}). Add them to the class map, or set these pixels to {classes.ignore_id}."
    )

"""Objects of an image larger than memory, kept on the disk a line an object: pieces of each row of tiles, then the whole ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from maskwright.classes import ClassMap
from maskwright.inference.stitching import Piece
from maskwright.instances import Instances
from maskwright.io.write import write_text
from maskwright.ops.rle import Rle


def write_pieces(path: Path, pieces: Iterable[Piece]) -> None:
    """Write pieces, whole or not at all."""
    write_text(path, "".join(_line(piece) for piece in pieces))


def read_pieces(path: Path) -> Iterator[Piece]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield _piece(line)


class WholeObjects:
    """The objects of an image, numbered from 1 on in the order in which they come.

    Args:
        path: of the file that keeps them; what is there is replaced

    Attributes:
        class_ids: of object k + 1, as far as they have come
    """

    def __init__(self, path: Path, hw: tuple[int, int], classes: ClassMap, found: Iterable[Piece]) -> None:
        self._path, self._hw, self._classes = path, hw, classes
        self.class_ids: list[int] = []
        self._scores: list[float] = []
        self._starts: list[int] = []
        with path.open("wb") as file:
            for piece in found:
                self._starts.append(file.tell())
                self._scores.append(piece.score)
                self.class_ids.append(piece.class_id)
                file.write(_line(piece).encode("ascii"))

    def counts(self) -> dict[str, int]:
        """Objects of each class by name."""
        found = Counter(self.class_ids)
        of_objects = zip(self._classes.ids, self._classes.names, strict=True)
        return {name: found[i] for i, name in of_objects if i != self._classes.background}

    def upwards(self) -> Iterator[tuple[int, Piece]]:
        """(id, object) from the lowest score to the highest: painted so, the surest lies on top."""
        with self._path.open("rb") as file:
            for k in np.argsort(self._scores, kind="stable").tolist():
                file.seek(self._starts[k])
                yield k + 1, _piece(file.readline())

    def one_by_one(self) -> Iterator[Instances]:
        """Each object by itself, in pixels of the whole image, by ascending id."""
        for number, piece in enumerate(read_pieces(self._path), start=1):
            yield Instances(
                self._hw,
                self._classes,
                np.array([piece.class_id]),
                (Rle.from_crop(piece.mask.to_mask(), piece.corner_xy, self._hw),),
                scores=np.array([piece.score], np.float32),
                ids=np.array([number]),
            )


def _line(piece: Piece) -> str:
    row = {
        "corner_xy": piece.corner_xy,
        "hw": piece.mask.hw,
        "counts": piece.mask.to_text(),
        "class_id": piece.class_id,
        "score": piece.score,
        "seen": piece.seen,
        "cut": piece.cut,
    }
    return json.dumps(row, separators=(",", ":")) + "\n"


def _piece(line: str | bytes) -> Piece:
    row = json.loads(line)
    (x, y), (h, w), (x0, y0, x1, y1) = row["corner_xy"], row["hw"], row["seen"]
    mask = Rle.from_text(row["counts"], (h, w))
    return Piece((x, y), mask, row["class_id"], row["score"], (x0, y0, x1, y1), row["cut"])

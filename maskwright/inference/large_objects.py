"""Objects of images larger than memory: windows in, tiles through the net, parts joined, files out an object at a time.

    Measured.read(window) -> Preprocess -> net -> pieces of a row of tiles -> Stitcher -> labels, ids, COCO, GeoJSON

Memory holds the objects of a row of tiles; the map of their numbers is painted on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.coco_write import write_document
from maskwright.annotations.geojson_write import write_parts
from maskwright.annotations.saving import ENDINGS
from maskwright.annotations.vector_files import WGS84, place_for, stated_crs
from maskwright.inference.kept_objects import WholeObjects, read_pieces, write_pieces
from maskwright.inference.part import Raw
from maskwright.inference.predictor import Predictor
from maskwright.inference.stitching import Piece, Stitcher, pieces_of
from maskwright.inference.tiled_objects import view_of_objects
from maskwright.inference.windowed import Read, Windowed, within
from maskwright.instances import Instances
from maskwright.io.large_masks import Rows, write_large_ids, write_large_tiff, write_large_zarr
from maskwright.io.measured import Measured
from maskwright.io.windows import ZARR_SUFFIX
from maskwright.later import torch
from maskwright.ops.coverage import shapely_for
from maskwright.result import LABELS
from maskwright.transforms import Frame

IDS, COCO, GEOJSON = "ids", "coco", "geojson"
LARGE_FORMATS = (LABELS, IDS, COCO, GEOJSON)
MEASURED, VOID = 0, 1


class LargeObjects(Windowed[Instances]):
    """One image whose objects are wanted.

    Files, by format:
        labels   <name>.tif: the class of the object on top at each pixel
        ids      <name>_ids.tif: its number, 32 bits; both are zarr where the image is
        coco     <name>_coco.json: a COCO data set of this one image, scores included
        geojson  <name>.geojson: polygons with class, id and score, on the map with class_id and area_m2 as well
    """

    def __init__(
        self,
        predictor: Predictor,
        source: Measured,
        target: Path,
        formats: Sequence[str],
        vector_crs: str = "auto",
        *,
        overlay: bool = False,
    ) -> None:
        hw, place = source.image.hw, source.image.place
        # A wish that cannot be had is refused before any work.
        self.place = place_for(place, vector_crs, str(source.image.path), default=WGS84) if GEOJSON in formats else None
        self.stated = stated_crs(source.image.path, self.place) if self.place else ""
        if self.place and self.place.crs is not None:
            shapely_for("writing polygons")  # missing, it is said before the work
        self.formats = [name for name in LARGE_FORMATS if name in formats]
        view = view_of_objects(predictor.preprocess, hw, predictor.tile, predictor.overlap)
        super().__init__(predictor, source, target, view, np.dtype(np.uint8), overlay=overlay)
        self._row: list[Piece] = []

    def key(self) -> dict[str, Any]:
        return {**super().key(), "min_score": self.predictor.min_score}

    def look(self, x: NDArray[np.float32], frame: Frame) -> Instances:
        return self.predictor.objects(torch.from_numpy(x), frame)

    def take(self, read: Read, found: Instances | None) -> None:
        tile = read.tile
        if found is not None:
            self._row += pieces_of(found, tile, self.image.hw)
        if read.missing is not None:
            missing = read.missing[within(tile.done_rows, tile.rows), within(tile.done_cols, tile.cols)]
            self.part.write(tile.done_rows, tile.done_cols, np.where(missing, VOID, MEASURED))
        if tile.done_cols.stop == self.image.hw[1]:
            write_pieces(self._file_of(read.row), self._row)
            self._row = []

    def write(self) -> tuple[list[Path], dict[str, int]]:
        with self.part.explained():
            found = WholeObjects(self.part.folder / "objects.jsonl", self.image.hw, self.predictor.classes, self._stitched())
        written = []
        if LABELS in self.formats or IDS in self.formats or self.overlay:
            written += self._maps(found)
        if COCO in self.formats:
            written.append(self._named(ENDINGS[COCO]))
            write_document(written[-1], self.path.name, self.image.hw, self.predictor.classes, found.one_by_one())
        if GEOJSON in self.formats and self.place:
            written.append(self._named(ENDINGS[GEOJSON]))
            write_parts(written[-1], found.one_by_one(), self.place, self.stated)
        return written, found.counts()

    def _stitched(self) -> Iterator[Piece]:
        stitcher, rows = Stitcher(), self.tiling.rows
        for number in range(len(rows)):
            for _, pieces in groupby(read_pieces(self._file_of(number)), key=lambda piece: piece.seen):
                stitcher.add(list(pieces))
            yield from stitcher.finished(rows[number + 1][0].start if number + 1 < len(rows) else None)

    def _maps(self, found: WholeObjects) -> list[Path]:
        """Paint the numbers, and write them and the classes that follow from them."""
        file = self.part.folder / "ids.raw"
        file.write_bytes(b"")
        ids = Raw(file, self.image.hw, np.dtype(np.uint32))
        try:
            with self.part.explained():
                for number, piece in found.upwards():
                    ids.paint(piece.corner_xy, piece.mask.to_mask(), number)
            classes = self._classes(ids, found)
            written = [self._labels(classes)] if LABELS in self.formats else []
            if IDS in self.formats:
                written.append(self._named(f"_ids{self.suffix}"))
                write_large_ids(written[-1], ids.read, self.image.hw, self.image.place)
            written += self.draw(classes)
        finally:
            ids.close()
        return written

    def _classes(self, ids: Raw, found: WholeObjects) -> Rows:
        """What gives the class of the object on top at each pixel."""
        classes = self.predictor.classes
        nothing = classes.ignore_id if classes.background is None else classes.background
        class_of = np.array([nothing, *found.class_ids], classes.dtype)

        def rows_of(rows: slice) -> NDArray[Any]:
            labels: NDArray[Any] = class_of[ids.read(rows)]
            labels[self.part.read(rows) == VOID] = classes.ignore_id
            return labels

        return rows_of

    def _labels(self, rows: Rows) -> Path:
        file = self._named(self.suffix)
        if self.suffix == ZARR_SUFFIX:
            write_large_zarr(file, rows, self.image.hw, self.predictor.classes)
        else:
            write_large_tiff(file, rows, self.image.hw, self.predictor.classes, self.image.place)
        return file

    def _named(self, ending: str) -> Path:
        return self.stem.with_name(f"{self.stem.name}{ending}")

    def _file_of(self, row: int) -> Path:
        return self.part.folder / f"row{row}.jsonl"

"""What answers images larger than memory share: windows in, tiles through the net, three threads, kept where interrupted.

A thread reads the next tiles while the net works, another finishes and writes those before. Each finished row of tiles is kept,
so that an interrupted job goes on where it was, to the same bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskwright import __version__
from maskwright.inference.freed import Limit
from maskwright.inference.journal import stamp
from maskwright.inference.overview import overview
from maskwright.inference.part import Part
from maskwright.inference.predictor import Predictor
from maskwright.inference.tiling import Tile, View
from maskwright.io.image import Image, Statistics
from maskwright.io.large_masks import Rows
from maskwright.io.measured import Measured
from maskwright.io.whole_statistics import statistics, value_range
from maskwright.io.windows import ZARR_SUFFIX, is_zarr
from maskwright.io.write import write_png
from maskwright.transforms import Frame

WAITING = 2  # tiles that are read ahead, and tiles that wait to be finished

Progress = Callable[[int, int], None]
Found = TypeVar("Found")  # what the net finds in a tile


@dataclass(frozen=True)
class LargeReport:
    """How an image was answered.

    Attributes:
        source: the image
        files: what was written
        tiles: through the net; fewer where an interrupted job went on, or nothing was measured
        overlap_cost: pixels that went through the net more than once, as a share of the image
        remarks: what a person should know, a sentence each
        counts: objects of each class by name; None of a model that gives each pixel a class
    """

    source: Path
    files: tuple[Path, ...]
    tiles: int
    overlap_cost: float
    remarks: tuple[str, ...]
    counts: dict[str, int] | None = None

    @property
    def file(self) -> Path:
        """What was written; of several files the first."""
        return self.files[0]

    def lines(self) -> tuple[str, ...]:
        """For people: the price of overlapping, and the remarks."""
        return (f"{self.tiles} tiles, which overlap by {100 * self.overlap_cost:.0f} % of the image.", *self.remarks)


class Read(NamedTuple):
    row: int
    tile: Tile
    seen: tuple[NDArray[np.float32], Frame] | None  # None: nothing was measured there
    missing: NDArray[np.bool_] | None  # (h, w) of tile.rows and tile.cols


class Windowed(ABC, Generic[Found]):
    """One image on its way.

    Args:
        target: of the answer, without suffix
        dtype: of what part keeps of each pixel
        overlay: write <name>_overlay.png as well, see overview.py
    """

    def __init__(
        self,
        predictor: Predictor,
        source: Measured,
        target: Path,
        view: View,
        dtype: np.dtype[Any],
        *,
        overlay: bool = False,
    ) -> None:
        self.predictor, self.source, self.image, self.overlay = predictor, source, source.image, overlay
        self.path = self.image.path
        self.tiling, self.preprocess, self.remarks = view
        h, w = (min(self.tiling.tile_px, side) for side in self.image.hw)
        seen = self.preprocess.work_hw((h, w))
        predictor.prepare(len(self.tiling), tile_hw=seen)  # before the key, which names the runtime
        self.value_range = value_range(source) if predictor.preprocess.scaling == "range" else (0.0, 1.0)
        self.statistics: Statistics | None = None if predictor.preprocess.scaling == "range" else statistics(source)
        self.stem, self.suffix = target, ZARR_SUFFIX if is_zarr(self.path) else ".tif"
        self.part = Part(target, self.key(), self.image.hw, dtype)
        self.passes = 0
        self._broken = False

    @abstractmethod
    def look(self, x: NDArray[np.float32], frame: Frame) -> Found:
        """What the net finds in a tile."""

    @abstractmethod
    def take(self, read: Read, found: Found | None) -> None:
        """Keep what is finished with a tile; None: nothing was measured there."""

    @abstractmethod
    def write(self) -> tuple[list[Path], dict[str, int] | None]:
        """Make files of what was kept: these, and how many objects there are."""

    def last_remarks(self) -> tuple[str, ...]:
        """What is to be said when all is written."""
        return ()

    def run(self, progress: Progress | None, writing: Callable[[], None] | None = None) -> LargeReport:
        try:
            self._all_tiles(progress)
            if writing:
                writing()
            files, counts = self.write()
        except BaseException:
            self.part.close()
            raise
        self.part.remove()
        remarks = (*self.image.remarks, *self.remarks, *self.last_remarks())
        cost = self.tiling.seen_px / (self.image.hw[0] * self.image.hw[1]) - 1
        return LargeReport(self.path, tuple(files), self.passes, cost, remarks, counts)

    def draw(self, labels: Rows) -> list[Path]:
        """The picture for looking at, where it is wanted."""
        if not self.overlay:
            return []
        file = self.stem.with_name(f"{self.stem.name}_overlay.png")
        write_png(file, overview(self.source, labels, self.predictor.classes))
        return [file]

    def as_part(self, pixels: NDArray[Any]) -> Image:
        """Some pixels of the image, with what is known of the whole."""
        return Image(pixels, self.path, self.value_range, container="tiff", statistics=self.statistics)

    def key(self) -> dict[str, Any]:
        """All that the answer follows from."""
        return {
            "image": [str(self.path.resolve()), *stamp(self.path)],
            "weights": self.predictor.weights_hash,
            "asked": self.predictor.asked,
            "maskwright": __version__,
            "runtime": self.predictor.runtime,
            "preprocess": self.predictor.preprocess.to_dict(),
            "classes": self.predictor.classes.to_dict(),
            "tiles": asdict(self.tiling),
        }

    def _all_tiles(self, progress: Progress | None) -> None:
        """Read, compute, finish and write at the same time; the net in the calling thread."""
        first = self.part.rows_done
        todo = ((row, tile) for row in range(first, len(self.tiling.rows)) for tile in self.tiling.row(row))
        done, total = first * len(self.tiling.columns), len(self.tiling)
        limit = Limit()
        pending: deque[Future[None]] = deque()
        with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "finish") as finisher:
            try:
                for read in _ahead(reader, self._read, todo):
                    pending.append(finisher.submit(self._finish, read, self._found(read)))
                    while len(pending) > WAITING:
                        pending.popleft().result()
                    done += 1
                    limit.check()
                    if progress:
                        progress(done, total)
                while pending:
                    pending.popleft().result()
            finally:
                reader.shutdown(wait=True, cancel_futures=True)
                finisher.shutdown(wait=True, cancel_futures=True)

    def _read(self, row: int, tile: Tile) -> Read:
        pixels, missing = self.source.read(tile.rows, tile.cols)
        if missing is not None and missing.all():
            return Read(row, tile, None, missing)
        return Read(row, tile, self.preprocess.seen(self.as_part(pixels)), missing)

    def _found(self, read: Read) -> Found | None:
        if read.seen is None:
            return None
        self.passes += 1
        return self.look(*read.seen)

    def _finish(self, read: Read, found: Found | None) -> None:
        if self._broken:  # a tile before this one is missing: its row is none that is finished
            return
        try:
            self.take(read, found)
        except BaseException:
            self._broken = True
            raise
        if read.tile.done_cols.stop == self.image.hw[1]:
            self.part.commit(read.row + 1)


def within(part: slice, whole: slice) -> slice:
    """A part of a range of pixels, counted from where the range begins."""
    return slice(part.start - whole.start, part.stop - whole.start)


def _ahead(pool: ThreadPoolExecutor, read: Callable[[int, Tile], Read], todo: Iterator[tuple[int, Tile]]) -> Iterator[Read]:
    """Tiles in order, the next ones read meanwhile."""
    waiting: deque[Future[Read]] = deque()
    for row, tile in todo:
        waiting.append(pool.submit(read, row, tile))
        if len(waiting) > WAITING:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()

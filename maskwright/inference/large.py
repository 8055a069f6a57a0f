"""Images larger than memory: windows in, tiles through the net, labels out, all at the same time and a few tiles at once.

    Measured.read(window) -> Preprocess -> net -> Blend.add -> class of each finished pixel -> Part -> TIFF or zarr

A thread reads the next tiles while the net works, another blends and writes those before. Each finished row of tiles is kept, so
that an interrupted job goes on where it was, to the same bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maskwright.errors import InputError
from maskwright.inference.blend import Blend
from maskwright.inference.decode import BLOCK_VALUES, highest
from maskwright.inference.part import Part
from maskwright.inference.predictor import Predictor
from maskwright.inference.proof import disagreement
from maskwright.inference.tiling import Tile, Tiling
from maskwright.io.image import Image, Statistics
from maskwright.io.large_masks import write_large_tiff, write_large_zarr
from maskwright.io.measured import Measured
from maskwright.io.whole_statistics import statistics, value_range
from maskwright.io.windows import ZARR_SUFFIX, is_zarr, open_windows
from maskwright.transforms import Frame, Preprocess

# Up to here an image is read whole: in fp32 its three channels then take 400 MB.
LARGE_PX = 1 << 25
WAITING = 2  # tiles that are read ahead, and tiles that wait to be blended

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LargeReport:
    """How an image was answered.

    Attributes:
        file: what was written
        tiles: through the net; fewer where an interrupted job went on, or nothing was measured
        overlap_cost: pixels that went through the net more than once, as a share of the image
        remarks: what a person should know, a sentence each
    """

    file: Path
    tiles: int
    overlap_cost: float
    remarks: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """For people: the price of overlapping, and the remarks."""
        return (f"{self.tiles} tiles, which overlap by {100 * self.overlap_cost:.0f} % of the image.", *self.remarks)


class _Read(NamedTuple):
    row: int
    tile: Tile
    seen: tuple[Tensor, Frame] | None  # None: nothing was measured there
    missing: NDArray[np.bool_] | None  # (h, w) of tile.rows and tile.cols


def predict_large(predictor: Predictor, source: Path, target: Path, progress: Progress | None = None) -> LargeReport:
    """Write the class of each pixel of an image of any size.

    Args:
        target: the file to write, without suffix: .tif is added, or .zarr where the image is zarr
        progress: called with (finished, all) tiles

    Raises:
        InputError, FormatError: the image cannot be read, or is none for this model; the answer cannot be written. What is
            finished is kept then, and the same call goes on with it.
    """
    if predictor.finds_objects:
        raise InputError(
            f"{source}: is too large to be read whole, and {predictor.manifest.model} finds objects in whole images."
        )
    image = open_windows(source)
    try:
        return _Large(predictor, Measured(image), target).run(progress)
    finally:
        image.close()


class _Large:
    def __init__(self, predictor: Predictor, source: Measured, target: Path) -> None:
        self.predictor, self.source, self.image = predictor, source, source.image
        self.path = self.image.path
        self.preprocess, scale = _at_one_scale(predictor.preprocess, self.image.hw)
        self.tiling, self.remarks = _tiling(predictor, self.image.hw, scale)
        predictor.prepare(len(self.tiling))  # before the key, which names the runtime
        self.value_range = value_range(source) if predictor.preprocess.scaling == "range" else (0.0, 1.0)
        self.statistics: Statistics | None = None if predictor.preprocess.scaling == "range" else statistics(source)
        self.target = target.with_name(target.name + (ZARR_SUFFIX if is_zarr(self.path) else ".tif"))
        self.part = Part(target, self._key(), self.image.hw, np.dtype(predictor.classes.dtype))
        self.blend = Blend(self.tiling, self.part.folder)
        self.passes = 0

    def run(self, progress: Progress | None) -> LargeReport:
        try:
            self._all_tiles(progress)
            self._write()
        except BaseException:
            self.part.close()
            raise
        self.part.remove()
        if self.predictor.exact:
            self.remarks += (disagreement(self.predictor.logits, self._centre, self.tiling),)
        pixels = self.image.hw[0] * self.image.hw[1]
        return LargeReport(self.target, self.passes, self.tiling.seen_px / pixels - 1, (*self.image.remarks, *self.remarks))

    def _all_tiles(self, progress: Progress | None) -> None:
        """Read, compute, blend and write at the same time; the net in the calling thread."""
        first = self.part.rows_done
        todo = ((row, tile) for row in range(first, len(self.tiling.rows)) for tile in self.tiling.row(row))
        done, total = first * len(self.tiling.columns), len(self.tiling)
        pending: deque[Future[None]] = deque()
        with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "blend") as blender:
            try:
                for read in _ahead(reader, self._read, todo):
                    pending.append(blender.submit(self._finish, read, self._logits(read)))
                    while len(pending) > WAITING:
                        pending.popleft().result()
                    done += 1
                    if progress:
                        progress(done, total)
                while pending:
                    pending.popleft().result()
            finally:
                reader.shutdown(wait=True, cancel_futures=True)
                blender.shutdown(wait=True, cancel_futures=True)

    def _read(self, row: int, tile: Tile) -> _Read:
        pixels, missing = self.source.read(tile.rows, tile.cols)
        if missing is not None and missing.all():
            return _Read(row, tile, None, missing)
        return _Read(row, tile, self.preprocess(self._as_part(pixels)), missing)

    def _as_part(self, pixels: NDArray[Any]) -> Image:
        return Image(pixels, self.path, self.value_range, container="tiff", statistics=self.statistics)

    def _centre(self, side: int) -> Tensor:
        """What the net sees of a square in the middle of the image."""
        (top, left), (height, width) = (
            ((n - min(n, side)) // 64 * 32 for n in self.image.hw),
            (min(n, side) for n in self.image.hw),
        )
        pixels, _ = self.source.read(slice(top, top + height), slice(left, left + width))
        return self.preprocess(self._as_part(pixels))[0]

    def _logits(self, read: _Read) -> NDArray[np.float32] | None:
        """(K, h, w) of all that the tile sees."""
        if read.seen is None:
            return None
        x, frame = read.seen
        self.passes += 1
        found: NDArray[np.float32] = frame.restore(self.predictor.logits(x))[0].cpu().numpy()
        return found if found.flags.writeable else found.copy()

    def _finish(self, read: _Read, logits: NDArray[np.float32] | None) -> None:
        """Blend a tile in, and write the classes of what is finished with it."""
        tile, classes = read.tile, self.predictor.classes
        with self.part.explained():
            found = self.blend.add(read.row, tile, logits, len(classes))
        chosen = _chosen(found, self.path)
        labels = classes.to_ids(chosen)
        if read.missing is not None:
            rows, cols = _within(tile.done_rows, tile.rows), _within(tile.done_cols, tile.cols)
            labels = np.where(read.missing[rows, cols], labels.dtype.type(classes.ignore_id), labels)
        self.part.write(tile.done_rows, tile.done_cols, labels)
        if tile.done_cols.stop == self.image.hw[1]:
            self.part.commit(read.row + 1)

    def _write(self) -> None:
        if is_zarr(self.path):
            write_large_zarr(self.target, self.part.read, self.image.hw, self.predictor.classes)
        else:
            write_large_tiff(self.target, self.part.read, self.image.hw, self.predictor.classes, self.image.place)

    def _key(self) -> dict[str, Any]:
        """All that the labels follow from."""
        stat = self.path.stat()
        return {
            "image": [str(self.path.resolve()), stat.st_size, stat.st_mtime_ns],
            "weights": self.predictor.weights_hash,
            "runtime": self.predictor.runtime,
            "preprocess": self.predictor.preprocess.to_dict(),
            "classes": self.predictor.classes.to_dict(),
            "tiles": asdict(self.tiling),
        }


def _tiling(predictor: Predictor, hw: tuple[int, int], scale: float) -> tuple[Tiling, tuple[str, ...]]:
    """The tiles for an image, and what is to be said of them."""
    blended = Tiling.blended(hw, predictor.tile, predictor.overlap, scale=scale)
    if not predictor.exact:
        return blended, ()
    if scale != 1:
        return blended, (f"the model sees the image at {scale:.3g} of its size: tiles cannot be exact and are blended.",)
    border = predictor.border_px
    if border is None:
        text = f"{predictor.manifest.model} looks at the whole image at once: tiles cannot be exact and are blended."
        return blended, (text,)
    return Tiling.owned(hw, predictor.tile, border), ()


def _at_one_scale(preprocess: Preprocess, hw: tuple[int, int]) -> tuple[Preprocess, float]:
    """The same preprocessing for parts of an image of size hw: at the scale of the whole."""
    scale = preprocess.work_hw(hw)[0] / hw[0]
    return replace(preprocess, max_side_px=None, min_side_px=None, zoom=scale), scale


def _chosen(logits: NDArray[np.float32], path: Path) -> NDArray[np.uint16]:
    """(rows, cols) the channel of the highest logit, a block of rows at a time."""
    out = np.empty(logits.shape[1:], np.uint16)
    step = max(1, BLOCK_VALUES // (logits.shape[0] * logits.shape[2]))
    for top in range(0, len(out), step):
        best, out[top : top + step] = highest(logits[:, top : top + step])
        if not np.isfinite(best).all():
            raise InputError(
                f"{path}: the model's answer holds numbers that are not finite; look for extreme values in the image."
            )
    return out


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)


def _ahead(pool: ThreadPoolExecutor, read: Callable[[int, Tile], _Read], todo: Iterator[tuple[int, Tile]]) -> Iterator[_Read]:
    """Tiles in order, the next ones read meanwhile."""
    waiting: deque[Future[_Read]] = deque()
    for row, tile in todo:
        waiting.append(pool.submit(read, row, tile))
        if len(waiting) > WAITING:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()

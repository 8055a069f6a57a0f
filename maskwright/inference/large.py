"""Images larger than memory: windows in, tiles through the net, labels out, all at the same time and a few tiles at once.

    Measured.read(window) -> Preprocess -> net -> Blend.add -> class of each finished pixel -> Part -> TIFF or zarr

Models that find objects take the same way with Stitcher in the place of Blend (large_objects.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.inference.blend import Blend
from maskwright.inference.decode import BLOCK_VALUES, highest
from maskwright.inference.freed import reusing_memory
from maskwright.inference.large_objects import LargeObjects
from maskwright.inference.predictor import Predictor
from maskwright.inference.proof import disagreement
from maskwright.inference.tiling import Tiling, View
from maskwright.inference.windowed import LargeReport, Progress, Read, Windowed, within
from maskwright.io.large_masks import write_large_tiff, write_large_zarr
from maskwright.io.measured import Measured
from maskwright.io.windows import ZARR_SUFFIX, open_windows
from maskwright.result import LABELS
from maskwright.transforms import Frame

if TYPE_CHECKING:
    from torch import Tensor

# Up to here an image is read whole: in fp32 its three channels then take 400 MB.
LARGE_PX = 1 << 25


@reusing_memory()
def predict_large(
    predictor: Predictor,
    source: Path,
    target: Path,
    progress: Progress | None = None,
    *,
    formats: Sequence[str] = (LABELS,),
    vector_crs: str = "auto",
    overlay: bool = False,
    writing: Callable[[], None] | None = None,
) -> LargeReport:
    """Write the class of each pixel of an image of any size, or its objects.

    Args:
        target: the file to write, without suffix: .tif is added, or .zarr where the image is zarr
        progress: called with (finished, all) tiles
        formats: of objects, see LargeObjects
        vector_crs: of polygons, see Segmentation.save
        overlay: write <name>_overlay.png as well, at a size for looking at (overview.py)
        writing: called before the files are written, when all tiles are finished

    Raises:
        InputError, FormatError: the image cannot be read, or is none for this model; the answer cannot be written. What is
            finished is kept then, and the same call goes on with it.
    """
    image = open_windows(source)
    try:
        if predictor.finds_objects:
            return LargeObjects(predictor, Measured(image), target, formats, vector_crs, overlay=overlay).run(progress, writing)
        return _LargeLabels(predictor, Measured(image), target, overlay=overlay).run(progress, writing)
    finally:
        image.close()


class _LargeLabels(Windowed[NDArray[np.float32]]):
    def __init__(self, predictor: Predictor, source: Measured, target: Path, *, overlay: bool) -> None:
        view = _view(predictor, source.image.hw)
        super().__init__(predictor, source, target, view, np.dtype(predictor.classes.dtype), overlay=overlay)
        self.blend = Blend(self.tiling, self.part.folder)

    def look(self, x: NDArray[np.float32], frame: Frame) -> NDArray[np.float32]:
        """(K, h, w) logits of all that the tile sees."""
        found = self.predictor.logits_of(x, frame)
        return found if found.flags.writeable else found.copy()

    def take(self, read: Read, found: NDArray[np.float32] | None) -> None:
        """Blend a tile in, and write the classes of what is finished with it."""
        tile, classes = read.tile, self.predictor.classes
        with self.part.explained():
            logits = self.blend.add(read.row, tile, found, len(classes))
        labels = classes.to_ids(_chosen(logits, self.path))
        if read.missing is not None:
            rows, cols = within(tile.done_rows, tile.rows), within(tile.done_cols, tile.cols)
            labels = np.where(read.missing[rows, cols], labels.dtype.type(classes.ignore_id), labels)
        self.part.write(tile.done_rows, tile.done_cols, labels)

    def write(self) -> tuple[list[Path], None]:
        file = self.stem.with_name(self.stem.name + self.suffix)
        if self.suffix == ZARR_SUFFIX:
            write_large_zarr(file, self.part.read, self.image.hw, self.predictor.classes)
        else:
            write_large_tiff(file, self.part.read, self.image.hw, self.predictor.classes, self.image.place)
        return [file, *self.draw(self.part.read)], None

    def last_remarks(self) -> tuple[str, ...]:
        if not self.predictor.exact or self.preprocess.zoom != 1:  # scaled down or up, tiles were said to be blended
            return ()
        return (disagreement(self.predictor.logits, self._centre, self.tiling),)

    def _centre(self, side: int) -> Tensor:
        """What the net sees of a square in the middle of the image."""
        (top, left), (height, width) = (
            ((n - min(n, side)) // 64 * 32 for n in self.image.hw),
            (min(n, side) for n in self.image.hw),
        )
        pixels, _ = self.source.read(slice(top, top + height), slice(left, left + width))
        return self.preprocess(self.as_part(pixels))[0]


def _view(predictor: Predictor, hw: tuple[int, int]) -> View:
    """Tiles at the scale at which the whole image would be seen."""
    scale = predictor.preprocess.work_hw(hw)[0] / hw[0]
    preprocess = replace(predictor.preprocess, max_side_px=None, min_side_px=None, zoom=scale)
    blended = Tiling.blended(hw, predictor.tile, predictor.overlap, scale=scale)
    if not predictor.exact:
        return View(blended, preprocess)
    if scale != 1:
        said = f"the model sees the image at {scale:.3g} of its size: tiles cannot be exact and are blended."
        return View(blended, preprocess, (said,))
    border = predictor.border_px
    if border is None:
        text = f"{predictor.manifest.model} looks at the whole image at once: tiles cannot be exact and are blended."
        return View(blended, preprocess, (text,))
    return View(Tiling.owned(hw, predictor.tile, border), preprocess)


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

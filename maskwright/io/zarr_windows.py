"""zarr by windows: arrays (Y, X), (Y, X, C) or (C, Y, X) of version 2 and 3, and the full size of an OME-Zarr image.

Axes that have names may come in any order. Sources: the OME-NGFF specification 0.4 and 0.5, "multiscales": the first data set is
the largest; zarr 3, "dimension_names"; xarray's attribute _ARRAY_DIMENSIONS of zarr 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import FormatError, MissingExtraError
from maskwright.io.georeference import Georeference
from maskwright.io.image import stored
from maskwright.io.pieces import Pieces
from maskwright.io.tiff import MOST_BANDS_OF_UNNAMED_AXIS

# Smaller chunks are read anew for each window: decoding the few that it shares with others costs less than going through all.
KEPT_PX = 1 << 18
LETTERS = {
    **dict.fromkeys(("y", "lat", "latitude"), "y"),
    **dict.fromkeys(("x", "lon", "longitude"), "x"),
    **dict.fromkeys(("c", "channel", "channels", "band", "bands"), "c"),
}
STACKED = ("t", "time", "date", "z", "depth", "level", "slice", "height", "altitude", "plane")  # pictures over each other
BROKEN = (OSError, ValueError, KeyError, TypeError, RuntimeError, IndexError)


class ZarrWindows:
    """See Windows.

    Raises:
        FormatError: the folder holds no array, or one of another shape.
        MissingExtraError: the package zarr is needed.
    """

    top: int | None = None
    place: Georeference | None = None
    remarks: tuple[str, ...] = ()
    nodata: float | None = None
    covers = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._array, names = _opened(path)
        self._order = _order(path, self._array.shape, names)
        sizes = dict(zip(self._order, self._array.shape, strict=True))
        self.hw = int(sizes["y"]), int(sizes["x"])
        self.channels = int(sizes.get("c", 1))
        filled = self._array.fill_value
        self.voids = isinstance(filled, (float, np.floating)) and bool(np.isnan(filled))
        chunks = dict(zip(self._order, self._array.chunks, strict=True))
        self._chunk_hw, self._pieces = (int(chunks["y"]), int(chunks["x"])), Pieces()
        found = self._read(slice(0, 1), slice(0, 1)).dtype
        self.dtype = self._array.dtype if self._array.dtype == np.int8 else found

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        """(h, w, C) stored values."""
        tall, wide = self._chunk_hw
        if tall * wide < KEPT_PX:
            return self._read(rows, cols)
        row_bytes = (rows.stop - rows.start + 2 * tall) * self.hw[1] * self._array.dtype.itemsize * self.channels
        lines = []
        for y in range(rows.start // tall * tall, rows.stop, tall):
            line = []
            for x in range(cols.start // wide * wide, cols.stop, wide):
                there = slice(y, min(y + tall, self.hw[0])), slice(x, min(x + wide, self.hw[1]))
                chunk = self._pieces.get((y, x), partial(self._read, *there), at_least=row_bytes if wide >= self.hw[1] else 0)
                assert chunk is not None
                line.append(chunk[max(rows.start - y, 0) : rows.stop - y, max(cols.start - x, 0) : cols.stop - x])
            lines.append(np.concatenate(line, axis=1))
        return np.concatenate(lines)

    def _read(self, rows: slice, cols: slice) -> NDArray[Any]:
        at: dict[str, slice | int] = {"y": rows, "x": cols, "c": slice(None), "1": 0}
        try:
            part = np.asarray(self._array[tuple(at[letter] for letter in self._order)])
        except BROKEN as error:
            raise _damaged(self.path, error) from error
        order = self._order.replace("1", "")
        return stored(part.transpose([order.index(letter) for letter in "yxc" if letter in order]), str(self.path))

    def covered(self, rows: slice, cols: slice) -> NDArray[np.bool_]:
        """Everywhere."""
        return np.ones((rows.stop - rows.start, cols.stop - cols.start), bool)

    def close(self) -> None:
        """Nothing is open between reads."""


def _opened(path: Path) -> tuple[Any, list[str]]:
    """The array, and its axes where the folder names them."""
    try:
        import zarr
    except ImportError:
        raise MissingExtraError("zarr", "zarr", f"{path}: reading zarr") from None
    try:
        found: Any = zarr.open(str(path), mode="r")
        if not isinstance(found, zarr.Array):
            return _image_in(found, path)
        stated: Any = getattr(found.metadata, "dimension_names", None) or found.attrs.get("_ARRAY_DIMENSIONS")
        return found, _named(stated or ())
    except FormatError:
        raise
    except BROKEN as error:
        raise _damaged(path, error) from error


def _image_in(found: Any, path: Path) -> tuple[Any, list[str]]:
    """The full size of an OME-Zarr image, and its axes."""
    stated = found.attrs.get("multiscales") or found.attrs.get("ome", {}).get("multiscales")
    if not stated:
        raise FormatError(f"{path}: the zarr folder holds no array and no OME-Zarr image; give the path of one array in it.")
    axes = [axis["name"] if isinstance(axis, dict) else axis for axis in stated[0].get("axes", [])]
    return found[stated[0]["datasets"][0]["path"]], _named(axes)


def _named(axes: Iterable[str | None]) -> list[str]:
    """Names of axes in small letters; none where none of them is of a picture."""
    names = [str(name).lower() for name in axes]
    return names if any(LETTERS.get(name) in ("y", "x") for name in names) else []


def _damaged(path: Path, error: BaseException) -> FormatError:
    return FormatError(f"{path}: the zarr folder is incomplete or damaged ({error}). Copy or download it again.")


def _order(path: Path, shape: tuple[int, ...], names: Sequence[str]) -> str:
    """A letter for each axis: y, x, c, and 1 for others, which have length 1."""
    is_named = len(names) == len(shape)
    if is_named:
        order = "".join(LETTERS.get(name, "1") for name in names)
        others = [k for k, n in enumerate(shape) if n > 1 and order[k] == "1" and names[k] not in STACKED]
        if len(others) == 1 and "c" not in order:  # rgb, wavelength and what else bands are called
            order = f"{order[: others[0]]}c{order[others[0] + 1 :]}"
    elif len(shape) == 2:
        order = "yx"
    elif len(shape) == 3:
        order = "yxc" if shape[2] <= MOST_BANDS_OF_UNNAMED_AXIS < shape[0] else "cyx"
    else:
        order = "1" * (len(shape) - 3) + "cyx"
    stack = any(n > 1 for n, letter in zip(shape, order, strict=True) if letter == "1")
    if stack or "".join(sorted(order.replace("1", ""))) not in ("xy", "cxy") or 0 in shape:
        axes = f" (axes {', '.join(names)})" if is_named else ""
        raise FormatError(f"{path}: the zarr array has the shape {shape}{axes}; expected (Y, X), (Y, X, C) or (C, Y, X).")
    return order

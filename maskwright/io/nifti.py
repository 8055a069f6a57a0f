"""NIfTI volumes, read slice by slice, and masks written in exactly the geometry of their source.

Slices are shown as nifti_axes.py says; what the file holds is read by nifti_file.py.
"""

from __future__ import annotations

import gzip
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import MissingExtraError
from maskwright.io.decoded import Decoded, bomb, pixel_limit
from maskwright.io.nifti_axes import chosen_axis, view_of
from maskwright.io.nifti_file import map_values, narrowed, open_header, scaling, with_channels
from maskwright.io.scratch import mapped
from maskwright.io.volume import Volume
from maskwright.io.write import atomic

NIFTI_SUFFIXES = (".nii.gz", ".nii")
LABEL_INTENT = 1002  # NIFTI_INTENT_LABEL
MARK = "maskwright: class ids"  # in the header's description, so that masks are read by id
_MM = {"meter": 1000.0, "micron": 0.001}


def is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def stem_of(path: Path) -> str:
    """The name without .nii.gz or .nii."""
    name = path.name
    return name[: -len(next(s for s in NIFTI_SUFFIXES if name.lower().endswith(s)))] if is_nifti(path) else path.stem


class NiftiVolume(Volume):
    """One NIfTI file; a fourth axis holds channels.

    Args:
        axis: which slices are cut: auto (along the axis of the largest spacing, the last of equals), axial, coronal, sagittal,
            or the number of a stored axis

    Raises:
        MissingExtraError: nibabel is not installed.
        InputError, FormatError: the file is not there, no NIfTI, cut short, or holds what is no picture.
    """

    container = "nifti"

    def __init__(self, path: Path, axis: str = "auto") -> None:
        self.path, self.name = path, stem_of(path)
        self._image = open_header(path)
        header = self._image.header
        self._shape = (*self._image.shape[:3], 1, 1)[:3]
        self.holds_ids = bytes(header["descrip"].item()).decode("latin-1").startswith(MARK)
        self._slope, self._intercept = scaling(self._image)
        unit = _MM.get(header.get_xyzt_units()[0], 1.0)
        zooms = ([float(z) or 1.0 for z in header.get_zooms()[:3]] + [1.0, 1.0])[:3]
        self._order, self._flips = view_of(self._image, chosen_axis(path, self._image, axis, zooms, self._shape))
        along, rows, columns = self._order
        self.spacing_mm = zooms[along] * unit, zooms[rows] * unit, zooms[columns] * unit
        self.hw = self._shape[rows], self._shape[columns]
        low, high = float(header["cal_min"]), float(header["cal_max"])
        self._window = (low, high) if high > low else None
        limit = pixel_limit()
        if limit is not None and self.hw[0] * self.hw[1] > limit:
            raise bomb(path, f"slices of {self.hw[1]}x{self.hw[0]} pixels")

    def __len__(self) -> int:
        return int(self._shape[self._order[0]])

    @cached_property
    def _slices(self) -> NDArray[Any]:
        """The stored values as shown, (D, H, W, C): a view, mapped from the disk when the first slice is asked for."""
        return self._shown(with_channels(self.path, map_values(self.path, self._image)))

    def same_geometry(self, other: NiftiVolume) -> bool:
        """Whether a slice of one lies on the same slice of the other."""
        return self._shape == other._shape and bool(np.allclose(self._image.affine, other._image.affine, atol=1e-3))

    def _shown(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view (D, H, W, C) of an array (X, Y, Z, C) as it is stored."""
        rows, columns = (slice(None, None, -1 if flip else 1) for flip in self._flips)
        return array.transpose(*self._order, 3)[:, rows, columns]

    def decoded(self, k: int) -> Decoded:
        self.check_index(k)
        pixels = np.ascontiguousarray(self._slices[k])
        value_range = self._range_of(pixels.dtype)
        if (self._slope, self._intercept) != (1.0, 0.0):
            scaled = pixels * np.float64(self._slope) + self._intercept
            whole = pixels.dtype.kind in "iu" and self._slope.is_integer() and self._intercept.is_integer()
            pixels = narrowed(self.path, np.rint(scaled).astype(np.int64)) if whole else scaled.astype(np.float32)
        elif pixels.dtype.kind in "iu" and pixels.dtype.itemsize == 8:
            pixels = narrowed(self.path, pixels)
        return Decoded(pixels, container="nifti", value_range=value_range, holds_ids=self.holds_ids, window=self._window)

    def _range_of(self, kind: np.dtype[Any]) -> tuple[float, float] | None:
        """The values that the stored type can hold, scaled as they are; None where only the values of the volume tell."""
        if kind.kind not in "iu" or not (self._slope.is_integer() and self._intercept.is_integer()):
            return None
        # Nobody needs the limits of 64 bits: what fits into 32 is all that is read of them.
        limits = np.iinfo(np.int32 if kind.itemsize == 8 else kind)
        low, high = sorted(float(limit) * self._slope + self._intercept for limit in (limits.min, limits.max))
        return low, high

    def save_labels(self, path: Path, labels: NDArray[Any], classes: ClassMap) -> None:
        header = self._image.header.copy()
        header.extensions.clear()
        header.set_data_dtype(classes.dtype)
        header.set_data_shape(self._image.shape[:3])
        header.set_slope_inter(None, None)
        header["cal_min"] = header["cal_max"] = 0
        header["intent_code"], header["intent_name"], header["descrip"] = LABEL_INTENT, b"", MARK
        header["aux_file"] = b""
        with tempfile.TemporaryFile() as scratch:
            stored = mapped(scratch, classes.dtype, (*self._shape, 1), order="F")
            shown = self._shown(stored)
            for k in range(len(self)):
                shown[k, :, :, 0] = labels[k]
            data = stored.reshape(self._image.shape[:3], order="F")
            # Without an affine nibabel leaves both of the header's own (qform, sform) and their codes as they are.
            save_image(path, type(self._image)(data, None, header))

    def save_nifti(self, path: Path, labels: NDArray[Any], classes: ClassMap) -> None:
        self.save_labels(path, labels, classes)


def save_new(
    path: Path, stored: NDArray[Any], affine: NDArray[np.float64] | None, spacing_mm: tuple[float, float, float] | None = None
) -> None:
    """Write class ids that come from another container.

    Args:
        spacing_mm: along Z, Y and X, where there is no affine; the file then has no place and no orientation

    Shapes:
        stored: (X, Y, Z)
        affine: (4, 4) from indices to millimetres to the right, the front and the head

    Raises:
        MissingExtraError: nibabel is not installed.
        InputError: the file cannot be written.
    """
    try:
        import nibabel
    except ImportError:
        raise MissingExtraError("nibabel", "medical", f"{path}: a NIfTI file") from None
    image = nibabel.Nifti1Image(stored, affine)
    if affine is None and spacing_mm is not None:
        image.header.set_zooms(spacing_mm[::-1])
    image.header.set_xyzt_units("mm")
    image.header["intent_code"], image.header["descrip"] = LABEL_INTENT, MARK
    save_image(path, image)


def save_image(path: Path, image: Any) -> None:
    """Write a nibabel image whole or not at all, packed where the name ends in .gz."""
    with atomic(path) as temporary:
        if path.suffix.lower() != ".gz":
            image.to_filename(temporary)
            return
        # No time and no name in the packed file: equal masks are equal files.
        with temporary.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            image.to_stream(packed)

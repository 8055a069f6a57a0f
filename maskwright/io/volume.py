"""Volumes: slices of one acquisition, read one by one, so that memory does not grow with their number.

A slice has a path of its own, as if the volume were a folder: scan.nii.gz/slice-012. Everything that takes the path of a picture
takes it too. Slices are counted from 0 and shown as a DICOM viewer shows them (see nifti.py).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.io.decoded import Decoded
from maskwright.io.image import BY_PIXELS, Image, Statistics, stored

SLICE = re.compile(r"slice-(\d+)")
# Values that the percentiles of a volume are taken from.
SAMPLED = 4_000_000


class Volume(ABC):
    """Slices of one size, with their place in the patient.

    Attributes:
        path: the file, or the folder of a series
        name: stem of the files that answer it
        hw: height and width of a slice
        spacing_mm: from slice to slice, from row to row, from column to column; None where the file does not say
        container: "nifti" or "dicom", what an answer is written as
        remarks: what is to be said about it, a sentence each (gaps, inverted values)
    """

    path: Path
    name: str
    hw: tuple[int, int]
    spacing_mm: tuple[float, float, float] | None
    container: str
    remarks: tuple[str, ...] = ()

    @property
    def sources(self) -> Sequence[Path]:
        """The files that it is read from."""
        return [self.path]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def decoded(self, k: int) -> Decoded:
        """The values of slice k, (H, W) or (H, W, C), as shown.

        Raises:
            InputError, FormatError: there is no such slice, or it cannot be read.
        """

    @abstractmethod
    def save_labels(self, path: Path, labels: NDArray[Any], classes: ClassMap) -> None:
        """Write class ids (D, H, W), as shown, in this volume's own container and geometry.

        Raises:
            InputError: the container cannot hold them, or the file cannot be written.
        """

    @abstractmethod
    def save_nifti(self, path: Path, labels: NDArray[Any], classes: ClassMap) -> None:
        """Write class ids (D, H, W), as shown, as a NIfTI file in this volume's geometry; see save_labels."""

    def check_labels(self, classes: ClassMap) -> None:  # noqa: B027
        """Refuse before the work what save_labels would refuse after it; most containers hold every answer."""

    def check_nifti(self) -> None:  # noqa: B027
        """Refuse before the work what save_nifti would refuse after it."""

    @property
    def nifti_remarks(self) -> tuple[str, ...]:
        """What is to be said where save_nifti cannot keep all, a sentence each."""
        return ()

    @property
    def file(self) -> Path:
        """The file, or the first of a series."""
        return self.path

    @property
    def label(self) -> str:
        """What it is called in reports: its path, and its name where others have the same path."""
        return str(self.path)

    @property
    def voxel_ml(self) -> float | None:
        """Volume of one voxel in millilitres; None where the file does not say."""
        return float(np.prod(self.spacing_mm)) / 1000 if self.spacing_mm is not None else None

    def check_index(self, k: int) -> None:
        if not 0 <= k < len(self):
            raise InputError(f"{self.path}: has no slice {k}; there are {len(self)}, counted from 0.")

    def slice_path(self, k: int) -> Path:
        """What slice k is called wherever the path of a picture is."""
        return self.path / f"slice-{k:03d}"

    def image(self, k: int, *, measured: bool = True) -> Image:
        """Slice k as a picture that knows the statistics of the whole volume, unless they are not wanted (measured)."""
        found, path = self.decoded(k), self.slice_path(k)
        spacing = (self.spacing_mm[1], self.spacing_mm[2]) if self.spacing_mm is not None else found.spacing_mm
        value_range = found.value_range or (self._float_range if found.pixels.dtype.kind == "f" else BY_PIXELS)
        return Image(
            stored(found.pixels, str(path)), path, value_range, spacing, window=found.window,
            statistics=self.statistics if measured else None, remarks=found.remarks,
        )  # fmt: skip

    def images(self, *, measured: bool = True) -> Iterator[Image]:
        """All slices, each read when it is asked for; see image."""
        return (self.image(k, measured=measured) for k in range(len(self)))

    @property
    def statistics(self) -> Statistics:
        """Of all finite values; the percentiles from a regular sample of large volumes."""
        return self._measured[0]

    @property
    def _float_range(self) -> tuple[float, float]:
        low, high = self._measured[1]
        return (0.0, 1.0) if low >= 0.0 and high <= 1.0 else (low, high)

    @cached_property
    def _measured(self) -> tuple[Statistics, tuple[float, float]]:
        """Statistics, lowest and highest value, in one pass over the slices."""
        count, total, squares, low, high = 0, 0.0, 0.0, np.inf, -np.inf
        sample, step = [], max(1, int(np.sqrt(len(self) * self.hw[0] * self.hw[1] / SAMPLED)))
        for k in range(len(self)):
            pixels = self.decoded(k).pixels
            values = pixels.astype(np.float64)
            values = values[np.isfinite(values)]
            if values.size:
                count, total, squares = count + values.size, total + float(values.sum()), squares + float((values**2).sum())
                low, high = min(low, float(values.min())), max(high, float(values.max()))
            sample.append(pixels[::step, ::step].ravel().astype(np.float32))
        drawn = np.concatenate(sample)
        drawn = drawn[np.isfinite(drawn)]
        if not count or not drawn.size:
            raise InputError(f"{self.path}: no value of the volume is finite; there is nothing to segment.")
        first, last = np.percentile(drawn, (0.5, 99.5))
        mean = total / count
        std = float(np.sqrt(max(squares / count - mean**2, 0.0)))
        return Statistics(float(first), float(last), mean, std), (low, high)


def slice_of(path: Path) -> tuple[Path, int] | None:
    """The volume and the number of a slice's path; None for any other path."""
    found = SLICE.fullmatch(path.name)
    return (path.parent, int(found.group(1))) if found and not path.exists() else None

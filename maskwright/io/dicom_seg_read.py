"""DICOM-SEG read back: which segment each pixel of a series belongs to, frame by frame.

A frame lies on the slice that it names as its source, else on the slice at its position in the same frame of reference: files by
other programs (dcmqi, 3D Slicer, highdicom) do one or both. Frames that are not in the file are empty. BINARY, FRACTIONAL (from
half of the highest value on) and LABELMAP segmentations are read.
Source: DICOM PS3.3, C.8.20 (Segmentation Image).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import FormatError, InputError
from maskwright.io.dicom import BROKEN, SEGMENTATIONS, read_header
from maskwright.io.dicom_places import orientation_of, position_of, same_plane
from maskwright.io.dicom_series import DicomVolume
from maskwright.io.dicom_values import group

if TYPE_CHECKING:
    from pydicom import Dataset

SAME_PLACE_MM = 0.01


@dataclass(frozen=True, eq=False)
class StoredSegments:
    """A segmentation file as it is.

    Attributes:
        path: the file
        header: everything but the pixels
        names: segment number -> label
        series: Series Instance UIDs of the images it refers to
    """

    path: Path
    header: Dataset
    names: Mapping[int, str]
    series: tuple[str, ...]

    def on(self, volume: DicomVolume, ids: Mapping[int, int], background: int, ignored: int) -> NDArray[np.uint16]:
        """Class ids on every slice of a volume.

        Args:
            ids: segment number -> class id
            background: the id where no segment is
            ignored: the id of slices that a label map leaves out and pads with a value of no segment: nobody has looked there

        Shapes:
            returns: (D, H, W)

        Raises:
            FormatError: the pixels are damaged, or segments overlap: a label map cannot hold that.
            InputError: a frame lies on no slice, or sizes or directions differ.
        """
        self._check_fits(volume)
        places, frames = _places(volume), self._frames()
        padded = self._is_label_map and self.header.get("PixelPaddingValue", 0) not in (0, *self.names)
        labels = np.full((len(volume), *volume.hw), ignored if padded else background, np.uint16)
        for k, frame in enumerate(frames):
            if not frame.any() and not padded:
                continue
            layer = labels[self._slice_of(k, places)]
            if padded:
                layer[:] = background
            for number in self._numbers(k, frame):
                here = frame == number if self._is_label_map else frame.astype(bool)
                other = here & (layer != background) & (layer != ids[number])
                if other.any():
                    raise FormatError(
                        f"{self.path}: segment {self.names[number]!r} overlaps another in {other.sum()} pixels of frame {k}; "
                        f"labels hold one class a pixel. Export the segments into files of their own."
                    )
                layer[here] = ids[number]
        return labels

    @property
    def _is_label_map(self) -> bool:
        return bool(self.header.get("SegmentationType") == "LABELMAP")

    def _numbers(self, k: int, frame: NDArray[Any]) -> list[int]:
        """Segments that a frame holds."""
        if self._is_label_map:
            return [int(n) for n in np.unique(frame) if int(n) in self.names]
        place = group(self.header, "SegmentIdentificationSequence", k)
        return [int(place.ReferencedSegmentNumber) if place is not None else 1]

    def _frames(self) -> NDArray[Any]:
        """(F, H, W); of fractions 1 where at least half of the highest."""
        try:
            pixels = read_header(self.path, pixels=True).pixel_array
        except BROKEN as error:
            raise FormatError(f"{self.path}: its masks are cut short or damaged ({error}). Copy or export it again.") from error
        pixels = pixels.reshape(-1, *pixels.shape[-2:])
        if self.header.get("SegmentationType") == "FRACTIONAL":
            pixels = pixels >= (int(self.header.get("MaximumFractionalValue", 255)) + 1) // 2
        return np.asarray(pixels)

    def _check_fits(self, volume: DicomVolume) -> None:
        hw = int(self.header.Rows), int(self.header.Columns)
        one, other = orientation_of(self.header), orientation_of(volume.headers[0])
        if hw != volume.hw:
            raise InputError(
                f"{self.path}: masks are {hw[1]}x{hw[0]}, the slices of {volume.path} {volume.hw[1]}x{volume.hw[0]}."
            )
        if one and other and not same_plane(one, other):
            raise InputError(f"{self.path}: masks lie in another plane than the slices of {volume.path}. Resample them.")

    def _slice_of(self, k: int, places: dict[str, int]) -> int:
        """The slice of frame k, by its source or by its position."""
        derivation = group(self.header, "DerivationImageSequence", k)
        for source in (derivation.get("SourceImageSequence") or []) if derivation is not None else []:
            named = int(source.get("ReferencedFrameNumber") or 1) - 1
            found = places.get(_key(source.ReferencedSOPInstanceUID, named))
            if found is not None:
                return found
        found = places.get(_at(position_of(self.header, k)))
        if found is None:
            raise InputError(
                f"{self.path}: frame {k} lies on no slice: neither the image it names nor its position is among those "
                f"given. Give the series it was drawn on."
            )
        return found


def read_segments(path: Path) -> StoredSegments:
    """Open a segmentation; its masks are decoded when they are asked for.

    Raises:
        MissingExtraError: pydicom is not installed.
        FormatError: not a segmentation.
    """
    header = read_header(path)
    if header.get("SOPClassUID") not in SEGMENTATIONS or not header.get("SegmentSequence"):
        raise FormatError(f"{path}: is no DICOM-SEG; expected masks.")
    label_map = header.get("SegmentationType") == "LABELMAP"
    names = {int(s.SegmentNumber): str(s.get("SegmentLabel") or s.SegmentNumber) for s in header.SegmentSequence}
    # A label map describes its background as segment 0.
    kept = {number: name for number, name in names.items() if number or not label_map}
    series = tuple(str(s.SeriesInstanceUID) for s in header.get("ReferencedSeriesSequence") or [])
    return StoredSegments(path, header, kept, series)


def _places(volume: DicomVolume) -> dict[str, int]:
    """Slices by what a frame may say of them."""
    found: dict[str, int] = {}
    positions = volume.positions() or []
    for k in range(len(volume)):
        if k < len(positions):
            found[_at(positions[k])] = k
        header = volume.headers[0] if volume.frames > 1 else volume.headers[k]
        found[_key(header.SOPInstanceUID, k if volume.frames > 1 else 0)] = k
    return found


def _key(uid: object, frame: int) -> str:
    return f"{uid} {frame}"


def _at(position: NDArray[np.float64] | None) -> str:
    return "" if position is None else " ".join(f"{round(v / SAME_PLACE_MM):d}" for v in position)

"""DICOM series: the files of a folder as volumes, sorted as they lie in the patient.

Files are told apart by their Series Instance UID and sorted by Image Position (Patient) along the normal of their plane; names
and instance numbers are no order. Frames of one file (ultrasound, enhanced CT and MR) are slices in the order of the file.
Source: DICOM PS3.3, C.7.6.2 (Image Plane). Affine: the same in NIfTI's directions, see https://nipy.org/nibabel/dicom.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError
from maskwright.io.decoded import Decoded
from maskwright.io.dicom import SEGMENTATIONS, check_picture, damage_said, decode_dicom, frames_of, read_header
from maskwright.io.dicom_places import UNEVEN, orientation_of, position_of, same_plane, usual_step
from maskwright.io.dicom_values import group, range_of, spacing_mm
from maskwright.io.nifti import save_new
from maskwright.io.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class DicomVolume(Volume):
    """The slices of one series, or the frames of one file.

    Attributes:
        headers: of the slices' files, in their order; of a file with frames that one
        files: likewise
        affine: (4, 4) from (column, row, slice) to millimetres, right, front and head positive; of frames in the order in
            which they lie; None where no position is stated, slices are not evenly apart, or frames make up no volume

    Raises:
        InputError: sizes or planes differ, or two slices lie at one place.
    """

    container = "dicom"

    def __init__(self, path: Path, files: Sequence[Path], headers: Sequence[Dataset], name: str) -> None:
        self.path, self.name = path, name
        self.files, self.headers = list(files), list(headers)
        self.frames = frames_of(headers[0]) if len(headers) == 1 else 1
        _check_alike(path, files, headers)
        self.hw = int(headers[0].Rows), int(headers[0].Columns)
        self.affine: NDArray[np.float64] | None = None
        self.remarks = ()
        self._order = np.arange(len(self))  # of the slices, from one end to the other
        self._is_even = self._is_volume = True
        step = self._sort()
        plane, thickness = spacing_mm(self.headers[0]), step or self._stated_thickness()
        self.spacing_mm = (thickness, *plane) if self._is_volume and plane is not None and thickness is not None else None

    @property
    def sources(self) -> list[Path]:
        return self.files

    def __len__(self) -> int:
        return max(len(self.files), self.frames)

    def decoded(self, k: int) -> Decoded:
        self.check_index(k)
        found = decode_dicom(self.files[0], k, header=self.headers[0]) if self.frames > 1 else decode_dicom(self.files[k])
        return replace(found, value_range=self._range)

    @cached_property
    def _range(self) -> tuple[float, float] | None:
        """The range of all slices together: each may have a slope of its own (PET), and equal values are to look equal."""
        ranges = []
        for k, (header, frame) in enumerate(self._slices()):
            with damage_said(self.files[min(k, len(self.files) - 1)]):
                ranges.append(range_of(header, frame))
        known = [ends for ends in ranges if ends is not None]
        return (min(e[0] for e in known), max(e[1] for e in known)) if len(known) == len(ranges) else None

    @property
    def file(self) -> Path:
        return self.files[0]

    @property
    def label(self) -> str:
        is_one_of_several = self.path.is_dir() and self.name != self.path.resolve().name
        return f"{self.path} ({self.name})" if is_one_of_several else str(self.path)

    def slice_path(self, k: int) -> Path:
        return super().slice_path(k) if self.frames > 1 else self.files[k]

    def positions(self) -> list[NDArray[np.float64]] | None:
        """Where the first pixel's centre of each slice lies, in millimetres to the left, the back and the head."""
        found = [position_of(h, k) for h, k in self._slices()]
        return None if any(p is None for p in found) else [p for p in found if p is not None]

    def _slices(self) -> Iterable[tuple[Dataset, int]]:
        return [(self.headers[0], k) for k in range(self.frames)] if self.frames > 1 else [(h, 0) for h in self.headers]

    def _sort(self) -> float | None:
        """Bring files into the order in which they lie, and find that of frames; returns the usual way from one to the next."""
        directions, positions = orientation_of(self.headers[0]), self.positions()
        if directions is None or positions is None:
            return None
        turned = [k for header, k in self._slices() if not same_plane(directions, orientation_of(header, k))]
        if turned:
            self._say_loose(f"frames 0 and {turned[0]} lie in different planes")
            return None
        along = np.array([float(np.cross(*directions) @ p) for p in positions])
        order = np.argsort(along, kind="stable")
        if self.frames == 1:
            self.files, self.headers = [self.files[k] for k in order], [self.headers[k] for k in order]
            return self._check_steps(np.diff(along[order]))
        self._order = order if along[-1] >= along[0] else order[::-1]  # the frames of one file may run either way
        return self._check_steps(np.abs(np.diff(along[self._order])))

    def _check_steps(self, steps: NDArray[np.float64]) -> float | None:
        """Name doubles and gaps; a volume without them has an affine. Returns the usual step."""
        usual = usual_step(steps) if len(steps) else 0.0
        double = np.flatnonzero(steps <= UNEVEN * max(usual, 1e-6))
        if len(double) and self.frames > 1:
            self._say_loose(f"{self._pair(int(double[0]))} lie at one place in the patient ({len(double)} such pairs)")
            return None
        if len(double):
            one, other = self.files[int(double[0])], self.files[int(double[0]) + 1]
            raise InputError(
                f"{one} and {other.name}: lie at one place in the patient ({len(double)} such pairs in the series). Several "
                f"points in time or echoes in one series cannot be one volume; put each into a folder of its own."
            )
        gaps = np.flatnonzero(np.abs(steps - usual) > UNEVEN * usual)
        if len(gaps):
            self._is_even, k = False, int(gaps[0])
            between = f"between {self._pair(k)} ({len(gaps)} such places)"
            self.remarks += (f"slices are {usual:g} mm apart, but {steps[k]:.4g} mm {between}.",)
        else:
            self.affine = self._affine()
        return usual or None

    def _pair(self, k: int) -> str:
        """What the slice in place k and the next one are called."""
        if self.frames == 1:
            return f"{self.files[k].name} and {self.files[k + 1].name}"
        return f"frames {self._order[k]} and {self._order[k + 1]}"

    def _say_loose(self, why: str) -> None:
        self._is_volume = False
        self.remarks += (f"{why}: they make up no volume, so no millilitres are given.",)

    def say_missing(self, files: Sequence[Path]) -> None:
        """These files of the series could not be put between its slices, which may be why there are gaps."""
        said = f"{files[0].name} states no position in the patient ({len(files)} such files in the series); it is answered alone."
        self.remarks = (said, *self.remarks)

    def _affine(self) -> NDArray[np.float64] | None:
        directions, plane = orientation_of(self.headers[0]), spacing_mm(self.headers[0])
        positions = self.positions()
        if directions is None or plane is None or positions is None:
            return None
        matrix = np.eye(4)
        matrix[:3, 0], matrix[:3, 1] = directions[0] * plane[1], directions[1] * plane[0]
        first, last = positions[self._order[0]], positions[self._order[-1]]
        steps = len(self) - 1
        matrix[:3, 2] = (last - first) / steps if steps else np.cross(*directions) * (self._stated_thickness() or 1.0)
        matrix[:3, 3] = first
        return RAS_OF_LPS @ matrix

    def _stated_thickness(self) -> float | None:
        """From slice to slice as the file says, where it cannot be measured."""
        measures = group(self.headers[0], "PixelMeasuresSequence", 0)
        for place in (measures, self.headers[0]):
            for key in ("SpacingBetweenSlices", "SliceThickness") if place is not None else ():
                stated = place.get(key) if place is not None else None
                if stated and float(stated) > 0:
                    return float(stated)
        return None

    def save_labels(self, path: Path, labels: NDArray[Any], classes: ClassMap) -> None:
        from maskwright.io.dicom_seg import write_segmentation

        write_segmentation(path, self.headers, labels, classes)

    def check_labels(self, classes: ClassMap) -> None:
        from maskwright.io.dicom_seg import check_sources

        check_sources(self.path, self.headers, classes)

    def check_nifti(self) -> None:
        if not self._is_even:
            raise InputError(
                f"{self.path}: cannot be answered as NIfTI, which knows even steps only: {self.remarks[-1]} Add what is missing, "
                f"or leave --format out."
            )

    @property
    def nifti_remarks(self) -> tuple[str, ...]:
        if self.affine is not None:
            return ()
        return ("the NIfTI answer has no place in the patient, as the source states none for a volume; slices are in its order.",)

    def save_nifti(self, path: Path, labels: NDArray[Any], classes: ClassMap) -> None:
        self.check_nifti()
        stored = labels.astype(classes.dtype, copy=False)
        if self.affine is None:
            plane = spacing_mm(self.headers[0]) or (1.0, 1.0)
            save_new(path, stored.transpose(2, 1, 0), None, self.spacing_mm or (max(plane), *plane))
            return
        if (np.diff(self._order) != 1).any():  # else no copy, which may be larger than memory
            stored = stored[self._order]
        save_new(path, stored.transpose(2, 1, 0), self.affine)


def _check_alike(path: Path, files: Sequence[Path], headers: Sequence[Dataset]) -> None:
    first = headers[0]
    for file, header in zip(files, headers, strict=True):
        if (header.Rows, header.Columns) != (first.Rows, first.Columns):
            raise InputError(
                f"{path}: the series has slices of {first.Columns}x{first.Rows} ({files[0].name}) and of "
                f"{header.Columns}x{header.Rows} pixels ({file.name}); put each size into a folder of its own."
            )
        one = orientation_of(first)
        if one is not None and not same_plane(one, orientation_of(header)):
            raise InputError(
                f"{path}: the series has mixed orientations ({files[0].name} and {file.name} lie in different planes); put each "
                f"plane into a folder of its own, and leave localizers out."
            )


def series_in(folder: Path, files: Iterable[Path]) -> tuple[list[DicomVolume], list[tuple[Path, str]]]:
    """The volumes that DICOM files make up, and the files or series that make none, each with the reason in one sentence.

    Files that state no position (X-rays) and files with frames are volumes of their own. Segmentations lying among the images
    are left aside without a word. A file copied twice counts once.

    Raises:
        MissingExtraError: pydicom is not installed.
    """
    by_series: dict[str, dict[str, tuple[Path, Dataset]]] = {}
    failed: list[tuple[Path, str]] = []
    unplaced: dict[str, list[Path]] = {}
    for file in files:
        try:
            header = read_header(file)
            with damage_said(file):
                if header.get("SOPClassUID") in SEGMENTATIONS:
                    continue
                check_picture(file, header)
                several, placed = frames_of(header) > 1, position_of(header) is not None
        except FormatError as error:
            failed.append((file, str(error)))
            continue
        series = str(header.get("SeriesInstanceUID", file))
        if not (several or placed):
            unplaced.setdefault(series, []).append(file)
        key = series if placed and not several else str(header.get("SOPInstanceUID", file))
        by_series.setdefault(key, {}).setdefault(str(header.get("SOPInstanceUID", file)), (file, header))
    return _volumes(folder, by_series, unplaced, failed), failed


def _volumes(
    folder: Path,
    by_series: dict[str, dict[str, tuple[Path, Dataset]]],
    unplaced: dict[str, list[Path]],
    failed: list[tuple[Path, str]],
) -> list[DicomVolume]:
    volumes = []
    for number, (series, found) in enumerate(by_series.items(), start=1):
        paths, headers = [p for p, _ in found.values()], [h for _, h in found.values()]
        alone = len(paths) == 1
        # A series number may stand twice and its description may name the patient: neither is used for names.
        name = paths[0].stem if alone else folder.resolve().name + (f"-{number}" if len(by_series) > 1 else "")
        if alone and not paths[0].suffix.lower().startswith((".d", ".i")):
            name = paths[0].name
        try:
            with damage_said(paths[0] if alone else folder):
                volumes.append(DicomVolume(paths[0] if alone else folder, paths, headers, name))
                if series in unplaced:
                    volumes[-1].say_missing(unplaced[series])
        except InputError as error:
            failed.append((paths[0] if alone else folder, str(error)))
    return volumes

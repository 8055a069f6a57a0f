"""DICOM series and the segmentations that refer to them, as labelled volumes.

A segmentation names its series by UID, so no file name and no folder has to say what belongs together. Series of one patient are
one group; the patient's name and number are compared, but never shown or written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.image_files import split_of
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError
from maskwright.io.dicom import SEGMENTATIONS, is_dicom, read_header
from maskwright.io.dicom_seg_read import StoredSegments, read_segments
from maskwright.io.dicom_series import DicomVolume
from maskwright.io.volumes import volumes_among

BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Case:
    """A series with its labels (D, H, W), which lie in a file on the disk."""

    name: str
    volume: DicomVolume
    labels: NDArray[Any]
    split: str
    group: str

    def slices(self) -> Iterator[tuple[Path, NDArray[Any]]]:
        """Path and labels of each slice; by such a path a slice knows the statistics of its series."""
        for k in range(len(self.volume)):
            yield self.volume.path / f"slice-{k:03d}", self.labels[k]


@dataclass(frozen=True, eq=False)
class LabelledSeries:
    """The cases, the segmentations whose series is not here, and the classes."""

    cases: tuple[Case, ...]
    strays: tuple[Path, ...]
    classes: ClassMap


def series_pairs(root: Path, classes: ClassMap | None) -> LabelledSeries | None:
    """The labelled series below root; None where there is no segmentation.

    Args:
        classes: whose names the segments must have, small and capital letters alike; default: background and the segments' own

    Raises:
        InputError, FormatError: no segmentation's series is here, a folder mixes series, a segment is in no class, or segments
            overlap.
    """
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and is_dicom(path)]
    segmentations = [read_segments(path) for path in files if _is_segmentation(path)]
    if not segmentations:
        return None
    taken = {one.path for one in segmentations}
    found, _ = volumes_among([path for path in files if path not in taken])
    volumes = {str(v.headers[0].SeriesInstanceUID): v for v in found if isinstance(v, DicomVolume)}
    matched = [(one, volumes[uid]) for one in segmentations for uid in one.series if uid in volumes]
    if not matched:
        raise InputError(
            f"{segmentations[0].path}: none of the {len(segmentations)} segmentations refers to a series below {root}. Add the "
            f"images they were drawn on."
        )
    class_map = classes or _classes_of([one for one, _ in matched])
    group_of = _groups([volume for _, volume in matched])
    cases = tuple(_case(root, one, volume, class_map, group_of) for one, volume in matched)
    with_series = {one.path for one, _ in matched}
    return LabelledSeries(cases, tuple(p for p in sorted(taken) if p not in with_series), class_map)


def _is_segmentation(path: Path) -> bool:
    try:
        return read_header(path).get("SOPClassUID") in SEGMENTATIONS
    except FormatError:
        return False  # the doctor and the reading of the series say what is wrong with it


def _classes_of(segmentations: Sequence[StoredSegments]) -> ClassMap:
    names = dict.fromkeys(name for one in segmentations for name in one.names.values() if name.lower() != BACKGROUND)
    return ClassMap(tuple(range(len(names) + 1)), (BACKGROUND, *names), source="segments of the DICOM-SEG files")


def ids_of(one: StoredSegments, classes: ClassMap) -> dict[int, int]:
    """Segment number -> class id, by name.

    Raises:
        InputError: a segment has the name of no class.
    """
    known = {name.lower(): i for i, name in zip(classes.ids, classes.names, strict=True)}
    missing = [name for name in one.names.values() if name.lower() not in known]
    if missing:
        raise InputError(f"{one.path}: segments {missing} are no classes (there are {', '.join(classes.names)}); see --classes.")
    return {number: known[name.lower()] for number, name in one.names.items()}


def labels_on(one: StoredSegments, volume: DicomVolume, classes: ClassMap) -> NDArray[Any]:
    """Class ids (D, H, W) of a segmentation on its series, in a file on the disk that vanishes with them."""
    background = classes.background if classes.background is not None else classes.ignore_id
    found = one.on(volume, ids_of(one, classes), background, classes.ignore_id)
    with tempfile.TemporaryFile() as scratch:
        labels = np.memmap(scratch, classes.dtype, "w+", shape=found.shape)
        labels[:] = found
        return labels


def _case(root: Path, one: StoredSegments, volume: DicomVolume, classes: ClassMap, group_of: dict[int, str]) -> Case:
    if volume.path.is_dir() and volume.name != volume.path.resolve().name:
        raise InputError(f"{volume.path}: holds several DICOM series; put each into a folder of its own.")
    name = _name(root, volume)
    return Case(name, volume, labels_on(one, volume, classes), split_of(volume.file, root), group_of[id(volume)])


def _name(root: Path, volume: DicomVolume) -> str:
    return volume.path.relative_to(root).with_suffix("").as_posix() if volume.path != root else volume.name


def _groups(volumes: Sequence[DicomVolume]) -> dict[int, str]:
    """Volume -> the name of its patient's first volume."""
    first: dict[str, str] = {}
    found = {}
    for volume in sorted(volumes, key=lambda v: v.path):
        patient = str(volume.headers[0].get("PatientID") or "") or str(volume.headers[0].get("StudyInstanceUID", volume.path))
        found[id(volume)] = first.setdefault(patient, volume.path.with_suffix("").name)
    return found

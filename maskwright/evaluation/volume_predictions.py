"""Anybody's masks of volumes, slice by slice: scan.nii.gz or scan.dcm answers the volume scan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from maskwright.data.dataset import Dataset, Pair
from maskwright.data.series_pairs import labels_on
from maskwright.data.volume_pairs import check_same_place
from maskwright.errors import InputError
from maskwright.io.dicom import is_dicom
from maskwright.io.dicom_seg_read import read_segments
from maskwright.io.dicom_series import DicomVolume
from maskwright.io.nifti import NiftiVolume, is_nifti, stem_of
from maskwright.io.volume import Volume, slice_of
from maskwright.io.volumes import kept_open

Answers = dict[str, Path | NDArray[Any]]


def volume_answers(folder: Path, dataset: Dataset, pairs: Sequence[Pair]) -> tuple[Answers, tuple[Path, ...]] | None:
    """Pair name -> the slice that answers it, and the volumes of the folder that answer nothing; None where pairs are no slices.

    Raises:
        InputError: two files answer one volume, or an answer lies elsewhere than its volume.
        FormatError: a file cannot be read.
    """
    volumes: dict[Path, list[tuple[int, Pair]]] = {}
    for pair in pairs:
        part = slice_of(pair.image) if isinstance(pair.image, Path) else None
        if part is None:
            return None
        volumes.setdefault(part[0], []).append((part[1], pair))
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and (is_nifti(path) or is_dicom(path))]
    answers: Answers = {}
    used: set[Path] = set()
    for path, slices in volumes.items():
        volume = kept_open(path)
        file = _file_for(volume, path, files)
        if file is not None:
            used.add(file)
            layers = _slices(file, volume, dataset)
            answers |= {pair.name: layers[k] for k, pair in slices}
    return answers, tuple(f for f in files if f not in used)


def _file_for(volume: Volume, path: Path, files: Sequence[Path]) -> Path | None:
    """The file named as the volume; of several in other folders the one that shares most of them.

    Raises:
        InputError: two fit equally well.
    """
    wanted = {volume.name.lower(), stem_of(path).lower(), path.name.lower()}
    found = [file for file in files if stem_of(file).lower() in wanted]
    ranked = sorted((len(set(file.parent.parts) & set(path.parts)), str(file)) for file in found)
    if len(ranked) > 1 and ranked[-1][0] == ranked[-2][0]:
        raise InputError(f"{ranked[-2][1]} and {ranked[-1][1]} both fit the volume {volume.name}; remove or rename one.")
    return Path(ranked[-1][1]) if ranked else None


def _slices(file: Path, volume: Volume, dataset: Dataset) -> Sequence[Path] | NDArray[Any]:
    """What answers each slice of a volume."""
    if is_nifti(file):
        answer = NiftiVolume(file)
        if isinstance(volume, DicomVolume):
            _check_count(answer, volume)
        else:
            check_same_place(volume, volume.file, answer)
        return [answer.slice_path(k) for k in range(len(answer))]
    if not isinstance(volume, DicomVolume):
        raise InputError(f"{file}: DICOM-SEG answers DICOM series, {volume.path} is none; write predictions as NIfTI.")
    return labels_on(read_segments(file), volume, dataset.classes)


def _check_count(answer: NiftiVolume, volume: DicomVolume) -> None:
    if (len(answer), answer.hw) != (len(volume), volume.hw):
        raise InputError(
            f"{answer.path}: {len(answer)} slices of {answer.hw}, the series {volume.path} has {len(volume)} of {volume.hw}; "
            f"write predictions in the geometry of the series."
        )

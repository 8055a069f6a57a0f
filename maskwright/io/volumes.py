"""Which volumes there are: of a path, of a folder; and the slices of one by their paths."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError, MissingExtraError
from maskwright.io.decoded import Decoded
from maskwright.io.dicom import is_dicom
from maskwright.io.dicom_series import series_in
from maskwright.io.nifti import NiftiVolume, is_nifti
from maskwright.io.volume import Volume
from maskwright.io.volume_channels import ChannelVolume, channel_files, channel_of

# Volumes that stay open for random access; each holds a file handle, and of a .nii.gz its unpacked copy on the disk.
KEPT_OPEN = 64

Failed = list[tuple[Path, str]]


def is_volume_file(path: Path) -> bool:
    """Whether predict takes a file as a volume: NIfTI and DICOM, also of a single slice."""
    return is_nifti(path) or is_dicom(path)


def open_volume(path: Path, axis: str = "auto") -> Volume:
    """A NIfTI file (with the files of its other channels), a DICOM file, or a folder with one DICOM series.

    Raises:
        MissingExtraError: nibabel or pydicom is not installed.
        InputError, FormatError: there is no volume, or several series.
    """
    if is_nifti(path):
        return _open_nifti(path, axis)
    found, failed = series_in(path, sorted(f for f in path.iterdir() if is_dicom(f)) if path.is_dir() else [path])
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{path}: holds {len(found)} DICOM series; expected one. Put each into a folder of its own.")
    raise FormatError(failed[0][1] if failed else f"{path}: no DICOM files here; expected a series.")


def _open_nifti(path: Path, axis: str) -> Volume:
    parts = [NiftiVolume(p, axis) for p in channel_files(path)]
    return ChannelVolume(parts) if len(parts) > 1 else parts[0]


def volumes_among(files: Iterable[Path], axis: str = "auto") -> tuple[list[Volume], Failed]:
    """The volumes that files make up, and what makes none with the reason.

    DICOM files of one folder and one series are one volume. Other channels than the first are read with it.
    """
    found: list[Volume] = []
    failed: Failed = []
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        if not is_nifti(file):
            by_folder.setdefault(file.parent, []).append(file)
        elif channel_of(file) == 0:
            try:
                found.append(_open_nifti(file, axis))
            except (InputError, MissingExtraError) as error:
                failed.append((file, str(error)))
    for folder, dicoms in by_folder.items():
        try:
            series, wrong = series_in(folder, dicoms)
        except MissingExtraError as error:
            series, wrong = [], [(dicoms[0], str(error))]
        found += series
        failed += wrong
    if not (found or failed):
        left = [dicoms[0] for dicoms in by_folder.values()]
        failed = [(file, f"{file}: holds a segmentation, no image; give the images that it was made of.") for file in left]
    return found, failed


@lru_cache(maxsize=KEPT_OPEN)
def _kept(path: Path, axis: str, _changed: int) -> Volume:
    return open_volume(path, axis)


def kept_open(path: Path, axis: str = "auto") -> Volume:
    """As open_volume, but the last KEPT_OPEN stay open, until their file changes."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    return _kept(path, axis, changed)


def decode_volume(path: Path) -> Decoded:
    """The only slice of a NIfTI file.

    Raises:
        FormatError: there are several; the message says how to name one.
    """
    volume = kept_open(path)
    if len(volume) > 1:
        raise FormatError(
            f"{path}: a volume of {len(volume)} slices; expected one image. `maskwright predict` takes it whole; in Python name "
            f"a slice, counted from 0: {volume.slice_path(0)}."
        )
    return volume.decoded(0)


def save_slice(path: Path, source: Path, labels: NDArray[Any], classes: ClassMap) -> None:
    """Write class ids (H, W) in the container of a source that is a single slice.

    Raises:
        InputError: the source has several, or the file cannot be written.
    """
    volume = open_volume(source)
    if len(volume) != 1 or volume.hw != labels.shape:
        raise InputError(f"{source}: has {len(volume)} slices of {volume.hw}; labels of one slice of {labels.shape} were given.")
    volume.save_labels(path, labels[None], classes)

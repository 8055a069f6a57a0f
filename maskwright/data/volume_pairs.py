"""Volumes as data: every slice is an image, and the slices of one volume are a group that no split divides.

NIfTI: images and labels are told apart and paired by the folders and names of data/layouts.py and data/pairing.py; numbered files
(case_0000.nii.gz, case_0001.nii.gz) are channels. DICOM: a segmentation says itself which series it was drawn on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from maskwright.annotations.image_files import files_below
from maskwright.classes import ClassMap
from maskwright.data.layouts import LayoutError, Placed, as_images, picture_files, place, without_common_rest
from maskwright.data.pairing import match, roles_by_name
from maskwright.data.series_pairs import series_pairs
from maskwright.data.wording import counted, splits_text
from maskwright.errors import InputError
from maskwright.io.nifti import NiftiVolume, is_nifti
from maskwright.io.volume import Volume
from maskwright.io.volume_channels import case_of, channel_of
from maskwright.io.volumes import open_volume


@dataclass(frozen=True, eq=False)
class SlicePair:
    """One slice: its path in the volume, and its mask as a path or as labels (H, W); None where it is missing."""

    name: str
    image: Path
    mask: Path | NDArray[Any] | None
    split: str
    group: str


@dataclass(frozen=True, eq=False)
class VolumePairs:
    """The slices of a data folder.

    Attributes:
        pairs: volume by volume, from the first slice to the last
        strays: label volumes without an image
        line: the layout in one line, for people
        classes: what the labels are, where the files themselves say so (segments)
    """

    pairs: tuple[SlicePair, ...]
    strays: tuple[Path, ...]
    line: str
    classes: ClassMap | None = None


def find_volume_pairs(
    root: Path, *, images: str | None = None, masks: str | None = None, classes: ClassMap | None = None
) -> VolumePairs | None:
    """The slices of the labelled volumes below root; None where there are none.

    Args:
        images, masks: folders that overrule the layout, of NIfTI files
        classes: whose names segments must have; default: the segments' own

    Raises:
        LayoutError: volumes, but no labels to them.
        InputError, FormatError: a label volume lies elsewhere than its image, or a file cannot be read.
    """
    files = [path for path in files_below(root, (".nii", ".gz")) if is_nifti(path)] if root.is_dir() else []
    if files:
        return _nifti_pairs(root, files, {"image": images, "mask": masks})
    found = series_pairs(root, classes) if root.is_dir() and images is None and masks is None else None
    if found is None:
        return None
    slices = [
        SlicePair(f"{case.name}/{path.name}", path, mask, case.split, case.group)
        for case in found.cases
        for path, mask in case.slices()
    ]
    line = f"DICOM series and the segmentations that refer to them: {counted(len(found.cases), 'volume')}"
    return VolumePairs(tuple(slices), found.strays, _line(line, slices), found.classes)


def _nifti_pairs(root: Path, files: Sequence[Path], named: dict[str, str | None]) -> VolumePairs | None:
    given = {role: Path(folder).parts for role, folder in named.items() if folder is not None}
    rows = [place(path, path.relative_to(root).parent.parts, given) for path in files if channel_of(path) == 0]
    placed = without_common_rest(as_images([row for row in rows if row is not None]))
    if not any(row.role == "mask" for row in placed):
        placed = roles_by_name([replace(row, path=_plain(row.path)) for row in placed])
    else:
        placed = [replace(row, path=_plain(row.path)) for row in placed]
    file_of = {_plain(path): path for path in files if channel_of(path) == 0}
    pictures, labels = ([row for row in placed if row.role == role] for role in ("image", "mask"))
    mask_of = match(pictures, labels)
    if not mask_of and picture_files(root):
        return None  # pictures with their masks, and a volume beside them
    if not mask_of:
        raise LayoutError(
            f"{root}: {counted(len(placed), 'NIfTI volume')}, but no labels that belong to them; expected images/case.nii.gz and "
            f"labels/case.nii.gz, or imagesTr/case_0000.nii.gz and labelsTr/case.nii.gz. Name other folders with "
            f"--images and --masks."
        )
    split_of = {row.path: row.split for row in labels}
    names = _unique([row for row in pictures if row.path in mask_of])
    plain = "train" if any(split_of.values()) or any(row.split for row in pictures) else "all"
    slices: list[SlicePair] = []
    for row in pictures:
        if row.path not in mask_of:
            continue  # a volume without labels is there to be predicted
        split = row.split or split_of[mask_of[row.path]] or plain
        slices += _slices(names[row.path], file_of[row.path], file_of[mask_of[row.path]], split)
    strays = tuple(file_of[row.path] for row in labels if row.path not in set(mask_of.values()))
    example = next(row.path for row in pictures if row.path in mask_of)
    line = f"volumes such as {file_of[example].name} + {file_of[mask_of[example]].name}: {counted(len(mask_of), 'volume')}"
    return VolumePairs(tuple(slices), strays, _line(line, slices))


def _slices(name: str, image: Path, mask: Path, split: str) -> Iterator[SlicePair]:
    volume, labels = open_volume(image), NiftiVolume(mask)
    check_same_place(volume, image, labels)
    for k in range(len(volume)):
        yield SlicePair(f"{name}/slice-{k:03d}", volume.slice_path(k), labels.slice_path(k), split, name)


def check_same_place(volume: Volume, image: Path, labels: NiftiVolume) -> None:
    """Refuse labels that do not lie on their image.

    Raises:
        InputError: shapes or affines differ.
    """
    if not labels.same_geometry(NiftiVolume(image)):
        raise InputError(
            f"{labels.path}: lies elsewhere than its image {image.name} (another shape or affine: {len(labels)} slices of "
            f"{labels.hw[1]}x{labels.hw[0]} against {len(volume)} of {volume.hw[1]}x{volume.hw[0]}). Resample it to the image."
        )


def _plain(path: Path) -> Path:
    """The path under which a volume is paired: without the channel's number and the .gz."""
    return path.with_name(f"{case_of(path)}.nii")


def _unique(rows: Sequence[Placed]) -> dict[Path, str]:
    """The stem, with its folders where they say something, and with the split where that stands twice."""
    plain = {row.path: "/".join((*row.rest, row.path.stem)) for row in rows}
    counts = Counter(plain.values())
    return {row.path: name if counts[name := plain[row.path]] == 1 else "/".join((row.split, name)) for row in rows}


def _line(start: str, slices: Sequence[SlicePair]) -> str:
    return f"{start}, {splits_text([pair.split for pair in slices]).replace('pairs', 'slices')}"

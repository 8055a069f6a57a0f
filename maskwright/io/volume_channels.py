"""Several NIfTI files as the channels of one volume: scan_0000.nii.gz, scan_0001.nii.gz, as nnU-Net names them.

Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, and its data format.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.io.decoded import Decoded
from maskwright.io.nifti import NiftiVolume, is_nifti, stem_of
from maskwright.io.volume import Volume

CHANNEL = re.compile(r"_(\d{4})$")


def case_of(path: Path) -> str:
    """The name of a volume without the number of its channel: scan for scan_0001.nii.gz."""
    return CHANNEL.sub("", stem_of(path))


def channel_of(path: Path) -> int:
    """The number of the channel that a file holds; 0 where its name has none."""
    found = CHANNEL.search(stem_of(path)) if is_nifti(path) else None
    return int(found.group(1)) if found else 0


def channel_files(path: Path) -> list[Path]:
    """All files of the volume that path is channel 0 of, in the order of their numbers; path alone where it is no such file."""
    stem = stem_of(path)
    if not CHANNEL.search(stem) or channel_of(path) != 0:
        return [path]
    suffix, found = path.name[len(stem) :], [path]
    while (more := path.with_name(f"{case_of(path)}_{len(found):04d}{suffix}")).is_file():
        found.append(more)
    return found


class ChannelVolume(Volume):
    """Volumes of one geometry, one channel or more each; answers take the geometry of the first.

    Raises:
        InputError: shapes or affines differ.
    """

    container = "nifti"

    def __init__(self, parts: Sequence[NiftiVolume]) -> None:
        first = parts[0]
        for part in parts[1:]:
            if not part.same_geometry(first):
                raise InputError(
                    f"{part.path}: lies elsewhere than {first.path.name} (another shape or affine); channels of one volume must "
                    f"lie on each other. Resample one to the other."
                )
        self._parts = list(parts)
        self.path, self.name = first.path, case_of(first.path)
        self.hw, self.spacing_mm = first.hw, first.spacing_mm

    @property
    def sources(self) -> list[Path]:
        return [part.path for part in self._parts]

    def __len__(self) -> int:
        return len(self._parts[0])

    def decoded(self, k: int) -> Decoded:
        parts = [part.decoded(k) for part in self._parts]
        ranges = [part.value_range for part in parts if part.value_range is not None]
        # One range for all channels, which holds each; floats among them are measured.
        whole = (min(r[0] for r in ranges), max(r[1] for r in ranges)) if len(ranges) == len(parts) else None
        return Decoded(np.concatenate([part.pixels for part in parts], axis=2), container="nifti", value_range=whole)

    def save_labels(self, path: Path, labels: NDArray[Any], classes: ClassMap) -> None:
        self._parts[0].save_labels(path, labels, classes)

    def save_nifti(self, path: Path, labels: NDArray[Any], classes: ClassMap) -> None:
        self._parts[0].save_labels(path, labels, classes)

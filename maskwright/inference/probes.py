"""Probes: a few validation images with their truth, kept in the run, on which every runtime has to answer as eager fp32 does.

They lie in RUN/probes, one .npz an image (pixels as stored, value range, class ids of the truth), and hold a few MB at most: an
image larger than MOST_SIDE_PX gives a part from its middle.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import CheckpointError
from maskwright.io.image import Image
from maskwright.io.write import write_bytes

FOLDER = "probes"
MOST = 16
MOST_BYTES = 8 << 20
MOST_SIDE_PX = 768
_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Probe(NamedTuple):
    """An image and its truth: labels (H, W) class ids."""

    image: Image
    labels: NDArray[Any]


def spread(items: int, most: int = MOST) -> list[int]:
    """Which of so many validation images become probes: evenly from all of them, for neighbours are alike in a film."""
    count = min(items, most)
    return [round(k * (items - 1) / max(1, count - 1)) for k in range(count)]


def write_probes(run: str | Path, probes: Iterable[Probe]) -> int:
    """Write probes into a run folder until MOST or MOST_BYTES are reached, in place of those of an earlier sitting; how many."""
    folder = Path(run) / FOLDER
    for old in folder.glob("*.npz"):
        old.unlink()
    count = total = 0
    for probe in probes:
        packed = _packed(cut(probe))
        total += len(packed)
        if count and (count == MOST or total > MOST_BYTES):
            break
        write_bytes(folder / f"{count:02d}.npz", packed)
        count += 1
    return count


def read_probes(run: str | Path) -> list[Probe]:
    """The probes of a run folder; none where it was trained without them.

    Raises:
        CheckpointError: a file is damaged.
    """
    found = []
    for file in sorted((Path(run) / FOLDER).glob("*.npz")):
        try:
            with np.load(file, allow_pickle=False) as stored:
                pixels, labels = stored["pixels"], stored["labels"]
                low, high = stored["value_range"].tolist()
            if labels.shape != pixels.shape[:2]:
                raise ValueError(f"pixels {pixels.shape}, labels {labels.shape}")
            found.append(Probe(Image(pixels, None, (low, high)), labels))
        except _BROKEN as error:
            raise CheckpointError(f"{file}: damaged ({error}); delete it, the run works without it.") from error
    return found


def cut(probe: Probe) -> Probe:
    """The middle of an image that is larger than MOST_SIDE_PX, and of its truth."""
    window = tuple(slice((side - min(side, MOST_SIDE_PX)) // 2, (side + min(side, MOST_SIDE_PX)) // 2) for side in probe.image.hw)
    if probe.image.hw == probe.image.pixels[window].shape[:2]:
        return probe
    image = replace(probe.image, pixels=np.ascontiguousarray(probe.image.pixels[window]))
    return Probe(image, np.ascontiguousarray(probe.labels[window]))


def _packed(probe: Probe) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, pixels=probe.image.pixels, labels=probe.labels, value_range=np.asarray(probe.image.value_range, np.float64)
    )
    return buffer.getvalue()

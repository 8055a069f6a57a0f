"""Where DICOM slices and frames lie in the patient, in millimetres to the left, the back and the head.

Source: DICOM PS3.3, C.7.6.2 (Image Plane), C.7.6.16.2.3 (Plane Position), C.8.8.3.2 (Grid Frame Offset Vector).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from maskwright.io.dicom_values import group

if TYPE_CHECKING:
    from pydicom import Dataset

# Cosines and positions are written with few digits; a hundredth of a slice is beyond what scanners keep.
SAME_DIRECTION, UNEVEN = 1e-3, 0.01
HEAD = np.array([0.0, 0.0, 1.0])
Directions = tuple[NDArray[np.float64], NDArray[np.float64]]


def orientation_of(header: Dataset, frame: int = 0) -> Directions | None:
    """The directions that columns and rows run in, unit vectors to the left, the back and the head; None where not stated."""
    place = group(header, "PlaneOrientationSequence", frame) or header
    stated = place.get("ImageOrientationPatient")
    if not stated or len(stated) != 6:
        return None
    numbers = np.array([float(v) for v in stated])
    return numbers[:3], numbers[3:]


def position_of(header: Dataset, frame: int = 0) -> NDArray[np.float64] | None:
    """Image Position (Patient) of a file or of a frame; None where not stated."""
    place = group(header, "PlanePositionSequence", frame) or header
    stated = place.get("ImagePositionPatient")
    if not stated or len(stated) != 3:
        return None
    position = np.array([float(v) for v in stated])
    return position + _offset(header, frame) if place is header else position


def _offset(header: Dataset, frame: int) -> NDArray[np.float64]:
    """From the first frame of a dose grid to another one; nothing in files of other kinds."""
    offsets, directions = header.get("GridFrameOffsetVector"), orientation_of(header)
    if directions is None or not isinstance(offsets, Sequence) or frame >= len(offsets):
        return np.zeros(3)
    first = float(offsets[0])
    # Counted from 0 they run along the normal; else they are themselves the heights in the patient.
    along = np.cross(*directions) if first == 0 else HEAD
    return (float(offsets[frame]) - first) * along


def same_plane(one: Directions | None, other: Directions | None) -> bool:
    """Whether two slices are parallel, their rows too; one that does not say is parallel to none that does."""
    if one is None or other is None:
        return one is other
    return bool(max(np.abs(a - b).max() for a, b in zip(one, other, strict=True)) <= SAME_DIRECTION)


def usual_step(steps: NDArray[np.float64]) -> float:
    """The median distance, the lower of two: of 2.5 and 5 mm with a slice missing it is 2.5."""
    return round(float(np.percentile(np.abs(steps), 50, method="lower")), 6)

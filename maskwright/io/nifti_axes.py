"""How slices of a NIfTI volume are shown: as a DICOM viewer shows them, so that one net serves NIfTI and DICOM alike.

Columns run to the patient's left (sagittal: to the back), rows to the back (coronal and sagittal: to the feet). Only flips and
exchanged axes are needed, nothing is resampled, and masks go the same way back. A file without an orientation is shown as it is
stored, first axis along the columns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}  # the axis right-left, front-back or head-feet that slices are stacked along
AXES = ("auto", *PLANES, "0", "1", "2")


def _directions(image: Any) -> NDArray[Any] | None:
    """For each stored axis the patient's axis it runs along (right 0, front 1, head 2) and its sign; None: not stated."""
    import nibabel

    if int(image.header["sform_code"]) == 0 and int(image.header["qform_code"]) == 0:
        return None
    found = nibabel.io_orientation(image.affine)
    return None if np.isnan(found).any() else found


def chosen_axis(path: Path, image: Any, axis: str, zooms: list[float], shape: tuple[int, ...]) -> int:
    """The stored axis that slices are stacked along.

    Args:
        axis: one of AXES; auto takes the axis of the largest spacing, the last of equals

    Raises:
        InputError: the axis is unknown, or the file does not say how the patient lies.
    """
    if axis not in AXES:
        raise InputError(f"--slice-axis {axis!r}: expected one of {', '.join(AXES)}.")
    if axis == "auto":
        # A flat file has its slices along the flat axis, whatever its spacing says.
        flat = [a for a in range(3) if shape[a] == 1]
        return flat[-1] if flat else max(range(3), key=lambda a: (round(zooms[a], 3), a))
    if axis not in PLANES:
        return int(axis)
    directions = _directions(image)
    if directions is None:
        raise InputError(f"{path}: states no orientation, so {axis} is not known; give the number of the axis: 0, 1 or 2.")
    return int(np.flatnonzero(directions[:, 0] == PLANES[axis])[0])


def view_of(image: Any, along: int) -> tuple[tuple[int, int, int], tuple[bool, bool]]:
    """The stored axes that slices, rows and columns run along; and whether rows and columns are turned round."""
    columns, rows = (a for a in range(3) if a != along)
    directions = _directions(image)
    if directions is None:
        return (along, rows, columns), (False, False)
    if directions[columns, 0] > directions[rows, 0]:
        columns, rows = rows, columns
    return (along, rows, columns), (directions[rows, 1] > 0, directions[columns, 1] > 0)

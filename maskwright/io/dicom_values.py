"""What the stored values of a DICOM frame mean: units, brightness, colours, the window for people and the size of a pixel.

Source: DICOM PS3.3, C.11.1 (rescale), C.11.2 (window), C.7.6.3.1.2 (photometric interpretation), 10.7 (pixel spacing).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import FormatError
from maskwright.io.decoded import Decoded

if TYPE_CHECKING:
    from pydicom import Dataset

GREY = ("MONOCHROME1", "MONOCHROME2")
# Hounsfield units mean the same on every scanner, so CT has one nominal range: air to dense bone, what 12 bits hold.
CT_RANGE = (-1024.0, 3071.0)
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
LOSSY_SYNTAXES = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")


def meaning(path: Path, header: Dataset, stored: NDArray[Any], frame: int) -> Decoded:
    """A frame's stored values as an image: rescaled, bright is high, colours as RGB.

    Shapes:
        stored: (H, W) or (H, W, 3)

    Raises:
        FormatError: a photometric interpretation that is neither grey nor colour.
    """
    kind = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
    lossy = str(header.get("LossyImageCompression", "00")) == "01" or syntax_of(header) in LOSSY_SYNTAXES
    spacing = spacing_mm(header, frame)
    if kind == "PALETTE COLOR":
        return Decoded(_palette(header, stored), lossy=lossy, container="dicom", spacing_mm=spacing)
    if stored.ndim == 3:  # pydicom has turned YBR into RGB
        return Decoded(stored, lossy=lossy, container="dicom", spacing_mm=spacing)
    if kind not in GREY:
        raise FormatError(f"{path}: photometric interpretation {kind!r}; expected grey, RGB, YBR or palette.")
    return _grey(header, stored, frame, inverted=kind == "MONOCHROME1", lossy=lossy, spacing=spacing)


def syntax_of(header: Dataset) -> str:
    return str(header.file_meta.get("TransferSyntaxUID", "")) if hasattr(header, "file_meta") else ""


def group(header: Dataset, name: str, frame: int) -> Dataset | None:
    """A functional group of a multi-frame file: of this frame, or shared by all."""
    for sequence, k in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        rows = header.get(sequence) or []
        found = rows[k].get(name) if k < len(rows) else None
        if found:
            return found[0]  # type: ignore[no-any-return]
    return None


def spacing_mm(header: Dataset, frame: int = 0) -> tuple[float, float] | None:
    """Height and width of a pixel: in the patient, else on the detector; None where the file does not say."""
    measures = group(header, "PixelMeasuresSequence", frame)
    for place in (measures, header):
        for name in SPACINGS if place is not None else ():
            stated = place.get(name) if place is not None else None
            if stated and len(stated) == 2 and min(map(float, stated)) > 0:
                return float(stated[0]), float(stated[1])
    return None


def _palette(header: Dataset, stored: NDArray[Any]) -> NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_color_lut

    colours = apply_color_lut(stored, header)[..., :3]
    return (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours.astype(np.uint8)


def _grey(
    header: Dataset, stored: NDArray[Any], frame: int, *, inverted: bool, lossy: bool, spacing: tuple[float, float] | None
) -> Decoded:
    values = _rescaled(header, _masked(header, stored), frame)
    window, value_range = _window(header, frame), range_of(header, frame)
    remarks: tuple[str, ...] = ()
    if inverted:
        # About the middle of what the file can hold, so that no value leaves the range.
        low, high = value_range or (float(np.nanmin(values)), float(np.nanmax(values)))
        values = (
            np.float32(low + high) - values if values.dtype.kind == "f" else narrow(int(low + high) - values.astype(np.int64))
        )
        window = (low + high - window[1], low + high - window[0]) if window else None
        remarks = ("MONOCHROME1: values are inverted, so that bright is high.",)
    return Decoded(
        values, lossy=lossy, container="dicom", value_range=value_range, window=window, spacing_mm=spacing, remarks=remarks
    )


def range_of(header: Dataset, frame: int = 0) -> tuple[float, float] | None:
    """Lowest and highest value that a grey frame can have; None where its values alone tell: colours, floats, tables."""
    kind, limits = header.get("PhotometricInterpretation", "MONOCHROME2"), _limits(header)
    transform = _transform(header, frame)
    if kind not in GREY or limits is None or transform.get("ModalityLUTSequence"):
        return None
    of_ct = (
        header.get("Modality") == "CT" and str(transform.get("RescaleType") or "HU") == "HU" and "RescaleIntercept" in transform
    )
    if of_ct and kind != "MONOCHROME1":
        return CT_RANGE
    slope, intercept = _scaling(transform)
    low, high = sorted(slope * limit + intercept for limit in limits)
    return low, high


def _limits(header: Dataset) -> tuple[float, float] | None:
    """The range of the bits that are stored; None where they are floats."""
    if "PixelRepresentation" not in header:
        return None
    bits = int(header.get("BitsStored") or header.BitsAllocated)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if header.PixelRepresentation else (0, (1 << bits) - 1)
    return float(low), float(high)


def _masked(header: Dataset, stored: NDArray[Any]) -> NDArray[Any]:
    """The values without what old files keep in unused high bits (overlays)."""
    if stored.dtype.kind == "f":
        return stored
    spare = 8 * stored.dtype.itemsize - int(header.get("BitsStored") or 8 * stored.dtype.itemsize)
    # Shifted up and down again, the sign bit fills the unused bits, whether or not the writer had done so.
    return (stored << spare) >> spare if spare > 0 else stored


def _transform(header: Dataset, frame: int) -> Dataset:
    return group(header, "PixelValueTransformationSequence", frame) or header


def _scaling(transform: Dataset) -> tuple[float, float]:
    return float(transform.get("RescaleSlope") or 1), float(transform.get("RescaleIntercept") or 0)


def _rescaled(header: Dataset, stored: NDArray[Any], frame: int) -> NDArray[Any]:
    """Values in the file's unit.

    Whole slopes and intercepts give integers that lose nothing (int16 where the values fit); others float32.
    """
    transform = _transform(header, frame)
    if transform.get("ModalityLUTSequence"):
        from pydicom.pixels.processing import apply_modality_lut

        return np.asarray(apply_modality_lut(stored, header), np.float32)
    slope, intercept = _scaling(transform)
    if (slope, intercept) == (1.0, 0.0):
        return stored
    limits = _limits(header)
    fits = limits is not None and max(abs(slope * limit + intercept) for limit in limits) < 2**31
    if fits and stored.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        return narrow(stored.astype(np.int64) * int(slope) + int(intercept))
    return (stored * np.float64(slope) + intercept).astype(np.float32)


def narrow(wide: NDArray[np.int64]) -> NDArray[Any]:
    """The same values as int16, or as int32 where one does not fit: 16 stored bits and an intercept seldom need it."""
    return wide.astype(np.int16 if wide.min() >= -(2**15) and wide.max() < 2**15 else np.int32)


def _window(header: Dataset, frame: int) -> tuple[float, float] | None:
    """Lowest and highest value shown, of the first window or table; None where the file states none."""
    place = group(header, "FrameVOILUTSequence", frame) or header
    centre, width = _first(place.get("WindowCenter")), _first(place.get("WindowWidth"))
    if centre is not None and width is not None and width > 1:
        return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    table = place.get("VOILUTSequence")
    if table:
        entries, first = table[0].LUTDescriptor[:2]
        return float(first), float(first) + float(entries or 65536) - 1
    return None


def _first(stated: Any) -> float | None:
    if stated is None or stated == "":
        return None
    value = float(stated[0] if hasattr(stated, "__getitem__") and not isinstance(stated, str) else stated)
    return value if math.isfinite(value) else None

"""DICOM-SEG: masks of classes as a DICOM file that refers to the images it was made from.

Each class but the background becomes a segment. highdicom writes the file: references, functional groups, positions, and the
modules of patient and study copied from the source; what is ours is which class is which segment, its codes and its colour.
Source: DICOM PS3.3, A.51 and C.8.20; codes: PS3.16, CID 7150 and 7151.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskwright import __version__
from maskwright.classes import ClassMap
from maskwright.errors import InputError, MissingExtraError
from maskwright.io.write import atomic

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom import Dataset
    from pydicom.sr.coding import Code

# May be empty, but not missing (type 2).
MUST_STAND = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
    "ReferringPhysicianName",
)  # fmt: skip
MAKER, PRODUCT, NO_SERIAL = "maskwright", "maskwright", "0"


def segments_of(classes: ClassMap) -> list[int]:
    """The class ids that have a segment, in the order of the segment numbers, which count from 1."""
    return [i for i in classes.ids if i != classes.background]


def write_segmentation(path: Path, sources: Sequence[Dataset], labels: NDArray[Any], classes: ClassMap) -> None:
    """Write class ids as a BINARY segmentation of the source images; ignored pixels are in no segment.

    Shapes:
        sources: headers of one file a slice, in the order of the slices; or one header of a file with as many frames
        labels: (D, H, W)

    Raises:
        MissingExtraError: highdicom is not installed.
        InputError: the source lacks what a segmentation must repeat, or the file cannot be written.
    """
    numbers = np.zeros(65536, np.uint8 if len(classes) < 256 else np.uint16)
    for number, class_id in enumerate(segments_of(classes), start=1):
        numbers[class_id] = number
    found = np.stack([numbers.take(layer) for layer in labels])
    written = _segmentation(path, [completed(source) for source in sources], found, descriptions(path, classes))
    with atomic(path) as temporary:
        written.save_as(temporary)


def check_sources(path: Path, sources: Sequence[Dataset], classes: ClassMap) -> None:
    """Refuse before the work what write_segmentation would refuse after it.

    The headers are tried with images of one pixel, so that what is found is what the library that writes them will find; of
    many files two, which lack what all lack.

    Raises:
        see write_segmentation
    """
    frames = max(1, int(sources[0].get("NumberOfFrames") or 1))
    if frames > 1 and "SharedFunctionalGroupsSequence" not in sources[0]:
        raise InputError(
            f"{path}: holds {frames} frames without functional groups, which DICOM-SEG cannot refer to. Give --format nifti."
        )
    small = [completed(copy.deepcopy(source)) for source in sources[:2]]
    for source in small:
        source.Rows = source.Columns = 1
    found = np.zeros((max(frames, len(small)), 1, 1), np.uint8)
    found[0] = 1  # empty frames are left out, and each that is written takes time
    _segmentation(path, small, found, descriptions(path, classes)[:1])


def _segmentation(path: Path, sources: Sequence[Dataset], found: NDArray[Any], segments: Sequence[SegmentDescription]) -> Any:
    """A segmentation of the sources, not yet written.

    Shapes:
        found: (D, H, W) numbers of segments
    """
    from highdicom.seg import Segmentation
    from pydicom.uid import generate_uid

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they name the patient
            return Segmentation(
                source_images=sources,
                pixel_array=found,
                segmentation_type="BINARY",
                segment_descriptions=segments,
                series_instance_uid=generate_uid(prefix=None),
                series_number=_series_number(sources[0]),
                sop_instance_uid=generate_uid(prefix=None),
                instance_number=1,
                manufacturer=MAKER,
                manufacturer_model_name=PRODUCT,
                software_versions=__version__,
                device_serial_number=NO_SERIAL,
                content_label="SEGMENTATION",
                series_description="Segmentation by maskwright",
                omit_empty_frames=bool(found.any()),  # a file must hold a frame
            )
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: the source cannot be answered as DICOM-SEG ({error}). Give --format nifti, or complete the source."
        ) from error


def completed(source: Dataset) -> Dataset:
    """A header with the attributes that must stand in every file, empty where they are missing: old archives drop them."""
    whole = copy.copy(source)
    if not whole.get("SpecificCharacterSet"):
        whole.pop("SpecificCharacterSet", None)
    for keyword in MUST_STAND:
        if keyword not in whole:
            setattr(whole, keyword, None)
    return whole


def descriptions(path: Path, classes: ClassMap) -> list[SegmentDescription]:
    """What each segment is: label, codes, colour, found by an algorithm."""
    try:
        from highdicom import AlgorithmIdentificationSequence
    except ImportError:
        raise MissingExtraError("highdicom", "medical", f"{path}: writing DICOM-SEG") from None
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    by = AlgorithmIdentificationSequence(PRODUCT, codes.DCM.ArtificialIntelligence, __version__, MAKER)
    found = []
    for number, class_id in enumerate(segments_of(classes), start=1):
        k = classes.ids.index(class_id)
        category, kind = codes_of(classes.names[k])
        colour = CIELabColor.from_rgb(*classes.colours[k])
        found.append(SegmentDescription(number, classes.names[k], category, kind, "AUTOMATIC", by, display_color=colour))
    return found


def codes_of(name: str) -> tuple[Code, Code]:
    """SNOMED category and type of a class by its name, where DICOM's list of segmentation types knows it; else tissue.

    lung, lungs and Left-Kidney are looked up as Lung, Lung and LeftKidney.
    """
    from pydicom.sr.codedict import codes

    words = "".join(word[:1].upper() + word[1:].lower() for word in re.split(r"[^A-Za-z0-9]+", name) if word)
    for concepts, category in (
        (codes.cid7159, codes.SCT.MorphologicallyAbnormalStructure),
        (codes.cid7166, codes.SCT.Tissue),
        (codes.cid7151, codes.SCT.AnatomicalStructure),
    ):
        known = {concept.lower(): concept for concept in concepts.dir()}
        for spelled in (words.lower(), words.lower().removesuffix("s")):
            if spelled in known:
                return category, getattr(concepts, known[spelled])
    return codes.SCT.Tissue, codes.SCT.Tissue


def _series_number(source: Dataset) -> int:
    """Behind the source's own in a list of series, where that has a number."""
    stated = source.get("SeriesNumber")
    return int(stated) + 1000 if stated is not None and int(stated) >= 0 else 1000

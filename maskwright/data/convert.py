"""convert(): annotations from one format to another, and, as steps that have to be asked for, between objects and classes.

Masks stay the same to the pixel wherever the target can hold them; what it cannot hold is counted. A bad image stops nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from maskwright.annotations.assemble import instances_of
from maskwright.annotations.components import objects_of_labels
from maskwright.annotations.damaged_files import damaged_files, like_those_read
from maskwright.annotations.drawn import UNREADABLE, AnnotatedImage, Annotations, Remark
from maskwright.annotations.formats import read_annotations
from maskwright.annotations.imagesize import image_hw
from maskwright.annotations.writers import WRITERS
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, open_dataset
from maskwright.data.found_classes import class_map_of
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.progress import Report

One = Callable[[int], tuple[AnnotatedImage, Instances, list[Remark]]]
# Remarks on objects and images of the source that are not in the target, or not as they were meant, for what they are themselves.
# What the target has no word for (overlaps, crowds, scores, holes) is counted too, but is as it should be.
REFUSED = ("bad-object", "unknown-class", "two-points", "zero-area", "out-of-image", "wrong-size")


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion found and did.

    Attributes:
        source: what was read, in one line
        format: the format it was read as, "labels" for masks of classes
        to: the format that was written
        target: the folder with the result
        images: how many were written
        objects: how many were handed to the writer; remarks say which of them the target could not hold
        remarks: in the order of coming
        failures: files that could not be read, with the reason; what they hold is not in the target
    """

    source: str
    format: str
    to: str
    target: Path
    images: int
    objects: int
    remarks: tuple[Remark, ...]
    failures: tuple[Remark, ...]

    @property
    def ok(self) -> bool:
        """All that the source holds was read and could be used; what the target has no word for is counted alone."""
        return not self.failures and not self.refused

    @property
    def refused(self) -> int:
        """How many remarks tell of something that could not be used for what it is itself."""
        return sum(remark.code in REFUSED for remark in self.remarks)

    @property
    def counts(self) -> dict[str, int]:
        """How many remarks there are of each code, the most frequent first."""
        return dict(Counter(remark.code for remark in self.remarks).most_common())

    def to_json(self) -> dict[str, object]:
        return {
            "source": self.source, "format": self.format, "to": self.to, "target": str(self.target), "images": self.images,
            "objects": self.objects, "remarks": [r.text for r in self.remarks], "counts": self.counts,
            "failures": [f.text for f in self.failures], "ok": self.ok,
        }  # fmt: skip


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: str,
    format: str | None = None,
    images: str | Path | None = None,
    classes: ClassMap | Path | str | None = None,
    components: bool = False,
    min_px: int = 1,
    class_property: str | None = None,
    progress: Report | None = None,
) -> ConversionReport:
    """Read annotations and write them in another format into a new folder, with copies of their images.

    Memory holds the objects of one image at a time.

    Args:
        source: a folder or an annotation file
        target: a folder that is not there yet or empty, outside the source
        to: key of WRITERS; "labels" paints the objects onto masks of classes
        format: key of FORMATS; default: found out from the files
        images: the folder of the images, where the source does not lead to them
        classes: the classes to use; default: those of the source
        components: the source has masks of classes; every connected part of a class becomes an object
        min_px: parts with fewer pixels are left out, with components
        class_property: which property of features holds their class, of GeoJSON, GeoPackage and Shapefiles
        progress: called with images done and images in all

    Raises:
        InputError: a format is unknown, the target cannot be used, or the source holds nothing that can be read, or no image.
    """
    if to not in WRITERS:
        near = get_close_matches(to, WRITERS) or list(WRITERS)
        raise InputError(f"no format named {to!r} to write annotations in; did you mean {', '.join(near)}?")
    source, target = Path(source), Path(target)
    _check_target(source, target)
    report = progress or (lambda _done, _total: None)
    told: tuple[Remark, ...] = ()
    if components:
        if format is not None:
            raise InputError(f"--components reads masks of classes and --from {format} objects; leave one of the two out.")
        data = open_dataset(source, classes=classes, images=None if images is None else str(images), objects=False)
        line, read_as = data.layout, "labels"
        reading = _Reading([(p.name, _path(p.mask)) for p in data.pairs], partial(_parts, data, min_px), report)
    else:
        known = None if classes is None else class_map_of(classes)
        found = read_annotations(
            source, format=format, images=None if images is None else Path(images), classes=known, class_property=class_property
        )
        line, read_as, told = found.line, found.format, (*found.remarks, *_not_read(source, found))
        reading = _Reading([(i.name, i.file) for i in found.images], partial(_annotated, found), report)
    if not reading.names:
        raise InputError(
            f"{source}: names no image (read as {line}), so there is nothing to convert; give another file or folder."
        )
    written = WRITERS[to](target, reading)
    every = [*told, *reading.remarks, *written]
    remarks = tuple(one for one in every if one.code != UNREADABLE)
    failures = (*(one for one in every if one.code == UNREADABLE), *reading.failures)
    return ConversionReport(line, read_as, to, target, reading.images, reading.objects, remarks, failures)


def _not_read(source: Path, found: Annotations) -> list[Remark]:
    """A remark for each file of the same kind beside one that was read which cannot be read itself, as a split's own json."""
    if not source.is_dir():
        return []
    read = {one.file for one in found.images if one.file}
    beside = damaged_files(source, read | {one.path for one in found.remarks if one.path})
    return [Remark(UNREADABLE, why, "", path) for path, why in beside if like_those_read(path, read)]


class _Reading:
    """Images with their objects, one after the other; keeps what came up on the way.

    Args:
        names: of each image, with the file that says what is on it
        one: position -> the image, its objects and what is to be said of them; InputError where it cannot be read
    """

    def __init__(self, names: Sequence[tuple[str, Path | None]], one: One, progress: Report) -> None:
        self.names, self._one, self._progress = names, one, progress
        self.images = self.objects = 0
        self.remarks: list[Remark] = []
        self.failures: list[Remark] = []

    def __iter__(self) -> Iterator[tuple[AnnotatedImage, Instances]]:
        for k, name in enumerate(self.names):
            try:
                image, found, remarks = self._one(k)
            except InputError as error:
                self.failures.append(Remark("image-failed", str(error), *name))
            else:
                self.images += 1
                self.objects += len(found)
                self.remarks += remarks
                yield image, found
            self._progress(k + 1, len(self.names))


def _annotated(annotations: Annotations, k: int) -> tuple[AnnotatedImage, Instances, list[Remark]]:
    image = annotations.images[k]
    return image, *instances_of(annotations, k, size_of(image))


def _parts(data: Dataset, min_px: int, k: int) -> tuple[AnnotatedImage, Instances, list[Remark]]:
    """The connected parts of the classes of one mask."""
    pair = data.pairs[k]
    sample = data.read(pair)
    if sample.labels is None:
        raise InputError(f"{pair.image}: has no mask, so that nothing is known of its objects.")
    found = objects_of_labels(sample.labels, data.classes, min_px=min_px, name=pair.name)
    return AnnotatedImage(pair.name, _path(pair.image), sample.image.hw, pair.split, _path(pair.mask)), found, []


def _path(source: object) -> Path | None:
    return source if isinstance(source, Path) else None


def size_of(image: AnnotatedImage) -> tuple[int, int]:
    """Height and width of the image on disk; of the annotations where it is not there.

    Raises:
        InputError: nothing says it, or the image cannot be read.
    """
    if image.path is not None:
        return image_hw(image.path)
    if image.hw is None:
        raise InputError(f"{image.file or image.name}: the size of {image.name} is not stated and its image is not on disk.")
    return image.hw


def _check_target(source: Path, target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target}: is there already and not an empty folder; choose another, so that nothing is overwritten.")
    if target.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{target}: lies in {source}, which is only read; choose a folder outside it.")

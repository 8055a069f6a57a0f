"""convert(): annotations from one format to another, and, as steps that have to be asked for, between objects and classes.

Masks stay the same to the pixel wherever the target can hold them; what it cannot hold is counted. A bad image stops nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from maskwright.annotations.assemble import instances_of
from maskwright.annotations.components import objects_of_labels
from maskwright.annotations.drawn import AnnotatedImage, Annotations, Remark
from maskwright.annotations.formats import read_annotations
from maskwright.annotations.imagesize import image_hw
from maskwright.annotations.writers import WRITERS
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, open_dataset
from maskwright.data.found_classes import class_map_of
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.progress import Report


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
        failures: images that could not be read and are not in the target, with the reason
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
        return not self.failures

    @property
    def counts(self) -> dict[str, int]:
        """How many remarks there are of each code, the most frequent first."""
        return dict(Counter(remark.code for remark in self.remarks).most_common())

    def to_json(self) -> dict[str, object]:
        return {
            "source": self.source, "format": self.format, "to": self.to, "target": str(self.target), "images": self.images,
            "objects": self.objects, "remarks": [r.text for r in self.remarks], "counts": self.counts,
            "failures": [f.text for f in self.failures],
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
        progress: called with images done and images in all

    Raises:
        InputError: a format is unknown, the target cannot be used, or the source holds nothing that can be read.
    """
    if to not in WRITERS:
        near = get_close_matches(to, WRITERS) or list(WRITERS)
        raise InputError(f"no format named {to!r} to write annotations in; did you mean {', '.join(near)}?")
    source, target = Path(source), Path(target)
    _check_target(source, target)
    report = progress or (lambda _done, _total: None)
    reading: Annotated | Parts
    told: tuple[Remark, ...] = ()
    if components:
        if format is not None:
            raise InputError(f"--components reads masks of classes and --from {format} objects; leave one of the two out.")
        data = open_dataset(source, classes=classes, images=None if images is None else str(images), objects=False)
        reading, line, read_as = Parts(data, min_px, report), data.layout, "labels"
    else:
        known = None if classes is None else class_map_of(classes)
        found = read_annotations(source, format=format, images=None if images is None else Path(images), classes=known)
        reading, line, read_as, told = Annotated(found, report), found.line, found.format, found.remarks
    written = WRITERS[to](target, reading)
    remarks = (*told, *reading.remarks, *written)
    return ConversionReport(line, read_as, to, target, reading.images, reading.objects, remarks, tuple(reading.failures))


class _Reading:
    """Images with their objects, one after the other; keeps what came up on the way."""

    def __init__(self, progress: Report) -> None:
        self._progress = progress
        self.images = self.objects = 0
        self.remarks: list[Remark] = []
        self.failures: list[Remark] = []

    def count(self) -> int:
        raise NotImplementedError

    def one(self, k: int) -> tuple[AnnotatedImage, Instances]:
        """Image k with its objects.

        Raises:
            InputError: it cannot be read.
        """
        raise NotImplementedError

    def name(self, k: int) -> tuple[str, Path | None]:
        """Of image k and its file, for the message where it cannot be read."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[tuple[AnnotatedImage, Instances]]:
        for k in range(self.count()):
            try:
                image, found = self.one(k)
            except InputError as error:
                self.failures.append(Remark("image-failed", str(error), *self.name(k)))
            else:
                self.images += 1
                self.objects += len(found)
                yield image, found
            self._progress(k + 1, self.count())


class Annotated(_Reading):
    """The images of a set of annotations."""

    def __init__(self, annotations: Annotations, progress: Report) -> None:
        super().__init__(progress)
        self._annotations = annotations

    def count(self) -> int:
        return len(self._annotations.images)

    def name(self, k: int) -> tuple[str, Path | None]:
        return self._annotations.images[k].name, self._annotations.images[k].file

    def one(self, k: int) -> tuple[AnnotatedImage, Instances]:
        image = self._annotations.images[k]
        found, remarks = instances_of(self._annotations, k, size_of(image))
        self.remarks += remarks
        return image, found


class Parts(_Reading):
    """The connected parts of the classes of a data set's masks."""

    def __init__(self, data: Dataset, min_px: int, progress: Report) -> None:
        super().__init__(progress)
        self._data, self._min_px = data, min_px

    def count(self) -> int:
        return len(self._data.pairs)

    def name(self, k: int) -> tuple[str, Path | None]:
        mask = self._data.pairs[k].mask
        return self._data.pairs[k].name, mask if isinstance(mask, Path) else None

    def one(self, k: int) -> tuple[AnnotatedImage, Instances]:
        pair = self._data.pairs[k]
        sample = self._data.read(pair)
        if sample.labels is None:
            raise InputError(f"{pair.image}: has no mask, so that nothing is known of its objects.")
        found = objects_of_labels(sample.labels, self._data.classes, min_px=self._min_px, name=pair.name)
        path = pair.image if isinstance(pair.image, Path) else None
        return AnnotatedImage(pair.name, path, sample.image.hw, pair.split, *self.name(k)[1:]), found


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

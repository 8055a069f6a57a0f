"""The doctor's look at the set as a whole: are there enough images, are all classes there, is there an object to learn?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maskwright.annotations.damaged_files import damaged_files
from maskwright.data.dataset import Dataset
from maskwright.data.examine import Examined
from maskwright.data.findings import ERROR, WARNING, Finding, finding
from maskwright.data.wording import counted

FEW_IMAGES = 5
FITTED = ("train", "all")


def of_the_set(dataset: Dataset, seen: Sequence[Examined]) -> Iterator[Finding]:
    """What is wrong with all pairs together."""
    name, root = dataset.name, dataset.root
    if dataset.classes_found:
        way_out = "To name or change them, edit the classes.yaml of --out and give it with --classes."
        text = f"{name}: {dataset.classes_found}. {way_out}"
        yield finding("classes-found", root, "", text)
    if len(seen) < FEW_IMAGES:
        what, lone = counted(len(seen), "image"), len(seen) < 2
        why = "one to fit on and one to choose by are the least" if lone else "scores on so few are mostly chance"
        yield finding("few-images", root, what, f"{name}: only {what}: {why}. Add images.", severity=ERROR if lone else WARNING)
    yield from _not_read(dataset)
    trained = [one for one in seen if one.pair.split in FITTED]
    if any(one.pixels for one in trained):
        yield from _classes_not_fitted(dataset, seen, trained)


def _not_read(dataset: Dataset) -> Iterator[Finding]:
    """Files beside the annotations that may be some, too, but cannot be read: an empty val.json is not val without objects."""
    if dataset.annotations is not None and dataset.root is not None:
        for path, why in damaged_files(dataset.root, {image.file for image in dataset.annotations.images if image.file}):
            yield finding("unreadable", path, "", why, severity=WARNING)


def _classes_not_fitted(dataset: Dataset, seen: Sequence[Examined], trained: Sequence[Examined]) -> Iterator[Finding]:
    """Classes that no mask shows, or none of those that are fitted to."""
    for class_id, class_name in zip(dataset.classes.ids, dataset.classes.names, strict=True):
        if any(class_id in one.pixels for one in trained):
            continue
        what = f"{dataset.name}: class {class_name!r} (id {class_id}) is not in any mask"
        if not any(class_id in one.pixels for one in seen):
            yield finding("class-never-seen", dataset.root, class_name, f"{what}. Drop it, or add images of it.")
        else:
            yield finding("class-never-seen", dataset.root, class_name, f"{what} of train. Drop it, or add images of it.")

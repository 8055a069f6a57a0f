"""The doctor's look at the set as a whole: are there enough images, are all classes there, is there an object to learn?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maskwright.annotations.damaged_files import damaged_files, like_those_read
from maskwright.data.dataset import Dataset
from maskwright.data.examine import Examined
from maskwright.data.examine_objects import found_by_reader
from maskwright.data.findings import ERROR, WARNING, Finding, finding
from maskwright.data.wording import counted
from maskwright.errors import InputError

FEW_IMAGES = 5
# Codes of remarks about objects that are left out.
REFUSED = ("bad-object", "two-points", "zero-area", "out-of-image", "unknown-class", "wrong-size")


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
    fitted = "train" if "train" in dataset.splits else "all"
    trained = [one for one in seen if one.pair.split == fitted]
    if not any(one.pixels for one in trained):
        return
    yield from _nothing_to_learn(dataset, seen, trained)
    if dataset.annotations is None or any(one.objects for one in trained):
        yield from _classes_not_fitted(dataset, seen, trained)


def _not_read(dataset: Dataset) -> Iterator[Finding]:
    """Files beside the annotations that may be some, too, but cannot be read: an empty val.json is not val without objects."""
    if dataset.annotations is not None and dataset.root is not None:
        said = {remark.path for remark in dataset.annotations.remarks if remark.path}
        read = {image.file for image in dataset.annotations.images if image.file}
        for path, why in damaged_files(dataset.root, read | said):
            yield finding("unreadable", path, "", why, severity=ERROR if like_those_read(path, read) else WARNING)


def check_learnable(dataset: Dataset) -> None:
    """Refuse to train on annotations that hold no object in the images to fit on.

    Raises:
        InputError: there is none in the split train, or the annotations of an image cannot be read.
    """
    if dataset.annotations is None:
        return
    pairs = dataset.split("train")
    places = (pair.objects for pair in pairs if pair.objects is not None)
    if not any(not one.crowd for k in places for one in dataset.annotations.objects(k)[0]):
        raise InputError(_no_object(dataset, len(pairs), "train"))


def _nothing_to_learn(dataset: Dataset, seen: Sequence[Examined], trained: Sequence[Examined]) -> Iterator[Finding]:
    """Annotations without an object that can be used, in all images or in those that are fitted to."""
    if dataset.annotations is None or any(one.objects for one in trained):
        return
    said = [found_by_reader(remark) for remark in dataset.annotations.remarks]
    refused = [f for f in (*said, *(f for one in seen for f in one.findings)) if f.code in REFUSED]
    if refused and not any(one.objects for one in seen):
        text = f"{dataset.name}: every object was refused, such as: {refused[0].message.rstrip('.')}. Mend the annotations."
        yield finding("all-refused", refused[0].file, counted(len(refused), "remark"), text)
    else:
        text = _no_object(dataset, len(trained), trained[0].pair.split)
        yield finding("nothing-to-learn", dataset.root, "0 objects", text)


def _no_object(dataset: Dataset, images: int, split: str) -> str:
    where = " of the train split" if split == "train" else ""
    return (
        f"{dataset.name}: none of the {counted(images, 'image')}{where} has an object, so there is nothing to learn. "
        f"Annotate them, or put images with objects among those to fit on."
    )


def _classes_not_fitted(dataset: Dataset, seen: Sequence[Examined], trained: Sequence[Examined]) -> Iterator[Finding]:
    """Classes that no mask shows, or none of those that are fitted to."""
    for class_id, class_name in zip(dataset.classes.ids, dataset.classes.names, strict=True):
        if any(class_id in one.pixels for one in trained):
            continue
        what = f"{dataset.name}: class {class_name!r} (id {class_id}) is not in any mask"
        if not any(class_id in one.pixels for one in seen):
            yield finding("class-never-seen", dataset.root, class_name, f"{what}. Drop it, or add images of it.")
        else:
            text = f"{what} of the train split. Drop it, or put images of it there."
            yield finding("class-not-in-train", dataset.root, class_name, text)

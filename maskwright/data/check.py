"""The mask doctor: everything that would spoil a training run, found before it starts.

Each pair is looked at once, in threads (reading pictures leaves Python's lock alone); then the set as a whole. Nothing is ever
written into the data folder.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from maskwright.classes import ClassMap
from maskwright.data.across import across_splits
from maskwright.data.dataset import Dataset, open_dataset
from maskwright.data.examine import Examined, examine
from maskwright.data.examine_objects import found_by_reader
from maskwright.data.findings import ERROR, NOTE, WARNING, CheckReport, Finding, finding
from maskwright.data.found_classes import class_map_of
from maskwright.data.layouts import LayoutError
from maskwright.data.sheet import contact_sheet_of
from maskwright.data.wording import counted
from maskwright.errors import FormatError, InputError
from maskwright.io.write import write_json, write_png, write_text

__all__ = ["CheckReport", "Finding", "check"]

FEW_IMAGES = 5
_GRAVITY = (ERROR, WARNING, NOTE)


def check(
    source: str | Path | Dataset | tuple[Sequence[Any], Sequence[Any]],
    *,
    classes: ClassMap | Path | str | None = None,
    images: str | None = None,
    masks: str | None = None,
    group: str | None = None,
    snap: bool = False,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Look at every image and mask and report what is wrong; report.ok says whether training may start.

    Args:
        source, classes, images, masks, group, snap: see open_dataset
        out: a folder for contact_sheet.png, check.json and, where classes were found, classes.yaml
        progress: called with the number of pairs done and the number of all

    Raises:
        InputError: there is no such folder, an argument is wrong, or out lies in the data folder. Everything that is wrong
            with the data themselves is a finding.
    """
    given = class_map_of(classes) if classes is not None else None
    _check_out(source, out)
    try:
        dataset = open_dataset(source, classes=given, images=images, masks=masks, snap=snap)
    except InputError as error:
        report = _not_opened(source, error)
    else:
        dataset = open_dataset(dataset, group=group)
        seen = examine_all(dataset, progress)
        report = assemble(dataset, seen)
        if out is not None:
            write_png(Path(out) / "contact_sheet.png", contact_sheet_of(dataset, seen, report))
            if dataset.classes_found:
                write_text(Path(out) / "classes.yaml", dataset.classes.to_yaml())
    if out is not None:
        write_json(Path(out) / "check.json", report.to_json())
    return report


def _check_out(source: Any, out: str | Path | None) -> None:
    root = source.root if isinstance(source, Dataset) else source if isinstance(source, (str, Path)) else None
    if out is not None and root is not None and Path(out).resolve().is_relative_to(Path(root).resolve()):
        raise InputError(f"{out}: lies in the data folder {root}, where nothing is ever written; give another --out.")


def _not_opened(source: Any, error: InputError) -> CheckReport:
    """The report on a folder that is there but cannot be opened as a data set."""
    root = Path(source) if isinstance(source, (str, Path)) else None
    if root is None or not root.is_dir():
        raise error
    kinds = ((LayoutError, "no-pairs"), (FormatError, "unreadable"))
    code = next((code for kind, code in kinds if isinstance(error, kind)), "no-classes")
    return CheckReport(root.resolve().name, (finding(code, root, "", str(error)),))


def examine_all(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> list[Examined]:
    """Every pair, in the order of the data set."""
    seen = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for one in pool.map(examine, [dataset] * len(dataset.pairs), dataset.pairs):
            seen.append(one)
            if progress:
                progress(len(seen), len(dataset.pairs))
    return seen


def assemble(dataset: Dataset, seen: Sequence[Examined]) -> CheckReport:
    """The report: findings of the pairs and of the set as a whole, and the class balance."""
    classes = dataset.classes
    findings = [f for one in seen for f in one.findings]
    findings += [_missing_image(path) for path in dataset.strays]
    findings += [found_by_reader(remark) for remark in dataset.annotations.remarks] if dataset.annotations else []
    findings += across_splits(seen)
    findings += _of_the_set(dataset, seen)
    totals: Counter[int] = Counter()
    images: Counter[int] = Counter()
    objects: Counter[int] = Counter()
    for one in seen:
        objects.update(one.objects)
        totals.update(one.pixels)
        images.update(one.pixels.keys())
    return CheckReport(
        dataset.name,
        tuple(sorted(findings, key=lambda f: _GRAVITY.index(f.severity))),
        classes,
        {name: totals[i] for i, name in zip(classes.ids, classes.names, strict=True)},
        {name: images[i] for i, name in zip(classes.ids, classes.names, strict=True)},
        totals[classes.ignore_id],
        len(seen),
        dataset.splits,
        dataset.layout,
        dataset.classes_found,
        {name: objects[i] for i, name in zip(classes.ids, classes.names, strict=True) if i != classes.background}
        if dataset.annotations
        else {},
    )


def _missing_image(mask: Path) -> Finding:
    text = f"{mask}: no image has the name {mask.stem!r}. Add it, or leave the mask out with --skip-bad."
    return finding("missing-image", mask, mask.stem, text)


def _of_the_set(dataset: Dataset, seen: Sequence[Examined]) -> Iterator[Finding]:
    name, root = dataset.name, dataset.root
    if dataset.classes_found:
        way_out = "To name or change them, edit the classes.yaml of --out and give it with --classes."
        text = f"{name}: {dataset.classes_found}. {way_out}"
        yield finding("classes-found", root, "", text)
    if len(seen) < FEW_IMAGES:
        what, lone = counted(len(seen), "image"), len(seen) < 2
        why = "one to fit on and one to choose by are the least" if lone else "scores on so few are mostly chance"
        yield finding("few-images", root, what, f"{name}: only {what}: {why}. Add images.", severity=ERROR if lone else WARNING)
    trained = [one for one in seen if one.pair.split in ("train", "all")]
    if not any(one.pixels for one in trained):
        return
    for class_id, class_name in zip(dataset.classes.ids, dataset.classes.names, strict=True):
        where = "any mask" if not any(class_id in one.pixels for one in seen) else "any mask of train"
        if not any(class_id in one.pixels for one in trained):
            text = f"{name}: class {class_name!r} (id {class_id}) is not in {where}. Drop it, or add images of it."
            yield finding("class-never-seen", root, class_name, text)

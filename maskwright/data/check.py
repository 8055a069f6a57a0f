"""The mask doctor: everything that would spoil a training run, found before it starts.

Each pair is looked at once, in threads (reading pictures leaves Python's lock alone); then the set as a whole. Nothing is ever
written into the data folder.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from maskwright.annotations.formats import detect
from maskwright.classes import ClassMap
from maskwright.data.across import across_splits
from maskwright.data.dataset import BESIDE_CLASSES, Dataset, open_dataset
from maskwright.data.examine import Examined, examine
from maskwright.data.examine_objects import found_by_reader
from maskwright.data.examine_set import of_the_set
from maskwright.data.findings import ERROR, NOTE, WARNING, CheckReport, Finding, finding
from maskwright.data.found_classes import class_map_of
from maskwright.data.layouts import LayoutError
from maskwright.data.sheet import contact_sheet_of
from maskwright.data.wording import counted
from maskwright.errors import FormatError, InputError
from maskwright.io.write import write_json, write_png, write_text

__all__ = ["CheckReport", "Finding", "check"]

_GRAVITY = (ERROR, WARNING, NOTE)

Progress = Callable[[int, int], None]


def check(
    source: str | Path | Dataset | tuple[Sequence[Any], Sequence[Any]],
    *,
    classes: ClassMap | Path | str | None = None,
    images: str | None = None,
    masks: str | None = None,
    group: str | None = None,
    snap: bool = False,
    objects: bool | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Look at every image and mask and report what is wrong; report.ok says whether training may start.

    Args:
        source, classes, images, masks, group, snap: see open_dataset
        objects: see open_dataset; with None a folder that holds masks of classes and objects is checked as training takes it, by
            its masks, and a warning says whether the objects hold errors
        out: a folder for contact_sheet.png, check.json and, where classes were found, classes.yaml
        progress: called with the number of pairs done and the number of all

    Raises:
        InputError: there is no such folder, an argument is wrong, or out lies in the data folder. Everything that is wrong
            with the data themselves is a finding.
    """
    given = class_map_of(classes) if classes is not None else None
    looks_beside = objects is None and masks is None and not isinstance(source, Dataset)
    _check_out(source, out)
    try:
        dataset = open_dataset(source, classes=given, images=images, masks=masks, snap=snap, objects=objects)
    except InputError as error:
        report = _not_opened(source, error)
    else:
        dataset = open_dataset(dataset, group=group)
        seen = examine_all(dataset, progress)
        report = assemble(dataset, seen)
        beside = _objects_beside(dataset, given, images) if looks_beside else None
        if beside is not None and dataset.root is not None:
            report = _with_objects_beside(report, dataset.root, beside, progress)
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


def examine_all(dataset: Dataset, progress: Progress | None = None) -> list[Examined]:
    """Every pair, in the order of the data set."""
    seen = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for one in pool.map(examine, [dataset] * len(dataset.pairs), dataset.pairs):
            seen.append(one)
            if progress:
                progress(len(seen), len(dataset.pairs))
    return seen


def _with_objects_beside(
    report: CheckReport, root: Path, objects: Dataset | InputError, progress: Progress | None
) -> CheckReport:
    """A warning more where objects beside the masks of classes hold errors: training of classes does not look at them."""
    if isinstance(objects, InputError):
        said = [str(objects)]
    else:
        known = {(f.code, f.file) for f in report.findings}
        found = assemble(objects, examine_all(objects, progress)).findings
        said = [f.message for f in found if f.severity == ERROR and (f.code, f.file) not in known]
    if not said:
        return report
    errors = counted(len(said), "error")
    text = (
        f"{report.name}: {errors} in the objects beside the masks, such as: {said[0].rstrip('.')}. Training of classes does not "
        f"see them, that of objects would stop: check them with --objects."
    )
    return replace(report, findings=_in_order((*report.findings, finding("objects-beside", root, errors, text))))


def _objects_beside(dataset: Dataset, classes: ClassMap | None, images: str | None) -> Dataset | InputError | None:
    """The objects that lie in the folder of a data set of masks, or why they cannot be opened; None where there are none."""
    root = dataset.root
    if root is None or dataset.annotations is not None or not BESIDE_CLASSES & {name for name, _ in detect(root)}:
        return None
    try:
        return open_dataset(root, classes=classes, images=images, objects=True)
    except InputError as error:
        return error


def assemble(dataset: Dataset, seen: Sequence[Examined]) -> CheckReport:
    """The report: findings of the pairs and of the set as a whole, and the class balance."""
    classes = dataset.classes
    findings = [f for one in seen for f in one.findings]
    findings += [_missing_image(path) for path in dataset.strays]
    findings += [found_by_reader(remark) for remark in dataset.annotations.remarks] if dataset.annotations else []
    findings += across_splits(seen)
    findings += of_the_set(dataset, seen)
    totals: Counter[int] = Counter()
    images: Counter[int] = Counter()
    objects: Counter[int] = Counter()
    for one in seen:
        objects.update(one.objects)
        totals.update(one.pixels)
        images.update(one.pixels.keys())
    return CheckReport(
        dataset.name,
        _in_order(findings),
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


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The gravest first."""
    return tuple(sorted(findings, key=lambda f: _GRAVITY.index(f.severity)))


def _missing_image(mask: Path) -> Finding:
    text = f"{mask}: no image has the name {mask.stem!r}. Add it, or leave the mask out with --skip-bad."
    return finding("missing-image", mask, mask.stem, text)

"""Every pair of annotation formats, there and back, on real and on drawn data, masks compared pixel by pixel.

    python benchmarks/conversions.py DATA [--only coco-tiny,drawn seas]

DATA holds coco-tiny, nuclei-dsb2018, rivers-via and ships-sar-hrsid; those that are missing are left out. Each set is brought to
every format that we write and read, and from each of these to every other. An object is kept where its class and every pixel of
its mask come back; where a target cannot hold it, the writer must have said so.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from record import record

from maskwright.annotations.assemble import instances_of
from maskwright.annotations.formats import FORMATS, read_annotations
from maskwright.annotations.writers import WRITERS
from maskwright.data.convert import ConversionReport, convert, size_of
from maskwright.demo import tankers

REAL = ("coco-tiny", "nuclei-dsb2018", "rivers-via", "ships-sar-hrsid")
OF_CLASSES = ("ships-sar-hrsid",)  # masks of classes: their connected parts become the objects
DRAWN = "drawn seas"
BOTH = tuple(name for name in WRITERS if name in FORMATS)

Content = Counter[tuple[str, str, object]]  # image, class and mask of each object


def content(folder: Path, format: str) -> Content:
    found = read_annotations(folder, format=format)
    seen: Content = Counter()
    for k, image in enumerate(found.images):
        objects, _ = instances_of(found, k, image.hw or size_of(image))
        names = dict(zip(objects.classes.ids, objects.classes.names, strict=True))
        for class_id, mask, crowd in zip(objects.class_ids.tolist(), objects.masks, objects.crowds.tolist(), strict=True):
            if not crowd and mask.area_px:  # crowds are hints for scores, not objects
                seen[image.name, names[class_id], mask] += 1
    return seen


def rows_of(name: str, source: Path, work: Path) -> tuple[list[dict[str, str | int]], list[str]]:
    """A row for each format that the set is brought to first; what was said, in a line for each target."""
    start = convert(source, work / "start", to="coco", components=name in OF_CLASSES)
    rows: list[dict[str, str | int]] = []
    said: dict[str, Counter[str]] = {to: Counter() for to in BOTH}
    silent: list[str] = []
    for first in BOTH:
        here = work / first
        step = convert(work / "start", here, to=first, format="coco")
        before = content(here, first)
        row: dict[str, str | int] = {"set": name, "images": step.images, "from": first, "objects": before.total()}
        for to in BOTH:
            there = work / f"{first}-{to}"
            report = convert(here, there, to=to, format=first)
            after = content(there, to)
            kept = (before & after).total()
            row[f"to {to}"] = f"{kept}" if kept < before.total() or after.total() > kept else "all"
            said[to].update(report.counts)
            if kept < before.total() and not _told(report):
                silent.append(f"{name}: {first} to {to} changed {before.total() - kept} objects and said nothing")
        rows.append(row)
    notes = [f"{name}, to {to}, all pairs together: {_listed(codes)}" for to, codes in said.items() if codes]
    return rows, [f"{name}: read as {start.format}; {start.objects} objects, {_listed(Counter(start.counts))}", *notes, *silent]


def _told(report: ConversionReport) -> bool:
    return bool(report.remarks)


def _listed(codes: Counter[str]) -> str:
    return ", ".join(f"{count} x {code}" for code, count in codes.most_common()) or "no remarks"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--only", default="", help="names of the sets, with commas between them")
    given = arguments.parse_args()
    wanted = given.only.split(",") if given.only else (*REAL, DRAWN)
    rows: list[dict[str, str | int]] = []
    notes: list[str] = []
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            source = tankers.make(Path(folder) / "drawn", count=40) if name == DRAWN else given.data / name
            if not source.is_dir():
                notes.append(f"{name} is not in DATA and was left out")
                continue
            made, told = rows_of(name, source, Path(folder))
            rows, notes = rows + made, notes + told
            print(*made, *told, sep="\n", flush=True)
    record(
        "conversions",
        rows,
        command="python benchmarks/conversions.py DATA" + (f" --only '{given.only}'" if given.only else ""),
        notes=[
            "objects: those that the first format holds; to X: how many of them X gives back with their class and every pixel",
            "what a format cannot hold is counted by its writer; remarks of each target, over all first formats:",
            *notes,
        ],
    )


if __name__ == "__main__":
    main()

"""What the mask doctor can find, how grave it is, and how it is told: one line a kind, never one a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maskwright.classes import ClassMap
from maskwright.data.wording import counted

ERROR, WARNING, NOTE = "error", "warning", "note"
SHOWN_FILES = 3


@dataclass(frozen=True)
class Kind:
    """A row of KINDS: how grave it is, what is said of one and of several files, and the way out."""

    severity: str
    several: str
    way_out: str


KINDS = {
    "no-pairs": Kind(ERROR, "no pairs of images and masks", "Name the folders with --images and --masks."),
    "no-classes": Kind(ERROR, "no classes", "Write them into a classes.yaml and give it with --classes."),
    "unreadable": Kind(ERROR, "files cannot be read", "Copy or export them again, or leave them out with --skip-bad."),
    "missing-mask": Kind(ERROR, "images have no mask", "Add the masks, or leave the images out with --skip-bad."),
    "missing-image": Kind(ERROR, "masks have no image", "Add the images, or leave the masks out with --skip-bad."),
    "size-mismatch": Kind(ERROR, "masks are not of their image's size", "Export them at the image's size, without smoothing."),
    "orientation-mismatch": Kind(ERROR, "masks are turned against their image", "Turn the masks, or save the images upright."),
    "unknown-value": Kind(ERROR, "masks hold values that no class has", "List the values in a classes.yaml, or mend the masks."),
    "anti-aliased": Kind(ERROR, "masks have smoothed edges", "Export them without smoothing, or take the nearest class: --snap."),
    "smeared-mask": Kind(ERROR, "masks were JPEGs or resized once", "Save them anew, or take the nearest class: --snap."),
    "duplicate-across-splits": Kind(ERROR, "images stand in two splits", "Leave each in one split, or scores will flatter."),
    "near-duplicate": Kind(WARNING, "images look nearly alike", "Put images of one scene or patient into one split: --group."),
    "duplicate-image": Kind(WARNING, "images stand twice in one split", "Leave one of each out."),
    "group-across-splits": Kind(WARNING, "groups stand in several splits", "Split by group, or scores will flatter."),
    "jpeg-mask": Kind(WARNING, "masks are JPEG files", "Values went to the nearest class; save masks as PNG to have them exact."),
    "all-background": Kind(WARNING, "masks are all background", "Fine where nothing is there; else the mask is missing."),
    "all-ignored": Kind(WARNING, "masks are all ignored", "Draw them, or leave the images out."),
    "class-never-seen": Kind(WARNING, "classes are in no mask", "Take them out of classes.yaml, or add images that show them."),
    "class-not-in-train": Kind(WARNING, "classes are in no mask of the train split", "Drop them, or put images of them there."),
    "undeclared-class": Kind(WARNING, "classes are used but not declared", "A slip of a known name? Else declare them."),
    "all-refused": Kind(ERROR, "sets have no object that can be used", "Mend the annotations."),
    "nothing-to-learn": Kind(ERROR, "sets have no object to fit on", "Annotate images of the train split."),
    "objects-beside": Kind(WARNING, "sets have errors in the objects beside the masks", "Check them with --objects."),
    "few-images": Kind(WARNING, "few images", "Add images: scores on so few are mostly chance."),
    "two-points": Kind(WARNING, "objects have fewer than three points", "They are left out; draw them again."),
    "zero-area": Kind(WARNING, "objects cover no pixel", "They are left out; draw or delete them."),
    "self-crossing": Kind(WARNING, "polygons cross themselves", "Pixels count where the outline winds an odd number of times."),
    "out-of-image": Kind(WARNING, "objects reach beyond their image", "The rest is cut off; was the image cropped or resized?"),
    "duplicate-object": Kind(WARNING, "objects stand twice", "Delete one of each: both would be learned and scored."),
    "unknown-class": Kind(ERROR, "objects are of no known class", "Add the class, or leave those images out with --skip-bad."),
    "box-mismatch": Kind(WARNING, "boxes do not fit their mask", "One of the two is wrong; the box of the file is used."),
    "image-listed-twice": Kind(ERROR, "images are listed twice", "Keep one entry of each; their objects would be counted apart."),
    "image-not-on-disk": Kind(WARNING, "annotated images are not on disk", "They are left out; name their folder with --images."),
    "image-not-annotated": Kind(WARNING, "images are in no annotation file", "They are left out; are they empty, or forgotten?"),
    "wrong-size": Kind(ERROR, "annotations are of another size than their image", "Were the images resized after drawing?"),
    "place-guessed": Kind(WARNING, "polygons do not state where they lie", "See the contact sheet; write the CRS into the file."),
    "bad-object": Kind(WARNING, "objects cannot be used", "They are left out; mend them in the file."),
    "holes-lost": Kind(WARNING, "objects have holes that COCO's rule fills", "Store them as run lengths."),
    "overlap": Kind(WARNING, "objects overlap where a pixel holds one only", "The smaller one was kept on top."),
    "parts-lost": Kind(WARNING, "objects lost parts", "The format holds one outline an object."),
    "no-objects": Kind(NOTE, "images have no object", "Fine where nothing is there; else their annotations are missing."),
    "classes-found": Kind(NOTE, "class maps were found", "Edit the classes.yaml that --out writes and give it with --classes."),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing the doctor found.

    Attributes:
        severity: "error": training may not start; "warning": look at it; "note"
        code: a key of KINDS
        file: the file it is about, None where it is about the whole set or an array
        value: what was found there, as text: the values, the sizes, the other file
        message: a sentence or two with the file, the value and the way out
        name: of the pair, "" where it is about the whole set
    """

    severity: str
    code: str
    file: Path | None
    value: str
    message: str
    name: str = ""


def finding(code: str, file: Path | None, value: str, message: str, name: str = "", severity: str | None = None) -> Finding:
    """A finding of a kind, with the severity of its row unless told otherwise."""
    return Finding(severity or KINDS[code].severity, code, file, value, message, name)


@dataclass(frozen=True, eq=False)
class CheckReport:
    """What the doctor says about a data set.

    Attributes:
        name: of the data set
        findings: errors first
        classes: the class map; None where the data set could not be opened
        class_pixels, class_images: pixels, and images, of each class by name
        ignored_px: pixels that count nowhere
        images: how many pairs were looked at
        splits: how many of them each split has
        class_objects: objects of each class by name; empty where the truth does not tell them apart
        layout: where images and masks were found, one line
        classes_found: how the classes were found, one line; "" where they were given
    """

    name: str
    findings: tuple[Finding, ...]
    classes: ClassMap | None = None
    class_pixels: Mapping[str, int] = field(default_factory=dict)
    class_images: Mapping[str, int] = field(default_factory=dict)
    ignored_px: int = 0
    images: int = 0
    splits: Mapping[str, int] = field(default_factory=dict)
    layout: str = ""
    classes_found: str = ""
    class_objects: Mapping[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Training may start: there is no error."""
        return not self.count(ERROR)

    @property
    def bad_names(self) -> tuple[str, ...]:
        """Names of the pairs with errors, for Dataset.without."""
        return tuple(dict.fromkeys(f.name for f in self.findings if f.severity == ERROR and f.name))

    def count(self, severity: str) -> int:
        return sum(f.severity == severity for f in self.findings)

    def lines(self) -> list[str]:
        """The report for people: what was found where, the class balance, one line a kind of finding, and the verdict."""
        head = [f"{self.name}: {self.layout}"] if self.layout else []
        return [*head, *self._balance(), *(_told(same) for same in self._by_kind()), self._verdict()]

    def _balance(self) -> list[str]:
        total = sum(self.class_pixels.values()) + self.ignored_px
        rows = [(name, px, self._where(name)) for name, px in self.class_pixels.items()]
        if self.ignored_px:
            rows.append(("(ignored)", self.ignored_px, ""))
        width = max((len(name) for name, _, _ in rows), default=0)
        return [f"  {name:<{width}}  {100 * px / max(total, 1):6.2f} % of the pixels{where}" for name, px, where in rows]

    def _where(self, name: str) -> str:
        objects = f", {counted(self.class_objects[name], 'object')}" if self.class_objects.get(name) else ""
        return f"{objects}, in {counted(self.class_images[name], 'image')}"

    def _by_kind(self) -> list[list[Finding]]:
        groups: dict[tuple[str, str], list[Finding]] = {}
        for f in self.findings:
            groups.setdefault((f.severity, f.code), []).append(f)
        return list(groups.values())

    def _verdict(self) -> str:
        found = f"{counted(self.count(ERROR), 'error')}, {counted(self.count(WARNING), 'warning')}"
        return f"Training may start ({found})." if self.ok else f"Training must not start yet ({found})."

    def to_json(self) -> dict[str, Any]:
        """What check.json holds."""
        return {
            "name": self.name,
            "ok": self.ok,
            "layout": self.layout,
            "images": self.images,
            "splits": dict(self.splits),
            "classes": self.classes.to_dict() if self.classes else None,
            "classes_found": self.classes_found,
            "class_pixels": dict(self.class_pixels),
            "class_images": dict(self.class_images),
            "class_objects": dict(self.class_objects),
            "ignored_px": self.ignored_px,
            "findings": [asdict(f) | {"file": str(f.file) if f.file else None} for f in self.findings],
        }


def _told(same: Sequence[Finding]) -> str:
    """One line for all findings of a kind: the message of a single one, else the count, three places and the way out."""
    first = same[0]
    if len(same) == 1:
        return f"{first.severity} {first.code}: {first.message}"
    kind = KINDS[first.code]
    of_file = Counter(f.file for f in same)
    places = list(dict.fromkeys(_place(f, shared=of_file[f.file] > 1) for f in same))
    more = f" and {len(places) - SHOWN_FILES} more" if len(places) > SHOWN_FILES else ""
    return f"{first.severity} {first.code}: {len(same)} {kind.several}: {', '.join(places[:SHOWN_FILES])}{more}. {kind.way_out}"


def _place(one: Finding, *, shared: bool) -> str:
    """The file with what was found there; where several share the file, as a COCO json, the image, else what was found alone."""
    if one.value and not one.name and (shared or one.file is None):
        return one.value
    place = one.name if one.file is None or (shared and one.name) else "/".join(one.file.parts[-2:])
    return f"{place} ({one.value})" if one.value and one.value != Path(place).stem else place

"""Cityscapes' instance annotations: polygons in drawing order, or masks of instance ids.

    <folder>/leftImg8bit/<split>/<city>/<frame>_leftImg8bit.png
    <folder>/gtFine/<split>/<city>/<frame>_gtFine_polygons.json      a label and a polygon an object
    <folder>/gtFine/<split>/<city>/<frame>_gtFine_instanceIds.png    label id x 1000 + number; below 1000: a crowd

Source: Cordts et al. 2016, arXiv:1604.01685, and the label table and drawing script that come with the data set
(cityscapesScripts: helpers/labels.py, preparation/json2instanceImg.py). Its scores are counted on the id masks, so these are
read where they are there, and the polygons elsewhere. A label that ends in "group" is a crowd; what Cityscapes calls deleted,
and labels without an id, are not drawn. Differs: polygons fill pixel centres (ops/polygons.py), the script's also cover their
border.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.annotations.class_names import unknown_class
from maskwright.annotations.drawn import AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.image_files import files_below, split_of
from maskwright.annotations.listing import Listed, assemble, counted, left_out, relative
from maskwright.annotations.pictures import Pictures, hw_of_mask
from maskwright.annotations.records import Refused, load_json, points, record, rows, size_hw, text
from maskwright.classes import LABEL_SETS, ClassMap
from maskwright.errors import FormatError, InputError
from maskwright.io.decoded import bomb, pixel_limit
from maskwright.io.masks import read_mask
from maskwright.ops.components import masks_of_ids
from maskwright.ops.polygons import Ring, fill

IMAGES, IMAGE_END = "leftImg8bit", "_leftImg8bit"
POLYGONS, IDS = "_polygons.json", "_instanceIds.png"
TRUTHS = ("gtFine", "gtCoarse")
GROUP = "group"
PER_LABEL = 1000

# Label ids of the kinds with objects; the first eight are scored, the others have objects that count nowhere.
THINGS = {
    "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
UNSCORED = {"caravan": 29, "trailer": 30}
# Everything else that Cityscapes labels: areas without objects. They cover what was drawn before them.
STUFF = frozenset(
    {
        "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road", "sidewalk",
        "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup",
        "traffic light", "traffic sign", "vegetation", "terrain", "sky",
    }
)  # fmt: skip
NOT_DRAWN = ("license plate",)


def looks_like(root: Path) -> str:
    """The folder gtFine or gtCoarse, or a file of polygons or instance ids in root."""
    if not root.is_dir():
        return ""
    own = next((name for name in TRUTHS if (root / name).is_dir()), None)
    if own is not None:
        return f"{own}/"
    # A few levels only: this is asked of every folder, of any format and size.
    ends = tuple(f"_{truth}{end}" for truth in TRUTHS for end in (POLYGONS, IDS))
    near = (path for pattern in ("*_gt*", "*/*_gt*", "*/*/*_gt*") for path in sorted(root.glob(pattern)))
    some = next((path for path in near if path.name.endswith(ends)), None)
    return relative(some, root) if some is not None else ""


def read(root: Path, *, images: Path | None = None, classes: ClassMap | None = None) -> Annotations:
    """Every frame of gtFine (gtCoarse where there is no gtFine); objects are of the eight scored kinds, or of those given.

    Raises:
        FormatError: no file of polygons or instance ids.
        InputError: no such folder.
    """
    frames = _frames(root)
    if not frames:
        raise FormatError(f"{root}: no file *_gtFine{IDS} or *_gtFine{POLYGONS} here; expected the folder of Cityscapes.")
    known = classes or default_classes()
    masks = sum(path.name.endswith(IDS) for path in frames.values())
    folder = images or (root / IMAGES if (root / IMAGES).is_dir() else root)
    every_mask = [path for path in files_below(root, (".png",)) if any(f"_{truth}_" in path.name for truth in TRUTHS)]
    line = f"Cityscapes: {counted(masks, 'mask')} of instance ids, {counted(len(frames) - masks, 'file')} of polygons"
    files = Pictures(folder, every_mask)
    listed = [_listed(base, path, root, files) for base, path in frames.items()]
    return assemble("cityscapes", root, line, known, listed, files, partial(_objects, classes=known), others_count=False)


def default_classes() -> ClassMap:
    """The eight kinds that Cityscapes scores, under its own label ids and colours."""
    given = LABEL_SETS["cityscapes"]
    colour_of = dict(zip(given["names"].split(), given["colours"], strict=True))
    return ClassMap((0, *THINGS.values()), ("background", *THINGS), ((0, 0, 0), *(colour_of[name] for name in THINGS)))


def _frames(root: Path) -> dict[str, Path]:
    """Each frame's annotation by its name without endings: masks of ids before polygons, fine before coarse."""
    found: dict[str, Path] = {}
    files = files_below(root, (".png", ".json"))
    for truth in TRUTHS:
        for end in (IDS, POLYGONS):
            for path in files:
                if path.name.endswith(f"_{truth}{end}"):
                    found.setdefault(path.name.removesuffix(f"_{truth}{end}"), path)
        if found:
            break
    return found


def _listed(base: str, path: Path, root: Path, files: Pictures) -> Listed:
    name = f"{path.parent.name}/{base}{IMAGE_END}"
    split = split_of(path.parent, root)
    hw = None if files.find(name, split=split) else hw_of_mask(path) if path.suffix == ".png" else _hw_of_polygons(path)
    return Listed(name, path, hw, split, [str(path)])


def _hw_of_polygons(path: Path) -> tuple[int, int] | None:
    """The size that a file of polygons states, for an image that is not on disk; None where it cannot be read."""
    try:
        whole = record(load_json(path), str(path), "the file")
        return size_hw(whole.get("imgHeight"), whole.get("imgWidth"), str(path))
    except InputError:
        return None


def _objects(given: list[Any], image: AnnotatedImage, classes: ClassMap) -> tuple[list[Drawn], list[Remark]]:
    path = Path(given[0])
    return _of_ids(path, classes) if path.suffix == ".png" else _of_polygons(path, image, classes)


def _of_ids(path: Path, classes: ClassMap) -> tuple[list[Drawn], list[Remark]]:
    mask = read_mask(path)
    if mask.kind == "rgb":
        raise FormatError(f"{path}: holds colours; expected instance ids (label id x 1000 + number) in 16 bits.")
    class_of = {number: _class_id(name, classes) for name, number in (THINGS | UNSCORED).items()}
    drawn = []
    for number, rle in masks_of_ids(np.maximum(mask.values, 0)).items():
        crowd = number < PER_LABEL
        class_id = class_of.get(number if crowd else number // PER_LABEL)
        if class_id is not None:
            drawn.append(Drawn(class_id, rle=rle, crowd=crowd, id=number, where=f"instance {number}"))
    return drawn, []


def _of_polygons(path: Path, image: AnnotatedImage, classes: ClassMap) -> tuple[list[Drawn], list[Remark]]:
    """Objects as what is left of each polygon once all later ones lie over it."""
    whole = record(load_json(path), str(path), "the file")
    hw = size_hw(whole.get("imgHeight"), whole.get("imgWidth"), str(path))
    if hw is None:
        raise FormatError(f"{path}: states no imgHeight and imgWidth; expected polygons of Cityscapes. Copy the file again.")
    limit = pixel_limit()
    if limit is not None and hw[0] * hw[1] > limit:
        raise bomb(path, f"{hw[1]}x{hw[0]} pixels")
    remarks: list[Remark] = []
    canvas = np.zeros(hw, np.int32)
    drawn: dict[int, Drawn] = {}
    for number, label, ring in _shapes(whole, path, image, remarks):
        mask = fill([ring], hw)
        x0, y0, x1, y1 = mask.box_xyxy
        where = f"object {number} ({label})"
        try:
            kind = _kind(label, classes, f"{path}: {where}")
        except Refused as error:
            remarks.append(left_out(error, image))
            kind = None
        # What is no object lies over others all the same.
        canvas[y0:y1, x0:x1][mask.crop((x0, y0, x1, y1))] = 0 if kind is None else number + 1
        if kind is not None:
            drawn[number + 1] = Drawn(kind[0], rle=mask, crowd=kind[1], where=where)
    seen = masks_of_ids(canvas)
    for number, one in drawn.items():
        if number not in seen:
            text = f"{path}: {one.where} is hidden by polygons that are drawn over it; it is left out."
            remarks.append(Remark("zero-area", text, image.name, path))
    return [Drawn(one.class_id, rle=seen[n], crowd=one.crowd, where=one.where) for n, one in drawn.items() if n in seen], remarks


def _shapes(whole: Any, path: Path, image: AnnotatedImage, remarks: list[Remark]) -> Iterator[tuple[int, str, Ring]]:
    """Position, label and polygon of what is drawn, in drawing order; a remark for what cannot be."""
    for number, row in enumerate(rows(whole.get("objects"), str(path), "`objects`")):
        where = f"{path}: object {number}"
        try:
            given = record(row, where, "it")
            label = text(given.get("label"), where, "its label")
            if given.get("deleted") or label in NOT_DRAWN:
                continue
            ring = points(given.get("polygon"), where, "its polygon")
            if len(ring) < 3:
                raise Refused("two-points", f"{where} ({label}): its polygon has {len(ring)} points; expected 3 or more.")
        except FormatError as error:
            remarks.append(left_out(error, image))
            continue
        yield number, label, ring


def _kind(label: str, classes: ClassMap, where: str) -> tuple[int, bool] | None:
    """Class id and whether it is a crowd; None for what is no object here.

    Raises:
        Refused: neither Cityscapes nor the class map knows the label.
    """
    if label in STUFF:
        return None
    for name, crowd in ((label, False), (label.removesuffix(GROUP), True)):
        class_id = _class_id(name, classes)
        if class_id is not None:
            return class_id, crowd
        if name in UNSCORED or name in THINGS:
            return None
    raise unknown_class(label, classes, where)


def _class_id(name: str, classes: ClassMap) -> int | None:
    known = {n: i for i, n in zip(classes.ids, classes.names, strict=True) if i != classes.background}
    return known.get(name)

"""Which files of a folder are images, which are masks, and which split each belongs to: the layouts people really have.

No layout is hard-wired: each folder name is looked up in the tables below, so that images/ + masks/, train/images +
train/masks, images/train + masks/train, train + trainannot, image + label, imagesTr + labelsTr and x.jpg + x_mask.png all come
from the same few rows. data/pairing.py then says which mask belongs to which image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from maskwright.annotations.image_files import files_below
from maskwright.data.names import shared_start
from maskwright.data.wording import folders_text
from maskwright.errors import InputError
from maskwright.io.read import IMAGE_SUFFIXES

# Words are compared in lower case, without blanks, dots, dashes and underscores.
IMAGE_WORDS = ("images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "inputs", "input", "scans", "frames")
MASK_WORDS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "annots", "annot", "groundtruths", "groundtruth", "gt",
    "targets", "target", "segmentations", "segmentation", "segmentationclass", "segs", "seg", "1stmanual", "manual",
)  # fmt: skip
SPLIT_WORDS = {"train": ("training", "train"), "val": ("validation", "valid", "val"), "test": ("testing", "test")}
# nnU-Net's imagesTr and labelsTs; as whole folder names these mean nothing.
SHORT_SPLITS = {"tr": "train", "ts": "test"}
# Endings that tell an image from its mask where both lie in one folder: 7_sat.jpg + 7_mask.png, and nnU-Net's x_0000.png.
IMAGE_ENDINGS = (*IMAGE_WORDS, "sat", "0000")

EXPECTED = (
    "Known layouts: images/ + masks/, train/images + train/masks, train/ + trainannot/, image/ + label/, or x.jpg + x_mask.png "
    "in one folder. Name other folders with --images and --masks"
)

_SPLIT_OF = {word: split for split, words in SPLIT_WORDS.items() for word in words}
_SPLIT, _IMAGE, _MASK = ("|".join(words) for words in (_SPLIT_OF, IMAGE_WORDS, MASK_WORDS))
_SHORT = "|".join(SHORT_SPLITS)
_FOLDER = re.compile(
    rf"(?P<first>{_SPLIT})?((?P<image>{_IMAGE})|(?P<mask>{_MASK}))(?P<last>{_SPLIT}|{_SHORT})?|(?P<only>{_SPLIT})(\d{{4}})?"
)


class LayoutError(InputError):
    """A folder that is there holds no pairs of images and masks that I know how to find."""


class AmbiguousError(LayoutError):
    """Several files or folders could be meant, and only a person can say which."""


@dataclass(frozen=True)
class Placed:
    """One picture file and what its place says about it.

    Attributes:
        path: the file
        role: "image", "mask" or "" where no folder on the way says which
        split: "train", "val", "test" or ""
        word: the folder name that gave the role, without its split: two words for one role mean two candidates
        rest: the folders on the way that say nothing: patients, scenes
    """

    path: Path
    role: str = ""
    split: str = ""
    word: str = ""
    rest: tuple[str, ...] = ()


def find_files(root: Path, *, images: str | None = None, masks: str | None = None) -> list[Placed]:
    """Every picture file under root with its role, in the order of the paths.

    images and masks name folders (a path below root, or a folder name that comes back in each split) and overrule the
    tables: other folders of the same role are left out.

    Raises:
        InputError: no such folder.
        LayoutError: no picture in it, or nothing under a folder that was named.
    """
    if root.is_file():
        raise InputError(f"{root}: is a file; expected a folder with images and masks. {EXPECTED}.")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder.")
    files = picture_files(root)
    if not files:
        raise LayoutError(f"{root}: no images here (looked for {', '.join(sorted(IMAGE_SUFFIXES))}). {EXPECTED}.")
    given = {role: Path(folder).parts for role, folder in (("image", images), ("mask", masks)) if folder is not None}
    for role, parts in given.items():
        if not any(_lies_in(path.relative_to(root).parent.parts, parts) for path in files):
            there = folders_text(files, root)
            raise LayoutError(f"{root}: no pictures under the folder {'/'.join(parts)!r} (--{role}s); folders here: {there}.")
    placed = [place(path, path.relative_to(root).parent.parts, given) for path in files]
    return without_common_rest(as_images([p for p in placed if p is not None]))


def picture_files(root: Path) -> list[Path]:
    """Files under root whose ending is known, links followed once, hidden files and folders left out; sorted."""
    return files_below(root, tuple(IMAGE_SUFFIXES))


def place(path: Path, folders: tuple[str, ...], given: dict[str, tuple[str, ...]]) -> Placed | None:
    """Role and split of one file from the names of its folders; None where other folders were named for its role."""
    named = _named(folders, given)
    role, split, words, rest = "", "", [], []
    for folder in folders:
        said = _FOLDER.fullmatch(_plain(folder))
        if said is None:
            rest.append(folder)
            continue
        name = said["first"] or said["last"] or said["only"]
        split = _SPLIT_OF.get(name) or SHORT_SPLITS[name] if name else split
        if said["image"] or said["mask"]:
            # The innermost folder decides: gt/images holds images.
            role = "image" if said["image"] else "mask"
            words.append(said["image"] or said["mask"])
    if named is not None:
        inside = given[named] if named else next(iter(given.values()))
        return Placed(path, named, split, "/".join(inside), tuple(f for f in rest if f not in inside))
    return None if role in given or len(given) == 2 else Placed(path, role, split, "/".join(words), tuple(rest))


def _named(folders: tuple[str, ...], given: dict[str, tuple[str, ...]]) -> str | None:
    """The role that was given to one of these folders, "" where it is named for both, None where for neither."""
    roles = [role for role, parts in given.items() if _lies_in(folders, parts)]
    if len(roles) == 2 and given["image"] == given["mask"]:
        return ""
    # Of two named folders inside each other (scans, scans/masks) the inner one is meant.
    return max(roles, key=lambda role: len(given[role]), default=None)


def _lies_in(folders: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    return any(folders[k : k + len(parts)] == parts for k in range(len(folders) - len(parts) + 1))


def _plain(name: str) -> str:
    return re.sub(r"[\s_.\-]+", "", name.lower())


def as_images(placed: list[Placed]) -> list[Placed]:
    """Files beside the masks (train + trainannot) are the images where no folder says "images"; elsewhere they are left out."""
    roles = {p.role for p in placed}
    if "" in roles and "mask" in roles and "image" not in roles:
        return [replace(p, role="image") if not p.role else p for p in placed]
    return [p for p in placed if p.role] if {"image", "mask"} <= roles else placed


def without_common_rest(placed: list[Placed]) -> list[Placed]:
    """Take away the folders that all files share, so that a dataset unpacked into data/data is named as if it were not."""
    common = shared_start([p.rest for p in placed])
    return [replace(p, rest=p.rest[common:]) for p in placed]

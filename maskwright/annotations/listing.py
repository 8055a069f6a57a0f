"""From the images that annotation files list to the Annotations of a set: files found, names made unique, problems said.

Shared by all formats, so that an image that is listed twice, missing on disk or not annotated is treated alike in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from maskwright.annotations.drawn import AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.image_files import ALL, ImageFiles, Known, files_below, split_of_words, tidy, unique_names
from maskwright.annotations.packed import Packed
from maskwright.annotations.records import Head, Refused, head_of, pack
from maskwright.classes import ClassMap
from maskwright.errors import FormatError

ANNOTATION_FOLDERS = ("annotations", "annotation", "annots", "annot", "labels", "label", "json", "jsons", "xml")
_MOST_LOOKED_AT = 40
_MOST_NAMED = 3

Parse = Callable[[list[Any], AnnotatedImage], tuple[list[Drawn], list[Remark]]]


@dataclass
class Listed:
    """One image as an annotation file lists it.

    Attributes:
        listed: its name there
        file: the annotation file, None for an image without one
        hw: its stated size
        split: the split that the file stands for, "all" where it says none
        rows: what the file says of its objects: JSON values, kept as they are until the image is asked for
        path: the image file, where the format itself says which it is
    """

    listed: str
    file: Path | None
    hw: tuple[int, int] | None = None
    split: str = ALL
    rows: list[Any] = field(default_factory=list)
    path: Path | None = None


@dataclass(frozen=True, eq=False)
class Lazy:
    """Annotations.objects over packed records; holds nothing that cannot cross to another process, and no state."""

    images: tuple[AnnotatedImage, ...]
    packed: Packed
    parse: Parse

    def __call__(self, k: int) -> tuple[list[Drawn], list[Remark]]:
        return self.parse(self.packed[k], self.images[k])


def image_files(root: Path, images: Path | None) -> ImageFiles:
    """The images that an annotation file or folder speaks of: those of the folder that is named for it, or those around it.

    Raises:
        InputError: there is no folder `images`, or a folder cannot be listed.
    """
    if images is not None:
        return ImageFiles(images)
    folder = root if root.is_dir() else root.parent
    files = ImageFiles(folder)
    # annotations/ beside images/ is the usual place; a file that lies beside its images speaks of those alone.
    beside = folder.name.lower() in ANNOTATION_FOLDERS and not files.paths
    return ImageFiles(folder.parent) if beside else files


def relative(path: Path, root: Path) -> str:
    """A file's path below the root with "/"; its name where it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) and path != root else path.name


def json_files(root: Path, accepts: Callable[[Head], bool], most: int | None = None) -> list[Path]:
    """JSON files whose first bytes look right, the ones nearest to root first; root itself without a look where it is a file.

    Args:
        most: look at so many files only
    """
    if root.is_file():
        return [root]
    files = sorted(files_below(root, (".json",)), key=lambda path: (len(path.parts), not path.stem.startswith("instances"), path))
    return [path for path in files[:most] if accepts(head_of(path))]


def json_evidence(root: Path, accepts: Callable[[Head], bool]) -> str:
    """The first JSON file of a format, by its place below root; "" where there is none. For looks_like."""
    if root.is_file():
        return root.name if root.suffix.lower() == ".json" and accepts(head_of(root)) else ""
    found = json_files(root, accepts, _MOST_LOOKED_AT) if root.is_dir() else []
    return relative(found[0], root) if found else ""


def assemble(
    format: str,
    root: Path,
    line: str,
    classes: ClassMap,
    listed: Sequence[Listed],
    files: ImageFiles,
    parse: Parse,
    remarks: Iterable[Remark] = (),
    *,
    others_count: bool = True,
) -> Annotations:
    """Find the images, join what is listed twice, name each, and put all in order.

    Args:
        files: where the images are looked for
        parse: the rows of one image -> its objects; a module's function or a partial of one, so that workers can have it
        others_count: say which files beside annotated images no annotation names (for formats of one file a set)

    Raises:
        FormatError: the records are nested too deeply to be kept.
    """
    notes = list(remarks)
    known = _known(listed, files)
    found = [(_find(one, files, known), one) for one in listed]
    joined, twice = _joined([(paths[0] if len(paths) == 1 else None, one) for paths, one in found])
    names = unique_names(_places(joined, files))
    notes += [Remark("image-listed-twice", said, names[k], joined[k].file) for k, said in twice]
    order = sorted(range(len(joined)), key=lambda k: names[k])
    images = tuple(
        AnnotatedImage(names[k], joined[k].path, joined[k].hw, _split(joined[k], files), joined[k].file, joined[k].listed)
        for k in order
    )
    notes += _missing(images, {(one.file, one.listed): paths for paths, one in found if len(paths) > 1}, files)
    if others_count:
        notes += _others(images, [path for paths, _ in found for path in paths], files)
    packed = pack((joined[k].rows for k in order), root)
    return Annotations(format, root, line, classes, images, Lazy(images, packed, parse), tuple(notes))


def _known(listed: Sequence[Listed], files: ImageFiles) -> dict[Path | None, Known]:
    """What the names in each annotation file tell about each other."""
    names: dict[Path | None, list[str]] = {}
    for one in listed:
        names.setdefault(one.file, []).append(one.listed)
    return {file: files.known(together) for file, together in names.items()}


def _find(one: Listed, files: ImageFiles, known: dict[Path | None, Known]) -> list[Path]:
    if one.path is not None:
        return [one.path]
    return files.find(one.listed, near=one.file, split=one.split, known=known[one.file])


def _joined(found: Sequence[tuple[Path | None, Listed]]) -> tuple[list[Listed], list[tuple[int, str]]]:
    """One entry an image, the objects of one that is listed twice put together; and what is to be said of which entry."""
    kept: dict[object, Listed] = {}
    order: dict[object, int] = {}
    said = []
    for path, one in found:
        key: object = path if path is not None else (one.split, tidy(one.listed))
        before = kept.get(key)
        if before is None:
            order[key] = len(kept)
            kept[key] = replace(one, path=path)
            continue
        before.rows = [*before.rows, *one.rows]
        before.hw = before.hw or one.hw
        place = f"{before.file} and {one.file}" if before.file != one.file else str(one.file)
        split = f" as {before.split}" if before.split != one.split else ""
        text = f"{place}: the image {one.listed!r} is listed twice; its objects are put together{split}. Keep one entry."
        said.append((order[key], text))
    return list(kept.values()), said


def _places(joined: Sequence[Listed], files: ImageFiles) -> list[PurePosixPath]:
    """Where each image lies below the folder, or is listed to lie; each place once."""
    places: dict[PurePosixPath, None] = {}
    for one in joined:
        if one.path is not None:
            place = PurePosixPath(relative(one.path, files.folder))
        else:
            place = PurePosixPath(*tidy(one.listed)) if tidy(one.listed) else PurePosixPath("unnamed")
        folder = one.split
        while place in places:
            place, folder = PurePosixPath(folder) / place, f"{folder}-again"
        places[place] = None
    return list(places)


def _split(one: Listed, files: ImageFiles) -> str:
    if one.split != ALL:
        return one.split
    folders = PurePosixPath(relative(one.path, files.folder)).parent.parts if one.path is not None else tidy(one.listed)[:-1]
    return split_of_words(*folders)


def _missing(
    images: Sequence[AnnotatedImage], several: dict[tuple[Path | None, str], list[Path]], files: ImageFiles
) -> list[Remark]:
    """Images that are not on disk; one remark for all where none is, since then the folder is what is wrong."""
    missing = [image for image in images if image.path is None]
    if missing and len(missing) == len(images) and not several:
        example = missing[0].listed
        said = f"{missing[0].file}: none of its {len(images)} images (as {example!r}) is on disk below {files.folder}"
        return [Remark("image-not-on-disk", f"{said}. Name their folder with --images.", "", missing[0].file)]
    remarks = []
    for image in missing:
        paths = several.get((image.file, image.listed), [])
        where = ", ".join(relative(path, files.folder) for path in paths[:_MOST_NAMED])
        why = f"can mean {len(paths)} files ({where})" if paths else f"is not on disk below {files.folder}"
        said = f"{image.file}: the image {image.listed!r} {why}. Name its folder with --images."
        remarks.append(Remark("image-not-on-disk", said, image.name, image.file))
    return remarks


def _others(images: Sequence[AnnotatedImage], claimed: Iterable[Path], files: ImageFiles) -> list[Remark]:
    """Files beside annotated images that no annotation names; other folders may hold anything."""
    by_folder: dict[Path, Path | None] = {image.path.parent: image.file for image in images if image.path is not None}
    named = {image.path for image in images if image.path is not None}.union(claimed)
    free = [path for path in files.paths if path.parent in by_folder and path not in named]
    return [
        Remark(
            "image-not-annotated",
            f"{path}: no annotation names this image. List it without objects if it holds none, or take it away.",
            path.stem,
            by_folder[path.parent],
        )
        for path in free
    ]


def parse_each(
    rows: Sequence[Any], image: AnnotatedImage, one: Callable[[Any, int, list[Remark]], Drawn]
) -> tuple[list[Drawn], list[Remark]]:
    """The objects of an image, each by `one(row, position, remarks)`; what cannot be used is left out with a remark."""
    objects: list[Drawn] = []
    remarks: list[Remark] = []
    for position, row in enumerate(rows):
        try:
            objects.append(one(row, position, remarks))
        except FormatError as error:
            remarks.append(left_out(error, image))
    return objects, remarks


def left_out(error: FormatError, image: AnnotatedImage) -> Remark:
    """The remark about an object that cannot be used."""
    code = error.code if isinstance(error, Refused) else "bad-object"
    return Remark(code, f"{str(error).rstrip('.')}; the object is left out.", image.name, image.file)


def counted(number: int, one: str, many: str = "") -> str:
    """ "1 image", "2 images"."""
    return f"{number} {one if number == 1 else many or one + 's'}"

"""Anybody's objects from files: which are there, which record answers which image, and its objects.

Read are lists of COCO results, every format of annotations/formats.py, and what `predict` writes for each image:
<name>_coco.json with scores, else <name>_ids.png with the class mask beside it. Answers are paired with the images by name, as
masks are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from maskwright.annotations.assemble import instances_of
from maskwright.annotations.coco_results import read_results
from maskwright.annotations.drawn import AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.formats import FORMATS, detect, read_annotations
from maskwright.annotations.id_maps import read_objects
from maskwright.annotations.image_files import files_below, tidy
from maskwright.annotations.imagesize import image_hw
from maskwright.annotations.listing import image_files
from maskwright.annotations.records import head_text
from maskwright.annotations.saving import ENDINGS
from maskwright.annotations.vector_layers import LAYER_SUFFIXES
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, Pair
from maskwright.data.layouts import picture_files
from maskwright.errors import FormatError, InputError
from maskwright.evaluation.predictions import check_missing, match, some
from maskwright.instances import Instances
from maskwright.io.read import IMAGE_SUFFIXES
from maskwright.sample import Sample

# Endings of files of objects that can be named by themselves.
FILES = (".json", ".xml", ".csv", ".txt", ".yaml", ".yml", ".geojson", ".gpkg", ".shp")
RESULTS, COCO, IDS, GEOJSON = "results", "coco", "ids", "geojson"
IDS_ENDINGS = (ENDINGS[IDS], "_ids.tif")
MASKS = (".png", ".tif")
AREAS = ("area_px", "area_m2")  # properties of polygons
LOOKED_AT = 40
# What a reader says of images, and not of objects.
OF_IMAGES = {"image-not-on-disk", "image-not-annotated", "place-guessed"}


class ObjectAnswers(Protocol):
    """The found objects of each image, and what is to be said of them when all have been asked for."""

    @property
    def notes(self) -> tuple[str, ...]: ...
    def __call__(self, sample: Sample, /) -> Instances: ...


def kind_of(path: Path) -> str:
    """What tells objects apart at a path: "results", "ids" or a key of FORMATS; "" where nothing does.

    Raises:
        InputError: several formats fit.
        FormatError: it is a file of no format.
    """
    if path.is_dir() and _ending(path, (ENDINGS[COCO],)):
        return COCO
    found = dict(detect(path))
    if path.is_dir() and GEOJSON in found and _holds_areas(files_below(path, LAYER_SUFFIXES)):
        del found[GEOJSON]
    if len(found) > 1:
        seen = ", ".join(f"{name} ({evidence})" for name, evidence in found.items())
        raise InputError(f"{path}: holds objects in several formats: {seen}; give the file or the folder of one of them.")
    if found:
        return next(iter(found))
    if path.is_dir():
        return IDS if _ending(path, IDS_ENDINGS) else ""
    if path.suffix.lower() != ".json":
        known = ", ".join(FORMATS)
        raise FormatError(f"{path}: holds neither weights nor objects that I know; expected COCO results or one of {known}.")
    return RESULTS


def open_objects(path: Path, kind: str, dataset: Dataset, pairs: Sequence[Pair], *, missing_as_wrong: bool) -> ObjectAnswers:
    """The objects at a path for the images of a data set that tells objects apart.

    Raises:
        InputError, FormatError: the files cannot be read, none answers any image, two answer one, or (without missing_as_wrong)
            an image has no answer.
    """
    if kind == RESULTS and dataset.annotations is not None:
        sizes = {p.name: image_hw(p.image) for p in pairs if isinstance(p.image, Path)}
        return Results(read_results(path, dataset.annotations, sizes))
    return ObjectPredictions.open(path, kind, dataset, pairs, missing_as_wrong=missing_as_wrong)


@dataclass(frozen=True)
class Results:
    """A list of COCO results: what it does not name was looked at, and nothing was found there."""

    found: Mapping[str, Instances]

    @property
    def notes(self) -> tuple[str, ...]:
        return (f"{sum(not len(found) for found in self.found.values())} of the images have no result: nothing was found there.",)

    def __call__(self, sample: Sample, /) -> Instances:
        return self.found[sample.name]


@dataclass
class ObjectPredictions:
    """Annotation files that hold answers.

    Attributes:
        annotations: all that the files hold
        place_of: image name -> position in annotations.images
        missing: names of the images to be scored that have no answer; nothing was found there
        extra: names of the answers to images that the data does not have
        remarks: what the readers said of objects
    """

    annotations: Annotations
    place_of: Mapping[str, int]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    remarks: list[Remark] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, kind: str, dataset: Dataset, pairs: Sequence[Pair], *, missing_as_wrong: bool) -> ObjectPredictions:
        """See open_objects."""
        folder = path if path.is_dir() else path.parent
        found = _ids(path, dataset.classes) if kind == IDS else _annotations(path, folder, kind, dataset)
        at: dict[Path, int] = {}
        for k, image in enumerate(found.images):
            twice = at.setdefault(_place(image, folder), k)
            if twice != k:
                both = f"{found.images[twice].file} and {image.file}"
                raise InputError(f"{both}: both answer the image {image.listed!r}; give one answer an image.")
        file_of, extra = match(list(at), folder, dataset, {p.name for p in pairs})
        missing = check_missing(path, pairs, file_of, [image.listed for image in found.images], missing_as_wrong)
        place_of = {name: at[place] for name, place in file_of.items()}
        said = [remark for remark in found.remarks if remark.code not in OF_IMAGES]
        return cls(found, place_of, missing, tuple(found.images[at[place]].name for place in extra), said)

    def __call__(self, sample: Sample, /) -> Instances:
        """The objects of the answer to this image; none where there is no answer.

        Raises:
            InputError: the answer is of another size than the truth, or cannot be read.
        """
        hw = sample.image.hw
        if sample.name not in self.place_of:
            return Instances(hw, self.annotations.classes, np.zeros(0, np.int64), (), name=sample.name)
        found, remarks = instances_of(self.annotations, self.place_of[sample.name], hw)
        wrong = next((remark.text for remark in remarks if remark.code == "wrong-size"), None)
        if wrong is not None:
            raise InputError(f"{wrong} Scores are taken at the truth's size; write predictions of that size.")
        self.remarks += remarks
        return replace(found, name=sample.name)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said about the files, one sentence each; complete when all have been read."""
        said = [f"Predictions: {self.annotations.line}."]
        if self.missing:
            said.append(f"{len(self.missing)} images have no prediction and count as empty: {some(self.missing)}.")
        if self.extra:
            said.append(f"{len(self.extra)} answers are to no image of the data and were not scored: {some(self.extra)}.")
        if self.remarks:
            said.append(f"Remarks on objects of the predictions: {len(self.remarks)}, first: {self.remarks[0].text}")
        return tuple(said)


def _annotations(path: Path, folder: Path, kind: str, dataset: Dataset) -> Annotations:
    """Annotation files; images that do not lie beside them are those of the data.

    Raises:
        InputError: an image is listed twice.
    """
    images = None
    if dataset.root is not None and not picture_files(folder):
        images = image_files(dataset.root, None).folder
    found = read_annotations(path, format=kind, images=images, classes=dataset.classes)
    twice = next((remark.text for remark in found.remarks if remark.code == "image-listed-twice"), None)
    if twice is not None:
        raise InputError(
            f"{twice} Predictions have to answer each image once; where folders tell images of one name apart, write the masks "
            f"beside the objects (--format coco,labels)."
        )
    return found


def _ids(root: Path, classes: ClassMap) -> Annotations:
    """Numbers of objects as `predict` writes them, each with the class mask beside it where there is one."""
    files = _ending(root, IDS_ENDINGS)
    stems = [path.stem.removesuffix("_ids") for path in files]
    images = tuple(
        AnnotatedImage(stem, None, None, file=path, listed=f"{stem}.png") for path, stem in zip(files, stems, strict=True)
    )

    def objects(k: int) -> tuple[list[Drawn], list[Remark]]:
        return read_objects(files[k], _mask_beside(files[k].with_name(stems[k])), classes, images[k])

    line = f"numbers of objects: {len(files)} files such as {files[0].name}, classes by the masks beside them"
    return Annotations(IDS, root, line, classes, images, objects)


def _holds_areas(files: Sequence[Path]) -> bool:
    """Polygons as a model of classes writes them: areas with no score are no objects."""
    heads = (head_text(path) for path in files[:LOOKED_AT])
    first = next((head for head in heads if any(area in head for area in AREAS)), "score")
    return "score" not in first


def _mask_beside(stem: Path) -> Path | None:
    """The mask of classes of this path without its suffix."""
    return next((path for suffix in MASKS if (path := stem.with_name(f"{stem.name}{suffix}")).is_file()), None)


def _ending(root: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files below root by the end of their names."""
    suffixes = tuple({Path(ending).suffix for ending in endings})
    return [path for path in files_below(root, suffixes) if path.name.endswith(endings)]


def _place(image: AnnotatedImage, folder: Path) -> Path:
    """Where the image of an answer lies, or would lie if it were there."""
    if image.path is not None:
        return image.path
    place = (image.file.parent if image.file else folder).joinpath(*(tidy(image.listed) or (image.name,)))
    return place if place.suffix.lower() in IMAGE_SUFFIXES else place.with_name(f"{place.name}.png")

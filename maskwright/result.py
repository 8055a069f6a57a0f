"""Segmentation: the answer for one image, at that image's own size, with the pictures and files made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from numbers import Integral, Number
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.saving import checked, save_objects
from maskwright.annotations.vector_files import AUTO, PIXELS, VECTORS, places_of_files, save_vectors
from maskwright.classes import ClassMap, Colour
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.io.georeference import Georeference
from maskwright.io.image import Image
from maskwright.io.read import read_image
from maskwright.io.volumes import save_slice
from maskwright.io.write import atomic, place_of_cog, write_mask, write_png
from maskwright.ops import draw, draw_instances
from maskwright.ops.colour import colour_labels, heat
from maskwright.ops.cutout import FEATHER_PX, blurred_behind, covering, cut_out, flat, put_before

SUFFIXES = {"png": ".png", "tiff": ".tif", "dicom": ".dcm", "nifti": ".nii.gz"}
LABELS, COG = "labels", "cog"
COG_ENDING = "_cog.tif"

Keep = str | int | Sequence[str | int]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Which class each pixel belongs to, and where the model tells objects apart, which objects there are.

    Attributes:
        labels: (H, W) integer class ids of `classes`, or classes.ignore_id, as everywhere where the image has no measurement
        classes: what the ids mean
        image: the picture this answers, same H and W
        confidence: (H, W) float32 in [0, 1], the probability of the chosen class, on request
        probs: (K, H, W) float32 in [0, 1], channel order of `classes`, on request
        uncertainty: (H, W) float32, how much the class probabilities vary over passes with dropout, where there were any
        instances: the objects, of the same size and classes; None for a semantic answer
        name: stem of the files that save() writes; default: the image's name

    Raises:
        InputError: sizes differ, labels are no integers, an id is not in the class map, or the objects have other classes.
    """

    labels: NDArray[Any]
    classes: ClassMap
    image: Image | None = None
    confidence: NDArray[np.float32] | None = None
    probs: NDArray[np.float32] | None = None
    name: str = ""
    uncertainty: NDArray[np.float32] | None = None
    instances: Instances | None = None

    @classmethod
    def of_instances(cls, found: Instances, image: Image | None = None) -> Segmentation:
        """The answer of an instance model; labels are the class of the object on top at each pixel (Instances.to_labels)."""
        return cls(found.to_labels(), found.classes, image, name=image.name if image else found.name, instances=found)

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.image.name if self.image else "image")
        if self.labels.dtype.kind not in "iu" or self.labels.ndim != 2 or not self.labels.size:
            raise InputError(
                f"{self.name}: labels are {self.labels.dtype} of the shape {self.labels.shape}; expected integers (H, W)."
            )
        hw = self.labels.shape
        expected = {
            "image": (self.image and self.image.hw, hw),
            "confidence": (self.confidence is not None and self.confidence.shape, hw),
            "uncertainty": (self.uncertainty is not None and self.uncertainty.shape, hw),
            "probs": (self.probs is not None and self.probs.shape, (len(self.classes), *hw)),
            "the set of objects": (self.instances is not None and tuple(self.instances.hw), hw),
        }
        for what, (found, shape) in expected.items():
            if found and found != shape:
                raise InputError(f"{self.name}: {what} has the shape {found}; labels of {hw} need {shape}.")
        if self.instances is not None and self.instances.classes != self.classes:
            raise InputError(f"{self.name}: the objects have other classes than the labels; give both the same class map.")
        if self.image is not None and self.image.missing is not None:
            labels = np.where(self.image.missing, self.classes.ignore_id, self.labels).astype(self.classes.dtype)
            object.__setattr__(self, "labels", labels)
        unknown = sorted(set(self._counts()) - {*self.classes.ids, self.classes.ignore_id})
        if unknown:
            raise InputError(
                f"{self.name}: label ids {unknown[:8]} are not in the class map "
                f"(known: {self.classes.ids}, ignore: {self.classes.ignore_id}). Give the class map these labels were made with."
            )

    def _counts(self) -> dict[int, int]:
        lowest, highest = int(self.labels.min()), int(self.labels.max())
        if lowest < 0 or highest > 65535:
            return {lowest: 0, highest: 0}
        counts = np.bincount(self.labels.ravel())
        return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}

    def areas(self) -> dict[str, int]:
        """Pixels of each class by name, 0 where it was not found; ignored pixels are left out."""
        counts = self._counts()
        return {name: counts.get(i, 0) for i, name in zip(self.classes.ids, self.classes.names, strict=True)}

    def colour(self) -> NDArray[np.uint8]:
        """The labels in the colours of their classes, (H, W, 3) uint8."""
        return colour_labels(self.labels, self.classes)

    def overlay(self, image: Image | NDArray[Any] | None = None, alpha: float = 0.5, legend: bool = True) -> NDArray[np.uint8]:
        """What was found, drawn over the picture: tinted areas with solid contours.

        Of a semantic answer each class in its colour, ignored pixels hatched, a legend below. Of an instance answer each object
        in a colour of its own, with name and score where there is room, and a line below that counts them.

        Shapes:
            image: another picture of the same H and W to draw on; default: the one this answers
            alpha: from 0, the picture alone with contours, to 1, flat colours
            returns: (H, W, 3) uint8 without a legend; with it, higher by the legend and enlarged where text would not fit

        Raises:
            InputError: there is no picture to draw on, its size differs, or alpha is none.
        """
        if not 0 <= alpha <= 1:
            raise InputError(f"{self.name}: alpha={alpha}; expected a number from 0 to 1.")
        ground = self._ground(image, "an overlay", "; give one, or use colour() for the labels alone")
        if self.instances is not None:
            found = self.instances
            shown = draw_instances.Shown(found.masks, found.boxes, found.names, found.scores, found.crowds)
            return draw_instances.drawn(ground.to_uint8(), shown, found.drawing_order(), alpha, legend)
        picture = draw.overlay(ground.to_uint8(), self.labels, self.classes, alpha=alpha)
        return draw.with_legend(picture, self.classes, present=tuple(self._counts())) if legend else picture

    def _ground(self, image: Image | NDArray[Any] | None, what: str, way_out: str = "; give one") -> Image:
        """The picture to work on, at the size of the labels."""
        ground = self.image if image is None else image
        if ground is None:
            raise InputError(f"{self.name}: {what} needs a picture{way_out}.")
        ground = ground if isinstance(ground, Image) else Image.from_array(ground)
        if ground.hw != self.labels.shape:
            raise InputError(f"{self.name}: the picture is {ground.hw}, the labels are {self.labels.shape}; they must be alike.")
        return ground

    def blur_background(
        self, radius_px: float = 15.0, *, keep: Keep | None = None, feather_px: float = FEATHER_PX
    ) -> NDArray[np.uint8]:
        """The picture out of focus behind what is kept, (H, W, 3) uint8.

        Args:
            radius_px: two standard deviations of the blur
            keep: names of classes or ids of objects, one or several; default: everything but the background
            feather_px: width of the soft border on each side, 0 for a hard one

        Raises:
            InputError: there is no picture, nothing of what keep says is known, or a length is negative or not finite.
        """
        picture = self._ground(None, "a blurred background").to_uint8()
        radius_px, feather_px = self._length("radius_px", radius_px), self._length("feather_px", feather_px)
        return blurred_behind(picture, self.kept(keep), radius_px, feather_px)

    def cutout(self, *, keep: Keep | None = None, feather_px: float = FEATHER_PX) -> NDArray[np.uint8]:
        """What is kept, everything else transparent: (H, W, 4) uint8, red, green, blue and opacity. See blur_background."""
        picture = self._ground(None, "a cutout").to_uint8()
        return cut_out(picture, self.kept(keep), self._length("feather_px", feather_px))

    def replace_background(
        self,
        background: Colour | str | Path | NDArray[Any] | Image,
        *,
        keep: Keep | None = None,
        feather_px: float = FEATHER_PX,
    ) -> NDArray[np.uint8]:
        """What is kept before another background, (H, W, 3) uint8. See blur_background.

        Args:
            background: red, green and blue, whole numbers in 0..255; or a picture or its path, scaled to cover the image, its
                middle kept
        """
        picture, kept = self._ground(None, "another background").to_uint8(), self.kept(keep)
        feather_px = self._length("feather_px", feather_px)
        if isinstance(background, tuple):
            if len(background) != 3 or not all(0 <= value <= 255 and int(value) == value for value in background):
                raise InputError(f"{self.name}: the background {background} is no colour; expected whole numbers in 0..255.")
            return put_before(picture, kept, flat(background, kept.shape), feather_px)
        ground = covering(read_image(background).to_uint8(), kept.shape)
        return put_before(picture, kept, ground, feather_px)

    def kept(self, keep: Keep | None = None) -> NDArray[np.bool_]:
        """The pixels of classes by name or of objects by id, (H, W) bool; default: everything but background and ignored pixels.

        Raises:
            InputError: a name or an id is not known, or nothing is said and the classes have no background.
        """
        wanted: Any = [keep] if isinstance(keep, (str, Number)) else keep  # numpy's numbers too
        if wanted is None:
            if self.classes.background is None:
                names = ", ".join(self.classes.names)
                raise InputError(f"{self.name}: the classes have no background; say what to keep (keep=, of {names}).")
            wanted = [name for i, name in zip(self.classes.ids, self.classes.names, strict=True) if i != self.classes.background]
        kept = np.zeros(self.labels.shape, bool)
        for one in wanted:
            kept |= self._pixels_of(one)
        return kept

    def _length(self, name: str, px: float) -> float:
        if not (math.isfinite(px) and px >= 0):
            raise InputError(f"{self.name}: {name}={px}; expected 0 or more pixels.")
        return px

    def _pixels_of(self, one: str | int) -> NDArray[np.bool_]:
        found = self.instances
        if isinstance(one, str):
            if one not in self.classes.names:
                near = get_close_matches(one, self.classes.names) or list(self.classes.names)
                raise InputError(f"{self.name}: no class named {one!r}; did you mean {', '.join(near)}?")
            covered = np.asarray(self.labels == self.classes.ids[self.classes.names.index(one)])
            masks = [] if found is None else [mask for mask, name in zip(found.masks, found.names, strict=True) if name == one]
        else:
            if isinstance(one, bool) or not isinstance(one, Integral):
                raise InputError(f"{self.name}: keep={one!r}; expected names of classes or ids of objects.")
            covered = np.zeros(self.labels.shape, bool)
            masks = [] if found is None else [mask for mask, i in zip(found.masks, found.all_ids, strict=True) if i == one]
            if not masks:
                known = "it has no objects" if found is None else f"known: {found.all_ids[:12].tolist()}"
                raise InputError(f"{self.name}: no object has the id {one} ({known}).")
        # Whole, also where others lie on top of them in the labels.
        for mask in masks:
            x0, y0, x1, y1 = mask.box_xyxy
            covered[y0:y1, x0:x1] |= mask.crop((x0, y0, x1, y1))
        return covered

    def save(
        self,
        folder: str | Path,
        *,
        overlay: bool = False,
        probabilities: bool = False,
        formats: Sequence[str] = (LABELS,),
        vector_crs: str = AUTO,
        simplify: float = 0.0,
    ) -> list[Path]:
        """Write the answer into folder; each file is complete or not there.

        Files:
            <name>.png, or <name>.tif for an answer to a TIFF: class ids, with the class colours as palette (format "labels");
            <name>.dcm (DICOM-SEG) for an answer to a DICOM file, <name>.nii.gz for one to a flat NIfTI file
            <name>_overlay.png: the overlay with its legend
            <name>_probs.npy: float16 (K, H, W)
            <name>_uncertainty.png: where the answer has one: black to yellow, yellow for the least certain pixel of the image
            <name>_cog.tif: the labels as a cloud-optimised GeoTIFF, for an answer to a GeoTIFF (format "cog")
            <name>.geojson, <name>.gpkg: the areas of the classes, or the objects, as polygons; see annotations/vector_files.py
            those of the other formats, for an instance answer: see annotations/saving.py

        Args:
            formats: "labels", "cog", "geojson", "gpkg", and for objects "ids", "coco", "labelme", "yolo", "masks"
            vector_crs: what polygons are written in: "wgs84", "image", "pixels"; "auto": GeoJSON in WGS 84 and GeoPackages in the
                image's system where the image states one, else pixels
            simplify: polygons lose details smaller than a square of this side, in metres (in pixels for images without a place)

        Raises:
            InputError: probabilities or objects are wanted but there are none, a format is unknown, or a file cannot be written.
        """
        formats = [formats] if isinstance(formats, str) else formats
        if probabilities and self.probs is None:
            raise InputError(f"{self.name}: no probabilities were kept; ask for them when predicting.")
        georeference = self.image.georeference if self.image else None
        drawn = [name for name in VECTORS if name in formats]
        if (
            self.instances is not None
            and "geojson" in drawn
            and georeference is None
            and not simplify
            and vector_crs in (AUTO, PIXELS)
        ):
            drawn.remove("geojson")  # written as annotations are, with the rings as they were drawn
        of_objects = checked(name for name in formats if name not in (LABELS, COG, *drawn))
        if of_objects and self.instances is None:
            raise InputError(f"{self.name}: {', '.join(of_objects)} hold objects, this answer has classes only; save {LABELS!r}.")
        container = self.image.container if self.image else "png"
        stem, cog = Path(folder) / self.name, Path(folder) / f"{self.name}{COG_ENDING}"
        _check_place(georeference, stem, drawn, cog if COG in formats else None, vector_crs=vector_crs, simplify=simplify)
        written: list[Path] = []
        if LABELS in formats:
            written.append(Path(folder) / f"{self.name}{SUFFIXES[container]}")
            if container in ("dicom", "nifti") and self.image is not None and self.image.path is not None:
                save_slice(written[0], self.image.path, self.labels, self.classes)
            else:
                write_mask(written[0], self.labels, self.classes, container, georeference)
        if COG in formats:
            written.append(cog)
            write_mask(cog, self.labels, self.classes, "cog", georeference)
        if drawn:
            answer = self.instances if self.instances is not None else (self.labels, self.classes)
            written += save_vectors(stem, drawn, answer, georeference, system=vector_crs, simplify_m=simplify)
        if overlay:
            written.append(Path(folder) / f"{self.name}_overlay.png")
            write_png(written[-1], self.overlay())
        if self.uncertainty is not None:
            written.append(Path(folder) / f"{self.name}_uncertainty.png")
            write_png(written[-1], heat(self.uncertainty))
        if probabilities and self.probs is not None:
            written.append(Path(folder) / f"{self.name}_probs.npy")
            with atomic(written[-1]) as temporary:
                np.save(temporary, self.probs.astype(np.float16), allow_pickle=False)
        if self.instances is not None and of_objects:
            file_name = self.image.path.name if self.image and self.image.path else f"{self.name}.png"
            written += save_objects(Path(folder), replace(self.instances, name=self.name), of_objects, file_name=file_name)
        return written


def _check_place(
    place: Georeference | None, stem: Path, drawn: Sequence[str], cog: Path | None, *, vector_crs: str, simplify: float
) -> None:
    """Refuse what the place of the image forbids, before the first file is written: the others would be half an answer."""
    if drawn:
        places_of_files(stem, drawn, place, system=vector_crs, simplify_m=simplify)
    if cog is not None:
        place_of_cog(cog, place)

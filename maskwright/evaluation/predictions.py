"""Anybody's predictions from files: which file answers which image, and its class ids.

Prediction files may hold class ids or what the truth's files store (0/255, colours). They are paired by name: 7.png, 7_mask.png,
test/7.png or 7.jpg.png all answer the image 7.jpg; where several fit, the one that shares most folders does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, Pair
from maskwright.data.layouts import MASK_WORDS, picture_files
from maskwright.data.stored import stored_mask
from maskwright.errors import InputError
from maskwright.evaluation.photos import check_no_photo
from maskwright.evaluation.volume_predictions import volume_answers
from maskwright.io.masks import LabelReading, labels_of
from maskwright.sample import Sample, size

ENDINGS = (*MASK_WORDS, "pred", "prediction", "predictions", "result", "output")
# Written by `predict` beside the masks.
BESIDE = "_overlay"


@dataclass
class PredictionFolder:
    """The predictions of a folder for one data set; call it with a sample to get class ids.

    Attributes:
        file_of: image name -> prediction file, or of a slice of a volume its labels
        extra: files that answer no image of the data set
        missing: names of the images to be scored that have no prediction; they count as wrong
        odd: file name -> what was done to values that are no class
    """

    folder: Path
    classes: ClassMap
    snap: bool
    file_of: Mapping[str, Path | NDArray[Any]]
    extra: tuple[Path, ...]
    missing: tuple[str, ...]
    odd: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, dataset: Dataset, pairs: Sequence[Pair], *, missing_as_wrong: bool) -> PredictionFolder:
        """Pair the files with the images.

        Raises:
            InputError: no file answers any image, two files answer one, or (without missing_as_wrong) an image has no answer.
        """
        of_volumes = volume_answers(folder, dataset, pairs)
        file_of: Mapping[str, Path | NDArray[Any]]
        if of_volumes is not None:
            file_of, extra = of_volumes
            files = list(extra)
        else:
            files = picture_files(folder)
            file_of, extra = match(files, folder, dataset, {p.name for p in pairs})
        missing = check_missing(folder, pairs, file_of, [str(file.relative_to(folder)) for file in files], missing_as_wrong)
        return cls(folder, dataset.classes, dataset.snap, file_of, extra, missing)

    def __call__(self, sample: Sample) -> NDArray[Any]:
        """Class ids of the prediction for this image; void where there is none.

        Raises:
            InputError, FormatError: the file cannot be read, or its size is not the truth's.
        """
        if sample.name not in self.file_of:
            return np.full(sample.image.hw, self.classes.ignore_id, self.classes.dtype)
        source = self.file_of[sample.name]
        path = source if isinstance(source, Path) else self.folder / sample.name
        mask = stored_mask(source, sample.name, self.classes)
        if mask.hw != sample.image.hw:
            raise InputError(
                f"{path}: the prediction is {size(mask.hw)}, the truth of {sample.name} {size(sample.image.hw)}; "
                f"scores are taken at the truth's size. Write predictions of that size."
            )
        reading = labels_of(mask, self.classes, snap=self.snap)
        if (
            reading.unknown
            and mask.kind != "rgb"
            and np.isin(mask.tally.values, [*self.classes.ids, self.classes.ignore_id]).all()
        ):
            reading = labels_of(replace(mask, holds_ids=True), self.classes)
        check_no_photo(replace(mask, path=path), reading, self.classes)
        self._note(path, reading)
        return reading.labels

    def _note(self, path: Path, reading: LabelReading) -> None:
        if reading.unknown:
            values = ", ".join(map(str, list(reading.unknown)[:5])) + (", ..." if len(reading.unknown) > 5 else "")
            self.odd[path.name] = (
                f"{sum(reading.unknown.values()):,} pixels hold values that are no class ({values}) and count as wrong"
            )
        elif reading.snapped_px:
            self.odd[path.name] = f"{reading.snapped_px:,} pixels were moved to the nearest class value"

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said about the files, one sentence each; complete when all have been read."""
        said = []
        if self.missing:
            said.append(f"{len(self.missing)} images have no prediction and count as wrong: {some(self.missing)}.")
        if self.extra:
            names = [f.relative_to(self.folder).as_posix() for f in self.extra]
            said.append(f"{len(self.extra)} files answer no image of the data and were not scored: {some(names)}.")
        if self.odd:
            name, what = next(iter(self.odd.items()))
            more = f", and {len(self.odd) - 1} files more" if len(self.odd) > 1 else ""
            said.append(f"Values: in {name} {what}{more}.")
        return tuple(said)


def check_missing(
    place: Path, pairs: Sequence[Pair], answered: Collection[str], seen: Sequence[str], missing_as_wrong: bool
) -> tuple[str, ...]:
    """Names of the images to be scored that have no prediction.

    Args:
        answered: names of the images that have one; seen: what there is, for the sentence

    Raises:
        InputError: no image has one, or (without missing_as_wrong) one has none.
    """
    missing = tuple(p.name for p in pairs if p.name not in answered)
    if len(missing) == len(pairs):
        there = f"files such as {seen[0]}" if seen else "no image files"
        raise InputError(
            f"{place}: no prediction for any of the {len(pairs)} images (such as {pairs[0].name}); it holds {there}."
        )
    if missing and not missing_as_wrong:
        raise InputError(
            f"{place}: no prediction for {len(missing)} of {len(pairs)} images ({some(missing)}). "
            f"Add them, or count them as wrong with --missing-as-wrong."
        )
    return missing


def match(
    files: Sequence[Path], folder: Path, dataset: Dataset, wanted: Collection[str]
) -> tuple[dict[str, Path], tuple[Path, ...]]:
    """Image name -> its prediction, over all splits, and the files that answer nothing.

    Raises:
        InputError: two files fit one image equally well, or one file fits two of the wanted images equally well.
    """
    by_key: dict[str, list[Path]] = {}
    for file in files:
        for key in {file.stem.lower(), bare(file.stem)}:
            by_key.setdefault(key, []).append(file)
    claims: dict[Path, list[tuple[int, bool, str]]] = {}  # file -> folders in common, wanted, image name
    for pair in dataset.pairs:
        found = next((by_key[key] for key in _keys(pair) if key in by_key), [])
        if found:
            file, shared = _nearest(found, folder, pair, dataset.root)
            claims.setdefault(file, []).append((shared, pair.name in wanted, pair.name))
    file_of: dict[str, Path] = {}
    for file, claimed in claims.items():
        # Image 5 of one patient must not be given the prediction of another's only because its own is missing.
        *_, second, best = [(-1, False, ""), *sorted(claimed)]
        if best[:2] == second[:2] and best[1]:
            raise InputError(
                f"{file}: fits the images {second[2]} and {best[2]}; put predictions into the folders of their images."
            )
        file_of[best[2]] = file
    stems = {file.stem for file in claims}
    extra = [f for f in files if f not in claims and f.stem.removesuffix(BESIDE) not in stems]
    return file_of, tuple(extra)


def bare(stem: str) -> str:
    """The stem in lower case without a word like mask or prediction at its end: 7_mask, 7-pred."""
    low = stem.lower()
    for word in ENDINGS:
        for separator in "_-. ":
            if low.endswith(separator + word):
                return low[: -len(word) - 1]
    return low


def _keys(pair: Pair) -> list[str]:
    """What the file that answers a pair may be called, best first: like the image, the image with its suffix, the mask."""
    keys = [PurePosixPath(pair.name).name]
    for source in (pair.image, pair.mask):
        if isinstance(source, Path):
            keys += [source.stem, source.name, bare(source.stem)]
    return list(dict.fromkeys(k.lower() for k in keys))


def _nearest(found: Sequence[Path], folder: Path, pair: Pair, root: Path | None) -> tuple[Path, int]:
    """Of several files with the right name the one whose folders are most like the image's, and how many they share."""
    place = set(_parts(pair.image, root)) if isinstance(pair.image, Path) else set()
    ranked = sorted((len(place & set(_parts(file, folder))), -len(file.parts), file) for file in found)
    if len(ranked) > 1 and ranked[-1][:2] == ranked[-2][:2]:
        raise InputError(f"{ranked[-2][2]} and {ranked[-1][2]} both fit the image {pair.name}; remove or rename one.")
    return ranked[-1][2], ranked[-1][0]


def _parts(path: Path, root: Path | None) -> tuple[str, ...]:
    return path.relative_to(root).parent.parts if root is not None and path.is_relative_to(root) else path.parent.parts


def some(names: Sequence[str], count: int = 5) -> str:
    """The first names of a list, for messages."""
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")

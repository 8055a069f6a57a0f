"""What the evaluations of classes and of objects share: worst and best images, their pictures, and how they are saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.io.write import write_json, write_png
from maskwright.metrics import Interval
from maskwright.metrics.intervals import ONE_GROUP

FILE = "evaluation.json"


class Ranked(Protocol):
    """The score of one image: `order` is what images are ranked by, higher is better; nan for one that is not ranked."""

    @property
    def name(self) -> str: ...
    @property
    def order(self) -> float: ...


Score = TypeVar("Score", bound=Ranked)


class Kept(ABC):
    """An evaluation that ranks its images and saves itself."""

    per_image: Sequence[Any]
    pictures: Mapping[str, NDArray[np.uint8]]
    kept: int

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures, as plain numbers, texts and lists."""

    def worst(self, count: int = 10) -> tuple[Any, ...]:
        """The images with the lowest score, worst first; images that have none are in neither list."""
        return ranked(self.per_image)[:count]

    def best(self, count: int = 10) -> tuple[Any, ...]:
        """The images with the highest score, best first."""
        return ranked(self.per_image)[::-1][:count]

    def save(self, path: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write evaluation.json, or any .json file that is named; into a folder also the pictures that were kept, as
        worst/01_<name>.png and best/01_<name>.png.

        Returns:
            the files written

        Raises:
            InputError: there is an evaluation already and overwrite is not set, or the disk refuses.
        """
        if not overwrite:
            check_free(path)
        file = file_at(path)
        written = [] if file == Path(path) else self._save_pictures(Path(path))
        # Last: where evaluation.json is, the pictures beside it are whole and its own.
        write_json(file, self.to_json())
        return [file, *written]

    def _save_pictures(self, folder: Path) -> list[Path]:
        written = []
        for title, ranked in (("worst", self.worst(self.kept)), ("best", self.best(self.kept))):
            for stale in (folder / title).glob("[0-9][0-9]_*.png"):
                stale.unlink()
            for rank, score in enumerate(ranked, start=1):
                written.append(folder / title / f"{rank:02d}_{score.name.replace('/', '_')}.png")
                write_png(written[-1], self.pictures[score.name])
        return written


class Extremes:
    """Pictures of the `count` worst and best images so far, drawn as they pass: small, however large the images are."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.worst: dict[tuple[float, str], NDArray[np.uint8]] = {}
        self.best: dict[tuple[float, str], NDArray[np.uint8]] = {}

    def offer(self, score: Ranked, draw: Callable[[], NDArray[np.uint8]]) -> None:
        """Draw and keep the picture of an image if it is among the worst or the best so far."""
        if not self.count or np.isnan(score.order):
            return
        key, picture = (score.order, score.name), None
        for kept, furthest in ((self.worst, max), (self.best, min)):
            if len(kept) == self.count and furthest([*kept, key]) == key:
                continue
            picture = draw() if picture is None else picture
            kept[key] = picture
            if len(kept) > self.count:
                del kept[furthest(kept)]

    def kept(self) -> dict[str, NDArray[np.uint8]]:
        return {name: picture for (_, name), picture in {**self.worst, **self.best}.items()}


def ranked(scores: Sequence[Score]) -> tuple[Score, ...]:
    """From the worst to the best, by name where they are alike; without those that have no score."""
    return tuple(sorted((s for s in scores if not np.isnan(s.order)), key=lambda s: (s.order, s.name)))


def file_at(path: str | Path) -> Path:
    """The path itself if it names a .json file, else evaluation.json in that folder."""
    return Path(path) if Path(path).suffix == ".json" else Path(path) / FILE


def check_free(path: str | Path) -> None:
    """Refuse a place that holds an evaluation; asked before the work, not after it.

    Raises:
        InputError: the file is there.
    """
    if file_at(path).exists():
        raise InputError(f"{file_at(path)}: is already there; give --overwrite to replace it, or choose another place.")


def interval_conventions(interval: Interval) -> Iterator[str]:
    if not interval.resamples:
        yield f"Intervals: {interval.note}."
        return
    units = f"{interval.units} {interval.unit}s"
    rough = f"; {interval.note}" if interval.note else ""
    yield f"Intervals: {interval.level:.0%}, percentile bootstrap over {units}, {interval.resamples} resamples{rough}."
    if interval.unit == "image" and ONE_GROUP not in interval.note:
        yield "Images were drawn singly: where several show one patient or scene, name the groups (--group) for honest intervals."


def without_nan(given: Any) -> Any:
    """The same with None for NaN, which JSON cannot hold."""
    if isinstance(given, dict):
        return {key: without_nan(value) for key, value in given.items()}
    if isinstance(given, list):
        return [without_nan(value) for value in given]
    if isinstance(given, (float, np.floating)):
        return None if np.isnan(given) else float(given)
    return given

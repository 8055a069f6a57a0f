"""The images among the inputs of predict_files that are read by windows: found, answered one after the other, reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from maskwright.errors import InputError, MissingExtraError
from maskwright.inference.jobs import Job, places_of
from maskwright.inference.journal import Journal
from maskwright.inference.large import LARGE_PX, predict_large
from maskwright.inference.large_objects import LARGE_FORMATS
from maskwright.inference.predictor import Failure, Predictor
from maskwright.inference.windowed import LargeReport
from maskwright.io.decoded import pixel_limit
from maskwright.io.tiff_windows import claimed
from maskwright.io.windows import ZARR_SUFFIX, has_windows, is_zarr
from maskwright.io.write import FULL
from maskwright.result import LABELS

OVERLAY = "--overlay"  # drawn of images by windows as well, at a size for looking at


def is_large(path: Path, *, whole: bool = False) -> bool:
    """Whether a file is read by windows: zarr always, a TIFF that claims more than LARGE_PX pixels of three bands.

    Args:
        whole: the answer takes the whole image; then only what is not read at once without asking (pixel_limit) goes by windows
    """
    if is_zarr(path):
        return True
    most = pixel_limit() if whole else LARGE_PX
    if most is None or not has_windows(path):
        return False
    pixels, bands = claimed(path)
    return pixels > most if whole else pixels * max(bands, 3) > most * 3


def of_whole(formats: Sequence[str], pictures: Sequence[str], *, objects: bool = False, simplify: float = 0.0) -> list[str]:
    """What of the wishes can be had of whole images alone, as the options that ask for it; see LargeWork."""
    beside = [option for option in pictures if option != OVERLAY]
    asked = [*beside, *(f"--format {name}" for name in formats if name not in _allowed(objects))]
    return [*asked, "--simplify"] if simplify and "geojson" in formats and objects else asked


def _allowed(objects: bool) -> tuple[str, ...]:
    return LARGE_FORMATS if objects else (LABELS,)


class LargeWork:
    """Args:
    jobs: the images that are large
    wanted: formats of the answers
    pictures: files beside the labels that are wanted, by the option that asks for them
    objects: whether the model finds objects
    vector_crs, simplify: of polygons, see Segmentation.save

    Raises:
        InputError: something is wanted that holds the whole image in memory.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        wanted: Sequence[str],
        pictures: Sequence[str],
        *,
        objects: bool = False,
        vector_crs: str = "auto",
        simplify: float = 0.0,
    ) -> None:
        self.jobs, self._formats, self._vector_crs, self._overlay = jobs, wanted, vector_crs, OVERLAY in pictures
        asked = of_whole(wanted, pictures, objects=objects, simplify=simplify)
        if jobs and asked:
            answer = f"--format {','.join(_allowed(objects))}" if objects else "labels"
            raise InputError(
                f"{jobs[0].source}: is read by windows and answered with {answer} alone; leave out {', '.join(asked)}, or "
                f"predict it by itself."
            )

    @property
    def endings(self) -> tuple[str, ...]:
        """Of files that only large images are answered with."""
        return ("_ids.tif", f"_ids{ZARR_SUFFIX}") if self.jobs and "ids" in self._formats else ()

    def predict(
        self,
        predictor: Predictor,
        journal: Journal,
        endings: Sequence[str],
        progress: Callable[[int, int], None] | None,
        answered: Callable[[LargeReport], None],
    ) -> tuple[list[LargeReport], list[Failure]]:
        """Answer one image after the other; a full disk ends it, other troubles are of one image.

        Args:
            endings: of the files of an answer beside labels
            progress: called with (finished, all) tiles of the image at hand
            answered: called after each image that has an answer
        """
        reports, failed = [], []
        for job in self.jobs:
            try:
                wishes: dict[str, Any] = {"formats": self._formats, "vector_crs": self._vector_crs, "overlay": self._overlay}
                target = job.folder / job.name
                places = places_of(job, endings)
                wishes["writing"] = partial(journal.writes, target, places)
                with journal.none_or_all(target, places):
                    report = predict_large(predictor, job.source, target, progress, **wishes)
                journal.finish(target, report.files, **({} if report.counts is None else {"counts": report.counts}))
                reports.append(report)
                answered(report)
            except (InputError, MissingExtraError, OSError) as error:
                system = error if isinstance(error, OSError) else error.__cause__
                if isinstance(system, OSError) and system.errno in FULL:
                    raise
                failed.append(Failure(str(job.source), str(error)))
        return reports, failed

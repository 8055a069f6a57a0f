"""The images among the inputs of predict_files that are read by windows: found, answered one after the other, reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.errors import InputError
from maskwright.inference.large import LARGE_PX, LargeReport, predict_large
from maskwright.inference.predictor import Failure, Predictor
from maskwright.io.tiff_windows import claimed_px
from maskwright.io.windows import has_windows, is_zarr
from maskwright.io.write import FULL
from maskwright.result import LABELS

if TYPE_CHECKING:
    from maskwright.inference.files import Job


def is_large(path: Path) -> bool:
    """Whether a file is read by windows: zarr always, a TIFF that claims more than LARGE_PX pixels."""
    return is_zarr(path) or (has_windows(path) and claimed_px(path) > LARGE_PX)


class LargeWork:
    """Args:
    jobs: the images that are large
    wanted: formats of the answers
    pictures: files beside the labels that are wanted, by the option that asks for them

    Raises:
        InputError: something is wanted that holds the whole image in memory.
    """

    def __init__(self, jobs: Sequence[Job], wanted: Sequence[str], pictures: Sequence[str]) -> None:
        self.jobs = jobs
        asked = [*pictures, *(f"--format {name}" for name in wanted if name != LABELS)]
        if jobs and asked:
            raise InputError(
                f"{jobs[0].source}: is read by windows and answered with labels alone; leave out {', '.join(asked)}, or "
                f"predict it by itself."
            )

    def predict(
        self, predictor: Predictor, progress: Callable[[int, int], None] | None
    ) -> tuple[list[LargeReport], list[Failure]]:
        """Answer one image after the other; a full disk ends it, other troubles are of one image.

        Args:
            progress: called with (finished, all) tiles of the image at hand
        """
        reports, failed = [], []
        for job in self.jobs:
            try:
                reports.append(predict_large(predictor, job.source, job.folder / job.name, progress))
            except (InputError, OSError) as error:
                system = error if isinstance(error, OSError) else error.__cause__
                if isinstance(system, OSError) and system.errno in FULL:
                    raise
                failed.append(Failure(str(job.source), str(error)))
        return reports, failed

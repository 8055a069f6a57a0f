"""Pictures that are answered as a whole: read, segmented and written at the same time.

The net runs in the calling thread, files are read and written in a few others.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from maskwright.errors import InputError, MissingExtraError
from maskwright.inference.jobs import Job, places_of
from maskwright.inference.journal import Journal
from maskwright.inference.large_work import OVERLAY
from maskwright.inference.orientation import as_stored
from maskwright.inference.predictor import Failure, Predictor
from maskwright.io.write import disk_ends_it, write_png
from maskwright.result import Segmentation


@dataclass
class PictureWork:
    """What is written for each picture, and what was found on the way.

    Attributes:
        formats, drawing: see Segmentation.save
        overlay, probabilities, uncertainty: pictures and arrays beside the mask
        blur_background_px: see Segmentation.blur_background; None for no such picture
        stored_orientation: masks as the file stores its pixels, not as it is displayed (EXIF)
        counts: of models that find objects, how many of each class every source holds
        remarked: sentences that a person should know of, each with the files that it is about
    """

    formats: Sequence[str]
    drawing: Mapping[str, Any]
    overlay: bool = False
    probabilities: bool = False
    uncertainty: bool = False
    blur_background_px: float | None = None
    stored_orientation: bool = False
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    remarked: dict[str, list[Path]] = field(default_factory=dict)

    @property
    def beside(self) -> dict[str, str]:
        """Endings of what is written beside the formats, each with the option that asks for it."""
        every = {
            ("_overlay.png", OVERLAY): self.overlay,
            ("_uncertainty.png", "--uncertainty"): self.uncertainty,
            ("_probs.npy", "--probabilities"): self.probabilities,
            ("_blurred.png", "--blur-background"): self.blur_background_px is not None,
        }
        return dict(pair for pair, is_wanted in every.items() if is_wanted)

    def predict(
        self,
        predictor: Predictor,
        jobs: Sequence[Job],
        journal: Journal,
        endings: Sequence[str],
        *,
        workers: int,
        progress: Callable[[int], None],
    ) -> tuple[list[Path], list[Failure]]:
        """Answer all jobs; the first file written for each, in order, and the pictures that have no answer.

        Args:
            endings: of the files of an answer beside a mask
            progress: called with the number of pictures that are finished

        Raises:
            InputError, OSError: the disk is full or cannot be written; other troubles are of one picture.
        """
        done, failed = [], []  # type: tuple[list[Path], list[Failure]]
        answers = predictor.many(
            (job.source for job in jobs), on_error="yield", probabilities=self.probabilities, readers=workers
        )
        # Closed at once when interrupted, so that no thread is left reading or writing.
        write = partial(self._write, journal, endings)
        with closing(answers), closing(_written(zip(jobs, answers, strict=True), write, workers)) as outcomes:
            for finished, outcome in enumerate(outcomes, start=1):
                if isinstance(outcome, Failure):
                    failed.append(outcome)
                else:
                    done.append(outcome)
                progress(finished)
        self.counts = {str(job.source): self.counts[str(job.source)] for job in jobs if str(job.source) in self.counts}
        return done, failed

    def _write(self, journal: Journal, endings: Sequence[str], job: Job, found: Segmentation) -> Path:
        found = replace(as_stored(found) if self.stored_orientation else found, name=job.name)
        target, places = job.folder / job.name, places_of(job, endings)
        journal.writes(target, places)
        with journal.none_or_all(target, places):
            written = found.save(
                job.folder, overlay=self.overlay, probabilities=self.probabilities, formats=self.formats, **self.drawing
            )
            if self.blur_background_px is not None:
                written.append(job.folder / f"{job.name}_blurred.png")
                write_png(written[-1], found.blur_background(self.blur_background_px))
        for remark in found.image.remarks if found.image else ():
            self.remarked.setdefault(remark, []).append(job.source)
        if found.instances is not None:
            names = Counter(found.instances.names)
            classes = [n for i, n in zip(found.classes.ids, found.classes.names, strict=True) if i != found.classes.background]
            self.counts[str(job.source)] = {name: names[name] for name in classes}
        if written:
            counts = self.counts.get(str(job.source))
            journal.finish(target, written, **({} if counts is None else {"counts": counts}))
        return written[0] if written else job.folder


def _written(
    pairs: Iterable[tuple[Job, Segmentation | Failure]], write: Callable[[Job, Segmentation], Path], workers: int
) -> Generator[Path | Failure, None, None]:
    """The file written for each answer, in order, or the failure; a few answers wait for the disk while the net goes on."""
    waiting: deque[tuple[Job, Future[Path] | Failure]] = deque()
    pool = ThreadPoolExecutor(max(1, workers), "write")
    try:
        for job, answer in pairs:
            waiting.append((job, answer if isinstance(answer, Failure) else pool.submit(write, job, answer)))
            if len(waiting) > workers:
                yield _outcome(*waiting.popleft())
        while waiting:
            yield _outcome(*waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _outcome(job: Job, written: Future[Path] | Failure) -> Path | Failure:
    if isinstance(written, Failure):
        return written
    try:
        return written.result()
    except (InputError, MissingExtraError, OSError) as error:  # a package too: images without a place need none
        if disk_ends_it(error):
            raise
        return Failure(str(job.source), str(error))

"""Files and folders in, mask files out: what is written where is settled before any work, and a bad file stops nobody.

Reading, the net and writing run at the same time: the net in the calling thread, files in a few others.
"""

from __future__ import annotations

import csv
import errno
import io
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.saving import ENDINGS, checked
from maskwright.annotations.vector_files import check_drawing
from maskwright.errors import InputError
from maskwright.inference.large_work import LargeWork, is_large, of_whole
from maskwright.inference.predictor import Failure, Predictor
from maskwright.inference.video import VideoReport, predict_videos
from maskwright.inference.volumes import VolumeReport, VolumeWork, share_formats
from maskwright.io.nifti import NIFTI_SUFFIXES
from maskwright.io.read import IMAGE_SUFFIXES
from maskwright.io.video import is_video
from maskwright.io.volumes import is_volume_file
from maskwright.io.windows import ZARR_SUFFIX, is_zarr
from maskwright.io.write import write_png, write_text
from maskwright.ops.rle import Rle
from maskwright.result import COG, COG_ENDING, LABELS, SUFFIXES, Segmentation

COUNTS_FILE = "counts.csv"
# The formats that any answer can be written in; all others hold objects.
OF_CLASSES = {LABELS: "", COG: COG_ENDING, "geojson": ".geojson", "gpkg": ".gpkg"}
_OPTIONS = {
    "_overlay.png": "--overlay",
    "_uncertainty.png": "--uncertainty",
    "_probs.npy": "--probabilities",
    "_blurred.png": "--blur-background",
}
# A disk in this state refuses every later file as well.
_DISK_ENDS_IT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class PredictReport:
    """What predict_files did: the first file written for each input, the inputs that have none with the reason, and of models
    that find objects how many of each class every input holds; of volumes how much of each class they hold; and what a person
    should know of the pictures, each sentence once, however many it is about; and the videos."""

    done: tuple[Path, ...]
    failed: tuple[Failure, ...]
    counts: tuple[tuple[str, dict[str, int]], ...] = ()
    volumes: tuple[VolumeReport, ...] = ()
    remarks: tuple[str, ...] = ()
    videos: tuple[VideoReport, ...] = ()

    def total(self) -> dict[str, int]:
        """Objects of each class over all images."""
        summed: Counter[str] = Counter()
        for _, counted in self.counts:
            summed.update(counted)
        return dict(summed)

    @property
    def ok(self) -> bool:
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        failed = [{"source": f.source, "reason": f.reason} for f in self.failed]
        counts = {"counts": dict(self.counts)} if self.counts else {}
        volumes = {"volumes": [v.to_dict() for v in self.volumes]} if self.volumes else {}
        videos = {"videos": [v.to_dict() for v in self.videos]} if self.videos else {}
        remarks = {"remarks": list(self.remarks)} if self.remarks else {}
        return {"done": [str(p) for p in self.done], "failed": failed, **counts, **volumes, **remarks, **videos}


@dataclass(frozen=True)
class Job:
    """One input and where its answer goes: <folder>/<name>.png and the pictures beside it."""

    source: Path
    folder: Path
    name: str


def predict_files(
    predictor: Predictor,
    sources: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    overlay: bool = False,
    probabilities: bool = False,
    overwrite: bool = False,
    stored_orientation: bool = False,
    formats: Sequence[str] = (),
    blur_background_px: float | None = None,
    vector_crs: str = "auto",
    simplify: float = 0.0,
    slice_axis: str = "auto",
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> PredictReport:
    """Segment files and folders of images and volumes, and videos by name, into out.

    A folder is searched with its subfolders, which appear in out again. Every file is written whole or not at all, so an
    interruption (Ctrl-C) leaves only finished answers.

    Args:
        overlay, probabilities: write <name>_overlay.png, <name>_probs.npy as well
        overwrite: replace answers that are already there; without it they are an error before any work
        stored_orientation: write masks as the file stores its pixels, not as it is displayed (EXIF)
        formats: what is written, see Segmentation.save; default: labels, and of objects their ids as well. Models that find
            objects also give counts.csv, a line an image
        blur_background_px: write <name>_blurred.png as well, see Segmentation.blur_background
        vector_crs, simplify: of polygons, see Segmentation.save
        slice_axis: along which NIfTI volumes are cut, see io/nifti_axes.py
        workers: threads that read, and threads that write
        progress: called with (finished, all) after each input

    Raises:
        InputError: there is nothing to do, an answer is already there, an answer would replace an input, or the disk is
            full. An input that cannot be read or answered is no error: it is in the report's `failed`.
    """
    given = [Path(s) for s in ([sources] if isinstance(sources, (str, Path)) else sources)]
    videos = [source for source in given if is_video(source) and not source.is_dir()]
    if videos and set(formats) - {LABELS}:
        raise InputError(f"{videos[0]}: of videos --format knows labels alone, a mask for each frame; leave the others out.")
    below = {} if videos == given and videos else inputs_below([s for s in given if s not in videos], Path(out))
    of_volumes = {path: place for path, place in below.items() if is_volume_file(path)}
    planned = plan({path: place for path, place in below.items() if path not in of_volumes}, Path(out))
    for_pictures, for_volumes = share_formats(formats, pictures=bool(planned), volumes=bool(of_volumes))
    volumes = VolumeWork(of_volumes, Path(out), for_volumes, axis=slice_axis, overlay=overlay, overwrite=overwrite)
    volumes.refuse(probabilities=probabilities, blur_background=blur_background_px is not None, uncertainty=predictor.passes > 0)
    wanted = _formats(predictor, for_pictures, probabilities=probabilities)
    more = {
        "_overlay.png": overlay,
        "_uncertainty.png": predictor.passes > 0,
        "_probs.npy": probabilities,
        "_blurred.png": blur_background_px is not None,
    }
    check_drawing(vector_crs, simplify)
    drawing: dict[str, Any] = {"vector_crs": vector_crs, "simplify": simplify}
    pictures = [option for ending, option in _OPTIONS.items() if more[ending]]
    # A net that sees images scaled down to a size takes them as a whole, however large they are.
    scaled = not predictor.finds_objects and {predictor.preprocess.max_side_px, predictor.preprocess.min_side_px} != {None}
    whole = scaled or bool(of_whole(wanted, pictures, objects=predictor.finds_objects, simplify=simplify))
    large_jobs = [job for job in planned if is_large(job.source, whole=whole)]
    jobs = [job for job in planned if job not in large_jobs]
    large = LargeWork(large_jobs, wanted, pictures, objects=predictor.finds_objects, **drawing)
    _check_free(
        planned,
        [
            *(OF_CLASSES.get(f) or ENDINGS[f] for f in wanted if f != LABELS),
            *(e for e, is_wanted in more.items() if is_wanted),
            *large.endings,
        ],
        overwrite=overwrite,
    )
    counts_file = Path(out) / COUNTS_FILE
    if predictor.finds_objects and not overwrite and counts_file.exists():
        raise InputError(f"{counts_file}: is already there. Give --overwrite to replace it, or another folder with --out.")
    done, failed = [], []  # type: tuple[list[Path], list[Failure]]
    counts: dict[str, dict[str, int]] = {}
    remarked: dict[str, list[Path]] = {}

    def write(job: Job, found: Segmentation) -> Path:
        found = replace(as_stored(found) if stored_orientation else found, name=job.name)
        if found.instances is not None:
            names = Counter(found.instances.names)
            classes = [n for i, n in zip(found.classes.ids, found.classes.names, strict=True) if i != found.classes.background]
            counts[str(job.source)] = {name: names[name] for name in classes}
        for remark in found.image.remarks if found.image else ():
            remarked.setdefault(remark, []).append(job.source)
        written = found.save(job.folder, overlay=overlay, probabilities=probabilities, formats=wanted, **drawing)
        if blur_background_px is not None:
            written.append(job.folder / f"{job.name}_blurred.png")
            write_png(written[-1], found.blur_background(blur_background_px))
        return written[0] if written else job.folder

    predictor.prepare(len(jobs) + volumes.slices)
    answers = predictor.many((j.source for j in jobs), on_error="yield", probabilities=probabilities, readers=workers)
    # Closed at once when interrupted, so that no thread is left reading or writing.
    with closing(answers), closing(_written(zip(jobs, answers, strict=True), write, workers)) as outcomes:
        for finished, outcome in enumerate(outcomes, start=1):
            if isinstance(outcome, Failure):
                failed.append(outcome)
            else:
                done.append(outcome)
            if progress:
                progress(finished, len(jobs) + volumes.slices)
    ordered = tuple((str(job.source), counts[str(job.source)]) for job in jobs if str(job.source) in counts)
    if ordered:
        _write_counts(counts_file, ordered)
    measured, unanswered = volumes.predict(predictor, before=len(jobs), readers=workers, progress=progress)
    done += [one.file for one in measured]
    watched, broken = predict_videos(
        predictor, videos, Path(out), masks=LABELS in formats, overwrite=overwrite, progress=progress
    )
    answered, too_large = large.predict(predictor, progress)
    of_large = tuple((str(one.source), one.counts) for one in answered if one.counts is not None)
    if of_large:
        ordered += of_large
        _write_counts(counts_file, ordered)
    done += [one.file for one in answered]
    remarks = (
        *(_said_once(remark, about) for remark, about in remarked.items()),
        *(f"{one.file.name}: {text}" for one in answered for text in one.lines()),
    )
    failed += [*unanswered, *broken, *too_large]
    return PredictReport(tuple(done), tuple(failed), ordered, measured, remarks, watched)


def _said_once(remark: str, about: Sequence[Path]) -> str:
    more = f" and {len(about) - 1} more" if len(about) > 1 else ""
    return f"{min(about)}{more}: {remark}"


def _formats(predictor: Predictor, given: Sequence[str], *, probabilities: bool) -> list[str]:
    """The formats of pictures' answers: those that were given, else labels, and of objects their ids as well."""
    formats = list(given) or ([LABELS, "ids"] if predictor.finds_objects else [LABELS])
    of_objects = checked(name for name in formats if name not in OF_CLASSES)
    if of_objects and not predictor.finds_objects:
        raise InputError(f"--format {','.join(of_objects)} holds objects, this model finds classes only; leave it out.")
    if probabilities and predictor.finds_objects:
        raise InputError("--probabilities are of pixels, this model scores objects; leave it out.")
    return formats


def _write_counts(path: Path, counts: Sequence[tuple[str, dict[str, int]]]) -> None:
    """A table with a line an image and a column a class."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", *counts[0][1]])
    table.writerows([source, *counted.values()] for source, counted in counts)
    write_text(path, text.getvalue())


def inputs_below(sources: Sequence[str | Path], out: Path) -> dict[Path, Path]:
    """Every input file with its path below the folder it was found in; of a file given by name its name.

    Raises:
        InputError: there is no image at all, a folder cannot be listed, or out is one of the folders.
    """
    below: dict[Path, Path] = {}
    for source in map(Path, sources):
        if source.is_dir() and not is_zarr(source):
            below |= {path: path.relative_to(source) for path in _images_in(source, out)}
        else:
            below[source] = Path(source.name)
    if not below:
        where = ", ".join(map(str, sources)) or "no source"
        raise InputError(f"{where}: no image found; images end in {', '.join((*IMAGE_SUFFIXES, *NIFTI_SUFFIXES))}.")
    return below


def plan(below: Mapping[Path, Path], out: Path) -> tuple[Job, ...]:
    """Every picture with the place of its answer.

    Where stems of different folders meet, all keep their path below the folder they share. Files that differ in the suffix
    alone keep it: x.jpg.png.
    """
    if len({(_stem(b), str(path.parent)) for path, b in below.items()}) > len({_stem(b) for b in below.values()}):
        shared = os.path.commonpath([path.absolute().parent for path in below])
        below = {path: path.absolute().relative_to(shared) for path in below}
    stems = Counter(map(_stem, below.values()))
    return tuple(Job(path, out / b.parent, b.stem if stems[_stem(b)] == 1 else b.name) for path, b in below.items())


def as_stored(found: Segmentation) -> Segmentation:
    """The answer turned back to how the file stores its pixels: the inverse of the file's EXIF orientation."""
    if found.image is None or found.image.orientation == 1:
        return found
    back = _BACK[found.image.orientation]
    image = replace(found.image, pixels=back(found.image.pixels), orientation=1)
    if found.instances is not None:
        masks = tuple(Rle.from_mask(back(mask.to_mask())) for mask in found.instances.masks)
        hw = found.instances.hw if found.image.orientation < 5 else found.instances.hw[::-1]
        turned = replace(found.instances, hw=hw, masks=masks, boxes_xyxy=None, rings=())
        return replace(found, instances=turned, labels=back(found.labels), image=image)
    probs = None if found.probs is None else np.stack([back(p) for p in found.probs])
    confidence = None if found.confidence is None else back(found.confidence)
    return replace(found, labels=back(found.labels), image=image, confidence=confidence, probs=probs)


# From displayed to stored, on (H, W, ...), by EXIF orientation. 6 is displayed after a quarter turn clockwise, so its way
# back is one anticlockwise; 8 the other way round; all others are their own inverse.
_BACK: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: np.ascontiguousarray(a[:, ::-1]),
    3: lambda a: np.ascontiguousarray(a[::-1, ::-1]),
    4: lambda a: np.ascontiguousarray(a[::-1]),
    5: lambda a: np.ascontiguousarray(a.swapaxes(0, 1)),
    6: lambda a: np.ascontiguousarray(np.rot90(a, 1)),
    7: lambda a: np.ascontiguousarray(a[::-1, ::-1].swapaxes(0, 1)),
    8: lambda a: np.ascontiguousarray(np.rot90(a, -1)),
}


def _images_in(folder: Path, out: Path) -> Iterator[Path]:
    """Images below folder by name; hidden files and folders, and the answers of an earlier run in out, are left out."""

    def stop(error: OSError) -> None:
        raise InputError(f"{error.filename}: the folder cannot be listed ({error.strerror}); check the permissions.") from error

    answers = out.resolve()
    if folder.resolve() == answers:
        raise InputError(f"{out}: masks among the images would be taken for images next time. Choose another folder with --out.")
    for root, folders, files in os.walk(folder, onerror=stop):
        here = Path(root)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and (here / f).resolve() != answers)
        arrays = [here / f for f in folders if is_zarr(here / f)]
        folders[:] = [f for f in folders if here / f not in arrays]
        yield from arrays
        shown = (here / f for f in sorted(files) if not f.startswith("."))
        yield from (path for path in shown if path.suffix.lower() in IMAGE_SUFFIXES or is_volume_file(path))


def _stem(below: Path) -> str:
    """Without suffix and case: names that differ in case alone are one file on many disks."""
    return str(below.with_suffix("")).casefold()


def _check_free(jobs: Sequence[Job], more: Sequence[str], *, overwrite: bool) -> None:
    endings = [*SUFFIXES.values(), ZARR_SUFFIX, *more]
    inputs = {job.source.resolve() for job in jobs}
    resolved = {folder: folder.resolve() for folder in {job.folder for job in jobs}}
    owner: dict[str, Job] = {}
    for job in jobs:
        for path in (job.folder / f"{job.name}{ending}" for ending in endings):
            other = owner.setdefault(str(path).casefold(), job)
            if other is not job:
                raise InputError(
                    f"{other.source} and {job.source}: both would write {path}. Predict them into different folders."
                )
            if resolved[job.folder] / path.name in inputs:
                raise InputError(f"{path}: is an input; its answer would take its place. Choose another folder with --out.")
            if not overwrite and path.exists():
                raise InputError(f"{path}: is already there. Give --overwrite to replace it, or another folder with --out.")


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
    except (InputError, OSError) as error:
        system = error if isinstance(error, OSError) else error.__cause__
        if isinstance(system, OSError) and system.errno in _DISK_ENDS_IT:
            raise
        return Failure(str(job.source), str(error))

"""Files and folders in, mask files out: what is written where is settled before any work, and a bad file stops nobody.

Four kinds of input, each with a room of its own: pictures answered whole (pictures.py), pictures larger than memory
(large_work.py), volumes (volumes.py) and videos (video.py). jobs.py settles which file goes where.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.annotations.saving import ENDINGS, checked
from maskwright.annotations.vector_files import check_drawing, check_packages
from maskwright.errors import InputError
from maskwright.inference.freed import reusing_memory
from maskwright.inference.jobs import Job, check_free, inputs_below, plan
from maskwright.inference.journal import Journal, job_of
from maskwright.inference.large_work import OVERLAY, LargeWork, is_large, of_whole
from maskwright.inference.pictures import PictureWork
from maskwright.inference.predictor import Failure, Predictor
from maskwright.inference.video import VideoReport, check_videos, is_answered, predict_videos
from maskwright.inference.volumes import VolumeReport, VolumeWork, share_formats
from maskwright.io.nifti_axes import AXES
from maskwright.io.video import is_video
from maskwright.io.volumes import is_volume_file
from maskwright.io.write import write_text
from maskwright.result import COG, COG_ENDING, LABELS

COUNTS_FILE = "counts.csv"
# The formats that any answer can be written in; all others hold objects.
OF_CLASSES = {LABELS: "", COG: COG_ENDING, "geojson": ".geojson", "gpkg": ".gpkg"}


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


@reusing_memory()
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
    interruption (Ctrl-C) leaves only finished answers; the same call goes on with the rest (journal.py), and so it does where
    some inputs had no answer: those are tried again.

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
        InputError: there is nothing to do, the only input is not there, an answer is already there, an answer would replace an
            input, or the disk is full. Any other input that cannot be read or answered is no error: it is in
            the report's `failed`.
    """
    given = [Path(s) for s in ([sources] if isinstance(sources, (str, Path)) else sources)]
    out = Path(out)
    formats = [formats] if isinstance(formats, str) else list(formats)
    blur_background_px = None if blur_background_px is None else _blur(predictor, float(blur_background_px))
    wishes = {"overlay": overlay, "probabilities": probabilities, "stored_orientation": stored_orientation, "formats": formats}
    wishes |= {"blur_background_px": blur_background_px, "vector_crs": vector_crs, "simplify": float(simplify)}
    journal = Journal(out, job_of(predictor, given, slice_axis=slice_axis, **wishes), overwrite=overwrite)
    if workers < 1:
        raise InputError(f"workers={workers}: expected one or more.")
    if slice_axis not in AXES:
        raise InputError(f"--slice-axis {slice_axis!r}: expected one of {', '.join(AXES)}.")
    if len(given) == 1 and not given[0].exists():
        raise InputError(f"{given[0]}: no such file or folder; name an image, a volume, a video, or a folder of them.")
    videos = [source for source in given if is_video(source) and not source.is_dir()]
    if videos and set(formats) - {LABELS}:
        raise InputError(f"{videos[0]}: of videos --format knows labels alone, a mask for each frame; leave the others out.")
    below = {} if videos == given and videos else inputs_below([s for s in given if s not in videos], out)
    of_volumes = {path: place for path, place in below.items() if is_volume_file(path)}
    planned = plan({path: place for path, place in below.items() if path not in of_volumes}, out)
    for_pictures, for_volumes = share_formats(formats, pictures=bool(planned), volumes=bool(of_volumes))
    volumes = VolumeWork(of_volumes, out, for_volumes, axis=slice_axis, overlay=overlay, overwrite=overwrite, journal=journal)
    volumes.refuse(probabilities=probabilities, blur_background=blur_background_px is not None, uncertainty=predictor.passes > 0)
    check_drawing(vector_crs, simplify)
    pictures = PictureWork(
        _formats(predictor, for_pictures, probabilities=probabilities),
        {"vector_crs": vector_crs, "simplify": simplify},
        overlay=overlay,
        probabilities=probabilities,
        uncertainty=predictor.passes > 0,
        blur_background_px=blur_background_px,
        stored_orientation=stored_orientation,
    )
    endings = [OF_CLASSES.get(name) or ENDINGS[name] for name in pictures.formats if name != LABELS]
    kept = {job: files[0] for job in planned if (files := journal.answered(job.folder / job.name, job.source))}
    order, planned = [str(job.source) for job in planned], tuple(job for job in planned if job not in kept)
    watched_before = [video for video in videos if is_answered(video, out, journal)]
    alone = [option for option in pictures.beside.values() if option != OVERLAY]
    check_videos(videos, out, alone, journal=journal, masks=LABELS in formats, overwrite=overwrite)
    jobs, large = _shared(predictor, planned, pictures)
    written = [*endings, *pictures.beside, *large.endings]
    check_free(planned, written, overwrite=overwrite, taken=volumes.targets, ours=journal.owns)
    counts_file = out / COUNTS_FILE
    if predictor.finds_objects and not overwrite and counts_file.exists() and not journal.owns(counts_file):
        raise InputError(f"{counts_file}: is already there. Give --overwrite to replace it, or another folder with --out.")

    counts: tuple[tuple[str, dict[str, int]], ...] = ()

    def count(more: Iterable[tuple[str, dict[str, int]]]) -> None:
        nonlocal counts
        counts += tuple(more)
        if counts:
            journal.writes(counts_file, [counts_file])
            _write_counts(counts_file, counts)
            journal.finish(counts_file, [counts_file])

    with journal:
        journal.begin()
        every = len(jobs) + volumes.slices
        predictor.prepare(every)
        done, failed = pictures.predict(
            predictor,
            jobs,
            journal,
            written,
            workers=workers,
            progress=lambda finished: progress(finished, every) if progress else None,
        )
        counted = pictures.counts | {
            str(job.source): said["counts"] for job in kept if "counts" in (said := journal.said(job.folder / job.name))
        }
        count((source, counted[source]) for source in order if source in counted)
        measured, unread = volumes.predict(predictor, before=len(jobs), readers=workers, progress=progress)
        watched, broken = predict_videos(predictor, videos, out, journal=journal, masks=LABELS in formats, progress=progress)
        answered, too_large = large.predict(
            predictor,
            journal,
            written,
            progress,
            lambda one: count([] if one.counts is None else [(str(one.source), one.counts)]),
        )
        answers = (*kept.values(), *done, *(one.file for one in measured), *(one.file for one in answered))
        unanswered = (*failed, *unread, *broken, *too_large)
        # It stays for the same command, which then answers the rest.
        journal.end() if unanswered and (answers or watched) else journal.remove()
    already = len(kept) + len(volumes.kept) + len(watched_before)
    return PredictReport(
        answers,
        unanswered,
        counts,
        measured,
        (
            *([f"{already} answers that were there are kept: they are those of the same command before."] if already else ()),
            *(_said_once(remark, about) for remark, about in pictures.remarked.items()),
            *(f"{one.file.name}: {text}" for one in answered for text in one.lines()),
        ),
        watched,
    )


def _shared(predictor: Predictor, planned: Sequence[Job], pictures: PictureWork) -> tuple[list[Job], LargeWork]:
    """The pictures that are answered whole, and those that are read by windows."""
    # A net that sees images scaled down to a size takes them as a whole, however large they are.
    scaled = not predictor.finds_objects and {predictor.preprocess.max_side_px, predictor.preprocess.min_side_px} != {None}
    options = list(pictures.beside.values())
    whole = scaled or bool(
        of_whole(pictures.formats, options, objects=predictor.finds_objects, simplify=pictures.drawing["simplify"])
    )
    large = [job for job in planned if is_large(job.source, whole=whole)]
    work = LargeWork(large, pictures.formats, options, objects=predictor.finds_objects, **pictures.drawing)
    return [job for job in planned if job not in large], work


def _blur(predictor: Predictor, radius_px: float) -> float:
    """The radius, if there can be a picture with a blurred background."""
    if not (math.isfinite(radius_px) and radius_px >= 0):
        raise InputError(f"--blur-background {radius_px}: expected a radius of 0 px or more.")
    if predictor.classes.background is None:
        names = ", ".join(predictor.classes.names)
        raise InputError(
            f"--blur-background: the model's classes ({names}) have no background; "
            "in Python say what stays sharp: found.blur_background(keep=...)."
        )
    return radius_px


def _said_once(remark: str, about: Sequence[Path]) -> str:
    more = f" and {len(about) - 1} more" if len(about) > 1 else ""
    return f"{min(about)}{more}: {remark}"


def _formats(predictor: Predictor, given: Sequence[str], *, probabilities: bool) -> list[str]:
    """The formats of pictures' answers: those that were given, else labels, and of objects their ids as well."""
    formats = list(given) or ([LABELS, "ids"] if predictor.finds_objects else [LABELS])
    unknown = [name for name in formats if name not in (*OF_CLASSES, *ENDINGS)]
    if unknown:
        known = ", ".join(dict.fromkeys([*OF_CLASSES, *(ENDINGS if predictor.finds_objects else ())]))
        raise InputError(f"--format {','.join(unknown)}: of pictures this model writes {known}; of volumes labels and nifti.")
    of_objects = checked(name for name in formats if name not in OF_CLASSES)
    if of_objects and not predictor.finds_objects:
        raise InputError(f"--format {','.join(of_objects)} holds objects, this model finds classes only; leave it out.")
    check_packages(formats, objects=predictor.finds_objects)
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

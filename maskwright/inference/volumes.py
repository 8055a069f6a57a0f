"""Volumes slice by slice through the predictor, and the answer in the volume's own container and geometry.

Slices are read while the net works on the one before; labels lie in a temporary file on the disk, so that memory does not grow
with the number of slices. Where the model scales by an image's own values, the values of the whole volume are taken.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError, MissingExtraError
from maskwright.inference.journal import Journal
from maskwright.inference.predictor import Failure, Predictor
from maskwright.io.image import Image
from maskwright.io.scratch import mapped
from maskwright.io.volume import Volume
from maskwright.io.volumes import volumes_among
from maskwright.io.write import disk_ends_it, write_png, write_text
from maskwright.result import LABELS, SUFFIXES, Segmentation

VOLUMES_FILE = "volumes.csv"
NIFTI = "nifti"
FORMATS = (LABELS, NIFTI)
# A disk in this state refuses every later file as well.


@dataclass(frozen=True)
class VolumeReport:
    """What was found in one volume.

    Attributes:
        source: the file or folder, with the name of the answer where a folder holds several series
        file: the first file written
        voxels: of each class but the background
        voxel_ml: volume of one voxel in millilitres; None where the source does not say
        remarks: what is to be said about the volume, a sentence each
    """

    source: str
    file: Path
    voxels: dict[str, int]
    voxel_ml: float | None
    remarks: tuple[str, ...] = ()

    @property
    def ml(self) -> dict[str, float] | None:
        """Millilitres of each class; None where the size of a voxel is not known."""
        return None if self.voxel_ml is None else {name: n * self.voxel_ml for name, n in self.voxels.items()}

    def __str__(self) -> str:
        given = self.ml
        said = [f"{name} {given[name]:.1f} ml" if given else f"{name} {n} voxels" for name, n in self.voxels.items()]
        return f"{self.source}: {', '.join(said)}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "file": str(self.file),
            "voxels": self.voxels,
            "ml": self.ml,
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True, eq=False)
class VolumeJob:
    """A volume, and the files of its answer: the first holds the labels."""

    volume: Volume
    targets: tuple[Path, ...]


class VolumeWork:
    """All volumes among the inputs of one command: what is written where is settled here, before any work.

    Args:
        below: the volumes' files, each with its path below the folder of answers
        formats: "labels" for the volume's own container, "nifti"; none is labels
        axis: along which NIfTI volumes are cut, see io/nifti_axes.py
        journal: volumes that an interrupted command has answered are kept as they are

    Attributes:
        slices: of all volumes together
        targets: every file that will be written
        kept: reports of the volumes that are kept

    Raises:
        InputError: a format is not of volumes, two volumes would be answered by one file, an answer would replace an input, or
            is already there.
    """

    def __init__(
        self,
        below: Mapping[Path, Path],
        out: Path,
        formats: Sequence[str],
        *,
        axis: str,
        overlay: bool,
        overwrite: bool,
        journal: Journal,
    ) -> None:
        found, wrong = volumes_among(below, axis)
        self._failed = [Failure(str(path), reason) for path, reason in wrong]
        jobs = volume_jobs(found, below, out, list(formats) or [LABELS]) if found else []
        there = [job for job in jobs if journal.answered(job.targets[0], *job.volume.sources)]
        self.kept = tuple(_report_of(job, **journal.said(job.targets[0])) for job in there)
        self._jobs = [job for job in jobs if job not in there]
        self._overlay, self._table, self._journal = overlay, out / VOLUMES_FILE, journal
        files = [file for job in self._jobs for file in files_of(job, overlay=overlay)]
        self.targets = (*files, *([self._table] if jobs else []))
        _check_free(self.targets, below, overwrite, journal)
        self.slices = sum(len(job.volume) for job in self._jobs)

    def refuse(self, **wanted: bool) -> None:
        """Say which of the wished files volumes do not have.

        Raises:
            InputError: one is wanted.
        """
        asked = [f"--{name.replace('_', '-')}" for name, is_wanted in wanted.items() if is_wanted]
        if asked and (self._jobs or self._failed):
            raise InputError(f"{', '.join(asked)}: is of pictures, volumes are answered by labels alone; leave it out.")

    def predict(
        self, predictor: Predictor, *, before: int, readers: int, progress: Callable[[int, int], None] | None
    ) -> tuple[tuple[VolumeReport, ...], tuple[Failure, ...]]:
        """Answer one volume after the other, reported behind those that are kept; volumes.csv: how much of each class they hold.

        Args:
            before: inputs that are finished already, for progress(finished, all), which is called after each slice
        """
        done = list(self.kept)
        failed = list(self._failed)
        finished, total = before, before + self.slices
        while self._jobs:
            job = self._jobs.pop(0)  # with it goes the unpacked copy of a .nii.gz
            step = partial(_report, progress, finished, total) if progress else None
            files = files_of(job, overlay=self._overlay)
            writing = partial(self._journal.writes, job.targets[0], files)
            found = predict_volume(predictor, job, overlay=self._overlay, readers=readers, step=step, writing=writing)
            if isinstance(found, Failure):
                failed.append(found)
            else:
                done.append(found)
                said = {"voxels": found.voxels, "voxel_ml": found.voxel_ml, "remarks": found.remarks}
                self._journal.finish(job.targets[0], files, **said)
                self._tell(done)
            finished += len(job.volume)
        if self.kept:
            self._tell(done)
        return tuple(done), tuple(failed)

    def _tell(self, done: Sequence[VolumeReport]) -> None:
        self._journal.writes(self._table, [self._table])
        write_table(self._table, done)
        self._journal.finish(self._table, [self._table])


def share_formats(formats: Sequence[str], *, pictures: bool, volumes: bool) -> tuple[list[str], list[str]]:
    """The formats of pictures and those of volumes: all for the one kind that is there; of both kinds each takes its own."""
    if not (pictures and volumes):
        return ([], list(formats)) if volumes else (list(formats), [])
    return [name for name in formats if name != NIFTI], [name for name in formats if name in FORMATS]


def volume_jobs(volumes: Iterable[Volume], below: Mapping[Path, Path], out: Path, formats: Sequence[str]) -> list[VolumeJob]:
    """The volumes with the files of their answers.

    Args:
        below: of each input file its path below the folder of answers
        formats: "labels" in the volume's own container, "nifti"

    Raises:
        InputError: a format is not of volumes, or two volumes would be answered by one file.
    """
    wrong = [name for name in formats if name not in FORMATS]
    if wrong:
        raise InputError(f"--format {','.join(wrong)} is not of volumes; give {' or '.join(FORMATS)}.")
    jobs, owner = [], {}  # type: tuple[list[VolumeJob], dict[str, Volume]]
    for volume in volumes:
        endings = dict.fromkeys(SUFFIXES[NIFTI if name == NIFTI else volume.container] for name in formats)
        targets = tuple(out / below[volume.file].parent / f"{volume.name}{ending}" for ending in endings)
        for target in targets:
            other = owner.setdefault(str(target).casefold(), volume)
            if other is not volume:
                raise InputError(
                    f"{other.path} and {volume.path}: both would write {target}. Predict them into different folders."
                )
        jobs.append(VolumeJob(volume, targets))
    return jobs


def _check_free(targets: Sequence[Path], inputs: Iterable[Path], overwrite: bool, journal: Journal) -> None:
    taken = {path.resolve() for path in inputs}
    for target in targets:
        if target.resolve() in taken:
            raise InputError(f"{target}: is an input; its answer would take its place. Choose another folder with --out.")
        if not overwrite and target.exists() and not journal.owns(target):
            raise InputError(f"{target}: is already there. Give --overwrite to replace it, or another folder with --out.")


def _report(progress: Callable[[int, int], None], before: int, total: int, k: int) -> None:
    progress(before + k, total)


def _report_of(job: VolumeJob, voxels: Mapping[str, int], voxel_ml: float | None, remarks: Sequence[str]) -> VolumeReport:
    return VolumeReport(job.volume.label, job.targets[0], dict(voxels), voxel_ml, tuple(remarks))


def files_of(job: VolumeJob, *, overlay: bool) -> list[Path]:
    """All files of an answer."""
    return [*job.targets, *([overlay_of(job)] if overlay else [])]


def overlay_of(job: VolumeJob) -> Path:
    """The picture of the slice in which most was found."""
    return job.targets[0].with_name(f"{job.volume.name}_overlay.png")


def predict_volume(
    predictor: Predictor,
    job: VolumeJob,
    *,
    overlay: bool,
    readers: int,
    step: Callable[[int], None] | None,
    writing: Callable[[], None] | None = None,
) -> VolumeReport | Failure:
    """Answer one volume and write it; what is wrong with it is a Failure that names the file.

    Args:
        step: called after each slice with the number of finished ones
        writing: called before the files are written
    """
    try:
        with tempfile.TemporaryFile() as scratch:
            volume = job.volume
            _check(predictor, job)
            labels = mapped(scratch, predictor.classes.dtype, (len(volume), *volume.hw))
            of_values = _fill(predictor, volume, labels, readers, step)
            if writing:
                writing()
            for target in job.targets:
                save = volume.save_nifti if _is_nifti(target) else volume.save_labels
                save(target, labels, predictor.classes)
            if overlay:
                _write_overlay(predictor, job, labels)
            counted = _voxels(predictor, labels)
    except (InputError, MissingExtraError) as error:
        if disk_ends_it(error):
            raise
        return Failure(job.volume.label, str(error))
    of_nifti = volume.nifti_remarks if any(map(_is_nifti, job.targets)) else ()
    remarks = dict.fromkeys((*volume.remarks, *of_values, *of_nifti))
    return VolumeReport(volume.label, job.targets[0], counted, volume.voxel_ml, tuple(remarks))


def _check(predictor: Predictor, job: VolumeJob) -> None:
    """Refuse before the work what could not be written after it."""
    for target in job.targets:
        if _is_nifti(target):
            job.volume.check_nifti()
        else:
            job.volume.check_labels(predictor.classes)


def _is_nifti(target: Path) -> bool:
    return target.name.endswith(SUFFIXES[NIFTI])


def _fill(
    predictor: Predictor, volume: Volume, labels: NDArray[Any], readers: int, step: Callable[[int], None] | None
) -> tuple[str, ...]:
    """The labels of every slice; returns what was done to the slices' values."""
    remarks: dict[str, None] = {}
    measured = predictor.preprocess.scaling != "range"
    with closing(predictor.many(volume.images(measured=measured), readers=readers)) as answers:
        for k, found in enumerate(answers):
            if isinstance(found, Segmentation):
                labels[k] = found.labels
                remarks.update(dict.fromkeys(found.image.remarks if found.image else ()))
            if step:
                step(k + 1)
    return tuple(remarks)


def _voxels(predictor: Predictor, labels: NDArray[Any]) -> dict[str, int]:
    classes = predictor.classes
    counts = np.zeros(65536, np.int64)
    for layer in labels:
        counts += np.bincount(layer.ravel(), minlength=65536)
    named = zip(classes.ids, classes.names, strict=True)
    return {name: int(counts[i]) for i, name in named if i != classes.background}


def _write_overlay(predictor: Predictor, job: VolumeJob, labels: NDArray[Any]) -> None:
    background = predictor.classes.background
    fullest = int(np.argmax([np.count_nonzero(layer != background) for layer in labels]))
    image: Image = replace(job.volume.image(fullest, measured=False), container="png")
    write_png(overlay_of(job), Segmentation(np.asarray(labels[fullest]), predictor.classes, image).overlay())


def write_table(path: Path, found: Sequence[VolumeReport]) -> None:
    """volumes.csv: a line a volume and class."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["volume", "class", "voxels", "ml"])
    for one in found:
        for name, voxels in one.voxels.items():
            table.writerow([one.source, name, voxels, "" if one.ml is None else f"{one.ml[name]:.4f}"])
    write_text(path, text.getvalue())

"""Which files are answered and where each answer goes: all of it settled, and refused where it cannot be, before any work."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskwright.errors import InputError
from maskwright.io.nifti import NIFTI_SUFFIXES
from maskwright.io.read import IMAGE_SUFFIXES
from maskwright.io.volumes import is_volume_file
from maskwright.io.windows import ZARR_SUFFIX, is_zarr
from maskwright.result import SUFFIXES


@dataclass(frozen=True)
class Job:
    """One input and where its answer goes: <folder>/<name>.png and the pictures beside it."""

    source: Path
    folder: Path
    name: str


def inputs_below(sources: Sequence[str | Path], out: Path) -> dict[Path, Path]:
    """Every input file, each once, with its path below the folder it was found in; of a file given by name its name.

    Raises:
        InputError: there is no image at all, a folder cannot be listed, or out is one of the folders.
    """
    below: dict[Path, Path] = {}
    for source in map(Path, sources):
        if source.is_dir() and not is_zarr(source):
            below |= {path: path.relative_to(source) for path in _images_in(source, out)}
        else:
            below[source] = Path(source.name)
    once: dict[Path, tuple[Path, Path]] = {}
    for path, place in below.items():
        once.setdefault(_plain(path), (path, place))
    if not below:
        where = ", ".join(map(str, sources)) or "no source"
        raise InputError(f"{where}: no image found; images end in {', '.join((*IMAGE_SUFFIXES, *NIFTI_SUFFIXES))}.")
    return dict(once.values())


def plan(below: Mapping[Path, Path], out: Path) -> tuple[Job, ...]:
    """Every picture with the place of its answer.

    Where stems of different folders meet, all keep their path below the folder they share. Files that differ in the suffix
    alone keep it: x.jpg.png.
    """
    if len({(_stem(b), str(path.parent)) for path, b in below.items()}) > len({_stem(b) for b in below.values()}):
        shared = os.path.commonpath([_plain(path).parent for path in below])
        below = {path: _plain(path).relative_to(shared) for path in below}
    stems = Counter(map(_stem, below.values()))
    return tuple(Job(path, out / b.parent, b.stem if stems[_stem(b)] == 1 else b.name) for path, b in below.items())


def places_of(job: Job, more: Sequence[str]) -> list[Path]:
    """Where files of an answer may come to lie, whatever container it takes.

    Args:
        more: endings of the files that are written beside a mask
    """
    return [job.folder / f"{job.name}{ending}" for ending in (*SUFFIXES.values(), ZARR_SUFFIX, *more)]


def check_free(
    jobs: Sequence[Job],
    more: Sequence[str],
    *,
    overwrite: bool,
    taken: Sequence[Path] = (),
    ours: Callable[[Path], bool] = lambda _: False,
) -> None:
    """Refuse answers that would meet each other, take the place of an input, or of a file that is already there.

    Args:
        more: endings of the files that are written beside a mask
        taken: files that volumes are answered by
        ours: whether a file that is there may be replaced unasked
    """
    of_others = {str(path).casefold() for path in taken}
    inputs = {job.source.resolve() for job in jobs}
    resolved = {folder: folder.resolve() for folder in {job.folder for job in jobs}}
    owner: dict[str, Job] = {}
    for job in jobs:
        for path in places_of(job, more):
            other = owner.setdefault(str(path).casefold(), job)
            # No picture is answered by nifti.
            if not path.name.endswith(SUFFIXES["nifti"]) and str(path).casefold() in of_others:
                raise InputError(f"{job.source}: {path} would hold a volume's answer too. Predict them into different folders.")
            if other is not job:
                raise InputError(
                    f"{other.source} and {job.source}: both would write {path}. Rename one, or choose different folders."
                )
            if resolved[job.folder] / path.name in inputs:
                raise InputError(f"{path}: is an input; its answer would take its place. Choose another folder with --out.")
            if not overwrite and path.exists() and not ours(path):
                raise InputError(f"{path}: is already there. Give --overwrite to replace it, or another folder with --out.")


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


def _plain(path: Path) -> Path:
    """The whole path without `..`, which would lead an answer out of its folder."""
    return Path(os.path.normpath(path.absolute()))


def _stem(below: Path) -> str:
    """Without suffix and case: names that differ in case alone are one file on many disks."""
    return str(below.with_suffix("")).casefold()

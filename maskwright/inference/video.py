"""A video in; out come the same video with what was found drawn over it, a table of areas or counts, and masks on request.

Frames are read, answered and written one after the other; memory does not grow with the length.
"""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from maskwright.errors import FormatError, InputError, MissingExtraError
from maskwright.inference.journal import Journal
from maskwright.inference.predictor import Failure, Predictor
from maskwright.io.video import Video, VideoFrame, video_writer
from maskwright.io.write import atomic, disk_ends_it, whole_folder
from maskwright.result import Segmentation


@dataclass(frozen=True)
class VideoReport:
    """What predict_video did.

    Attributes:
        source: the video
        overlay, table: the files that were written
        masks: the folder of the masks, where they were wanted
        frames: how many were answered
        sound: whether the source has sound, which the overlay has not
        problems: what was wrong with the source; then the overlay holds what there was
    """

    source: str
    overlay: Path
    table: Path
    masks: Path | None
    frames: int
    sound: bool
    problems: tuple[str, ...]

    def __str__(self) -> str:
        masks = f", {self.masks}/" if self.masks else ""
        sound = "; its sound is left out" if self.sound else ""
        return f"{self.source}: {self.frames} frames: {self.overlay}, {self.table}{masks}{sound}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source, "overlay": str(self.overlay), "table": str(self.table),
            "masks": str(self.masks) if self.masks else None, "frames": self.frames, "sound_dropped": self.sound,
            "problems": list(self.problems),
        }  # fmt: skip


def predict_video(
    predictor: Predictor,
    source: str | Path,
    out: str | Path,
    *,
    masks: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    writing: Callable[[], None] | None = None,
) -> VideoReport:
    """Segment every frame of a video.

    Files:
        <name>_overlay.mp4: of the same size, rate and duration, turned as the file says, without sound
        <name>_frames.csv: a line a frame: its number, seconds, and for each class its pixels, or of objects their number
        <name>_masks/000000.png: class ids of each frame, where masks are wanted

    Args:
        progress: called with (frames done, frames that the file states); not where it states none
        writing: called before the files take their names, when all frames are answered

    Raises:
        FormatError: not one frame can be read.
        InputError: a file is already there, or cannot be written.
        MissingExtraError: av is not installed.
    """
    overlay, table, folder = targets = _targets(Path(source), Path(out))
    _check_free(targets if masks else targets[:2], overwrite=overwrite)
    count = 0
    with ExitStack() as opened:
        video = opened.enter_context(Video(source))
        predictor.prepare(video.stated or None)
        aside = opened.enter_context(whole_folder(folder)) if masks else folder
        add = opened.enter_context(video_writer(overlay, video))
        write_row = opened.enter_context(_table(table, predictor))
        for frame, found in _answers(predictor, video):
            if masks:
                found.save(aside)
            add(found.overlay(legend=False), frame.ticks, frame.duration)
            write_row(frame, found)
            count += 1
            if progress and video.stated:
                progress(count, max(count, video.stated))
        if not count:
            why = f" {video.problems[0]}" if video.problems else ""
            raise FormatError(f"{source}: holds no frame that can be read.{why} Copy it again.")
        if writing:
            writing()
    return VideoReport(str(source), overlay, table, folder if masks else None, count, video.sounds, tuple(video.problems))


def predict_videos(
    predictor: Predictor,
    sources: list[Path],
    out: Path,
    *,
    journal: Journal,
    masks: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[tuple[VideoReport, ...], list[Failure]]:
    """predict_video over several that check_videos found free; those that an interrupted command has answered are kept.

    One that cannot be answered is a failure, and so is each problem of one that can.

    Raises:
        InputError: the disk is full.
    """
    reports, failed = [], []
    for source in sources:
        overlay, table, folder = _targets(source, out)
        if journal.answered(table, source):
            reports.append(VideoReport(str(source), overlay, table, folder if masks else None, **journal.said(table)))
            failed += [Failure(str(source), problem) for problem in reports[-1].problems]
            continue
        try:
            files = [overlay, table, *([folder] if masks else [])]
            writing = partial(journal.writes, table, files)
            report = predict_video(predictor, source, out, masks=masks, overwrite=True, progress=progress, writing=writing)
        except (InputError, MissingExtraError) as error:
            if disk_ends_it(error):
                raise
            failed.append(Failure(str(source), str(error)))
        else:
            said = {"frames": report.frames, "sound": report.sound, "problems": report.problems}
            journal.finish(table, files, **said)
            reports.append(report)
            failed += [Failure(str(source), problem) for problem in report.problems]
    return tuple(reports), failed


def check_videos(
    sources: list[Path],
    out: Path,
    pictures_alone: Sequence[str],
    *,
    journal: Journal,
    masks: bool = False,
    overwrite: bool = False,
) -> None:
    """Refuse what cannot be, before any work.

    Args:
        pictures_alone: options that were given and that only pictures have

    Raises:
        InputError: there is one, two videos would write the same files, or a file is already there.
    """
    if sources and pictures_alone:
        raise InputError(f"{sources[0]}: videos have no {', '.join(pictures_alone)}; leave it out, or predict them apart.")
    names = Counter(source.stem.casefold() for source in sources)
    twice = [source for source in sources if names[source.stem.casefold()] > 1]
    if twice:
        raise InputError(f"{twice[0]} and {twice[1]}: both would write {out / twice[0].stem}_overlay.mp4. Predict them apart.")
    for source in sources:
        files = _targets(source, out)[: 3 if masks else 2]
        _check_free([file for file in files if not journal.owns(file)], overwrite=overwrite)


def is_answered(source: Path, out: Path, journal: Journal) -> bool:
    """Whether an interrupted command has answered a video, and its answer is there."""
    _, table, _ = _targets(source, out)
    return bool(journal.answered(table, source))


def _targets(source: Path, out: Path) -> list[Path]:
    return [out / f"{source.stem}{end}" for end in ("_overlay.mp4", "_frames.csv", "_masks")]


def _answers(predictor: Predictor, video: Video) -> Iterator[tuple[VideoFrame, Segmentation]]:
    """Every frame with its answer; a few frames are read ahead."""
    waiting: deque[VideoFrame] = deque()

    def pixels() -> Iterator[NDArray[Any]]:
        for frame in video:
            waiting.append(frame)
            yield frame.pixels

    with closing(predictor.many(pixels())) as answers:
        for found in answers:
            frame = waiting.popleft()
            assert isinstance(found, Segmentation)
            yield frame, replace(found, name=f"{frame.index:06}")


@contextmanager
def _table(path: Path, predictor: Predictor) -> Iterator[Callable[[VideoFrame, Segmentation], None]]:
    """A function (frame, answer) that writes a line: of each class its pixels, of objects their number."""
    classes = predictor.classes
    names = [n for i, n in zip(classes.ids, classes.names, strict=True) if not predictor.finds_objects or i != classes.background]
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["frame", "seconds", *names])

        def add(frame: VideoFrame, found: Segmentation) -> None:
            counted = found.areas() if found.instances is None else Counter(found.instances.names)
            rows.writerow([frame.index, f"{frame.seconds:.4f}", *(counted[name] for name in names)])

        yield add


def _check_free(paths: list[Path], *, overwrite: bool) -> None:
    for path in paths:
        if not overwrite and path.exists():
            raise InputError(f"{path}: is already there. Give --overwrite to replace it, or another folder with --out.")

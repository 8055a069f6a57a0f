"""Videos and cameras as a stream of frames, and frames as a video; memory does not grow with the length.

    for frame in maskwright.frames("drive.mp4"):
        frame.pixels, frame.seconds

Rotation that the file states is applied. A frame that cannot be decoded is left out and named in `problems`, the rest goes on; a
file that ends early gives what it has. Timestamps are kept as they are, so a variable rate stays one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import FormatError, InputError, MissingExtraError
from maskwright.io.write import atomic

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v")
CAMERA_FOLDER = "/dev/video"
# The length of a file is that of its longest stream: sound may go on a little after the last frame.
END_TOLERANCE_S = 0.5
# In the order of wish: H.264 where the build has it, else what every build has.
ENCODERS = ("libx264", "libopenh264", "mpeg4")


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame.

    Attributes:
        index: of the decoded frames, from 0 on
        seconds: when it is shown, from the start of the stream
        pixels: (H, W, 3) uint8 RGB, turned as the file says
        ticks, duration: when and how long, in units of the stream's time base; duration 0 where the file does not say
    """

    index: int
    seconds: float
    pixels: NDArray[np.uint8]
    ticks: int
    duration: int = 0


def is_video(source: str | Path) -> bool:
    """Whether a name is that of a video file."""
    return Path(source).suffix.lower() in VIDEO_SUFFIXES


def av_for(purpose: str) -> Any:
    """The package av.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("av", "video", purpose) from error
    return av


class Video:
    """A video that is read once, from its first frame to its last; close it, or use it as a context.

    Attributes:
        source: as given
        stated: number of frames by the file's own account, 0 where it does not say
        time_base: seconds of a tick
        rate: frames a second on average
        sounds: whether the file has sound
        pixel_shape: width of a pixel by its height, turned as the frames are; 1 until the first frame is read
        problems: what was wrong on the way, a sentence each; complete after the last frame

    Raises:
        FormatError: the file is no video, or its beginning is damaged.
        InputError: it is not there.
        MissingExtraError: av is not installed.
    """

    def __init__(self, source: str | Path) -> None:
        av = av_for("reading a video")
        self._av, self.source, self.problems = av, str(source), list[str]()
        # FFmpeg does not know the device files of Linux cameras by their names.
        form = "v4l2" if self.source.startswith(CAMERA_FOLDER) else None
        try:
            self._container = av.open(self.source, format=form)
        except FileNotFoundError:
            raise InputError(f"{source}: no such file.") from None
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise FormatError(
                f"{source}: cannot be opened as a video ({error}); it is no video, or cut short before its index. Copy it again."
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise FormatError(f"{source}: holds no pictures, only other streams; expected a video.")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.time_base = Fraction(self._stream.time_base or Fraction(1, 1000))
        self.rate = Fraction(self._stream.average_rate or self._stream.base_rate or 25)
        self.stated = int(self._stream.frames) or round(self._length() * self.rate)
        self.sounds, self.pixel_shape = bool(self._container.streams.audio), Fraction(1)

    def _length(self) -> float:
        """Seconds by the file's own account, 0 where it does not say."""
        return max(0.0, float(self._container.duration or 0) / float(self._av.time_base))

    def _begins(self) -> float:
        """Seconds on the file's own clock at which its first stream begins, 0 where it does not say."""
        return float(self._container.start_time or 0) / float(self._av.time_base)

    def __enter__(self) -> Video:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        index, last, first = 0, -1, None
        for decoded in self._decoded():
            # Files without timestamps, and damaged ones: one frame follows the other.
            step = max(1, round(1 / (self.rate * self.time_base)))
            ticks = int(decoded.pts) if decoded.pts is not None and decoded.pts > last else last + (step if index else 1)
            last, first = ticks, ticks if first is None else first
            turns = round(decoded.rotation / 90)
            pixels = np.rot90(decoded.to_ndarray(format="rgb24"), turns)
            stored = Fraction(self._stream.sample_aspect_ratio or 1)
            self.pixel_shape = 1 / stored if turns % 2 else stored
            seconds = float((ticks - first) * self.time_base)
            yield VideoFrame(index, seconds, np.ascontiguousarray(pixels), ticks - first, int(decoded.duration or 0))
            index += 1
        self._check_end(index, float((first or 0) * self.time_base), float(last * self.time_base))

    def _check_end(self, count: int, first: float, last: float) -> None:
        """Say so where frames are missing at the end, by the number or the length that the file states.

        Args:
            first, last: seconds of these frames on the file's own clock
        """
        stated, length = int(self._stream.frames), self._length()
        # Matroska states where its last frame ends, others how long it is from where the first stream begins.
        begins = 0.0 if "matroska" in self._container.format.name else self._begins()
        seconds = max(last - first, last - begins)
        if self.problems:
            return
        if stated and count < stated:
            self.problems.append(f"{self.source}: ends after {count} of {stated} frames; it is cut short.")
        elif not stated and seconds + 2 / self.rate + END_TOLERANCE_S < length:
            self.problems.append(f"{self.source}: ends at {seconds:.2f} s of {length:.2f} s; it is cut short.")

    def _decoded(self) -> Iterator[Any]:
        """Decoded frames; damaged packets are left out and named."""
        number = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except self._av.error.FFmpegError as error:
                self.problems.append(
                    f"{self.source}: cannot be read beyond frame {number} ({error}); it is cut short or damaged."
                )
                return
            try:
                for frame in packet.decode():
                    if frame.is_corrupt:
                        self.problems.append(
                            f"{self.source}: frame {number}{_at(frame.time)} is damaged; shown as far as it goes."
                        )
                    number += 1
                    yield frame
            except self._av.error.FFmpegError as error:
                at = _at(float(packet.pts * packet.time_base) if packet.pts is not None else None)
                self.problems.append(f"{self.source}: a frame after frame {number}{at} is damaged and left out ({error}).")


def _at(seconds: float | None) -> str:
    return "" if seconds is None else f" at {seconds:.2f} s"


def frames(source: str | Path) -> Generator[VideoFrame, None, None]:
    """The frames of a video file, a camera (/dev/video0) or a stream (rtsp://...), one at a time.

    To segment what a camera sees: `predictor.many((frame.pixels for frame in frames("/dev/video0")), live=True)`. Use Video
    itself to know what was wrong with a file.

    Raises:
        see Video
    """
    with Video(source) as video:
        yield from video


@contextmanager
def video_writer(path: Path, video: Video) -> Iterator[Any]:
    """A function (pixels (H, W, 3), ticks, duration) that adds a frame, in the time base, rate and pixel shape of another video.

    H.264 in 4:2:0, which every player opens; frames of odd height or width in 4:4:4, so that they keep their size. The file is
    whole or not there.

    Raises:
        InputError: the file cannot be written.
    """
    av = av_for("writing a video")
    name = next(name for name in ENCODERS if name in av.codecs_available)
    with atomic(path) as temporary, closing(av.open(str(temporary), "w", format="mp4")) as container:
        stream: Any = None

        def add(pixels: NDArray[np.uint8], ticks: int, duration: int) -> None:
            nonlocal stream
            if stream is None:
                stream = container.add_stream(name, rate=video.rate)
                stream.height, stream.width = pixels.shape[:2]
                odd = stream.height % 2 or stream.width % 2
                stream.pix_fmt = "yuv444p" if odd and name == "libx264" else "yuv420p"
                stream.time_base = stream.codec_context.time_base = video.time_base
                stream.codec_context.sample_aspect_ratio = video.pixel_shape
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base, frame.duration = ticks, video.time_base, duration
            container.mux(stream.encode(frame))

        yield add
        if stream is not None:
            container.mux(stream.encode(None))

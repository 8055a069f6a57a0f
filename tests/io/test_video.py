"""Videos as streams of frames: sizes, times, rotation, damage."""

from __future__ import annotations

import builtins
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from maskwright.errors import FormatError, InputError, MissingExtraError
from maskwright.io.video import Video, frames, is_video, video_writer

HW = (48, 64)


def film(
    path: Path, count: int = 30, *, hw=HW, ticks=None, rotation: int = 0, sound: bool = False, codec="libx264", shape=None
) -> Path:
    """Frame k is of the grey 40 + 5 k with a white left half of its top row of blocks; 10 frames a second, a tick is 1/1000 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *hw, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stream.gop_size = 5
        if shape:
            stream.codec_context.sample_aspect_ratio = shape
        if rotation:
            stream.set_display_rotation(rotation)
        if sound:
            audio = container.add_stream("aac", rate=8000, layout="mono")
        for k in range(count):
            pixels = np.full((*hw, 3), 40 + 5 * k % 200, np.uint8)
            pixels[:16, : hw[1] // 2] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = (ticks[k] if ticks else 100 * k), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.rate = 8000
            container.mux(audio.encode(silence))
            container.mux(audio.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
def test_frames_come_in_order_with_their_times(tmp_path, suffix):
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    found = list(frames(film(tmp_path / f"a{suffix}", 12, codec=codec)))
    assert [frame.index for frame in found] == list(range(12))
    assert [frame.seconds for frame in found] == pytest.approx([0.1 * k for k in range(12)], abs=0.01)
    assert found[7].pixels.shape == (*HW, 3)
    assert abs(float(found[7].pixels[40].mean()) - 75) < 4


def test_webm_is_read(tmp_path):
    assert len(list(frames(film(tmp_path / "a.webm", 4, codec="libvpx-vp9")))) == 4


def test_variable_rates_keep_their_times(tmp_path):
    ticks = [0, 40, 90, 400, 420, 1000]
    found = list(frames(film(tmp_path / "a.mp4", 6, ticks=ticks)))
    assert [round(frame.seconds * 1000) for frame in found] == ticks
    with Video(tmp_path / "a.mp4") as video, video_writer(tmp_path / "b.mp4", video) as add:
        for frame in video:
            add(frame.pixels, frame.ticks, frame.duration)
    again = list(frames(tmp_path / "b.mp4"))
    assert [round(frame.seconds * 1000) for frame in again] == ticks


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_a_film_that_begins_late_is_whole(tmp_path, suffix):
    path = film(tmp_path / f"a{suffix}", 12, ticks=[5000 + 100 * k for k in range(12)])
    with Video(path) as video:
        found = list(video)
    assert [round(frame.seconds, 2) for frame in found] == [round(0.1 * k, 2) for k in range(12)]
    assert video.problems == []


def test_a_cut_film_that_begins_late_is_cut(tmp_path):
    path = film(tmp_path / "a.mkv", 200, ticks=[5000 + 100 * k for k in range(200)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    with Video(path) as video:
        list(video)
    assert "cut short" in video.problems[0]


def test_rotation_is_applied(tmp_path):
    # Stored with the white block at the top left; displayed after a quarter turn clockwise it is at the top right.
    (first, *_) = frames(film(tmp_path / "a.mp4", 2, rotation=-90))
    assert first.pixels.shape == (64, 48, 3)
    assert first.pixels[:30, 34:].mean() > 240
    assert first.pixels[:, :30].mean() < 60


@pytest.mark.parametrize("hw", [(48, 64), (47, 63)])
def test_a_written_video_keeps_size_rate_and_duration(tmp_path, hw):
    film(tmp_path / "a.mp4", 20)
    with Video(tmp_path / "a.mp4") as video, video_writer(tmp_path / "b.mp4", video) as add:
        for frame in video:
            add(np.ascontiguousarray(frame.pixels[: hw[0], : hw[1]]), frame.ticks, frame.duration)
    with av.open(str(tmp_path / "b.mp4")) as written, av.open(str(tmp_path / "a.mp4")) as source:
        after, before = written.streams.video[0], source.streams.video[0]
        assert (after.height, after.width) == hw
        assert after.frames == 20
        assert after.average_rate == before.average_rate
        assert float(after.duration * after.time_base) == pytest.approx(float(before.duration * before.time_base))


@pytest.mark.parametrize(("shape", "rotation", "written"), [((2, 1), 0, 2), ((2, 1), -90, 0.5), (None, 0, 1)])
def test_a_written_video_keeps_the_shape_of_its_pixels(tmp_path, shape, rotation, written):
    film(tmp_path / "a.mp4", 3, shape=shape and Fraction(*shape), rotation=rotation)
    with Video(tmp_path / "a.mp4") as video, video_writer(tmp_path / "b.mp4", video) as add:
        for frame in video:
            add(frame.pixels, frame.ticks, frame.duration)
    with av.open(str(tmp_path / "b.mp4")) as found:
        assert found.streams.video[0].sample_aspect_ratio == written


def damaged(path: Path, number: int) -> Path:
    """The bytes of one packet in the middle overwritten."""
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][number]
        place, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[place : place + size] = b"\xff" * size
    path.write_bytes(data)
    return path


def test_a_damaged_frame_is_named_and_the_rest_goes_on(tmp_path):
    path = damaged(film(tmp_path / "a.mp4", 30), 12)
    with Video(path) as video:
        found = list(video)
    assert 24 <= len(found) < 30
    assert "frame" in video.problems[0]
    assert "damaged" in video.problems[0]
    assert found[-1].seconds == pytest.approx(2.9)


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_a_cut_file_gives_what_it_has(tmp_path, suffix):
    path = film(tmp_path / f"a{suffix}", 200)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    with Video(path) as video:
        found = list(video)
    assert 20 < len(found) < 200
    assert video.problems
    assert "cut short" in video.problems[0]


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 20)
    with pytest.raises(FormatError, match=r"a\.mp4: cannot be opened as a video"):
        Video(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="no such file"):
        list(frames(tmp_path / "b.mp4"))
    with av.open(str(tmp_path / "c.mp4"), "w") as container:
        audio = container.add_stream("aac", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = 8000
        container.mux(audio.encode(silence))
        container.mux(audio.encode(None))
    with pytest.raises(FormatError, match="holds no pictures"):
        Video(tmp_path / "c.mp4")


def test_without_av_the_command_is_named(tmp_path, monkeypatch):
    importing = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "av":
            raise ImportError(name)
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'maskwright\[video\]'"):
        Video(tmp_path / "a.mp4")


def test_video_names():
    assert is_video("a/B.MOV")
    assert not is_video("a.png")

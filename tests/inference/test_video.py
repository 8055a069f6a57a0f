"""Video to video: an overlay of the same size and length, a table, masks on request."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest

from maskwright.errors import FormatError, InputError
from maskwright.inference.files import predict_files
from maskwright.inference.video import predict_video
from maskwright.io.video import frames

HW = (40, 56)


def film(path: Path, count: int = 8, *, sound: bool = False) -> Path:
    """Noise that fades to white, 10 frames a second, every third frame shown twice as long."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *HW, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if sound:
            audio = container.add_stream("aac", rate=8000, layout="mono")
        for k in range(count):
            frame = av.VideoFrame.from_ndarray(rng.integers(20 * k % 160, 256, (*HW, 3)).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = 100 * (k + k // 3), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.rate = 8000
            container.mux(audio.encode(silence))
            container.mux(audio.encode(None))
    return path


@pytest.fixture(scope="module")
def colour_run(make_run):
    return make_run(channels=3)


@pytest.fixture(scope="module")
def colours(colour_run):
    from maskwright.inference.predictor import Predictor

    return Predictor.load(colour_run, device="cpu")


def test_overlay_table_and_masks_belong_to_the_frames(colours, tmp_path):
    source, seen = film(tmp_path / "drive.mp4", sound=True), []
    report = predict_video(colours, source, tmp_path / "out", masks=True, progress=lambda *step: seen.append(step))
    assert report.frames == 8
    assert report.problems == ()
    assert report.sound
    assert seen[-1] == (8, 8)
    before, after = list(frames(source)), list(frames(report.overlay))
    assert [f.seconds for f in after] == pytest.approx([f.seconds for f in before])
    assert after[0].pixels.shape == (*HW, 3)
    with report.table.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["seconds"]) for row in rows] == pytest.approx([f.seconds for f in before])
    for frame, row in zip(before, rows, strict=True):
        expected = colours(frame.pixels)
        mask = np.asarray(PIL.Image.open(report.masks / f"{frame.index:06}.png"))
        assert (mask == expected.labels).all()
        assert {name: int(row[name]) for name in colours.classes.names} == expected.areas()


def test_videos_and_pictures_go_together(colours, tmp_path):
    PIL.Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(tmp_path / "a.png")
    report = predict_files(colours, [film(tmp_path / "drive.mp4", 3), tmp_path / "a.png"], tmp_path / "out")
    assert report.ok
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a.png", "drive_overlay.mp4", "drive_frames.csv"}
    assert report.to_dict()["videos"][0]["frames"] == 3
    with pytest.raises(InputError, match=r"drive_overlay\.mp4: is already there"):
        predict_files(colours, [tmp_path / "drive.mp4"], tmp_path / "out")
    with pytest.raises(InputError, match="of videos --format knows labels alone"):
        predict_files(colours, [tmp_path / "drive.mp4"], tmp_path / "x", formats=["geojson"])


def test_an_interrupted_video_leaves_nothing_behind_and_a_finished_one_is_kept(colours, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    source = film(tmp_path / "drive.mp4", 3)
    with pytest.raises(KeyboardInterrupt):
        predict_video(colours, source, tmp_path / "out", masks=True, progress=stop)
    assert list((tmp_path / "out").iterdir()) == []
    report = predict_video(colours, source, tmp_path / "out", masks=True)
    assert [p.name for p in sorted(report.masks.iterdir())] == ["000000.png", "000001.png", "000002.png"]

    def stop_at_the_second(done, total):
        if (tmp_path / "two" / "drive_frames.csv").exists():
            raise KeyboardInterrupt

    films = [source, film(tmp_path / "night.mp4", 3)]
    with pytest.raises(KeyboardInterrupt):
        predict_files(colours, films, tmp_path / "two", formats=["labels"], progress=stop_at_the_second)
    before = (tmp_path / "two" / "drive_frames.csv").stat().st_mtime_ns
    again = predict_files(colours, films, tmp_path / "two", formats=["labels"])
    assert again.remarks == ("1 answers that were there are kept: they are those of the same command before.",)
    assert (tmp_path / "two" / "drive_frames.csv").stat().st_mtime_ns == before
    assert (tmp_path / "two" / "night_frames.csv").exists()
    shorter = predict_video(colours, film(tmp_path / "drive.mp4", 2), tmp_path / "out", masks=True, overwrite=True)
    assert [p.name for p in sorted(shorter.masks.iterdir())] == ["000000.png", "000001.png"]


def test_a_cut_video_gives_what_it_has_and_is_listed(colours, tmp_path):
    path = film(tmp_path / "a.mkv", 60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    report = predict_files(colours, path, tmp_path / "out")
    assert not report.ok
    assert "cut short" in report.failed[0].reason
    assert 0 < len(list(frames(report.videos[0].overlay))) == report.videos[0].frames < 60


def test_what_cannot_be_read_leaves_nothing_behind(colours, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    report = predict_files(colours, tmp_path / "a.mp4", tmp_path / "out")
    assert "cannot be opened as a video" in report.failed[0].reason
    assert not (tmp_path / "out").exists()
    with pytest.raises(FormatError, match="cannot be opened"):
        predict_video(colours, tmp_path / "a.mp4", tmp_path / "out")


def test_two_videos_of_one_name_are_refused(colours, tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="both would write"):
        predict_files(colours, [film(tmp_path / "a.mp4", 2), film(tmp_path / "b" / "a.mp4", 2)], tmp_path / "out")


def test_what_videos_do_not_have_is_refused_before_any_work(colours, tmp_path):
    source = film(tmp_path / "drive.mp4", 3)
    with pytest.raises(InputError, match=r"drive\.mp4: videos have no --probabilities; leave it out"):
        predict_files(colours, source, tmp_path / "out", probabilities=True)
    assert not (tmp_path / "out").exists()


def test_a_video_that_cannot_be_answered_stops_nobody(colours, tmp_path):
    PIL.Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(tmp_path / "a.png")
    sources = [tmp_path / "none.mp4", film(tmp_path / "drive.mp4", 3), tmp_path / "a.png"]
    report = predict_files(colours, sources, tmp_path / "out")
    assert [path.name for path in report.done] == ["a.png"]
    assert [Path(video.source).name for video in report.videos] == ["drive.mp4"]
    assert "none.mp4" in str(report.failed[0])


def test_a_live_stream_is_any_iterator_of_arrays(colours, tmp_path):
    answers = colours.many(frame.pixels for frame in frames(film(tmp_path / "a.mp4", 3)))
    assert [found.labels.shape for found in answers] == [HW] * 3


def test_the_command_predicts_videos(colour_run, tmp_path, capsys):
    from maskwright.cli import app

    with pytest.raises(SystemExit) as ended:
        app(["predict", str(colour_run), str(film(tmp_path / "a.mp4", 2, sound=True)), "--out", str(tmp_path / "out")])
    assert not ended.value.code
    assert "2 frames" in (said := capsys.readouterr().out)
    assert "its sound is left out" in said

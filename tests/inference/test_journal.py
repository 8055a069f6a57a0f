"""Journal: interrupted, the same command goes on with the rest; what another command or another image made is never taken up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.inference import pictures
from maskwright.inference.files import predict_files
from maskwright.inference.journal import Journal, interrupted_in, job_of, stamp
from maskwright.inference.predictor import Predictor
from maskwright.io.masks import read_mask
from maskwright.io.write import write_png
from maskwright.result import Segmentation


@pytest.fixture(scope="module")
def predictor(run) -> Predictor:
    return Predictor.load(run, device="cpu")


@pytest.fixture
def images(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for k in range(8):
        write_png(tmp_path / "in" / f"{k}.png", rng.integers(0, 255, (40, 50)).astype(np.uint8))
    return tmp_path / "in"


def interrupted(predictor: Predictor, images: Path, out: Path, after: int = 3, **wishes) -> set[Path]:
    """The answers that are there when Ctrl-C comes after so many pictures."""

    def stop(done, total):
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_files(predictor, images, out, progress=stop, **wishes)
    return {path for path in out.rglob("[!.]*.png")}


def changes(paths) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in paths}


def test_what_is_finished_is_kept(predictor, images, tmp_path):
    there = interrupted(predictor, images, tmp_path / "out", overlay=True)
    assert 6 <= len(there) < 16
    before = changes(there)
    report = predict_files(predictor, images, tmp_path / "out", overlay=True)
    assert report.ok
    assert len(report.done) == 8
    assert report.remarks[0] == f"{len(there) // 2} answers that were there are kept: they are those of the same command before."
    assert changes(there) == before
    straight = predict_files(predictor, images, tmp_path / "straight", overlay=True)
    for file in straight.done:
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()
    assert {p.name for p in (tmp_path / "out").iterdir()} == {p.name for p in (tmp_path / "straight").iterdir()}
    with pytest.raises(InputError, match="is already there"):  # it was finished: this is another command
        predict_files(predictor, images, tmp_path / "out", overlay=True)


def test_answers_that_were_to_be_replaced_are_not_taken_for_new_ones(predictor, images, tmp_path):
    predict_files(predictor, images, tmp_path / "out")
    old = changes((tmp_path / "out").glob("[!.]*.png"))
    interrupted(predictor, images, tmp_path / "out", overwrite=True)
    report = predict_files(predictor, images, tmp_path / "out", overwrite=True)
    assert "are kept" in report.remarks[0]
    assert all(path.stat().st_mtime_ns > before for path, before in old.items())


def test_an_image_or_an_answer_that_has_changed_is_answered_anew(predictor, images, tmp_path):
    interrupted(predictor, images, tmp_path / "out", after=4)
    write_png(images / "0.png", np.zeros((30, 20), np.uint8))
    write_png(tmp_path / "out" / "1.png", np.zeros((7, 7), np.uint8))  # of another command
    with pytest.raises(InputError, match=r"1\.png: is already there"):
        predict_files(predictor, images, tmp_path / "out")
    (tmp_path / "out" / "1.png").unlink()
    report = predict_files(predictor, images, tmp_path / "out")
    assert report.ok
    assert (tmp_path / "out" / "1.png").exists()
    alone = predict_files(predictor, images / "0.png", tmp_path / "alone")
    assert (tmp_path / "out" / "0.png").read_bytes() == alone.done[0].read_bytes()


def test_another_command_is_another_job(predictor, images, tmp_path):
    interrupted(predictor, images, tmp_path / "out")
    with pytest.raises(InputError, match="is already there"):
        predict_files(predictor, images, tmp_path / "out", overlay=True)
    with pytest.raises(InputError, match="is already there"):
        predict_files(predictor, images / "0.png", tmp_path / "out")
    job = job_of(predictor, [images], overlay=True)
    assert job != job_of(predictor, [images], overlay=False)
    assert job == json.loads(json.dumps(job))


KILLED = """
import sys, time
from maskwright.inference.files import predict_files
from maskwright.inference.predictor import Predictor
def slowly(done, total):
    print(done, flush=True)
    time.sleep(0.2)
predict_files(Predictor.load(sys.argv[1], device="cpu"), sys.argv[2], sys.argv[3], progress=slowly)
"""


@pytest.mark.slow
def test_a_killed_command_goes_on(run, predictor, images, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(run), str(images), str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    ) as job:
        for line in job.stdout:
            if int(line) == 3:
                os.kill(job.pid, signal.SIGKILL)
                break
    before = changes((tmp_path / "out").glob("[!.]*.png"))
    report = predict_files(predictor, images, tmp_path / "out")
    assert report.ok
    assert len(report.done) == 8
    assert sum(path.stat().st_mtime_ns == then for path, then in before.items()) >= 3


def test_a_part_of_an_answer_is_replaced(predictor, images, tmp_path, monkeypatch):
    """Killed between the two files of an answer."""
    save = pictures.Segmentation.save

    def half(found, folder, **wishes):
        if found.name == "2":
            save(found, folder)
            raise KeyboardInterrupt
        return save(found, folder, **wishes)

    with monkeypatch.context() as patch:
        patch.setattr(pictures.Segmentation, "save", half)
        with pytest.raises(KeyboardInterrupt):
            predict_files(predictor, images, tmp_path / "out", overlay=True)
    assert (tmp_path / "out" / "2.png").exists()
    assert not (tmp_path / "out" / "2_overlay.png").exists()
    before = changes([tmp_path / "out" / "0.png"])
    assert predict_files(predictor, images, tmp_path / "out", overlay=True).ok
    assert (tmp_path / "out" / "2_overlay.png").exists()
    assert changes(before) == before


def test_half_a_line_is_none(tmp_path):
    source, answer, job = tmp_path / "a.png", tmp_path / "out" / "a.png", {"model": "x"}
    source.write_bytes(b"image")
    with Journal(tmp_path / "out", job) as journal:
        assert not journal.going_on
        assert not journal.answered(tmp_path / "out" / "a", source)
        journal.begin()
        journal.writes(tmp_path / "out" / "a", [answer])
        answer.write_bytes(b"mask")
        journal.finish(tmp_path / "out" / "a", [answer], counts={"ship": 2})
    (file,) = (tmp_path / "out").glob(".predict-*")
    with file.open("a") as lines:
        lines.write('\n{"target": "b", "answ')
    with Journal(tmp_path / "out", job) as again:
        assert again.going_on
        assert again.answered(tmp_path / "out" / "a", source) == [answer]
        assert again.owns(answer)
        assert again.said(tmp_path / "out" / "a") == {"counts": {"ship": 2}}
        assert not again.owns(tmp_path / "out" / "b")
        again.begin()
        (tmp_path / "out" / "c.csv").write_text("c")
        again.finish(tmp_path / "out" / "c.csv", [tmp_path / "out" / "c.csv"])
        again.writes(tmp_path / "out" / "d", [tmp_path / "out" / "d.png"])
    third = Journal(tmp_path / "out", job)
    assert third.owns(tmp_path / "out" / "c.csv")
    assert third.owns(answer)
    assert third.owns(tmp_path / "out" / "d.png")
    assert not third.answered(tmp_path / "out" / "d", source)
    answer.write_bytes(b"another")
    assert not third.answered(tmp_path / "out" / "a", source)
    assert interrupted_in(tmp_path / "out", job) == tmp_path / "out"
    assert interrupted_in(tmp_path / "out", {"model": "y"}) is None
    third.remove()
    assert not Journal(tmp_path / "out", job).going_on


def test_a_command_that_runs_is_none_that_was_interrupted(tmp_path):
    with Journal(tmp_path / "out", {}) as running:
        running.begin()
        assert interrupted_in(tmp_path / "out", {}) is None
        with pytest.raises(InputError, match="out: the same command is running there; wait for it, or give another folder"):
            Journal(tmp_path / "out", {}).begin()
    assert interrupted_in(tmp_path / "out", {}) == tmp_path / "out"


def test_a_journal_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match=r"out: cannot be written|out: may not be written"):
        Journal(tmp_path / "out", {}).begin()


def test_an_image_that_changes_while_it_is_answered_is_answered_anew(predictor, images, tmp_path):
    def change(done, total):
        if done == 3:
            write_png(images / "0.png", np.zeros((30, 20), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_files(predictor, images, tmp_path / "out", progress=change)
    predict_files(predictor, images, tmp_path / "out")
    assert read_mask(tmp_path / "out" / "0.png").values.shape == (30, 20)


def test_another_precision_or_other_classes_are_another_job(run, predictor, images):
    job = job_of(predictor, [images])
    assert job != job_of(Predictor.load(run, device="cpu", precision="fp32"), [images])
    assert job != job_of(Predictor.load(run, device="cpu", runtime="torch"), [images])
    changed = Predictor.load(run, device="cpu")
    object.__setattr__(changed.manifest, "classes", {**changed.manifest.classes, "more": 1})
    assert job != job_of(changed, [images])


def test_what_was_whole_and_is_begun_again_is_a_part(tmp_path):
    source, answer = tmp_path / "a.png", tmp_path / "out" / "a.png"
    source.write_bytes(b"image")
    with Journal(tmp_path / "out", {}) as journal:
        journal.answered(tmp_path / "out" / "a", source)
        journal.begin()
        answer.write_bytes(b"mask")
        journal.finish(tmp_path / "out" / "a", [answer])
        journal.writes(tmp_path / "out" / "a", [answer])
    again = Journal(tmp_path / "out", {})
    assert not again.answered(tmp_path / "out" / "a", source)
    assert again.owns(answer)


def test_a_command_that_fails_before_it_has_answered_leaves_nothing(predictor, images, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise InputError("no")

    monkeypatch.setattr(predictor, "prepare", fails)
    with pytest.raises(InputError, match="no"):
        predict_files(predictor, images, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_stamps_follow_changes(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in "ab":
        (tmp_path / "folder" / name).write_bytes(b"12")
        os.utime(tmp_path / "folder" / name, ns=(1, 1))
    before = stamp(tmp_path / "folder")
    (tmp_path / "folder" / "a").rename(tmp_path / "folder" / "c")
    (tmp_path / "folder" / "b").rename(tmp_path / "folder" / "a")
    (tmp_path / "folder" / "c").rename(tmp_path / "folder" / "b")
    assert stamp(tmp_path / "folder") != before
    before = stamp(tmp_path / "folder")
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "gone")
    assert stamp(tmp_path / "folder") == before
    assert stamp(tmp_path / "folder", tmp_path / "gone") == stamp(tmp_path / "gone") == stamp() == ""


def test_the_command_says_how_to_go_on(run, images, tmp_path, monkeypatch, capsys):
    from maskwright.cli import app

    monkeypatch.chdir(tmp_path)
    call = ["predict", str(run), "in", "--device", "cpu"]

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pictures.PictureWork, "_write", stop)
        with pytest.raises(SystemExit) as ended:
            app(call, prog_name="maskwright")
    assert ended.value.code == 130
    said = capsys.readouterr().err
    assert "interrupted; what is finished is in predictions/in, each file whole. The same command goes on with the rest." in said
    interrupted(Predictor.load(run, device="cpu"), images, tmp_path / "predictions" / "in-2")
    with pytest.raises(SystemExit) as ended:
        app(call, prog_name="maskwright")
    assert ended.value.code in (0, None)
    said = capsys.readouterr()
    assert "predictions/in-2: masks of 8 of 8 images" in said.out
    assert "are kept: they are those" in said.err


def test_overwrite_goes_on_where_the_command_was_interrupted(run, images, tmp_path, monkeypatch):
    """Not in the folder of the default name, where another command's answers lie."""
    from maskwright.cli import app

    monkeypatch.chdir(tmp_path)
    other = predict_files(Predictor.load(run, device="cpu", flips=True), images, tmp_path / "predictions" / "in")
    before = changes(other.done)
    interrupted(Predictor.load(run, device="cpu"), images, tmp_path / "predictions" / "in-2")
    with pytest.raises(SystemExit) as ended:
        app(["predict", str(run), "in", "--device", "cpu", "--overwrite"], prog_name="maskwright")
    assert ended.value.code in (0, None)
    assert changes(other.done) == before
    assert len(list((tmp_path / "predictions" / "in-2").glob("*.png"))) == 8


def test_what_failed_is_tried_again_by_the_same_command(predictor, images, tmp_path):
    whole = (images / "3.png").read_bytes()
    (images / "3.png").write_bytes(whole[:50])
    report = predict_files(predictor, images, tmp_path / "out")
    assert [Path(failure.source).name for failure in report.failed] == ["3.png"]
    before = changes(report.done)
    again = predict_files(predictor, images, tmp_path / "out")  # nothing was mended
    assert len(again.failed) == 1
    assert set(again.done) == set(report.done)
    (images / "3.png").write_bytes(whole)
    mended = predict_files(predictor, images, tmp_path / "out")
    assert mended.ok
    assert len(mended.done) == 8
    assert changes(report.done) == before
    assert not list((tmp_path / "out").glob(".predict-*"))


def test_a_command_without_any_answer_leaves_no_journal(predictor, images, tmp_path):
    for image in images.iterdir():
        image.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert len(predict_files(predictor, images, tmp_path / "out").failed) == 8
    assert not (tmp_path / "out").exists()


def test_the_command_says_that_it_may_be_given_again(run, images, tmp_path, monkeypatch, capsys):
    from maskwright.cli import app

    monkeypatch.chdir(tmp_path)
    whole = (images / "3.png").read_bytes()
    for content, code, said in ((whole[:50], 1, "masks of 7 of 8 images"), (whole, 0, "masks of 8 of 8 images")):
        (images / "3.png").write_bytes(content)
        with pytest.raises(SystemExit) as ended:
            app(["predict", str(run), "in", "--device", "cpu"], prog_name="maskwright")
        told = capsys.readouterr()
        assert (ended.value.code or 0) == code
        assert f"predictions/in: {said}" in told.out
        assert ("The same command again tries what failed" in told.err) == bool(code)


def test_a_mask_that_is_drawn_in_the_place_of_a_failed_answer_is_not_replaced(predictor, images, tmp_path, monkeypatch):
    save = Segmentation.save

    def refuses(found, *args, **wishes):
        if found.name == "3":
            raise InputError("no")
        return save(found, *args, **wishes)

    with monkeypatch.context() as patch:
        patch.setattr(Segmentation, "save", refuses)
        assert len(predict_files(predictor, images, tmp_path / "out").failed) == 1
    write_png(tmp_path / "out" / "3.png", np.zeros((40, 50), np.uint8))
    with pytest.raises(InputError, match=r"3\.png: is already there"):
        predict_files(predictor, images, tmp_path / "out")


def test_overwrite_answers_all_anew_where_the_command_had_ended(predictor, images, tmp_path):
    (images / "3.png").write_bytes(b"broken")
    before = changes(predict_files(predictor, images, tmp_path / "out").done)
    assert changes(predict_files(predictor, images, tmp_path / "out").done) == before
    again = predict_files(predictor, images, tmp_path / "out", overwrite=True)
    assert not [remark for remark in again.remarks if "kept" in remark]
    assert all(path.stat().st_mtime_ns > then for path, then in before.items())

"""Images by windows: the same labels as of the whole, kept where they were interrupted, in the image's container and place."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
import zarr
from PIL import Image

from maskwright.errors import InputError
from maskwright.inference import large, large_work, overview, proof, windowed
from maskwright.inference.files import predict_files
from maskwright.inference.large import predict_large
from maskwright.inference.large_work import is_large
from maskwright.inference.part import Part, part_folder
from maskwright.inference.predictor import Predictor
from maskwright.inference.tiled import tiled
from maskwright.io.masks import read_mask
from maskwright.io.read import read_image
from maskwright.io.windows import open_windows
from maskwright.result import Segmentation

from .conftest import CLASSES, picture

PLACE = [(33550, 12, 3, (2.0, 2.0, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0), True),
         (34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 32632), True)]  # fmt: skip


def drawn(path, height=300, width=410, **kw):
    tifffile.imwrite(path, picture(height, width), photometric="minisblack", tile=(64, 64), compression="zlib", **kw)
    return path


@pytest.fixture
def image(tmp_path):
    return drawn(tmp_path / "a.tif")


def whole(predictor, path):
    return predictor(path).labels


def test_blended_as_in_memory(run, image, tmp_path):
    predictor = Predictor.load(run, device="cpu", tile=128, overlap=32)
    seen = []
    found = predict_large(predictor, image, tmp_path / "out" / "a", lambda done, total: seen.append((done, total)))
    x, _ = predictor.preprocess(read_image(image))
    expected = CLASSES.to_ids(tiled(predictor.logits, 128, 32)(x)[0].argmax(0).numpy())
    written = read_mask(tmp_path / "out" / "a.tif")
    assert (written.values == expected).mean() > 0.9999  # the order of adding may turn a tie
    assert written.holds_ids
    assert written.kind == "palette"
    # 300 px: starts 0, 96, 192 (of 172, on the grid); 410 px: 0, 96, 192, 288 (of 282)
    assert seen[-1] == (12, 12)
    assert found.tiles == 12
    assert found.overlap_cost == pytest.approx((128 * 2 + 108) * (128 * 3 + 122) / (300 * 410) - 1)
    assert not part_folder(tmp_path / "out" / "a").exists()


def test_freed_memory_is_looked_at_after_each_tile(run, image, tmp_path, monkeypatch):
    checked = []
    monkeypatch.setattr(windowed.Limit, "check", lambda self: checked.append(id(self)))
    predict_large(Predictor.load(run, device="cpu", tile=128, overlap=32), image, tmp_path / "b")
    assert len(checked) == 12
    assert len(set(checked)) == 1


@pytest.mark.parametrize("scaling", ["range", "percentile", "zscore"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_exact_tiles_equal_one_pass(make_run, tmp_path, scaling, kind):
    pixels = picture(300, 410).astype(kind) * (1 if kind == "uint8" else 7)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", rowsperstrip=50)
    predictor = Predictor.load(make_run(), device="cpu", tile=128, exact=True)
    predictor.preprocess = type(predictor.preprocess)(1, scaling=scaling)
    found = predict_large(predictor, tmp_path / "a.tif", tmp_path / "b")
    assert predictor.border_px == 32
    predictor.tile = None
    assert np.array_equal(read_mask(tmp_path / "b.tif").values, whole(predictor, tmp_path / "a.tif"))
    assert "equal those of one pass" in found.remarks[-1]


def test_exact_tiles_equal_one_pass_on_a_satellite_image(make_run, shared_data, tmp_path):
    image = shared_data("zurich-tile") / "zh17.tif"
    predictor = Predictor.load(make_run(channels=4), device="cpu", tile=256, exact=True)
    predictor.preprocess = type(predictor.preprocess)(4, scaling="percentile")
    found = predict_large(predictor, image, tmp_path / "b")
    predictor.tile = None
    expected = whole(predictor, image)
    assert len(np.unique(expected)) > 1
    assert np.array_equal(read_mask(tmp_path / "b.tif").values, expected)
    assert found.tiles > 20


def test_a_net_that_sees_everything_is_blended_and_says_so(run, image, tmp_path, monkeypatch):
    monkeypatch.setattr(proof, "SIDE_PX", 256)
    predictor = Predictor.load(run, device="cpu", tile=128, exact=True)
    forward = predictor._forward
    predictor._forward = lambda x: forward(x) + 3 * forward(x).mean(dim=(2, 3), keepdim=True)
    found = predict_large(predictor, image, tmp_path / "b")
    assert found.remarks[0] == "unet looks at the whole image at once: tiles cannot be exact and are blended."
    assert "labels of 256x256 pixels in the middle, in tiles of 128 px, differ in" in found.remarks[1]


def test_scaled_images_are_seen_at_the_scale_of_the_whole(make_run, image, tmp_path):
    predictor = Predictor.load(make_run(max_side_px=205), device="cpu", tile=64)
    predict_large(predictor, image, tmp_path / "b")
    predictor.tile = None
    assert (read_mask(tmp_path / "b.tif").values == whole(predictor, image)).mean() > 0.95
    predictor.exact = True
    assert "at 0.5 of its size: tiles cannot be exact" in predict_large(predictor, image, tmp_path / "c").remarks[0]


@pytest.mark.parametrize("compressed", [True, False])
def test_place_and_void_pixels_are_kept(run, tmp_path, compressed):
    rasterio = pytest.importorskip("rasterio")
    pixels = picture(300, 410)
    pixels[pixels == 0] = 1
    pixels[30:230, :250] = 0
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", extratags=[*PLACE, (42113, 2, 0, "0", True)],
                     tile=(64, 64), compression="zlib" if compressed else None)  # fmt: skip
    predictor = Predictor.load(run, device="cpu", tile=64, exact=True)
    found = predict_large(predictor, tmp_path / "a.tif", tmp_path / "b")
    predictor.tile = None
    expected = whole(predictor, tmp_path / "a.tif")
    with rasterio.open(tmp_path / "b.tif") as file, rasterio.open(tmp_path / "a.tif") as source:
        assert np.array_equal(file.read(1), expected)
        assert (file.crs, file.transform, file.nodata) == (source.crs, source.transform, 255)
        assert file.crs.to_epsg() == 32632
        assert file.colormap(1)[3][:3] == CLASSES.colours[1]
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert (expected[30:230, :250] == 255).all()
    assert found.tiles < len(large.Tiling.owned((300, 410), 64, 32))  # tiles of nothing were left out
    assert read_mask(tmp_path / "b.tif").holds_ids


def test_what_a_mask_page_hides_is_void_as_in_memory(run, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    there = np.ones((300, 410), bool)
    there[30:230, :250] = False
    how = {"crs": "EPSG:32632", "transform": rasterio.Affine(2.0, 0, 500, 0, -2.0, 900), "compress": "deflate"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(tmp_path / "a.tif", "w", "GTiff", 410, 300, 1, dtype="uint8", **how) as file,
    ):
        file.write(picture(300, 410), 1)
        file.write_mask(there)
    predictor = Predictor.load(run, device="cpu", tile=64, exact=True)
    predict_large(predictor, tmp_path / "a.tif", tmp_path / "b")
    predictor.tile = None
    written = read_mask(tmp_path / "b.tif").values
    assert np.array_equal(written, whole(predictor, tmp_path / "a.tif"))
    assert np.array_equal(written == 255, ~there)


def test_without_rasterio_the_place_is_written_too(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    drawn(tmp_path / "a.tif", extratags=PLACE)
    predict_large(Predictor.load(run, device="cpu", tile=128), tmp_path / "a.tif", tmp_path / "b")
    place = read_image(tmp_path / "b.tif").georeference
    assert (place.crs, place.transform) == ("EPSG:32632", read_image(tmp_path / "a.tif").georeference.transform)


def test_overviews_hold_ids(run, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    drawn(tmp_path / "a.tif", 600, 1100, extratags=PLACE)
    predict_large(Predictor.load(run, device="cpu", tile=256), tmp_path / "a.tif", tmp_path / "b")
    with rasterio.open(tmp_path / "b.tif") as file:
        assert file.overviews(1)[0] == 2
        assert set(np.unique(file.read(1, out_shape=(300, 550)))) <= {0, 3, 7}


def test_zarr_in_zarr_out(run, image, tmp_path):
    zarr.save_array(str(tmp_path / "a.zarr"), picture(300, 410))
    predictor = Predictor.load(run, device="cpu", tile=128)
    predict_large(predictor, image, tmp_path / "b")
    for _ in range(2):  # what is there is replaced
        predict_large(predictor, tmp_path / "a.zarr", tmp_path / "b")
    array = zarr.open(str(tmp_path / "b.zarr"), mode="r")
    assert np.array_equal(array[:], read_mask(tmp_path / "b.tif").values)
    assert array.attrs["classes"] == {"0": "background", "3": "lung", "7": "heart"}


KILLED = """
import sys
from pathlib import Path
from maskwright.inference.large import predict_large
from maskwright.inference.predictor import Predictor
import time
def slowly(done, total):
    print(done, flush=True)
    time.sleep(0.05)
predict_large(Predictor.load(sys.argv[1], device="cpu", tile=64), Path(sys.argv[2]), Path(sys.argv[3]), slowly)
"""


@pytest.mark.slow
def test_a_killed_job_goes_on_to_the_same_bits(run, image, tmp_path):
    predictor = Predictor.load(run, device="cpu", tile=64)
    all_tiles = predict_large(predictor, image, tmp_path / "straight").tiles
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(run), str(image), str(tmp_path / "b")], stdout=subprocess.PIPE, text=True
    ) as job:
        for line in job.stdout:
            if int(line) == 50:
                os.kill(job.pid, signal.SIGKILL)
                break
    assert not (tmp_path / "b.tif").exists()
    done = json.loads((part_folder(tmp_path / "b") / "state.json").read_text())["rows_done"]
    assert done > 0
    found = predict_large(predictor, image, tmp_path / "b")
    assert found.tiles == all_tiles - done * len(large.Tiling.blended((300, 410), 64).columns)
    assert np.array_equal(read_mask(tmp_path / "b.tif").values, read_mask(tmp_path / "straight.tif").values)
    assert not part_folder(tmp_path / "b").exists()


def interrupted(predictor, image, target, after=30):
    def stop(done, total):
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_large(predictor, image, target, stop)


def interrupted_files(run, source, out, after=30, file=None):
    """The command, ended at so many tiles, of the image after a file where one is named."""

    def stop(done, total):
        if done == after and (file is None or (out / file).exists()):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_files(Predictor.load(run, device="cpu", tile=64), source, out, progress=stop)


def test_another_image_or_other_tiles_begin_anew(run, image, tmp_path):
    predictor = Predictor.load(run, device="cpu", tile=64)
    interrupted(predictor, image, tmp_path / "b")
    other = Predictor.load(run, device="cpu", tile=64, overlap=0)
    assert predict_large(other, image, tmp_path / "b").tiles == len(large.Tiling.blended((300, 410), 64, 0))
    interrupted(predictor, image, tmp_path / "b")
    time.sleep(0.01)
    drawn(image)
    assert predict_large(predictor, image, tmp_path / "b").tiles == len(large.Tiling.blended((300, 410), 64))


def test_a_full_disk_is_said_and_the_job_goes_on(run, image, tmp_path, monkeypatch):
    predictor, write, calls = Predictor.load(run, device="cpu", tile=64), os.pwrite, []

    def full(*given):
        calls.append(given)
        if len(calls) > 2000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*given)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(InputError, match=r"the disk is full .* What is finished is kept; the same command goes on with it"):
        predict_large(predictor, image, tmp_path / "b")
    assert not (tmp_path / "b.tif").exists()
    monkeypatch.undo()
    assert predict_large(predictor, image, tmp_path / "b").tiles < len(large.Tiling.blended((300, 410), 64))


def test_a_tile_that_failed_is_not_taken_for_finished(run, tmp_path, monkeypatch):
    drawn(tmp_path / "a.tif", height=300, width=120)  # each tile is a row
    predictor = Predictor.load(run, device="cpu", tile=128, overlap=32)
    real, taken = large._chosen, []

    def fails_once(logits, path):
        taken.append(1)
        if len(taken) == 2:
            time.sleep(0.5)  # the tiles behind it are on their way
            raise InputError("no good")
        return real(logits, path)

    monkeypatch.setattr(large, "_chosen", fails_once)
    with pytest.raises(InputError, match="no good"):
        predict_large(predictor, tmp_path / "a.tif", tmp_path / "b")
    assert len(taken) == 2
    predict_large(predictor, tmp_path / "a.tif", tmp_path / "b")
    predict_large(predictor, tmp_path / "a.tif", tmp_path / "c")
    assert (tmp_path / "b.tif").read_bytes() == (tmp_path / "c.tif").read_bytes()


def test_a_folder_that_may_not_be_written(run, image, tmp_path, monkeypatch):
    def refuse(*_args, **_more):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(InputError, match="may not be written"):
        predict_large(Predictor.load(run, device="cpu"), image, tmp_path / "b")


def test_bands_that_do_not_fit_the_model(run, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((80, 90, 5), np.uint8), photometric="minisblack", planarconfig="contig")
    with pytest.raises(InputError, match="has 5 channels, the model was trained on 1"):
        predict_large(Predictor.load(run, device="cpu"), tmp_path / "a.tif", tmp_path / "b")


def test_answers_that_are_not_finite(run, image, tmp_path):
    predictor = Predictor.load(run, device="cpu")
    predictor._forward = lambda x: torch.full((1, 3, *x.shape[2:]), torch.nan)
    with pytest.raises(InputError, match="numbers that are not finite"):
        predict_large(predictor, image, tmp_path / "b")


def test_which_images_are_large(tmp_path, image, monkeypatch):
    assert not is_large(image)
    monkeypatch.setattr(large_work, "LARGE_PX", 1000)
    assert is_large(image)
    assert not is_large(image, whole=True)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 300 * 410 // 2 - 1)
    assert is_large(image, whole=True)
    assert not is_large(tmp_path / "none.tif")
    (tmp_path / "empty.tif").touch()
    assert not is_large(tmp_path / "empty.tif")


def test_bands_count_for_what_is_large(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((30, 40, 8), np.uint8), photometric="minisblack", planarconfig="contig")
    monkeypatch.setattr(large_work, "LARGE_PX", 30 * 40 * 8 // 3)
    assert not is_large(tmp_path / "a.tif")
    monkeypatch.setattr(large_work, "LARGE_PX", 30 * 40 * 8 // 3 - 1)
    assert is_large(tmp_path / "a.tif")
    assert not is_large(tmp_path / "a.tif", whole=True)


def test_bands_in_pages_count_and_thumbnails_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(large_work, "LARGE_PX", 30 * 40 * 8 // 3 - 1)
    bands = {"photometric": "minisblack", "metadata": {"axes": "CYX"}}
    tifffile.imwrite(tmp_path / "pages.tif", np.zeros((8, 30, 40), np.uint8), **bands)
    assert is_large(tmp_path / "pages.tif")
    with tifffile.TiffWriter(tmp_path / "thumbnail.tif") as tiff:
        for shape, kind in (((3, 4), 1), ((60, 80), 0)):
            tiff.write(np.zeros(shape, np.uint8), photometric="minisblack", subfiletype=kind, metadata=None)
    assert is_large(tmp_path / "thumbnail.tif")
    tifffile.imwrite(tmp_path / "few.tif", np.zeros((7, 30, 40), np.uint8), **bands)
    assert not is_large(tmp_path / "few.tif")


def test_predict_files_sends_large_images_this_way(run, tmp_path, monkeypatch):
    monkeypatch.setattr(large_work, "LARGE_PX", 100 * 100)
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True)
    drawn(source / "small.tif", 50, 60)
    drawn(source / "deep" / "large.tif")
    zarr.save_array(str(source / "z.zarr"), picture(70, 80))
    (source / "cut.tif").write_bytes((source / "deep" / "large.tif").read_bytes()[:9000])
    seen = []
    predictor = Predictor.load(run, device="cpu", tile=128, exact=True)
    report = predict_files(predictor, source, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in report.done) == ["deep/large.tif", "small.tif", "z.zarr"]
    assert "cut.tif: the TIFF file is cut short" in str(report.failed[0])
    assert any("equal those of one pass" in text for text in report.to_dict()["remarks"])
    assert seen[-1][0] == seen[-1][1]
    # What takes the whole image is had of images that may be read at once.
    assert predict_files(predictor, source / "deep", tmp_path / "pictures", overlay=True).ok
    assert (tmp_path / "pictures" / "large_overlay.png").is_file()
    assert predict_files(predictor, source / "deep", tmp_path / "other", probabilities=True).ok
    assert (tmp_path / "other" / "large_probs.npy").is_file()
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 5000)
    with pytest.raises(
        InputError, match=r"large.tif: is read by windows and answered with labels alone; leave out --probabilities"
    ):
        predict_files(predictor, source / "deep", tmp_path / "third", overlay=True, probabilities=True)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_the_overlay_is_one_of_the_reduced_image(run, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(overview, "OVERVIEW_PX", 140)
    tifffile.imwrite(tmp_path / "a.tif", picture(300, 410).astype(kind), photometric="minisblack", rowsperstrip=50)
    predictor = Predictor.load(run, device="cpu", tile=128)
    predict_large(predictor, tmp_path / "a.tif", tmp_path / "b", overlay=True)
    seen, whole = read_image(tmp_path / "b_overlay.png").pixels, read_image(tmp_path / "a.tif")
    # 410 px in squares of 3: 137 columns, the last one of 2 px; 300 px: 100 rows
    labels = read_mask(tmp_path / "b.tif").values[1::3, np.minimum(np.arange(0, 410, 3) + 1, 409)]
    sums = np.pad(whole.pixels[..., 0], ((0, 0), (0, 1)), mode="edge").reshape(100, 3, 137, 3).mean(axis=(1, 3))
    means = (np.round(sums) if kind != "float32" else sums).astype(kind)[..., None]
    expected = Segmentation(labels, predictor.classes, replace(whole, pixels=means)).overlay()
    assert np.array_equal(seen[:100], expected[:100])
    assert seen.shape == expected.shape


def test_a_net_that_sees_images_scaled_down_sees_them_whole(run, image, tmp_path, monkeypatch):
    monkeypatch.setattr(large_work, "LARGE_PX", 1000)
    predictor = Predictor.load(run, device="cpu", exact=True)
    predictor.preprocess = replace(predictor.preprocess, max_side_px=64)
    report = predict_files(predictor, image, tmp_path / "out")
    assert report.ok
    assert np.array_equal(read_mask(report.done[0]).values, predictor(image).labels)


def test_a_million_pixels_each_way_in_a_small_file(run, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((16, 16), np.uint8), photometric="minisblack", tile=(16, 16))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tiff.pages[0].tags[name].overwrite(1_000_000, dtype=4)
    report = predict_files(Predictor.load(run, device="cpu"), tmp_path / "a.tif", tmp_path / "out")
    assert "a.tif: claims 1000000x1000000 pixels" in str(report.failed[0])
    assert list(tmp_path.glob("out/*")) == []


def test_the_command_goes_on_where_it_was_interrupted(run, tmp_path, monkeypatch, capsys):
    from maskwright.cli import app

    monkeypatch.setattr(large_work, "LARGE_PX", 1000)
    monkeypatch.chdir(tmp_path)
    image = drawn(tmp_path / "a.tif", extratags=[])
    interrupted_files(run, image, tmp_path / "predictions" / "a")
    with pytest.raises(SystemExit) as ended:
        app(["predict", str(run), "a.tif", "--tile", "64", "--device", "cpu"], prog_name="maskwright")
    assert ended.value.code in (0, None)
    assert (tmp_path / "predictions" / "a" / "a.tif").is_file()
    assert "tiles, which overlap by" in capsys.readouterr().err


def test_the_command_finds_an_interrupted_job_in_a_numbered_folder(run, tmp_path, monkeypatch):
    from maskwright.cli import app

    monkeypatch.setattr(large_work, "LARGE_PX", 1000)
    monkeypatch.chdir(tmp_path)
    drawn(tmp_path / "a.tif", extratags=[])
    for name in ("a", "a-2", "a-10", "ab"):
        (tmp_path / "predictions" / name).mkdir(parents=True)
        (tmp_path / "predictions" / name / "other.txt").write_text("of another job")
    for name in ("a-2", "a-10", "ab"):
        interrupted_files(run, tmp_path / "a.tif", tmp_path / "predictions" / name)
    with pytest.raises(SystemExit) as ended:
        app(["predict", str(run), "a.tif", "--tile", "64", "--device", "cpu"], prog_name="maskwright")
    assert ended.value.code in (0, None)
    assert [path.parent.name for path in (tmp_path / "predictions").rglob("a.tif")] == ["a-10"]
    assert not (tmp_path / "predictions" / "a-3").exists()
    drawn(tmp_path / "a-2.tif", extratags=[])
    interrupted_files(run, tmp_path / "a-2.tif", tmp_path / "predictions" / "a-7")
    (journal,) = (tmp_path / "predictions" / "a-2").glob(".predict-*")
    journal.unlink()
    with pytest.raises(SystemExit):  # what a-7 holds is of another image
        app(["predict", str(run), "a.tif", "--tile", "64", "--device", "cpu"], prog_name="maskwright")
    assert (tmp_path / "predictions" / "a-3" / "a.tif").is_file()


def test_several_inputs_go_on_where_they_were_interrupted(run, tmp_path, monkeypatch, capsys):
    from maskwright.cli import app

    monkeypatch.setattr(large_work, "LARGE_PX", 1000)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.fromarray(picture(20, 30)).save(tmp_path / "in" / "small.png")
    for name in "ab":
        drawn(tmp_path / "in" / "deep" / f"{name}.tif", extratags=[])
    interrupted_files(run, tmp_path / "in", tmp_path / "predictions" / "in", file="deep/a.tif")
    answers = [p for p in (tmp_path / "predictions").rglob("*.*") if not p.relative_to(tmp_path).as_posix().count("/.")]
    before = {p: p.stat().st_mtime_ns for p in answers}
    assert sorted(path.name for path in before) == ["a.tif", "small.png"]
    with pytest.raises(SystemExit):  # another question: nothing of that answer is taken up
        app(["predict", str(run), "in", "--tile", "128", "--device", "cpu"], prog_name="maskwright")
    assert len(list((tmp_path / "predictions" / "in-2").rglob("*.tif"))) == 2
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        app(["predict", str(run), "in", "--tile", "64", "--device", "cpu"], prog_name="maskwright")
    assert ended.value.code in (0, None)
    assert (tmp_path / "predictions" / "in" / "deep" / "b.tif").is_file()
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert not (tmp_path / "predictions" / "in-3").exists()
    assert "masks of 3 of 3 images" in capsys.readouterr().out


def test_a_zarr_image_that_changed_begins_anew(run, tmp_path):
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=(300, 410), chunks=(64, 64), dtype="uint8")
    array[:] = picture(300, 410)
    interrupted(Predictor.load(run, device="cpu", tile=64), tmp_path / "a.zarr", tmp_path / "b")
    array[:] = picture(300, 410, seed=1)
    predictor = Predictor.load(run, device="cpu", tile=64)
    predict_large(predictor, tmp_path / "a.zarr", tmp_path / "b")
    predict_large(predictor, tmp_path / "a.zarr", tmp_path / "c")
    assert np.array_equal(zarr.open(str(tmp_path / "b.zarr"))[:], zarr.open(str(tmp_path / "c.zarr"))[:])


def test_a_damaged_zarr_image_stops_nobody(run, tmp_path):
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(30, 41), chunks=(64, 64), dtype="uint8")[:] = picture(30, 41)
    (tmp_path / "cut.zarr").mkdir()
    (tmp_path / "cut.zarr" / "zarr.json").write_text('{"shape": [')
    report = predict_files(Predictor.load(run, device="cpu"), [tmp_path / "cut.zarr", tmp_path / "a.zarr"], tmp_path / "out")
    assert [path.name for path in report.done] == ["a.zarr"]
    assert "cut.zarr: the zarr folder is incomplete or damaged" in str(report.failed[0])


def test_tiles_that_were_never_written_hold_no_data(run, tmp_path):
    place = [*PLACE, (42113, 2, 0, "7", True)]
    tifffile.imwrite(
        tmp_path / "a.tif", np.full((128, 128), 99, np.uint8), photometric="minisblack", tile=(64, 64), extratags=place
    )
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = tiff.pages[0].tags[name]
            tag.overwrite([0, *tag.value[1:]])
    values = open_windows(tmp_path / "a.tif").read(slice(0, 128), slice(0, 128))[..., 0]
    assert (values[:64, :64] == 7).all()
    assert (values[64:] == 99).all()
    assert np.array_equal(values, tifffile.imread(tmp_path / "a.tif"))


@pytest.mark.parametrize("tile", [None, 128])
def test_exact_means_exact_for_images_in_memory_as_well(run, monkeypatch, tile):
    monkeypatch.setattr("maskwright.inference.tiled.WHOLE_IMAGE_PX", 10**4)
    monkeypatch.setattr("maskwright.inference.tiled.TILE_PX", 192)
    pixels = picture(300, 410)
    found = Predictor.load(run, device="cpu", exact=True, tile=tile)(pixels).labels
    predictor = Predictor.load(run, device="cpu", exact=True)
    x, _ = predictor.preprocess(read_image(pixels))
    assert np.array_equal(found, CLASSES.to_ids(predictor.logits(x)[0].argmax(0).numpy()))


def test_a_second_command_takes_no_rows_away(tmp_path):
    part = Part(tmp_path / "a", {"x": 1}, (4, 5), np.dtype(np.uint8))
    part.write(slice(0, 1), slice(0, 5), np.ones((1, 5)))
    part.commit(1)
    for key in ({"x": 1}, {"x": 2}):
        with pytest.raises(InputError, match=r"a: another command is writing this answer; wait for it, or give another folder"):
            Part(tmp_path / "a", key, (4, 5), np.dtype(np.uint8))
    assert part.read(slice(0, 1)).tolist() == [[1] * 5]
    part.commit(2)
    part.close()
    assert Part(tmp_path / "a", {"x": 1}, (4, 5), np.dtype(np.uint8)).rows_done == 2
    other = Part(tmp_path / "a", {"x": 2}, (4, 5), np.dtype(np.uint8))
    assert other.rows_done == 0
    other.remove()
    assert not part_folder(tmp_path / "a").exists()


def test_a_damaged_state_begins_anew(tmp_path):
    part = Part(tmp_path / "a", {"x": 1}, (4, 5), np.dtype(np.uint8))
    part.write(slice(1, 3), slice(2, 4), np.array([[1, 2], [3, 4]]))
    part.commit(1)
    part.close()
    again = Part(tmp_path / "a", {"x": 1}, (4, 5), np.dtype(np.uint8))
    assert again.rows_done == 1
    assert again.read(slice(0, 4)).tolist() == [[0] * 5, [0, 0, 1, 2, 0], [0, 0, 3, 4, 0], [0] * 5]
    again.close()
    (part_folder(tmp_path / "a") / "state.json").write_text("{")
    assert Part(tmp_path / "a", {"x": 1}, (4, 5), np.dtype(np.uint8)).rows_done == 0

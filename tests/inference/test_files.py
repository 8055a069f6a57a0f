"""predict_files: what is written where, that nothing is lost or replaced unasked, and that a bad file stops nobody."""

from __future__ import annotations

import builtins
import errno
import os
import sys
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tifffile

from maskwright.classes import ClassMap
from maskwright.errors import InputError, MissingExtraError
from maskwright.inference.files import predict_files
from maskwright.inference.jobs import inputs_below, plan
from maskwright.inference.orientation import as_stored
from maskwright.inference.predictor import Predictor
from maskwright.io import write
from maskwright.io.image import Image
from maskwright.result import Segmentation

from .conftest import CLASSES, picture


def draw(folder: Path, *names: str, hw: tuple[int, int] = (12, 17)) -> None:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".tif":
            tifffile.imwrite(path, picture(*hw, seed=seed))
        else:
            PIL.Image.fromarray(picture(*hw, seed=seed)).save(path)


def files_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def planned(sources: list[Path], out: Path) -> list[str]:
    return sorted((job.folder / job.name).relative_to(out).as_posix() for job in plan(inputs_below(sources, out), out))


# ---- what is written ----


def test_palette_masks_of_the_images_size(predictor, tmp_path):
    draw(tmp_path / "in", "a.png", "b.jpg", hw=(23, 31))
    report = predict_files(predictor, tmp_path / "in", tmp_path / "out")
    assert report.ok
    assert files_in(tmp_path / "out") == ["a.png", "b.png"]
    assert report.done == (tmp_path / "out/a.png", tmp_path / "out/b.png")
    with PIL.Image.open(tmp_path / "out/a.png") as mask:
        assert mask.mode == "P"
        assert mask.size == (31, 23)
        labels = np.asarray(mask)
        colours = np.asarray(mask.convert("RGB"))
    expected = predictor(tmp_path / "in/a.png")
    assert np.array_equal(labels, expected.labels)
    assert np.array_equal(colours, expected.colour())


def test_overlays_probabilities_and_tiff_on_request(predictor, tmp_path):
    draw(tmp_path / "in", "a.png", "scan.tif")
    predict_files(predictor, [tmp_path / "in"], tmp_path / "out", overlay=True, probabilities=True)
    names = ["a.png", "a_overlay.png", "a_probs.npy", "scan.tif", "scan_overlay.png", "scan_probs.npy"]
    assert files_in(tmp_path / "out") == names
    probs = np.load(tmp_path / "out/a_probs.npy", allow_pickle=False)
    assert (probs.dtype, probs.shape) == (np.float16, (3, 12, 17))
    assert np.array_equal(tifffile.imread(tmp_path / "out/scan.tif"), predictor(tmp_path / "in/scan.tif").labels)


def test_a_thousand_files_with_one_bad_one(predictor, tmp_path):
    draw(tmp_path / "in", *(f"{k:02}.png" for k in range(30)))
    (tmp_path / "in/07.png").write_bytes(b"not a picture")
    tifffile.imwrite(tmp_path / "in/31.tif", np.zeros((2, 6, 6), np.uint8), photometric="minisblack", planarconfig="separate")
    calls = []
    report = predict_files(predictor, tmp_path / "in", tmp_path / "out", progress=lambda *given: calls.append(given))
    assert not report.ok
    assert [f.source for f in report.failed] == [str(tmp_path / "in/07.png"), str(tmp_path / "in/31.tif")]
    assert "has 2 channels, the model was trained on 1" in report.failed[1].reason
    assert [p.name for p in report.done] == [f"{k:02}.png" for k in range(30) if k != 7]
    journal, *answers = files_in(tmp_path / "out")
    assert journal.startswith(".predict-")  # for the same command, when the files are mended
    assert answers == [p.name for p in report.done]
    assert calls == [(k, 31) for k in range(1, 32)]
    assert report.to_dict()["failed"][0]["source"] == str(tmp_path / "in/07.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_back_to_the_stored_orientation(orientation):
    stored = np.arange(15, dtype=np.uint8).reshape(3, 5)
    picture = PIL.Image.fromarray(stored)
    picture.getexif()[0x0112] = orientation
    shown = np.asarray(PIL.ImageOps.exif_transpose(picture))  # Pillow's way from stored to displayed
    ids = np.asarray(CLASSES.ids, np.uint8)[shown % 3]
    image = Image(shown[..., None].copy(), orientation=orientation)
    probs = np.stack([shown == k for k in range(3)]).astype(np.float32)
    back = as_stored(
        Segmentation(ids, CLASSES, image, confidence=shown.astype(np.float32), probs=probs, uncertainty=shown.astype(np.float32))
    )
    assert np.array_equal(back.labels, np.asarray(CLASSES.ids)[stored % 3])
    assert np.array_equal(back.image.pixels[..., 0], stored)
    assert np.array_equal(back.confidence, stored)
    assert np.array_equal(back.uncertainty, stored)
    assert np.array_equal(back.probs, np.stack([stored == k for k in range(3)]))
    assert back.image.orientation == 1


def test_masks_of_a_turned_photo(predictor, tmp_path):
    photo = PIL.Image.fromarray(picture(20, 30))
    exif = photo.getexif()
    exif[0x0112] = 8
    photo.save(tmp_path / "phone.jpg", exif=exif)
    sizes = []
    for name, stored in (("shown", False), ("stored", True)):
        predict_files(predictor, tmp_path / "phone.jpg", tmp_path / name, stored_orientation=stored, overlay=True)
        with PIL.Image.open(tmp_path / name / "phone.png") as mask:
            sizes.append(mask.size)
    assert sizes == [(20, 30), (30, 20)]


# ---- where it is written ----


def test_folders_keep_their_subfolders(tmp_path):
    draw(tmp_path, "in/a.png", "in/left/a.png", "in/left/deep/b.jpg", "in/.hidden.png", "in/.cache/c.png")
    (tmp_path / "in/notes.txt").write_text("x")
    assert planned([tmp_path / "in"], tmp_path / "out") == ["a", "left/a", "left/deep/b"]


def test_stems_that_meet_keep_their_folders(tmp_path):
    draw(tmp_path, "x/a.png", "y/a.png", "y/b.png")
    both = ["x/a", "y/a", "y/b"]
    assert planned([tmp_path / "x", tmp_path / "y"], tmp_path / "out") == both
    assert planned([tmp_path / "x/a.png", tmp_path / "y/a.png", tmp_path / "y/b.png"], tmp_path / "out") == both
    assert planned([tmp_path / "x/a.png", tmp_path / "y/b.png"], tmp_path / "out") == ["a", "b"]
    assert planned([tmp_path / "x/a.png", tmp_path / "x/a.png"], tmp_path / "out") == ["a"]


def test_files_that_differ_in_the_suffix_alone_keep_it(tmp_path):
    draw(tmp_path, "in/a.png", "in/a.jpg", "in/b.png")
    assert planned([tmp_path / "in"], tmp_path / "out") == ["a.jpg", "a.png", "b"]


def test_the_answers_of_an_earlier_run_are_no_images(predictor, tmp_path):
    draw(tmp_path, "in/a.png")
    for _ in range(2):
        report = predict_files(predictor, tmp_path / "in", tmp_path / "in/masks", overwrite=True)
        assert [p.name for p in report.done] == ["a.png"]


def test_what_is_there_is_not_replaced_unasked(predictor, tmp_path):
    draw(tmp_path, "in/a.png", "in/b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b_overlay.png").write_text("mine")
    with pytest.raises(InputError, match=r"b_overlay\.png: is already there. Give --overwrite"):
        predict_files(predictor, tmp_path / "in", tmp_path / "out", overlay=True)
    assert files_in(tmp_path / "out") == ["b_overlay.png"]  # refused before any work
    predict_files(predictor, tmp_path / "in", tmp_path / "out")  # without overlays nothing is in the way
    predict_files(predictor, tmp_path / "in", tmp_path / "out", overlay=True, overwrite=True)
    assert (tmp_path / "out/b_overlay.png").stat().st_size > 4


def test_an_input_is_never_replaced(predictor, tmp_path):
    draw(tmp_path, "in/a.png", "in/b.jpg")
    before = (tmp_path / "in/a.png").read_bytes()
    with pytest.raises(InputError, match=r"a\.png: is an input; its answer would take its place"):
        predict_files(predictor, [tmp_path / "in/a.png", tmp_path / "in/b.jpg"], tmp_path / "in", overwrite=True)
    with pytest.raises(InputError, match="masks among the images would be taken for images next time"):
        predict_files(predictor, tmp_path / "in", tmp_path / "in", overwrite=True)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(InputError, match="is an input"):
        predict_files(predictor, tmp_path / "in/a.png", tmp_path / "link", overwrite=True)
    assert (tmp_path / "in/a.png").read_bytes() == before


def test_two_answers_never_share_a_file(predictor, tmp_path):
    draw(tmp_path, "in/a.png", "in/a_overlay.png")
    predict_files(predictor, tmp_path / "in", tmp_path / "out")
    with pytest.raises(InputError, match=r"a\.png and .*a_overlay\.png: both would write .*a_overlay\.png"):
        predict_files(predictor, tmp_path / "in", tmp_path / "other", overlay=True)


# ---- what goes wrong ----


def test_nothing_to_do(predictor, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no image found; images end in \.png"):
        predict_files(predictor, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match="no source: no image found"):
        predict_files(predictor, [], tmp_path / "out")


def test_a_name_that_is_not_there_is_reported_with_the_rest(predictor, tmp_path):
    draw(tmp_path, "a.png")
    report = predict_files(predictor, [tmp_path / "gone.png", tmp_path / "a.png"], tmp_path / "out")
    assert [str(f) for f in report.failed] == [f"{tmp_path / 'gone.png'}: no such file."]
    assert len(report.done) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_folder_that_cannot_be_listed(predictor, tmp_path):
    draw(tmp_path, "in/a.png", "in/shut/b.png")
    (tmp_path / "in/shut").chmod(0)
    with pytest.raises(InputError, match="shut: the folder cannot be listed"):
        predict_files(predictor, tmp_path / "in", tmp_path / "out")
    (tmp_path / "in/shut").chmod(0o700)


def test_a_full_disk_ends_it_at_once(predictor, tmp_path, monkeypatch):
    draw(tmp_path / "in", *(f"{k}.png" for k in range(9)))
    replace, calls = os.replace, []

    def full(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(write.os, "replace", full)
    with pytest.raises(InputError, match="the disk is full"):
        predict_files(predictor, tmp_path / "in", tmp_path / "out", workers=1)
    journal, *answers = files_in(tmp_path / "out")
    assert journal.startswith(".predict-")  # with which the same command goes on
    assert answers == ["0.png", "1.png"]
    assert len(calls) < 6


def test_one_answer_that_cannot_be_written_is_a_failure(predictor, tmp_path):
    draw(tmp_path / "in", "a.png", "b.png")
    (tmp_path / "out/a.png/x").mkdir(parents=True)  # a folder has the answer's name
    report = predict_files(predictor, tmp_path / "in", tmp_path / "out", overwrite=True)
    assert [f.source for f in report.failed] == [str(tmp_path / "in/a.png")]
    assert [p.name for p in report.done] == ["b.png"]


def test_an_interruption_leaves_only_finished_answers(predictor, tmp_path):
    draw(tmp_path / "in", *(f"{k:02}.png" for k in range(20)))

    def interrupt(finished: int, _total: int) -> None:
        if finished == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_files(predictor, tmp_path / "in", tmp_path / "out", progress=interrupt)
    journal, *written = files_in(tmp_path / "out")
    assert journal.startswith(".predict-")
    assert 3 <= len(written) < 10
    for name in written:
        with PIL.Image.open(tmp_path / "out" / name) as mask:
            mask.load()
    assert [t.name for t in threading.enumerate() if t.name.startswith(("read", "write"))] == []


def test_no_answer_lies_outside_its_folder(predictor, tmp_path, monkeypatch):
    draw(tmp_path / "photos", "day1/a.png", "day2/a.png")
    draw(tmp_path / "results", "day2/a.png")
    other = (tmp_path / "results/day2/a.png").read_bytes()
    monkeypatch.chdir(tmp_path / "photos/day1")
    report = predict_files(predictor, [".", "../day2"], "../../results/pred", overwrite=True)
    assert report.ok
    assert files_in(tmp_path / "results/pred") == ["day1/a.png", "day2/a.png"]
    assert (tmp_path / "results/day2/a.png").read_bytes() == other


def test_an_image_that_is_named_twice_is_answered_once(predictor, tmp_path, monkeypatch):
    draw(tmp_path / "in", "a.png")
    monkeypatch.chdir(tmp_path)
    report = predict_files(predictor, ["in/a.png", "./in/../in/a.png", tmp_path / "in"], "out")
    assert [str(path) for path in report.done] == ["out/a.png"]


def test_real_x_rays(predictor, shared_data, tmp_path):
    images = sorted(shared_data("lungs-shenzhen").rglob("*.jp*g"))[:3]
    report = predict_files(predictor, images, tmp_path, overlay=True)
    assert report.ok
    for image, mask in zip(images, report.done, strict=True):
        with PIL.Image.open(image) as a, PIL.Image.open(mask) as b:
            assert a.size == b.size


def lying(path: Path, crs: str | None, transform: tuple[float, ...]) -> Path:
    rasterio = pytest.importorskip("rasterio")
    profile = {
        "driver": "GTiff",
        "count": 1,
        "height": 40,
        "width": 56,
        "dtype": "uint8",
        "transform": rasterio.Affine(*transform),
    }
    with rasterio.open(path, "w", crs=crs, **profile) as file:
        file.write(picture(40, 56), 1)
    return path


def test_an_image_whose_polygons_cannot_be_made_stops_nobody(predictor, tmp_path, monkeypatch):
    importing = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "rasterio":
            raise ImportError(name)
        return importing(name, *rest)

    utm = lying(tmp_path / "utm.tif", "EPSG:32616", (0.5, 0, 733601, 0, -0.5, 3725139))
    draw(tmp_path, "z.png")
    monkeypatch.setattr(builtins, "__import__", without)
    report = predict_files(predictor, [utm, tmp_path / "z.png"], tmp_path / "out", formats=["geojson"])
    assert report.done == (tmp_path / "out/z.geojson",)
    assert [f.source for f in report.failed] == [str(utm)]
    assert "needs the package 'rasterio'" in report.failed[0].reason


def test_an_image_that_leaves_the_map_stops_nobody(predictor, tmp_path):
    pytest.importorskip("pyogrio")
    space = lying(tmp_path / "disc.tif", "+proj=geos +h=35785831 +lon_0=140.7 +sweep=y", (1e5, 0, -5.5e6, 0, -1e5, 5.5e6))
    pole = lying(tmp_path / "pole.tif", "EPSG:3413", (20000, 0, -28 * 20000, 0, -20000, 20 * 20000))
    report = predict_files(predictor, [space, pole], tmp_path / "out", formats=["geojson"])
    assert report.done == (tmp_path / "out/pole.geojson",)
    assert [f.source for f in report.failed] == [str(space)]
    assert "does not reach" in report.failed[0].reason


@pytest.mark.parametrize(("format", "crs"), [("cog", "auto"), ("geojson", "wgs84"), ("gpkg", "image")])
def test_what_the_place_of_an_image_forbids_leaves_no_half_answer(predictor, tmp_path, format, crs):
    draw(tmp_path, "a.tif")
    report = predict_files(predictor, tmp_path / "a.tif", tmp_path / "out", formats=["labels", format], vector_crs=crs)
    assert [f.source for f in report.failed] == [str(tmp_path / "a.tif")]
    assert predict_files(predictor, tmp_path / "a.tif", tmp_path / "out", formats=["labels"], vector_crs="pixels").ok


def test_of_an_answer_that_cannot_be_written_nothing_stays(predictor, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise InputError("b_overlay.png: cannot be drawn.")

    draw(tmp_path / "in", "a.png", "b.png")
    assert predict_files(predictor, tmp_path / "in/a.png", tmp_path / "out").ok
    monkeypatch.setattr(Segmentation, "overlay", refused)
    report = predict_files(predictor, tmp_path / "in", tmp_path / "out", overlay=True, overwrite=True)
    assert len(report.failed) == 2
    assert [file for file in files_in(tmp_path / "out") if file.endswith(".png")] == ["a.png"]  # there before


def test_packages_without_which_nothing_can_be_written_are_named_before_any_work(predictor, tmp_path, monkeypatch):
    draw(tmp_path / "in", "a.png")
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    monkeypatch.setattr(predictor, "prepare", None)
    with pytest.raises(MissingExtraError, match="a GeoPackage needs the package 'pyogrio'"):
        predict_files(predictor, tmp_path / "in", tmp_path / "out", formats=["labels", "gpkg"])
    assert not (tmp_path / "out").exists()


def test_polygons_of_classes_are_written_at_their_place_and_remarks_are_said_once(predictor, tmp_path):
    for name, crs in {"a": "EPSG:32616", "b": None, "c": None}.items():
        lying(tmp_path / f"{name}.tif", crs, (0.5, 0, 733601, 0, -0.5, 3725139))
    sources = [tmp_path / f"{name}.tif" for name in "abc"]
    found = predict_files(predictor, sources, tmp_path / "out", formats=["labels", "geojson"], vector_crs="pixels", simplify=1)
    assert found.ok
    assert {p.name for p in (tmp_path / "out").iterdir()} == {f"{n}.{e}" for n in "abc" for e in ("tif", "geojson")}
    assert len(found.remarks) == 1
    assert "and 1 more: has a place but states no coordinate reference system" in found.remarks[0]
    placed = predict_files(predictor, sources, tmp_path / "placed", formats=["geojson"])
    assert [f.source for f in placed.failed] == [str(tmp_path / "b.tif"), str(tmp_path / "c.tif")]
    assert "--vector-crs pixels" in placed.failed[0].reason
    with pytest.raises(InputError, match="no coordinates named 'utm'"):
        predict_files(predictor, sources, tmp_path / "no", formats=["geojson"], vector_crs="utm")


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (
            {"formats": ["png"]},
            "--format png: of pictures this model writes labels, cog, geojson, gpkg; of volumes labels and nifti",
        ),
        ({"formats": ["nifti"]}, "--format nifti: of pictures"),
        ({"blur_background_px": float("nan")}, "--blur-background nan: expected a radius of 0 px or more"),
        ({"blur_background_px": -5}, "--blur-background -5.0: expected a radius"),
        ({"workers": 0}, "workers=0: expected one or more"),
        ({"slice_axis": "foo"}, "--slice-axis 'foo': expected one of auto"),
    ],
)
def test_wishes_that_cannot_be_are_refused_before_any_work(predictor, tmp_path, wishes, message):
    draw(tmp_path / "in", "a.png")
    with pytest.raises(InputError, match=message):
        predict_files(predictor, tmp_path / "in", tmp_path / "out", **wishes)
    assert not (tmp_path / "out").exists()


def test_a_blurred_background_needs_one(make_run, tmp_path):
    draw(tmp_path / "in", "a.png")
    predictor = Predictor.load(make_run(), device="cpu")
    predictor.classes = ClassMap((3, 5, 7), ("thing", "another", "third"), background=None)
    assert predictor.classes.background is None
    with pytest.raises(InputError, match="have no background; in Python say what stays sharp"):
        predict_files(predictor, tmp_path / "in", tmp_path / "out", blur_background_px=5)


def test_a_place_that_cannot_be_made_is_said(predictor, tmp_path):
    draw(tmp_path / "in", "a.png")
    with pytest.raises(InputError, match="/proc/none: cannot be written"):
        predict_files(predictor, tmp_path / "in", "/proc/none")

"""Volumes through predict: slice by slice the answers of the predictor, in the volume's own container."""

from __future__ import annotations

import csv
import errno
import json
import resource
import shutil

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from maskwright.errors import InputError
from maskwright.inference.files import predict_files
from maskwright.inference.predictor import Predictor
from maskwright.io.image import Image
from maskwright.io.write import write_png
from maskwright.transforms import Preprocess


def grown(shape, seed=0):
    """Smooth values (D, H, W) int16 in 0..2000, other in every slice."""
    coarse = np.random.default_rng(seed).uniform(0, 2000, (shape[0], shape[1] // 8 + 1, shape[2] // 8 + 1))
    return coarse.repeat(8, 1).repeat(8, 2)[:, : shape[1], : shape[2]].astype(np.int16)


SLICES = grown((5, 24, 40))


def save_nifti(path, slices=SLICES):
    """Slices (D, H, W) as a volume stored as DICOM lies, 2 x 0.5 x 1 mm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(slices.transpose(2, 1, 0), np.diag([-1.0, -0.5, 2.0, 1.0])).to_filename(path)
    return path


def stored(path):
    """The slices (D, H, W) of a written mask."""
    return np.asanyarray(nibabel.load(path).dataobj).transpose(2, 1, 0)


def one_by_one(predictor, slices):
    return np.stack([predictor(Image(layer[..., None])).labels for layer in slices])


def test_a_nifti_volume_is_answered_slice_by_slice(predictor, tmp_path):
    path, seen = save_nifti(tmp_path / "in" / "scan.nii.gz"), []
    report = predict_files(predictor, path, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    expected = one_by_one(predictor, SLICES)
    assert report.ok
    assert report.done == (tmp_path / "out" / "scan.nii.gz",)
    assert np.array_equal(stored(report.done[0]), expected)
    assert len(np.unique(expected)) > 1
    assert seen == [(k, 5) for k in range(1, 6)]
    found = report.volumes[0]
    assert found.voxels == {"lung": int((expected == 3).sum()), "heart": int((expected == 7).sum())}
    assert found.ml["lung"] == pytest.approx((expected == 3).sum() * 1.0 * 0.5 * 2.0 / 1000)
    rows = list(csv.reader((tmp_path / "out" / "volumes.csv").open()))
    assert rows[0] == ["volume", "class", "voxels", "ml"]
    assert rows[1] == [str(path), "lung", str(found.voxels["lung"]), f"{found.ml['lung']:.4f}"]
    json.dumps(report.to_dict())


def test_volumes_of_an_interrupted_job_are_kept(predictor, tmp_path):
    for name in "ab":
        save_nifti(tmp_path / "in" / f"{name}.nii.gz")
    report = predict_files(predictor, tmp_path / "in", tmp_path / "straight")
    table = (tmp_path / "straight" / "volumes.csv").read_text()

    def stop(done, total):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_files(predictor, tmp_path / "in", tmp_path / "out", progress=stop)
    (first,) = (tmp_path / "out").glob("*.nii.gz")
    kept = first.stat().st_mtime_ns
    again = predict_files(predictor, tmp_path / "in", tmp_path / "out")
    assert again.remarks[0] == "1 answers that were there are kept: they are those of the same command before."
    assert [path.name for path in again.done] == [path.name for path in report.done]
    assert first.stat().st_mtime_ns == kept
    assert (tmp_path / "out" / "volumes.csv").read_text() == table
    with pytest.raises(InputError, match="is already there"):
        predict_files(predictor, tmp_path / "in", tmp_path / "out")


def test_a_series_is_answered_as_dicom_and_as_nifti(predictor, tmp_path, draw_series):
    folder = draw_series(tmp_path / "in" / "chest", SLICES, Modality="MR")
    report = predict_files(predictor, tmp_path / "in", tmp_path / "out", formats=["labels", "nifti"], overlay=True)
    expected = one_by_one(predictor, SLICES)
    assert report.ok
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")) == [
        "chest/chest.dcm", "chest/chest.nii.gz", "chest/chest_overlay.png", "volumes.csv",
    ]  # fmt: skip
    assert np.array_equal(stored(tmp_path / "out/chest/chest.nii.gz"), expected)
    file = dcmread(tmp_path / "out/chest/chest.dcm")
    assert [s.SegmentLabel for s in file.SegmentSequence] == ["lung", "heart"]
    assert file.pixel_array.sum() == np.isin(expected, [3, 7]).sum()
    assert report.volumes[0].source == str(folder)
    written = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file() and p.suffix != ".dcm")
    assert b"SECRET" not in written + str(report).encode()


@pytest.mark.parametrize("scaling", ["percentile", "zscore"])
def test_slices_are_scaled_alike(make_run, tmp_path, scaling):
    run = make_run()
    loaded = Predictor.load(run, device="cpu")
    manifest = loaded.manifest
    object.__setattr__(manifest, "preprocess", Preprocess(1, scaling=scaling).to_dict())
    predictor = Predictor(loaded._network, manifest, device="cpu")
    flat = SLICES.copy()
    flat[2] = 1000  # alone it would be scaled to nothing, in its volume it is grey
    path = save_nifti(tmp_path / "a.nii", flat)
    seen = {}
    inner = predictor.preprocess

    class Watching:
        def __call__(self, image):
            seen[image.path.name] = inner(image)[0]
            return inner(image)

        def __getattr__(self, name):
            return getattr(inner, name)

    predictor.preprocess = Watching()
    predict_files(predictor, path, tmp_path / "out")
    low, high = np.percentile(flat, (0.5, 99.5))
    grey = (1000 - low) / (high - low) if scaling == "percentile" else (1000 - flat.mean()) / flat.std()
    assert seen["slice-002"].unique().tolist() == pytest.approx([grey], abs=1e-4)


def test_bad_volumes_are_named_and_good_ones_done(predictor, tmp_path, draw_series, draw_dicom):
    good = save_nifti(tmp_path / "in" / "good.nii.gz")
    (tmp_path / "in" / "cut.nii.gz").write_bytes(good.read_bytes()[:-2000])
    holes = SLICES.astype(np.float32)
    holes[3, 5, 5] = np.nan
    save_nifti(tmp_path / "in" / "holes.nii", holes)
    draw_dicom(tmp_path / "in" / "report.dcm", None)
    write_png(tmp_path / "in" / "picture.png", SLICES[0].astype(np.uint8))
    (tmp_path / "in" / "notes").write_text("no image")
    report = predict_files(predictor, tmp_path / "in", tmp_path / "out")
    assert [p.name for p in report.done] == ["picture.png", "good.nii.gz"]
    said = {f.source.rpartition("/")[2]: f.reason for f in report.failed}
    assert set(said) == {"cut.nii.gz", "holes.nii", "report.dcm"}
    assert "cut short or damaged" in said["cut.nii.gz"]
    assert "slice-003: 1 values are not finite" in said["holes.nii"]
    assert "holds no pixels" in said["report.dcm"]
    assert sorted(p.name for p in (tmp_path / "out").glob("[!.]*")) == ["good.nii.gz", "picture.png", "volumes.csv"]


def test_pictures_and_volumes_take_their_own_formats(predictor, tmp_path, draw_series):
    draw_series(tmp_path / "in" / "scan", SLICES, Modality="MR")
    write_png(tmp_path / "in" / "picture.png", SLICES[0].astype(np.uint8))
    assert predict_files(predictor, tmp_path / "in", tmp_path / "out", formats=["nifti"]).ok
    written = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert written == {"picture.png", "scan/scan.nii.gz", "volumes.csv"}


def test_a_picture_and_a_volume_of_one_name_do_not_share_an_overlay(predictor, tmp_path):
    save_nifti(tmp_path / "in" / "scan.nii.gz")
    write_png(tmp_path / "in" / "scan.png", SLICES[0].astype(np.uint8))
    with pytest.raises(InputError, match=r"scan_overlay.png would hold a volume's answer too"):
        predict_files(predictor, tmp_path / "in", tmp_path / "out", overlay=True)
    assert not (tmp_path / "out").exists()
    assert predict_files(predictor, tmp_path / "in", tmp_path / "out").ok
    (tmp_path / "in" / "scan.png").rename(tmp_path / "in" / "scan_overlay.png")
    with pytest.raises(InputError, match=r"scan_overlay.png would hold a volume's answer too"):
        predict_files(predictor, tmp_path / "in", tmp_path / "other", overlay=True)


def test_what_is_refused_before_any_work(predictor, tmp_path, draw_series):
    path = save_nifti(tmp_path / "in" / "a.nii.gz")
    save_nifti(tmp_path / "other" / "a.nii")
    with pytest.raises(InputError, match=r"--probabilities: is of pictures, volumes are answered by labels alone"):
        predict_files(predictor, path, tmp_path / "out", probabilities=True)
    with pytest.raises(InputError, match=r"--format coco is not of volumes; give labels or nifti"):
        predict_files(predictor, path, tmp_path / "out", formats=["coco"])
    with pytest.raises(InputError, match=r"a\.nii\.gz and .*a\.nii: both would write .*out/a\.nii\.gz"):
        predict_files(predictor, [path, tmp_path / "other" / "a.nii"], tmp_path / "out")
    with pytest.raises(InputError, match=r"a\.nii\.gz: is an input; its answer would take its place"):
        predict_files(predictor, path, tmp_path / "in")
    predict_files(predictor, path, tmp_path / "out")
    with pytest.raises(InputError, match=r"out/a\.nii\.gz: is already there. Give --overwrite"):
        predict_files(predictor, path, tmp_path / "out")
    assert predict_files(predictor, path, tmp_path / "out", overwrite=True).ok
    write_png(tmp_path / "b.png", SLICES[0].astype(np.uint8))
    with pytest.raises(InputError, match=r"holds objects, this model finds classes only"):
        predict_files(predictor, tmp_path / "b.png", tmp_path / "more", formats=["ids"])


def test_a_folder_that_may_not_be_written_is_said(predictor, tmp_path, monkeypatch):
    path = save_nifti(tmp_path / "a.nii.gz")

    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "out" / "a.nii.gz"))

    monkeypatch.setattr("os.replace", refused)
    report = predict_files(predictor, path, tmp_path / "out")
    assert not report.ok
    assert "a.nii.gz: may not be written (Permission denied)" in report.failed[0].reason
    assert not (tmp_path / "out").exists()


def test_a_full_disk_ends_it(predictor, tmp_path, monkeypatch):
    paths = [save_nifti(tmp_path / f"{name}.nii.gz") for name in "ab"]

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match=r"a\.nii\.gz: cannot be written, the disk is full"):
        predict_files(predictor, paths, tmp_path / "out")


def test_a_film_is_refused_before_the_work_and_answered_as_nifti(predictor, tmp_path, draw_dicom):
    film = draw_dicom(tmp_path / "film.dcm", SLICES, Rows=24, Columns=40, NumberOfFrames=5, Modality="XA")
    seen = []
    report = predict_files(predictor, film, tmp_path / "out", progress=lambda *at: seen.append(at))
    assert report.failed[0].reason == (
        f"{film}: holds 5 frames without functional groups, which DICOM-SEG cannot refer to. Give --format nifti."
    )
    assert seen == []
    report = predict_files(predictor, film, tmp_path / "out", formats=["nifti"])
    assert np.array_equal(stored(report.done[0]), one_by_one(predictor, SLICES))
    assert report.volumes[0].remarks == (
        "the NIfTI answer has no place in the patient, as the source states none for a volume; slices are in its order.",
    )


def test_two_series_of_one_folder_are_told_apart(predictor, tmp_path, draw_dicom):
    folder = tmp_path / "in" / "two"
    folder.mkdir(parents=True)
    for series in "12":
        for k in range(2):
            draw_dicom(
                folder / f"{series}{k}.dcm", SLICES[k], SeriesInstanceUID=f"1.2.{series}", Modality="MR",
                ImagePositionPatient=[0, 0, k], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            )  # fmt: skip
    report = predict_files(predictor, tmp_path / "in", tmp_path / "out", formats=["nifti"])
    assert [volume.source for volume in report.volumes] == [f"{folder} (two-1)", f"{folder} (two-2)"]
    assert [volume.file.name for volume in report.volumes] == ["two-1.nii.gz", "two-2.nii.gz"]


def test_a_series_with_a_gap_is_no_nifti_before_the_work(predictor, tmp_path, draw_series):
    folder, seen = draw_series(tmp_path / "scan", SLICES, Modality="MR"), []
    (folder / "IM000.dcm").unlink()  # holds the second slice
    report = predict_files(predictor, folder, tmp_path / "out", formats=["nifti"], progress=lambda *at: seen.append(at))
    assert "scan: cannot be answered as NIfTI, which knows even steps only" in report.failed[0].reason
    assert seen == []


def test_inverted_values_are_said(predictor, tmp_path, draw_dicom):
    path = draw_dicom(tmp_path / "x", SLICES[0], Modality="DX", PhotometricInterpretation="MONOCHROME1")
    report = predict_files(predictor, path, tmp_path / "out")
    assert report.volumes[0].remarks == ("MONOCHROME1: values are inverted, so that bright is high.",)
    assert report.volumes[0].ml is None
    assert "voxels" in str(report.volumes[0])
    assert report.done == (tmp_path / "out" / "x.dcm",)


def test_memory_does_not_grow_with_the_slices(predictor, tmp_path):
    few, many = (save_nifti(tmp_path / f"{n}.nii.gz", grown((n, 128, 128))) for n in (4, 160))
    predict_files(predictor, few, tmp_path / "few")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    predict_files(predictor, many, tmp_path / "many")
    grew = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grew < 160 * 128 * 128 * 4 * 4  # logits of three classes and labels would be more than four times the floats


def test_the_command_prints_millilitres(run, predictor, tmp_path, make_run, capsys):
    from maskwright.cli import app

    path = save_nifti(tmp_path / "scan.nii.gz")
    with pytest.raises(SystemExit) as ended:
        app(["predict", str(run), str(path), "--out", str(tmp_path / "out"), "--slice-axis", "axial"], prog_name="maskwright")
    assert not ended.value.code
    assert "scan.nii.gz: lung " in (out := capsys.readouterr().out)
    assert " ml" in out


def test_segmentations_beside_a_series_are_passed_over_and_alone_they_are_named(predictor, tmp_path, shared_data, draw_series):
    (tmp_path / "study" / "SEG").mkdir(parents=True)
    shutil.copy(shared_data("dicom-seg") / "liver.dcm", tmp_path / "study" / "SEG" / "1.dcm")
    alone = predict_files(predictor, tmp_path / "study", tmp_path / "none")
    assert [failure.reason.partition(": ")[2][:20] for failure in alone.failed] == ["holds a segmentation"]
    draw_series(tmp_path / "study" / "CT", SLICES[:3].astype(np.uint16))
    assert predict_files(predictor, tmp_path / "study", tmp_path / "out").ok

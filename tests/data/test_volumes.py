"""Volumes as data: NIfTI layouts and DICOM series with their segmentations, slice by slice, grouped by volume and patient."""

from __future__ import annotations

import re
import shutil

import nibabel
import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.data.check import check
from maskwright.data.dataset import open_dataset
from maskwright.data.layouts import LayoutError
from maskwright.data.split import ensure_splits
from maskwright.errors import InputError
from maskwright.io.volumes import open_volume
from maskwright.io.write import write_png
from maskwright.transforms import Preprocess

LPS = np.diag([-1.0, -1.0, 3.0, 1.0])


def volume(seed, channels=1, shape=(4, 24, 16)):
    """(slices (D, H, W, C), labels (D, H, W)): noise with a bright block of class 1 in all slices but the first."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    labels[1:, 4 + seed % 5 : 14, 3:11] = 1
    values = rng.normal(100, 15, (*shape, channels)) + 80 * labels[..., None]
    return values.astype(np.int16), labels


def save(path, slices, affine=LPS):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(np.ascontiguousarray(slices.transpose(2, 1, 0)), affine).to_filename(path)


def nnunet(root, cases, channels=1):
    for seed in range(cases):
        values, labels = volume(seed, channels)
        for c in range(channels):
            save(root / "imagesTr" / f"case{seed}_{c:04d}.nii.gz", values[..., c])
        save(root / "labelsTr" / f"case{seed}.nii.gz", labels)
    return root


def test_nnunets_layout_with_channels(tmp_path):
    root = nnunet(tmp_path / "brains", 3, channels=2)
    save(root / "imagesTs" / "case9_0000.nii.gz", volume(9)[0][..., 0])
    save(root / "imagesTs" / "case9_0001.nii.gz", volume(9)[0][..., 0])
    data = open_dataset(root)
    assert [p.name for p in data.pairs[:5]] == [f"case0/slice-{k:03d}" for k in range(4)] + ["case1/slice-000"]
    assert (len(data.pairs), {p.group for p in data.pairs}) == (12, {"case0", "case1", "case2"})
    assert data.classes.names == ("background", "foreground")
    assert "volumes such as case0_0000.nii.gz + case0.nii.gz: 3 volumes, 12" in data.layout
    sample = data.read(data.pairs[2])
    values, labels = volume(0, 2)
    assert np.array_equal(sample.image.pixels, values[2])
    assert np.array_equal(sample.labels, labels[2])
    assert sample.group == "case0"
    assert sample.image.spacing_mm == (1, 1)
    assert sample.image.statistics.mean == pytest.approx(values.mean())
    assert len(data.fingerprint()) == 64


def test_no_split_divides_a_volume(tmp_path):
    data = ensure_splits(open_dataset(nnunet(tmp_path / "d", 6)), seed=1)
    splits = {}
    for pair in data.pairs:
        splits.setdefault(pair.group, set()).add(pair.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {"train", "val"} <= {s for found in splits.values() for s in found}


def test_other_layouts_and_splits(tmp_path):
    values, labels = volume(0)
    for split in ("train", "val"):
        save(tmp_path / "a" / split / "images" / "x.nii", values[..., 0])
        save(tmp_path / "a" / split / "labels" / "x.nii.gz", labels)
    data = open_dataset(tmp_path / "a")
    assert data.splits == {"train": 4, "val": 4}
    assert {p.group for p in data.pairs} == {"train/x", "val/x"}
    save(tmp_path / "b" / "p.1.nii.gz", values[..., 0])
    save(tmp_path / "b" / "p.1_seg.nii.gz", labels)
    assert [p.mask.parent.name for p in open_dataset(tmp_path / "b").pairs] == ["p.1_seg.nii.gz"] * 4
    save(tmp_path / "c" / "mri" / "x.nii.gz", values[..., 0])
    save(tmp_path / "c" / "lesions" / "x.nii.gz", labels)
    assert len(open_dataset(tmp_path / "c", images="mri", masks="lesions").pairs) == 4


def test_labels_elsewhere_and_missing_labels_are_said(tmp_path):
    values, labels = volume(0)
    save(tmp_path / "a" / "images" / "x.nii.gz", values[..., 0])
    with pytest.raises(LayoutError, match=r"1 NIfTI volume, but no labels that belong to them; expected images/case\.nii\.gz"):
        open_dataset(tmp_path / "a")
    save(tmp_path / "a" / "labels" / "x.nii.gz", labels, affine=np.eye(4))
    with pytest.raises(
        InputError, match=r"labels/x\.nii\.gz: lies elsewhere than its image x\.nii\.gz \(another shape or affine"
    ):
        open_dataset(tmp_path / "a")
    save(tmp_path / "a" / "labels" / "x.nii.gz", labels)
    save(tmp_path / "a" / "labels" / "y.nii.gz", labels)
    assert [p.name for p in open_dataset(tmp_path / "a").strays] == ["y.nii.gz"]


def test_a_volume_beside_pictures_changes_nothing(tmp_path):
    for k in range(2):
        write_png(tmp_path / "images" / f"{k}.png", np.full((8, 8), 100, np.uint8))
        write_png(tmp_path / "masks" / f"{k}.png", np.eye(8, dtype=np.uint8) * 255)
    save(tmp_path / "images" / "extra.nii.gz", volume(0)[0][..., 0])
    assert [p.name for p in open_dataset(tmp_path).pairs] == ["0", "1"]


def test_the_doctor_looks_at_slices(tmp_path):
    root = nnunet(tmp_path / "d", 3)
    report = check(root)
    assert report.ok, report.lines()
    cut = root / "labelsTr" / "case1.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-40])
    report = check(root)
    assert not report.ok
    assert re.search(r"case1\.nii\.gz: .*cut short or damaged", "\n".join(report.lines()))


CLASSES = ClassMap((0, 1), ("background", "Liver"))


def series(root, draw_series, cases=3):
    for seed in range(cases):
        values, labels = volume(seed)
        elements = {"SeriesInstanceUID": f"7.{seed}", "PatientID": f"SECRET-{seed // 2}"}
        folder = draw_series(root / f"scan{seed}", values[..., 0], **elements)
        for k, file in enumerate(sorted(folder.iterdir())):
            _renumber(file, f"7.{seed}.{k}")
        open_volume(folder).save_labels(root / "truth" / f"{seed}.dcm", labels, CLASSES)
    return root


def _renumber(file, uid):
    from pydicom import dcmread

    header = dcmread(file)
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = uid
    header.save_as(file)


def test_series_with_their_segmentations(tmp_path, draw_series):
    root = series(tmp_path / "ct", draw_series)
    data = open_dataset(root)
    assert (len(data.pairs), data.classes.names) == (12, ("background", "Liver"))
    assert "classes are the segments' own: background, Liver" in data.classes_found
    assert {p.group for p in data.pairs} == {"scan0", "scan2"}  # scans 0 and 1 are of one patient
    values, labels = volume(1)
    sample = data.read(next(p for p in data.pairs if p.name == "scan1/slice-002"))
    assert np.array_equal(sample.image.pixels[..., 0], values[2, ..., 0])
    assert np.array_equal(sample.labels, labels[2])
    assert sample.image.statistics.mean == pytest.approx(values.mean())
    assert sample.image.spacing_mm == (0.5, 0.75)
    x, _ = Preprocess(1, scaling="zscore")(sample.image)
    assert float(x.mean()) != pytest.approx(0, abs=1e-3)  # by the series, not by the slice
    assert "SECRET" not in repr(data) + data.layout
    assert check(root).ok
    named = ClassMap((0, 5), ("background", "liver"))
    renamed = open_dataset(root, classes=named)
    assert set(np.unique(renamed.read(renamed.pairs[1]).labels)) == {0, 5}
    with pytest.raises(InputError, match=r"segments \['Liver'\] are no classes \(there are background, spleen\)"):
        open_dataset(root, classes=ClassMap((0, 5), ("background", "spleen")))


def test_segmentations_without_their_series(tmp_path, draw_series):
    root = series(tmp_path / "ct", draw_series, 2)
    shutil.rmtree(root / "scan0")
    data = open_dataset(root)
    assert ([p.name for p in data.strays], len(data.pairs)) == (["0.dcm"], 4)
    shutil.rmtree(root / "scan1")
    with pytest.raises(InputError, match=r"0\.dcm: none of the 2 segmentations refers to a series below"):
        open_dataset(root)


def test_real_files_of_dcmqi(shared_data, tmp_path):
    folder = shared_data("dicom-seg")
    shutil.copytree(folder / "24x38x3" / "image", tmp_path / "a" / "image")
    shutil.copytree(folder / "24x38x3" / "seg", tmp_path / "a" / "seg")
    (tmp_path / "a" / "seg" / "label.seg").rename(tmp_path / "a" / "seg" / "label.dcm")
    data = open_dataset(tmp_path / "a")
    assert (len(data.pairs), data.classes.names) == (3, ("background", "Liver"))
    assert sum(int(data.read(p).labels.sum()) for p in data.pairs) == 315

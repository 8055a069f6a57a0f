"""Masks of volumes scored slice by slice, and the whole job on volumes: check, train, evaluate, predict, evaluate."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.evaluation import evaluate
from maskwright.io.volumes import open_volume

LPS = np.diag([-1.0, -1.0, 3.0, 1.0])
CLASSES = ClassMap((0, 1), ("background", "foreground"))


def labels_of(seed):
    """(D, H, W) with a block whose place depends on the seed; the first slice is empty."""
    labels = np.zeros((4, 32, 40), np.uint8)
    labels[1:, 4 + 3 * seed : 20 + seed, 8:30] = 1
    return labels


def save(path, slices, affine=LPS):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(np.ascontiguousarray(slices.transpose(2, 1, 0)), affine).to_filename(path)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Six labelled volumes: noise, the block brighter."""
    root = tmp_path_factory.mktemp("data") / "brains"
    for seed in range(6):
        noise = np.random.default_rng(seed).normal(300, 40, (4, 32, 40))
        save(root / "images" / f"v{seed}.nii.gz", (noise + 300.0 * labels_of(seed)).astype(np.int16))
        save(root / "labels" / f"v{seed}.nii.gz", labels_of(seed))
    return root


def test_masks_of_volumes_are_scored(volumes, tmp_path):
    for seed in range(6):
        found = labels_of(seed)
        found[2] = 0  # of three slices with the block one is missed
        save(tmp_path / "found" / f"v{seed}.nii.gz", found)
    scores = evaluate(tmp_path / "found", volumes, split="all", out=tmp_path / "e")
    assert len(scores.per_image) == 24
    areas = [int(labels_of(seed)[1].sum()) for seed in range(6)]
    assert dict(zip(CLASSES.names, scores.scores.iou, strict=True))["foreground"] == pytest.approx(
        2 * sum(areas) / (3 * sum(areas))
    )


def test_what_does_not_fit_is_said(volumes, tmp_path):
    save(tmp_path / "a" / "v0.nii.gz", labels_of(0), affine=np.eye(4))
    with pytest.raises(InputError, match=r"v0\.nii\.gz: lies elsewhere than its image v0\.nii\.gz"):
        evaluate(tmp_path / "a", volumes, split="all", out=tmp_path / "e")
    save(tmp_path / "b" / "v0.nii.gz", labels_of(0))
    with pytest.raises(InputError, match=r"no prediction for 20 of 24 images \(v1/slice-000"):
        evaluate(tmp_path / "b", volumes, split="all", out=tmp_path / "e")
    save(tmp_path / "b" / "more" / "v0.nii", labels_of(0))
    with pytest.raises(InputError, match=r"both fit the volume v0"):
        evaluate(tmp_path / "b", volumes, split="all", out=tmp_path / "e")
    save(tmp_path / "c" / "else.nii.gz", labels_of(0))
    with pytest.raises(InputError, match=r"no prediction for any of the 24 images .*it holds files such as else\.nii\.gz"):
        evaluate(tmp_path / "c", volumes, split="all", out=tmp_path / "e")


def test_dicom_seg_and_nifti_answer_a_series(tmp_path, draw_series):
    root, labels = tmp_path / "ct", labels_of(1)
    draw_series(root / "scan", (100 * labels).astype(np.int16))
    volume = open_volume(root / "scan")
    volume.save_labels(root / "truth.dcm", labels, CLASSES)
    half = labels.copy()
    half[2:] = 0
    volume.save_labels(tmp_path / "seg" / "scan.dcm", half, CLASSES)
    volume.save_nifti(tmp_path / "nifti" / "scan.nii.gz", half, CLASSES)
    for kind in ("seg", "nifti"):
        scores = evaluate(tmp_path / kind, root, split="all", out=tmp_path / f"e-{kind}")
        assert scores.scores.iou[1] == pytest.approx(1 / 3)
    save(tmp_path / "short" / "scan.nii.gz", labels[:3])
    with pytest.raises(InputError, match=r"scan\.nii\.gz: 3 slices of \(32, 40\), the series .*scan has 4 of \(32, 40\)"):
        evaluate(tmp_path / "short", root, split="all", out=tmp_path / "e")


@pytest.mark.slow
def test_the_whole_job_on_volumes(volumes, run):
    assert run("check", volumes)[0] == 0
    wishes = ("steps=1", "batch=2", "patch_hw=[32, 32]", "model_args={width: 4, depth: 2}", "precision=fp32")
    size = [word for wish in wishes for word in ("--set", wish)]
    code, out, err = run("train", volumes, "--out", "r", *size)
    assert code == 0, err
    code, out, err = run("evaluate", "r", volumes, "--split", "all", "--exact", "--json", "-")
    assert code == 0, err
    by_run = json.loads(out)
    assert run("predict", "r", volumes / "images", "--out", "p", "--exact")[0] == 0
    code, out, err = run("evaluate", "p", volumes, "--split", "all", "--json", "-", "--out", "e2")
    assert code == 0, err
    # What predict wrote is what evaluate scored: slices are scaled by their volume in both.
    assert json.loads(out)["matrix"] == by_run["matrix"]
    assert len({tuple(row) for row in by_run["matrix"]["pixels"]}) == 2

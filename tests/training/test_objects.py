"""train() on objects: planned, learned, interrupted and resumed, scored and used."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from maskwright.checkpoint import read_manifest
from maskwright.data.dataset import open_dataset
from maskwright.errors import InputError, Interrupted
from maskwright.evaluation import ObjectEvaluation, evaluate
from maskwright.inference.files import predict_files
from maskwright.inference.predictor import Predictor
from maskwright.models.mask_rcnn.model import TINY
from maskwright.recipe import Recipe
from maskwright.training import train
from maskwright.training.log import read_log
from maskwright.training.objects import ObjectSizes, Seen, network_of, seen_of
from maskwright.training.watch import Watch

SETTINGS = {
    "model_args": {**TINY, "norm": "batch"},
    "batch": 4,
    "steps": 12,
    "validate_every": 6,
    "warmup_steps": 2,
    "learning_rate": 0.005,
    "ema_decay": 0.8,
    "precision": "fp32",
    "channels_last": False,
}


def quiet(data, out, settings=SETTINGS, **more):
    return train(data, out=out, settings=settings, workers=0, show_progress=False, checked=True, **more)


@pytest.fixture(scope="module")
def run(objects_folder, tmp_path_factory):
    """A net that has learned the drawn boxes and bars."""
    return quiet(objects_folder, tmp_path_factory.mktemp("run") / "run", {**SETTINGS, "steps": 160, "validate_every": 80})


@pytest.mark.slow
def test_objects_are_learned_where_the_truth_tells_them_apart(run, objects_folder):
    manifest, recipe = read_manifest(run.folder), Recipe.load(run.folder / "recipe.yaml")
    assert (manifest.task, manifest.model, recipe.model) == ("instance", "mask_rcnn", "mask_rcnn")
    assert set(recipe.losses) == {"objectness", "proposal_boxes", "classes", "boxes", "masks"}
    assert run.score_name == "mask AP"
    assert manifest.scores["mask_ap"] == pytest.approx(run.score)
    found = evaluate(run.folder, objects_folder, split="val")
    assert isinstance(found, ObjectEvaluation)
    assert found.masks.ap50 > 0.5
    assert found.masks.ap == pytest.approx(run.score, abs=0.02)  # bf16 may have agreed by then


@pytest.mark.slow
def test_an_answer_has_the_objects_and_their_classes(run, objects_folder):
    data = open_dataset(objects_folder)
    sample = data.read(data.split("train")[0])
    found = Predictor.load(run.folder, "cpu", min_score=0.3)(sample.image)
    assert found.instances is not None
    assert found.labels.shape == sample.image.hw
    assert (found.instances.scores >= 0.3).all()
    assert np.mean(found.labels == sample.labels) > 0.9


@pytest.mark.slow
def test_files_of_objects_and_a_count_an_image(run, objects_folder, tmp_path):
    report = predict_files(
        Predictor.load(run.folder, "cpu"),
        objects_folder / "val",
        tmp_path / "out",
        overlay=True,
        formats=("labels", "ids", "coco"),
    )
    assert report.ok
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"10.png", "10_ids.png", "10_coco.json", "10_overlay.png", "counts.csv"} <= names
    rows = (tmp_path / "out" / "counts.csv").read_text().splitlines()
    assert rows[0] == "image,box,bar"
    assert len(rows) == 5
    counted = json.loads((tmp_path / "out" / "10_coco.json").read_text())["annotations"]
    assert sum(map(int, rows[1].split(",")[1:])) == len(counted)


def test_interrupted_and_resumed_to_the_same_bits(objects_folder, tmp_path, monkeypatch):
    whole = quiet(objects_folder, tmp_path / "whole")
    after = Watch.after_step

    def stopping(self, loss):
        if self.progress.step == 7:
            monkeypatch.setattr(self, "stopped", lambda: True)
        return after(self, loss)

    monkeypatch.setattr(Watch, "after_step", stopping)
    with pytest.raises(Interrupted, match="at step 7 of 12"):
        quiet(objects_folder, tmp_path / "part")
    monkeypatch.setattr(Watch, "after_step", after)
    part = train(objects_folder, out=tmp_path / "part", resume=True, workers=0, show_progress=False)
    one, other = (load_file(r.folder / "state" / "last.safetensors") for r in (whole, part))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert [r["loss"] for r in read_log(whole.folder)][-1] == [r["loss"] for r in read_log(part.folder)][-1]


def test_a_network_of_classes_learns_from_objects_too(objects_folder, tmp_path):
    settings = {"model_args": {"width": 4, "depth": 2}, "steps": 2, "batch": 2, "precision": "fp32", "channels_last": False}
    done = quiet(objects_folder, tmp_path / "run", settings, model="unet")
    assert read_manifest(done.folder).task == "semantic"
    assert done.score_name == "Dice"


def test_a_network_of_objects_refuses_masks_of_classes(squares_folder, tmp_path):
    with pytest.raises(InputError, match="not which object"):
        quiet(squares_folder, tmp_path / "run", model="mask_rcnn")
    assert not (tmp_path / "run").exists()


def test_losses_of_pixels_do_not_go_with_objects(objects_folder, tmp_path):
    with pytest.raises(InputError, match=r"objectness.*go together|stand without others"):
        quiet(objects_folder, tmp_path / "run", {**SETTINGS, "losses": {"dice": 1.0}})


@pytest.mark.parametrize("wish", [{"flips": True}, {"passes": 3}])
def test_what_objects_cannot_have_is_said(run, wish):
    with pytest.raises(InputError, match=rf"finds objects; {next(iter(wish))} cannot be had"):
        Predictor.load(run.folder, "cpu", **wish)


def test_windows_and_anchors_follow_the_objects():
    small = ObjectSizes(small=8, middle=20, large=60, most=200)
    # 2000 px images: at 384 px the smaller objects would have 8 * 384 / 2000 = 1.5 px; 8 px are 12 where 2 px are 3
    assert seen_of(2000, (1500, 2000), small, gpu=False)[0] == Seen(None, 1.5, (320, 320))
    large = ObjectSizes(small=100, middle=300, large=900, most=3)
    # 100 * 256 / 2000 = 12.8 px is enough at the smallest size; the largest allowed is taken
    assert seen_of(2000, (1500, 2000), large, gpu=False)[0] == Seen(384, 1.0, (288, 384))
    assert seen_of(300, (200, 300), large, gpu=False)[0] == Seen(None, 1.0, (224, 320))
    assert seen_of(200, (150, 200), small, gpu=False)[0] == Seen(None, 1.5, (256, 320))  # 225 x 300
    assert seen_of(300, (200, 300), small, gpu=False)[0] == Seen(None, 1.5, (320, 320))  # 300 x 450, a window of it
    assert seen_of(300, (200, 300), replace(small, small=2), gpu=False)[0].zoom == 2
    assert (Seen(384, 1.0, (1, 1)).scale(768), Seen(None, 1.5, (1, 1)).scale(768)) == (0.5, 1.5)
    args, why = network_of(small, 1.0, gpu=False)
    assert args["anchor_sizes"] == [8, 16, 32, 64, 128]  # 4 * 1.5 < 8 <= 8 * 1.5
    assert args["detections"] == 300  # half as many again as the fullest image
    assert "8 to 60 px" in why

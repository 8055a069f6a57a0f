"""train(): what a run leaves behind, how it is started from another, and what stops it."""

from __future__ import annotations

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from maskwright import losses
from maskwright.checkpoint import read_manifest
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset
from maskwright.errors import CheckpointError, InputError, Interrupted, MissingExtraError
from maskwright.inference.predictor import Predictor
from maskwright.inference.probes import read_probes
from maskwright.training import run, train
from maskwright.training.log import read_log


def quiet(data, out, settings, **more):
    return train(data, out=out, settings=settings, workers=0, show_progress=False, checked=True, **more)


def test_a_run_learns_and_its_folder_is_enough(squares, quick, tmp_path):
    done = quiet(squares, tmp_path / "run", quick | {"steps": 80, "validate_every": 40})
    assert done.score > 0.9
    assert (done.steps, done.planned, done.split) == (80, 80, "val")
    recipe = (done.folder / "recipe.yaml").read_text()
    assert "steps: 80  # given" in recipe
    assert "channels: 1  # the images' channels" in recipe
    assert ClassMap.load(done.folder / "classes.yaml") == squares.classes
    manifest = read_manifest(done.folder)
    assert manifest.scores["mean_dice"] == pytest.approx(done.score)
    assert manifest.data_hash == squares.fingerprint()
    assert manifest.runtimes["ways"][0]["way"].startswith("torch")  # too short a training to convert anything for it
    assert len(read_probes(done.folder)) == manifest.runtimes["images"] == len(squares.split("val"))
    sample = squares.read(squares.split("val")[0])
    found = Predictor.load(done.folder, "cpu")(sample.image)
    assert np.mean(found.labels == sample.labels) > 0.95


def test_log_rows_have_loss_rate_and_validations(squares, quick, tmp_path):
    folder = quiet(squares, tmp_path / "run", quick).folder
    rows = read_log(folder)
    assert [r["step"] for r in rows if "val" in r] == [8, 16, 24]
    assert all(math.isfinite(r["loss"]) and r["lr"] >= 0 for r in rows)
    assert set(rows[-1]["val"]) == {"mean_dice", "mean_iou", "mean_image_dice"}
    assert rows[-1]["epoch"] == 8.0  # 24 steps of 4 over 12 images


def test_holdout_leaves_val_alone(squares, quick, tmp_path, monkeypatch):
    seen = set()
    monkeypatch.setattr(Dataset, "read", lambda self, pair, read=Dataset.read: seen.add(pair.split) or read(self, pair))
    done = quiet(squares, tmp_path / "run", quick, holdout=0.25)
    assert done.split == "inner"
    assert seen == {"train", "inner"}


def test_early_stopping_keeps_the_best(squares, quick, tmp_path):
    settings = quick | {"steps": 400, "validate_every": 2, "patience": 2, "learning_rate": 1e-9, "ema_decay": 0.0}
    done = quiet(squares, tmp_path / "run", settings)
    assert done.steps < 400
    rows = [r["val"]["mean_dice"] for r in read_log(done.folder) if "val" in r]
    assert done.score == max(rows)


def test_minutes_set_the_steps_and_say_so(squares, quick, tmp_path):
    del quick["steps"]
    done = quiet(squares, tmp_path / "run", {k: v for k, v in quick.items() if k != "validate_every"}, minutes=0.1)
    recipe = (done.folder / "recipe.yaml").read_text()
    assert "0.1 minutes at" in recipe
    assert done.steps == done.planned == yaml.safe_load(recipe)["steps"]
    assert done.minutes < 0.3


def test_computation_is_chosen_by_measurement(squares, quick, tmp_path):
    settings = {k: v for k, v in quick.items() if k not in ("precision", "channels_last")} | {"steps": 2}
    recipe = (quiet(squares, tmp_path / "run", settings).folder / "recipe.yaml").read_text()
    assert "# a step measured here: fp32" in recipe
    assert yaml.safe_load(recipe)["precision"] in ("fp32", "bf16")


def test_from_run_takes_weights_over_and_the_rows_of_the_classes_that_stay(squares, quick, tmp_path):
    first = quiet(squares, tmp_path / "first", quick | {"steps": 60})
    three = ClassMap((0, 1, 2), ("background", "circle", "square"), values=((0,), (9,), (1,)))
    pairs = [squares.read(p) for p in squares.pairs]
    other = Dataset.in_memory(
        [s.image.pixels[..., 0] for s in pairs],
        [s.labels for s in pairs],
        classes=three,
        splits=[p.split for p in squares.pairs],
    )
    settings = {k: v for k, v in quick.items() if k != "model_args"} | {"steps": 1, "learning_rate": 1e-12, "weight_decay": 0}
    second = quiet(other, tmp_path / "second", settings, from_run=first.folder)
    old, new = (load_file(f.folder / "model.safetensors") for f in (first, second))
    # First sitting of almost no learning: what was taken over is still there.
    name = next(k for k in reversed(old) if len(old[k]) == 2 and old[k].ndim == 4)
    assert torch.allclose(new[name][[0, 2]], old[name], atol=1e-5)
    assert "taken over from" in (second.folder / "recipe.yaml").read_text()
    assert second.score > 0.4  # squares are found already: their Dice counts half beside the circles, which are nowhere


def test_not_finite_loss_stops_with_a_sentence_and_keeps_the_best(squares, quick, tmp_path, monkeypatch):
    values = iter([*[1.0] * 10, float("nan")])
    monkeypatch.setattr(losses.Combined, "forward", lambda self, logits, target: logits.mean() * 0 + next(values))
    with pytest.raises(
        InputError, match=r"loss became nan at step 10 .*What was saved before is kept\. Try --set learning_rate=0\.002"
    ):
        quiet(squares, tmp_path / "run", quick)
    assert Predictor.load(tmp_path / "run", "cpu").manifest.scores["step"] == 8


def test_interrupt_saves_says_how_to_go_on_and_resumes_to_the_same_bits(squares, quick, tmp_path, monkeypatch):
    whole = quiet(squares, tmp_path / "whole", quick)
    calls = iter(range(1000))
    with monkeypatch.context() as patched:
        patched.setattr(run, "stop_signals", lambda: __import__("contextlib").nullcontext(lambda: next(calls) == 12))
        with pytest.raises(Interrupted, match=r"interrupted at step 13 of 24; everything is saved.*--out .*part --resume"):
            quiet(squares, tmp_path / "part", quick)
    part = train(squares, out=tmp_path / "part", resume=True, workers=2, show_progress=False)
    assert part.score == whole.score
    for file in ("model.safetensors", "state/last.safetensors"):
        a, b = load_file(whole.folder / file), load_file(part.folder / file)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
    strip = [[{k: v for k, v in r.items() if k != "seconds"} for r in read_log(d.folder) if "val" in r] for d in (whole, part)]
    assert [r["val"] for r in strip[0]] == [r["val"] for r in strip[1]]


def test_resume_needs_the_same_data_and_a_state(squares, quick, tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing to resume there"):
        train(squares, out=tmp_path, resume=True, show_progress=False)
    folder = quiet(squares, tmp_path / "run", quick).folder
    with pytest.raises(CheckpointError, match="the data has changed since"):
        train(squares.without([squares.pairs[0].name]), out=folder, resume=True, show_progress=False)
    (folder / "state" / "options.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"options\.json: cannot be read"):
        train(squares, out=folder, resume=True, show_progress=False)


def test_a_finished_run_can_be_resumed_without_harm(squares, quick, tmp_path):
    done = quiet(squares, tmp_path / "run", quick)
    again = train(squares, out=done.folder, resume=True, show_progress=False)
    assert (again.steps, again.score) == (done.steps, done.score)


def test_a_used_folder_is_not_overwritten(squares, quick, tmp_path):
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(InputError, match="the run folder is not empty"):
        quiet(squares, tmp_path, quick)


def test_arrays_can_be_trained_on_without_a_folder(squares, quick, tmp_path):
    samples = [squares.read(p) for p in squares.pairs]
    arrays = [s.image.pixels for s in samples], [s.labels for s in samples]
    done = train(arrays, classes=squares.classes, out=tmp_path / "run", settings=quick, workers=0, show_progress=False)
    assert done.score > 0.3


def test_class_weights_follow_the_data(squares, quick, tmp_path):
    folder = quiet(squares, tmp_path / "run", quick | {"class_weights": "median", "steps": 2}).folder
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["class_weights"] == "median"


def test_tensorboard_gets_the_log(squares, quick, tmp_path):
    folder = quiet(squares, tmp_path / "run", quick | {"steps": 4}, track="tensorboard").folder
    assert list((folder / "tensorboard").glob("events*"))
    with pytest.raises(InputError, match="known trackers are tensorboard, mlflow"):
        quiet(squares, tmp_path / "other", quick, track="wandb")


def test_mlflow_gets_the_log_and_its_run_is_closed(squares, quick, tmp_path, monkeypatch):
    calls = []
    fake = SimpleNamespace(
        start_run=lambda run_name: calls.append(run_name),
        log_metrics=lambda numbers, step: calls.append((step, sorted(numbers))),
        end_run=lambda: calls.append("end"),
    )
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    quiet(squares, tmp_path / "run", quick | {"steps": 1}, track="mlflow")
    assert calls == [
        "run",
        (1, ["epoch", "loss", "lr", "seconds", "val/mean_dice", "val/mean_image_dice", "val/mean_iou"]),
        "end",
    ]
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"--track mlflow needs the package 'mlflow': pip install 'maskwright\[track\]'"):
        quiet(squares, tmp_path / "other", quick, track="mlflow")


def test_log_lines_cut_short_are_left_out(tmp_path):
    (tmp_path / "log.jsonl").write_text(json.dumps({"step": 1}) + "\n" + '{"step": 2, "lo')
    assert read_log(tmp_path) == [{"step": 1}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"steps": "abc"}}, "steps is 'abc'; input should be a valid integer"),
        ({"settings": {"steps": 2.5}}, r"steps is 2\.5; input should be a valid integer"),
        ({"settings": {"seed": -5}}, "seed is -5; input should be greater"),
        ({"settings": {"patch_hw": [0, -3]}}, "patch_hw.0 is 0; input should be greater"),
        ({"settings": {"model": "resnet"}}, "no model named 'resnet'"),
        ({"settings": {"model_args": {"widht": 4}}}, "takes no argument 'widht'; did you mean width"),
        ({"settings": {"losses": {"dise": 1.0}}}, "no loss named 'dise'; did you mean dice"),
        ({"settings": {"channels": 5}}, r"its images have 1 channels, the settings that were given .* say 5"),
        ({"encoder": "resnet3"}, "no encoder named 'resnet3'"),
        ({"encoder": "resnet18", "settings": {"model_args": {"dropout": 0.1}}}, "--encoder and the setting model_args both say"),
        ({"minutes": float("nan")}, "minutes=nan is no time to train in"),
        ({"minutes": float("inf")}, "minutes=inf is no time to train in"),
        ({"minutes": -1}, "minutes=-1 is no time to train in"),
        ({"workers": -1}, "workers=-1 cannot be"),
        ({"seed": -1}, "seed=-1 cannot be"),
        ({"track": "foo"}, "--track foo: known trackers are"),
        ({"resume": True, "settings": {"steps": 3}}, "--resume goes on with the run's own settings, so --set cannot be given"),
        ({"from_run": "r", "weights": "w", "encoder": "resnet18"}, "--from takes the network .*, so --encoder, --weights cannot"),
    ],
)
def test_wrong_wishes_end_in_a_sentence_and_leave_no_folder(squares, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        train(squares, out=tmp_path / "run", checked=True, show_progress=False, **options)
    assert not (tmp_path / "run").exists()


def test_ctrl_c_before_the_first_step_says_that_nothing_is_to_be_resumed(squares, quick, tmp_path, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "fingerprint", interrupt)
    with pytest.raises(Interrupted, match="interrupted before the first step; there is nothing to resume"):
        quiet(squares, tmp_path / "run", quick)
    assert not (tmp_path / "run").exists()


def test_colour_images_can_be_trained_on_in_grey(quick, tmp_path):
    images = [np.random.default_rng(s).integers(0, 255, (32, 32, 3), np.uint8) for s in range(4)]
    masks = [np.eye(32, dtype=np.uint8)] * 4
    line = ClassMap((0, 1), ("background", "line"))
    data = Dataset.in_memory(images, masks, classes=line, splits=["train"] * 3 + ["val"])
    folder = quiet(data, tmp_path / "run", quick | {"channels": 1, "steps": 1}).folder
    assert len(yaml.safe_load((folder / "recipe.yaml").read_text())["mean"]) == 1

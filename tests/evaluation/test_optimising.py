"""optimise(): what it measures is kept for later predictions; int8 is prepared only where the score holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from maskwright import models
from maskwright.checkpoint import Manifest, load_checkpoint, save_checkpoint
from maskwright.classes import ClassMap
from maskwright.errors import CheckpointError, InputError
from maskwright.evaluation import optimise
from maskwright.evaluation.evaluating import evaluate
from maskwright.inference import measuring, runtimes
from maskwright.inference.measuring import kept_measurement
from maskwright.inference.predictor import Predictor
from maskwright.inference.probes import Probe, write_probes
from maskwright.inference.runtimes import Way
from maskwright.io.image import Image
from maskwright.io.write import write_mask, write_png
from maskwright.transforms import Preprocess

CLASSES = ClassMap((0, 1), ("background", "blob"))
NET = {"width": 4, "depth": 2}
CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(
    not runtimes.installed("openvino") or runtimes.find_spec("nncf") is None, reason="openvino and nncf are not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The run folder of a network with random weights."""
    folder = tmp_path_factory.mktemp("run")
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = models.build("unet", channels=3, classes=2, **NET)
    manifest = Manifest(model="unet", model_args=NET, classes=CLASSES.to_dict(), preprocess=Preprocess(3).to_dict())
    save_checkpoint(folder, model, manifest)
    return folder


@pytest.fixture(scope="module")
def data(folder, tmp_path_factory) -> Path:
    """Pictures whose truth is what the network says in fp32, so that it scores 1."""
    root = tmp_path_factory.mktemp("data")
    rng, exact = np.random.default_rng(0), Predictor.load(folder, exact=True)
    (root / "classes.yaml").write_text(CLASSES.to_yaml())
    for k in range(8):
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 8, 10)))
        smooth = torch.nn.functional.interpolate(coarse, size=(48, 60), mode="bilinear")[0]
        pixels = smooth.permute(1, 2, 0).numpy().astype(np.uint8)
        split = "train" if k < 5 else "val"
        write_png(root / split / "images" / f"{k}.png", pixels)
        write_mask(root / split / "masks" / f"{k}.png", exact(pixels).labels, CLASSES)
    return root


def test_int8_is_prepared_and_used(folder, data):
    with pytest.raises(InputError, match="no int8 model is there; prepare it with: maskwright optimise RUN DATA --int8"):
        Predictor.load(folder, precision="int8")
    found = optimise(folder, data, int8=True, most_drop=0.5)
    assert found.measured is None  # this run has no probes
    assert found.int8.before > 0.99
    assert (found.int8.images, found.int8.kept) == (5, ())
    assert "Use it with --precision int8." in found.lines()
    report = json.loads((folder / "int8" / "report.json").read_text())
    assert (report["split"], report["scored"], report["after"]) == ("val", 3, found.int8.after)
    predictor = Predictor.load(folder, precision="int8")
    assert predictor.runtime == "cpu openvino int8"
    scored = evaluate(predictor, data, split="val").scores
    assert scored.mean_iou == pytest.approx(found.int8.after, abs=1e-6)

    deep = np.zeros((20, 30, 3), np.uint16)
    with pytest.raises(InputError, match="was calibrated on 3 channels of bytes, this is one of 3 channels of scaled values"):
        predictor(deep)
    with pytest.raises(InputError, match="int8 gives the labels of whole images and nothing else"):
        predictor(deep, probabilities=True)


def test_int8_of_other_weights_or_damaged_is_refused(folder, data, tmp_path):
    optimise(folder, data, int8=True, most_drop=1.0)
    (tmp_path / "int8").mkdir()
    for file in (folder / "int8").iterdir():
        (tmp_path / "int8" / file.name).write_bytes(file.read_bytes())
    model, manifest = load_checkpoint(folder)
    with torch.no_grad():
        next(model.parameters()).mul_(2)
    save_checkpoint(tmp_path, model, manifest)
    with pytest.raises(InputError, match="the int8 model was made of other weights"):
        Predictor.load(tmp_path, precision="int8")
    (tmp_path / "int8" / "model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="the int8 model is damaged"):
        Predictor.load(tmp_path, precision="int8")


def test_a_score_that_falls_leaves_nothing(folder, data, tmp_path):
    model, manifest = load_checkpoint(folder)
    save_checkpoint(tmp_path, model, manifest)
    with pytest.raises(InputError, match="take bf16 or fp32"):
        optimise(tmp_path, data, int8=True, most_drop=-1.0)  # nothing can gain a whole point
    assert not (tmp_path / "int8").exists()


def test_runtimes_are_measured_and_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "ways_on", lambda _: (Way("torch", "fp32"), Way("openvino", "fp32")))
    model, manifest = load_checkpoint(folder)
    save_checkpoint(tmp_path, model, manifest)
    pixels = np.random.default_rng(1).integers(0, 255, (32, 40, 3)).astype(np.uint8)
    write_probes(tmp_path, [Probe(Image.from_array(pixels), np.full((32, 40), 255))])
    told: list[str] = []
    found = optimise(tmp_path, progress=lambda stage, *_: told.append(stage))
    assert told == ["measuring eager fp32", "measuring torch fp32", "measuring openvino fp32"]
    assert kept_measurement(model, manifest, CPU) == found.measured
    assert found.to_json()["runtimes"]["images"] == 1
    assert len(found.lines()) == 3 + (found.measured.together > 1)


@pytest.mark.parametrize(("wishes", "says"), [({"int8": True}, "give the data"), ({}, "has no probes to measure on")])
def test_what_cannot_be_done(folder, wishes, says):
    with pytest.raises(InputError, match=says):
        optimise(folder, **wishes)


def test_from_the_command_line(folder, data, run):
    code, out, _ = run("optimise", folder, data, "--int8", "--most-drop", 90)
    assert code == 0
    assert "int8: score" in out
    code, out, _ = run("optimise", folder, data, "--int8", "--most-drop", 90, "--json")
    assert json.loads(out)["int8"]["layers"] > 3
    code, out, _ = run("predict", folder, data / "val" / "images", "--precision", "int8", "--out", "masks")
    assert code == 0
    assert "masks of 3 of 3 images (cpu openvino int8)" in out
    code, out, _ = run(
        "predict", folder, data / "val" / "images", "--runtime", "openvino", "--precision", "fp32", "--out", "more"
    )
    assert "(cpu openvino fp32)" in out
    assert len(list((Path.cwd() / "more").iterdir())) == 3
    code, out, _ = run("evaluate", folder, data, "--runtime", "openvino", "--precision", "fp32", "--json", "-")
    assert json.loads(out)["predictions"].endswith("(cpu openvino fp32)")
    code, _, err = run("predict", folder, data, "--runtime", "tensorrt")
    assert code == 2
    assert "no runtime 'tensorrt'; known: auto, torch, openvino, compile, onnx" in err

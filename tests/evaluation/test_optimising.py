"""optimise(): what it measures is kept for later predictions; int8 is prepared only where the score holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from maskwright import models
from maskwright.checkpoint import Manifest, load_checkpoint, save_checkpoint, weights_hash
from maskwright.classes import ClassMap
from maskwright.errors import CheckpointError, InputError
from maskwright.evaluation import optimise, optimising
from maskwright.evaluation.evaluating import evaluate
from maskwright.inference import measuring, runtimes
from maskwright.inference.cache import build
from maskwright.inference.measuring import kept_measurement
from maskwright.inference.predictor import Predictor
from maskwright.inference.probes import Probe, write_probes
from maskwright.inference.quantising import quantised
from maskwright.inference.runtimes import Way
from maskwright.io.image import Image
from maskwright.io.read import read_image
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


def test_int8_serves_every_kind_of_image_and_answer(folder, data):
    optimise(folder, data, int8=True, most_drop=0.5)
    int8, exact = Predictor.load(folder, precision="int8"), Predictor.load(folder, exact=True)
    pixels = read_image(data / "val" / "images" / "6.png").pixels
    labels = int8(pixels).labels
    assert (labels == exact(pixels).labels).mean() > 0.95
    deep = Image(pixels.astype(np.uint16) * 257, value_range=(0.0, 65535.0))
    assert (int8(deep).labels == labels).mean() > 0.98
    found = int8(pixels, probabilities=True)
    assert (found.labels == labels).mean() > 0.98
    assert 0 < np.abs(found.probs - exact(pixels, probabilities=True).probs).mean() < 0.05
    large = np.tile(pixels, (3, 2, 1))
    in_tiles = [Predictor.load(folder, precision=p, tile=64, flips=True)(large).labels for p in ("int8", "fp32")]
    assert (in_tiles[0] == in_tiles[1]).mean() > 0.95


def test_int8_is_calibrated_on_a_tile_of_large_images(folder, tmp_path, monkeypatch):
    sizes = []

    def spy(model, calibration, *more, **further):
        sizes.extend(x.shape for x in calibration)
        return quantised(model, calibration, *more, **further)

    monkeypatch.setattr(optimising, "quantised", spy)
    monkeypatch.setattr(optimising, "TILE_PX", 64)
    save_checkpoint(tmp_path / "run", *load_checkpoint(folder))
    rng, data = np.random.default_rng(2), tmp_path / "data"
    for split in ("train", "val"):
        pixels = rng.integers(0, 255, (80, 160, 3)).astype(np.uint8)
        write_png(data / split / "images" / "0.png", pixels)
        write_mask(data / split / "masks" / "0.png", (pixels[..., 0] > 99).astype(np.uint8), CLASSES)
    (data / "classes.yaml").write_text(CLASSES.to_yaml())
    optimise(tmp_path / "run", data, int8=True, most_drop=1.0)
    assert sizes == [(1, 3, 64, 64)]


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
    (tmp_path / "int8" / "network.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="the int8 model is damaged"):
        Predictor.load(tmp_path, precision="int8")


def test_int8_of_images_smaller_than_a_cell_is_of_any_size(folder, tmp_path):
    """The network is traced at a size at which no map has one pixel, which would be taken for its size for ever."""
    save_checkpoint(tmp_path / "run", *load_checkpoint(folder))
    rng, data = np.random.default_rng(3), tmp_path / "data"
    for split in ("train", "val"):
        pixels = rng.integers(0, 255, (3, 3, 3)).astype(np.uint8)
        write_png(data / split / "images" / "0.png", pixels)
        write_mask(data / split / "masks" / "0.png", np.eye(3, dtype=np.uint8), CLASSES)
    (data / "classes.yaml").write_text(CLASSES.to_yaml())
    optimise(tmp_path / "run", data, int8=True, most_drop=1.0)
    large = rng.integers(0, 255, (70, 90, 3)).astype(np.uint8)
    assert Predictor.load(tmp_path / "run", precision="int8")(large, probabilities=True).probs.shape == (2, 70, 90)


def test_int8_of_an_earlier_version_is_refused(folder, data, tmp_path):
    model, manifest = load_checkpoint(folder)
    save_checkpoint(tmp_path, model, manifest)
    report = {"weights": weights_hash(model), "plain": True, "channels": 3}
    build(tmp_path / "int8", lambda place: (place / "report.json").write_text(json.dumps(report)) and None)
    with pytest.raises(InputError, match="made by an earlier version; prepare it with: maskwright optimise"):
        Predictor.load(tmp_path, precision="int8")


def test_a_score_that_falls_leaves_nothing(folder, data, tmp_path, monkeypatch):
    monkeypatch.setattr(optimising, "check_drop", lambda *_: None)
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


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"int8": True}, "give the data"),
        ({}, "has no probes to measure on"),
        ({"most_drop": float("nan")}, "--most-drop nan: expected points that the score may fall by, from 0 to 100"),
        ({"most_drop": -0.01}, "--most-drop -1: expected points"),
    ],
)
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

"""int8 of a net of objects: prepared graph by graph, used where it is asked for, and guarded by the mask AP."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from maskwright.annotations import coco_write
from maskwright.annotations.drawn import AnnotatedImage
from maskwright.checkpoint import Manifest, load_checkpoint, save_checkpoint
from maskwright.classes import ClassMap
from maskwright.errors import CheckpointError, InputError
from maskwright.evaluation import optimise, optimising
from maskwright.evaluation.evaluating import evaluate
from maskwright.inference import quantising_objects, runtimes
from maskwright.inference.machine import computes_bf16
from maskwright.inference.predictor import Predictor
from maskwright.inference.prepared import Prepared
from maskwright.inference.quantising_objects import MOST_CROPS, quantised_objects
from maskwright.io.write import write_png
from maskwright.models.mask_rcnn.model import TINY, MaskRCNN
from maskwright.transforms import Preprocess

CLASSES = ClassMap((0, 1, 2), ("background", "box", "bar"))
NET = {**TINY, "norm": "batch", "box_convs": True, "detections": 20}
CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(
    not runtimes.installed("openvino") or runtimes.find_spec("nncf") is None, reason="openvino and nncf are not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The run folder of a net that nobody trained, whose class layer is spread so that it finds objects."""
    folder = tmp_path_factory.mktemp("run")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MaskRCNN(3, 3, **NET)
        nn.init.normal_(model.box_head.classes.weight, std=1.0)
    manifest = Manifest(
        model="mask_rcnn", model_args=NET, task="instance", classes=CLASSES.to_dict(), preprocess=Preprocess(3).to_dict()
    )
    save_checkpoint(folder, model, manifest)
    return folder


@pytest.fixture(scope="module")
def data(folder, tmp_path_factory) -> Path:
    """Pictures whose truth is what the net finds in fp32."""
    root, rng, exact = tmp_path_factory.mktemp("data") / "sea", np.random.default_rng(0), Predictor.load(folder, exact=True)

    def images():
        for number in range(6):
            pixels = rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
            split = "train" if number < 4 else "val"
            path = root / split / f"{number}.png"
            write_png(path, pixels)
            found = exact.all_objects(path)
            yield AnnotatedImage(found.name, path, found.hw, split), found

    coco_write.write(root, images(), copy_images=False)
    return root


def test_int8_of_objects_is_prepared_and_used(folder, data, run):
    with pytest.raises(InputError, match="no int8 model is there"):
        Predictor.load(folder, precision="int8")
    found = optimise(folder, data, int8=True, most_drop=1.0)
    assert found.int8.before > 0.99
    report = json.loads((folder / "int8" / "report.json").read_text())
    assert report["types"] == {"look": "int8", "boxes": "int8", "masks": "bf16" if computes_bf16(CPU) else "fp32"}
    assert (report["split"], report["scored"], report["images"]) == ("val", 2, 4)
    predictor = Predictor.load(folder, precision="int8")
    assert predictor.runtime == "cpu openvino int8"
    scored = evaluate(predictor, data, split="val")
    assert scored.masks.ap == pytest.approx(found.int8.after, abs=1e-6)
    code, out, _ = run("predict", folder, data / "val", "--precision", "int8", "--out", "masks")
    assert code == 0
    assert "(cpu openvino int8)" in out


def test_a_graph_that_loses_too_much_stays_in_fp32(folder, data, monkeypatch):
    """Scores that fall with the boxes alone keep that graph as it is, and count its layers as kept."""
    net, _ = load_checkpoint(folder)
    wanted = "boxes"

    def quantised(model, images, validate, most_drop, *, before, threads, progress):
        if len(model.outputs) == 2:  # the box head's
            raise InputError("costs too much")
        assert before == 0.5
        return real(model, images, lambda _: 0.5, most_drop, before=before, threads=threads, progress=progress)

    real = quantising_objects.quantised
    monkeypatch.setattr(quantising_objects, "quantised", quantised)
    _, types, said = quantised_objects(net.eval(), [torch.randn(1, 3, 64, 96)], lambda _: 0.5)
    assert (types["look"], types["boxes"]) == ("int8", "fp32")
    assert said.kept
    assert all(name.startswith(wanted) for name in said.kept)
    assert len(said.kept) < said.layers


def test_nothing_is_written_where_every_graph_costs_too_much(folder, data, tmp_path, monkeypatch):
    monkeypatch.setattr(optimising, "check_drop", lambda *_: None)
    model, manifest = load_checkpoint(folder)
    save_checkpoint(tmp_path, model, manifest)
    with pytest.raises(InputError, match="in each part of the network; take bf16 or fp32"):
        optimise(tmp_path, data, int8=True, most_drop=-1.0)  # nothing can gain a whole point
    assert not (tmp_path / "int8").exists()


def test_heads_are_calibrated_on_some_crops_of_each_image(folder):
    net = load_checkpoint(folder)[0].eval()
    images = [torch.randn(1, 3, 128, 160) for _ in range(2)]
    seen = quantising_objects._inputs_of(net, images)
    assert [len(seen[name]) for name in ("look", "boxes")] == [2, 2]
    (crops,) = seen["boxes"][0]
    assert 0 < len(crops) <= MOST_CROPS
    assert crops.shape[1:3] == (7, 7)
    with pytest.raises(InputError, match="has to be calibrated on images"):
        quantised_objects(net, [], lambda _: 1.0)


@pytest.mark.parametrize("types", [{}, {"look": "int8", "boxes": "int4", "masks": "fp32"}])
def test_a_report_that_does_not_say_the_types_is_refused(tmp_path, types):
    with pytest.raises(CheckpointError, match="the int8 model is damaged; prepare it with"):
        Prepared(tmp_path, types).parts()

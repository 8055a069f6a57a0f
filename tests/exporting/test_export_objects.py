"""Mask R-CNN as one graph of free size: the same objects as eager fp32, run alone, and certified by them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import onnxruntime
import PIL.Image
import pytest
import torch

import maskwright
from maskwright import models
from maskwright.annotations import coco_write
from maskwright.annotations.drawn import AnnotatedImage
from maskwright.checkpoint import Manifest, save_checkpoint
from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.exporting import objects
from maskwright.exporting.graphs import of_every_size
from maskwright.inference.converting import free_axes, traced
from maskwright.inference.object_graph import ObjectGraph
from maskwright.inference.predictor import Predictor
from maskwright.inference.quantising import LAYERS
from maskwright.inference.telemetry import openvino_core
from maskwright.models.mask_rcnn.model import TINY
from maskwright.transforms import Preprocess

CLASSES = ClassMap((0, 1, 2), ("background", "box", "bar"))
ARGS = {**TINY, "norm": "batch", "box_convs": True}  # as the planner has it
PREPROCESS = Preprocess(3, zoom=1.5, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def net() -> torch.nn.Module:
    """Nobody trained it; its larger last layers give every image a hundred objects, many of them sure."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.build("mask_rcnn", channels=3, classes=3, **ARGS)
        with torch.no_grad():
            for p in (*model.box_head.classes.parameters(), *model.box_head.deltas.parameters()):
                p.mul_(400)
            for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.fixture(scope="module")
def object_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "sea"
    manifest = Manifest(
        model="mask_rcnn", model_args=ARGS, task="instance", classes=CLASSES.to_dict(), preprocess=PREPROCESS.to_dict()
    )
    save_checkpoint(folder, net(), manifest)
    return folder


@torch.no_grad()
def test_the_graph_finds_what_the_net_finds():
    model, image = net(), torch.randint(0, 256, (1, 70, 91, 3), dtype=torch.uint8)
    graph = ObjectGraph(model, PREPROCESS, CLASSES).eval()
    boxes, scores, labels, masks = graph(image)
    x = graph.pixels(image)
    (expected,) = model.detect(x)
    assert len(scores) > 20
    torch.testing.assert_close(boxes, expected.scaled(tuple(x.shape[2:]), (70, 91)).boxes, atol=1e-3, rtol=0)
    torch.testing.assert_close(scores, expected.scores)
    assert (labels == expected.classes).all()
    torch.testing.assert_close(masks, expected.masks[:, 0])


@pytest.mark.parametrize("to", ["onnx", "openvino", "torch"])
def test_exported_it_runs_alone_and_is_certified(alone, object_run, objects_folder, tmp_path, to):
    made = maskwright.export(object_run, objects_folder, to=to, out=tmp_path / "out", triton=to != "torch", resamples=10)
    agreement = made.certificate["agreement"]
    assert agreement["objects"] >= 0.998
    assert agreement["counted"] > 20
    ap = made.certificate["scores"]["ap"]
    assert abs(ap["difference"]["value"]) <= 0.002
    assert to == "torch" or (
        'output [ { name: "masks" data_type: TYPE_FP32 dims: [ -1, 28, 28 ] } ]'
        in next(made.folder.glob("triton/*/config.pbtxt")).read_text()
    )
    if to == "onnx":  # Triton takes no other number for one that the graph states
        (given,) = onnxruntime.InferenceSession(made.files[0]).get_inputs()
        stated = ", ".join("-1" if isinstance(n, str) else str(n) for n in given.shape)
        assert f"data_type: TYPE_UINT8 dims: [ {stated} ]" in next(made.folder.glob("triton/*/config.pbtxt")).read_text()
    picture = next((objects_folder / "val").glob("*.png"))
    said = alone(made.folder, picture, tmp_path / "mask.png", tmp_path)
    assert "score 0." in said
    assert "bar" in said
    painted = np.asarray(PIL.Image.open(tmp_path / "mask.png"))
    assert painted.shape == PIL.Image.open(picture).size[::-1]
    assert set(np.unique(painted)) <= {0, 1, 2}
    assert painted.any()
    assert json.loads((made.folder / "classes.json").read_text())["output"].startswith("boxes: (n, 4)")
    PIL.Image.open(picture).convert("L").crop((0, 0, 40, 9)).save(tmp_path / "small.png")
    alone(made.folder, tmp_path / "small.png", tmp_path / "mask.png", tmp_path)
    assert np.asarray(PIL.Image.open(tmp_path / "mask.png")).shape == (9, 40)


@torch.no_grad()
def test_a_pt2_takes_images_in_which_nothing_is_found():
    model = net()
    model.least_score = 1.5  # nothing is as sure
    graph = ObjectGraph(model, PREPROCESS, CLASSES)
    program = of_every_size(traced(graph, (torch.zeros(1, 96, 72, 3, dtype=torch.uint8),), (free_axes(1, 2),)))
    found = program.module()(torch.randint(0, 256, (1, 30, 91, 3), dtype=torch.uint8))
    assert [tuple(part.shape) for part in found] == [(0, 4), (0,), (0,), (0, 28, 28)]


@pytest.fixture(scope="module")
def found_folder(object_run, objects_folder, tmp_path_factory):
    """The same pictures, and as their truth what eager fp32 finds in them."""
    root, exact = tmp_path_factory.mktemp("data") / "found", maskwright.load(object_run, exact=True)

    def images():
        for split in ("train", "val"):
            for picture in sorted((objects_folder / split).glob("*.png")):
                (root / split).mkdir(parents=True, exist_ok=True)
                shutil.copy(picture, root / split)
                found = exact.all_objects(picture)
                sure = found.select(found.scores >= 0.5)
                yield AnnotatedImage(picture.stem, root / split / picture.name, found.hw, split), replace(sure, scores=None)

    coco_write.write(root, images(), copy_images=False)
    return root


def test_in_int8_it_runs_alone_and_is_judged_by_its_mask_ap(alone, object_run, found_folder, tmp_path):
    made = maskwright.export(
        object_run, found_folder, to="openvino", precision="int8", tolerance=60.0, out=tmp_path / "out", resamples=10
    )
    quantised = made.certificate["int8"]
    assert quantised["before"] == 1
    assert quantised["before"] - quantised["after"] <= quantised["most_drop"]
    model = openvino_core("this test").read_model(made.folder / "model.xml")
    rounded = [
        port.get_node()
        for op in model.get_ops()
        if op.get_type_name() == "FakeQuantize"
        for port in op.output(0).get_target_inputs()
    ]
    assert len(rounded) > 40
    assert all(op.get_type_name() in LAYERS or op.get_output_partial_shape(0).rank.get_length() >= 4 for op in rounded)
    picture = next((found_folder / "val").glob("*.png"))
    assert "score 0." in alone(made.folder, picture, tmp_path / "mask.png", tmp_path)


def test_images_in_which_nothing_is_found_calibrate_nothing(object_run, objects_folder, tmp_path, monkeypatch):
    def nothing(_predictor, image):
        return maskwright.Instances(image.hw, CLASSES, np.zeros(0, np.int64), (), scores=np.zeros(0, np.float32))

    monkeypatch.setattr(Predictor, "all_objects", nothing)
    with pytest.raises(InputError, match="int8 is calibrated on objects, and in 10 images none was found; take bf16 or fp32"):
        maskwright.export(object_run, objects_folder, to="openvino", precision="int8", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bf16_in_a_pt2_is_not_for_objects(object_run, objects_folder, tmp_path):
    with pytest.raises(
        InputError, match="mask_rcnn finds objects; export it --to torch in fp32, or --to onnx or openvino in bf16"
    ):
        maskwright.export(object_run, objects_folder, to="torch", precision="bf16", out=tmp_path / "out")


def test_objects_that_are_lost_are_counted(object_run, objects_folder):
    exact = maskwright.load(object_run, exact=True)
    picture = next((objects_folder / "val").glob("*.png"))
    found = exact.all_objects(picture)
    counted, again = objects._again(found, found)
    assert counted == again > 0
    nothing = maskwright.Instances(found.hw, CLASSES, np.zeros(0, np.int64), (), scores=np.zeros(0, np.float32))
    assert objects._again(found, nothing) == (counted, 0)

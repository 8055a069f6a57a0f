"""Mask R-CNN with its dense parts on a runtime: the same objects as eager, for any size and any number of boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from maskwright.checkpoint import Manifest
from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.inference.measuring import measure
from maskwright.inference.object_parts import STEP, detect_by, filled, parts_on
from maskwright.inference.predictor import Predictor
from maskwright.inference.probes import Probe
from maskwright.inference.runtimes import Way
from maskwright.io.image import Image
from maskwright.models.mask_rcnn.model import TINY, MaskRCNN
from maskwright.transforms import Preprocess

CLASSES = ClassMap((0, 1, 2, 3), ("background", "tanker", "vessel", "buoy"))


@pytest.fixture(scope="module")
def net() -> MaskRCNN:
    """A net that finds objects: its class layer is spread, so that many scores are above the least one."""
    torch.manual_seed(0)
    net = MaskRCNN(3, 4, **{**TINY, "norm": "batch", "box_convs": True, "detections": 20}).eval()
    nn.init.normal_(net.box_head.classes.weight, std=1.0)
    return net


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_the_same_objects_whatever_runs_the_dense_parts(net, runtime):
    if runtime == "openvino":
        pytest.importorskip("openvino")
    detect = detect_by(net, parts_on(net, Way(runtime, "fp32")))
    for hw in ((96, 128), (71, 150)):
        image = torch.randn(1, 3, *hw)
        with torch.inference_mode():
            (expected,) = net.detect(image)
        with torch.autocast("cpu", torch.bfloat16):  # of the caller, which changes nothing
            found = detect(image)
        assert len(expected.scores) == 20
        assert found.classes.tolist() == expected.classes.tolist()
        assert_close(found.scores, expected.scores, atol=1e-4, rtol=0)
        assert_close(found.boxes, expected.boxes, atol=1e-3, rtol=0)
        assert_close(found.masks, expected.masks, atol=1e-4, rtol=0)


def test_an_image_without_objects(net):
    parts = parts_on(net, Way("torch", "fp32"))
    quiet = MaskRCNN(3, 4, **{**TINY, "norm": "batch", "box_convs": True, "least_score": 0.999}).eval()
    found = detect_by(quiet, parts)(torch.randn(1, 3, 64, 64))
    assert found.masks.shape == (0, 1, 28, 28)


@pytest.mark.parametrize(("count", "seen"), [(0, STEP), (1, STEP), (STEP, STEP), (STEP + 1, 2 * STEP)])
def test_boxes_are_filled_up_to_steps_and_cut_off_again(count, seen):
    lengths = []

    def run(x, y):
        lengths.append((len(x), len(y)))
        return (x + 1, y)

    x, y = torch.rand(count, 2, 3), torch.arange(count)
    more, same = filled(run, count, x, y)
    assert lengths == [(seen, seen)]
    assert torch.equal(more, x + 1)
    assert torch.equal(same, y)


def test_other_networks_are_refused():
    with pytest.raises(InputError, match="Linear finds objects in another way"):
        parts_on(nn.Linear(2, 2), Way("torch", "fp32"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "cache"))


def manifest_of(net: MaskRCNN) -> Manifest:
    preprocess = Preprocess(3, mean=(0.5,) * 3, std=(0.25,) * 3)
    return Manifest(task="instance", model="mask_rcnn", classes=CLASSES.to_dict(), preprocess=preprocess.to_dict())


def photo(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (80, 104, 3), dtype=np.uint8)


@pytest.mark.usefixtures("cache")
def test_a_predictor_finds_the_same_objects_on_every_runtime(net):
    pytest.importorskip("openvino")
    exact, quick = (
        Predictor(net, manifest_of(net), device="cpu", min_score=0.1, **wish)
        for wish in ({"exact": True}, {"runtime": "openvino", "precision": "fp32"})
    )
    assert quick.runtime == "cpu openvino fp32"
    expected, found = exact(photo(0)).instances, quick(photo(0)).instances
    assert len(expected) > 3
    assert found.class_ids.tolist() == expected.class_ids.tolist()
    assert found.areas_px.tolist() == pytest.approx(expected.areas_px.tolist(), rel=0.01, abs=2)
    with pytest.raises(InputError, match="the model: no int8 model is there"):
        Predictor(net, manifest_of(net), device="cpu", precision="int8")


@pytest.mark.usefixtures("cache")
def test_every_way_is_measured_on_the_pixels_that_objects_cover(net):
    pytest.importorskip("openvino")
    predictor = Predictor(net, manifest_of(net), device="cpu", exact=True)
    probes = [Probe(Image(photo(k)), predictor(photo(k)).labels) for k in range(2)]
    measured = measure(net, manifest_of(net), torch.device("cpu"), probes)
    ways = {found.way: found for found in measured.ways}
    assert {"torch fp32"} < set(ways)
    assert any(name.startswith("openvino") for name in ways)
    assert ways["torch fp32"].agrees
    assert "onnx fp32" not in ways

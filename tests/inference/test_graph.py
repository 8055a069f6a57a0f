"""PixelGraph answers as the exact Predictor does: at odd sizes, larger and smaller than what the net sees, of every kind of pixel."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from maskwright import models
from maskwright.checkpoint import Manifest
from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.inference.converting import free_axes, onnx_of, openvino_of, traced
from maskwright.inference.graph import PixelGraph
from maskwright.inference.predictor import Predictor
from maskwright.inference.telemetry import openvino_core
from maskwright.transforms import Preprocess

CLASSES = ClassMap((0, 3, 7), ("background", "lung", "heart"))
NET = {"width": 4, "depth": 2}


def net(channels: int) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return models.build("unet", channels=channels, classes=3, **NET).eval()


def both(preprocess: Preprocess, pixels: np.ndarray, classes: ClassMap = CLASSES, **graph) -> tuple[np.ndarray, np.ndarray]:
    """Labels by the exact predictor and by the graph."""
    model = net(preprocess.channels)
    manifest = Manifest(model="unet", model_args=NET, classes=classes.to_dict(), preprocess=preprocess.to_dict())
    exact = Predictor(model, manifest, device="cpu", exact=True)(pixels).labels
    with torch.inference_mode():
        found = PixelGraph(model, preprocess, classes, **graph)(torch.from_numpy(pixels)[None])
    return exact, found[0].numpy()


def scene(height: int, width: int, channels: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Smooth noise over a part of the type's range."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0.1, 0.8, (1, channels, max(1, height // 6), max(1, width // 6))))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0].permute(1, 2, 0).numpy()
    return np.ascontiguousarray(smooth if dtype.startswith("float") else smooth * np.iinfo(dtype).max, dtype)


@pytest.mark.parametrize("hw", [(61, 47), (97, 301), (200, 33), (96, 96), (7, 5)])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"max_side_px": 96},
        {"max_side_px": 96, "smooth": False},
        {"min_side_px": 40, "max_side_px": 96},
        {"zoom": 1.5},
        {"scaling": "zscore"},
        {"scaling": "percentile", "max_side_px": 64},
    ],
    ids=str,
)
def test_labels_are_those_of_the_exact_predictor(hw, given):
    exact, found = both(Preprocess(3, mean=(0.5, 0.4, 0.6), std=(0.2, 0.3, 0.25), **given), scene(*hw, 3))
    assert found.shape == exact.shape
    assert found.dtype == exact.dtype
    assert len(np.unique(exact)) > 1 or max(hw) < 10  # an answer of one class would agree with anything
    assert (found == exact).mean() >= 0.9999


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("scaling", ["range", "zscore", "percentile"])
def test_deep_pixels(dtype, scaling):
    top = 1.0 if dtype == "float32" else float(np.iinfo(dtype).max)
    low = 0.0 if dtype == "float32" else float(np.iinfo(dtype).min)
    exact, found = both(Preprocess(1, 64, scaling), scene(90, 71, 1, dtype), value_range=(low, top))
    assert (found == exact).mean() >= 0.9999


@pytest.mark.parametrize(("have", "wanted"), [(1, 3), (3, 1)])
def test_grey_and_colour_for_each_other(have, wanted):
    exact, found = both(Preprocess(wanted, 64), scene(80, 90, have))
    assert (found == exact).mean() >= 0.9999


def test_percentiles_of_a_large_image_are_those_of_every_fourth_pixel():
    exact, found = both(Preprocess(1, 128, "percentile"), scene(601, 700, 1))
    assert (found == exact).mean() >= 0.9999


def test_ids_above_255_are_two_bytes():
    classes = ClassMap((0, 300, 7), ("background", "lung", "heart"))
    exact, found = both(Preprocess(3), scene(40, 40, 3), classes)
    assert found.dtype == np.uint16
    assert (found == exact).all()


def test_ids_that_are_their_channels_need_no_looking_up():
    exact, found = both(Preprocess(3), scene(50, 60, 3), ClassMap((0, 1, 2), ("background", "lung", "heart")))
    assert found.dtype == np.uint8
    assert len(np.unique(exact)) > 1
    assert (found == exact).all()


def test_logits_at_the_size_of_the_image_or_of_the_net():
    model, image = net(3), torch.from_numpy(scene(100, 60, 3))[None]
    with torch.inference_mode():
        work = PixelGraph(model, Preprocess(3, 50), CLASSES, answer="work_logits")(image)
        full = PixelGraph(model, Preprocess(3, 50), CLASSES, answer="logits")(image)
        labels = PixelGraph(model, Preprocess(3, 50), CLASSES)(image)
    assert work.shape == (1, 3, 50, 30)
    assert full.shape == (1, 3, 100, 60)
    assert (torch.tensor(CLASSES.ids, dtype=torch.uint8)[full.argmax(1)] == labels).all()


def test_a_batch_is_its_images_one_by_one():
    graph = PixelGraph(net(3), Preprocess(3, 48, "percentile"), CLASSES, answer="logits")
    batch = torch.stack([torch.from_numpy(scene(60, 70, 3, seed=k) // (k + 1)) for k in range(3)])
    with torch.inference_mode():
        torch.testing.assert_close(graph(batch), torch.cat([graph(image[None]) for image in batch]), atol=1e-4, rtol=1e-4)


def test_channels_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="the graph's image has 2 channels, the model was trained on 3"):
        PixelGraph(net(3), Preprocess(3), CLASSES)(torch.zeros(1, 8, 8, 2, dtype=torch.uint8))


@pytest.mark.parametrize("scaling", ["zscore", "percentile"])
def test_statistics_of_the_image_are_taken_on_every_runtime(scaling):
    graph = PixelGraph(net(3), Preprocess(3, scaling=scaling), CLASSES)
    program = traced(graph, (torch.zeros(2, 60, 50, 3, dtype=torch.uint8),), (free_axes(0, 1, 2),))
    compiled = openvino_core("this test").compile_model(openvino_of(program), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session = onnxruntime.InferenceSession(onnx_of(program, inputs=["image"]).SerializeToString())
    for hw in ((70, 90), (5, 4), (530, 510)):
        image = scene(*hw, 3)[None]
        with torch.inference_mode():
            labels = graph(torch.from_numpy(image)).numpy()
        assert (compiled(image)[0] == labels).mean() >= 0.9999
        assert (session.run(None, {"image": image})[0] == labels).mean() >= 0.9999

"""Every semantic model, with everything from stored pixels to class ids around it, on OpenVINO and ONNX Runtime: walked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskwright import models
from maskwright.classes import ClassMap
from maskwright.inference.converting import free_axes, onnx_of, openvino_of, traced
from maskwright.inference.graph import PixelGraph
from maskwright.inference.telemetry import openvino_core
from maskwright.transforms import Preprocess

# One small form of each model: those whose operations differ most from the others'.
SMALL = {
    "unet": {"encoder": "test_resnet", "decoder": [16, 12, 8, 8, 4], "up": "nearest", "attention": True},
    "unetpp": {"width": 4, "depth": 2, "norm": "group", "up": "bilinear"},
    "fcn32s": {"width": 4, "fc_width": 16},
    "fcn16s": {"width": 4, "fc_width": 16, "batch_norm": True},
    "fcn8s": {"width": 4, "fc_width": 16, "pad_image": True},
    "fcn_googlenet": {"width": 8},
    "segnet": {"width": 4},
    "segnet_basic": {"width": 4},
    "bisenetv2": {"width_multiplier": 0.125, "head_width": 16, "booster_width": 8},
    "fcn_resnet": {"encoder": "test_resnet", "width": 8},
    "deeplabv3": {"encoder": "test_resnet", "width": 8, "auxiliary_width": 8},
    "deeplabv3plus": {"encoder": "test_efficientnet", "output_stride": 32, "width": 8, "low_width": 4, "rates": [2, 3]},
    "fpn": {"encoder": "test_convnext", "width": 8, "norm": "batch", "pyramid_pooling": True},
    "upernet": {"encoder": "test_resnet", "width": 8},
    "eomt": {"encoder": "test_vit", "queries": 7, "query_blocks": 2},
}
CLASSES = ClassMap((0, 3, 7, 9), ("background", "lung", "heart", "rib"))
SIZES = [(1, 77, 120, 3), (2, 101, 63, 3), (1, 64, 64, 3)]
# Tracing with free sizes takes most of the time; what these do not hold of it, tests/contracts/test_models.py does for all.
FREE = ("unet", "segnet", "bisenetv2", "deeplabv3plus", "eomt")


def test_every_model_has_a_small_form():
    assert set(SMALL) == set(models.semantic_models())


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_ids_on_every_runtime_are_those_of_torch(name):
    import onnxruntime

    torch.manual_seed(0)
    model = models.build(name, channels=3, classes=4, **SMALL[name])
    for _ in range(3):
        model(torch.rand(2, 3, 64, 96))  # gives batch norm something to hold
    graph = PixelGraph(model.eval(), Preprocess(3, mean=(0.5, 0.5, 0.5)), CLASSES)
    sizes = SIZES if name in FREE else SIZES[:1]
    example = torch.randint(0, 256, (2, 90, 70, 3) if name in FREE else sizes[0], dtype=torch.uint8)
    program = traced(graph, (example,), (free_axes(0, 1, 2),) if name in FREE else None)
    compiled = openvino_core("this test").compile_model(openvino_of(program), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session = onnxruntime.InferenceSession(onnx_of(program, inputs=["image"], outputs=["labels"]).SerializeToString())
    seen = set()
    for shape in sizes:
        image = torch.randint(0, 256, shape, dtype=torch.uint8)
        truth = graph(image).numpy()
        seen |= set(np.unique(truth))
        for found in (compiled(image.numpy())[0], session.run(None, {"image": image.numpy()})[0]):
            assert found.shape == truth.shape
            assert found.dtype == np.uint8
            assert (found == truth).mean() > 0.999
    assert len(seen) > 1  # an answer of one class would agree with anything

"""GraphLabels answers as torch does at every size, by one graph for each kind of image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskwright.checkpoint import load_checkpoint
from maskwright.inference.labelling import GraphLabels, labels_on_torch
from maskwright.inference.runtimes import Way, installed
from maskwright.io.image import Image

CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")


def picture(h: int, w: int, dtype: type = np.uint8) -> Image:
    coarse = torch.rand(1, 1, 5, 6, generator=torch.Generator().manual_seed(h))
    smooth = torch.nn.functional.interpolate(coarse, size=(h, w), mode="bilinear")[0].permute(1, 2, 0).numpy()
    return Image.from_array((smooth * np.iinfo(dtype).max).astype(dtype))


@pytest.mark.parametrize("max_side_px", [None, 48])
def test_sizes_share_a_graph_and_kinds_do_not(make_run, max_side_px):
    model, manifest = load_checkpoint(make_run(max_side_px=max_side_px))
    expected, labels = labels_on_torch(model, manifest, CPU, "fp32"), GraphLabels(model, manifest, Way("openvino", "fp32"))
    for hw in ((40, 70), (40, 70), (33, 47), (40, 70), (90, 20)):
        found = labels(picture(*hw))
        assert found.shape == hw
        assert (found == expected(picture(*hw))).mean() > 0.999
    assert set(labels._runs) == {(True, 1)}
    labels(picture(90, 20, np.uint16))
    assert set(labels._runs) == {(True, 1), (False, 1)}

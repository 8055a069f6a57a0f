"""GraphLabels answers as torch does at every size, by one graph for each kind of image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskwright.checkpoint import load_checkpoint
from maskwright.errors import InputError
from maskwright.inference import labelling
from maskwright.inference.labelling import GraphLabels, arrays_of_logits, labels_on_torch
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


@pytest.mark.parametrize("stale", [(0, 0, 0), (1, 40, 40)])
def test_an_answer_of_another_size_is_refused(make_run, monkeypatch, stale):
    """As OpenVINO gives where an inner map would be empty."""
    model, manifest = load_checkpoint(make_run())
    count, *hw = stale
    monkeypatch.setattr(labelling, "arrays_on_openvino", lambda *_, **how: lambda x: (np.zeros(stale),))
    with pytest.raises(InputError, match=r"'openvino' cannot run this network on an image of 17 x 40 px; give --runtime"):
        GraphLabels(model, manifest, Way("openvino", "fp32"))(picture(17, 40))
    monkeypatch.setattr(labelling, "arrays_on_openvino", lambda *_, **how: lambda x: (np.zeros((count, 2, *hw)),))
    with pytest.raises(InputError, match="on an image of 17 x 40 px"):
        arrays_of_logits(model, manifest, Way("openvino", "fp32"))(np.zeros((1, 1, 17, 40), np.float32))

"""Devices and number types: what is asked for is what runs, and bf16 has to earn its place."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.inference import agreement, backends
from maskwright.inference.agreement import compare_bf16, judge
from maskwright.inference.backends import choose_device, choose_precision, forward_on
from maskwright.metrics.confusion import Confusion

CPU = torch.device("cpu")
CLASSES = ClassMap((0, 3), ("background", "lung"))


class Seen(nn.Module):
    """A convolution that remembers how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.calls: list[tuple[bool, bool, bool]] = []

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.conv(image)
        last = image.is_contiguous(memory_format=torch.channels_last)
        self.calls.append((last, logits.dtype == torch.bfloat16, torch.is_grad_enabled() or self.training))
        return logits


def test_devices_by_name():
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(InputError, match=r"no device 'gpu'; known: auto, cpu, cuda"):
        choose_device("gpu")
    with pytest.raises(InputError, match=r"device 'xpu' is not there; this machine has cpu"):
        choose_device("xpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there():
    with pytest.raises(InputError, match=r"device 'cuda' is not there; this machine has cpu"):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("wished", "measured", "hardware", "exact", "chosen"),
    [
        ("auto", "bf16", True, False, "bf16"),
        ("auto", "bf16", False, False, "fp32"),  # agreed, but this machine would emulate it
        ("auto", "fp32", True, False, "fp32"),  # never measured, or did not agree
        ("auto", "bf16", True, True, "fp32"),
        ("fp32", "bf16", True, False, "fp32"),
        ("bf16", "fp32", False, False, "bf16"),  # asked for is asked for
        ("fp32", "bf16", True, True, "fp32"),
    ],
)
def test_the_number_type(wished, measured, hardware, exact, chosen, monkeypatch):
    monkeypatch.setattr(backends, "computes_bf16", lambda _: hardware)
    assert choose_precision(wished, measured, CPU, exact=exact) == chosen


@pytest.mark.parametrize(
    ("wished", "exact", "says"),
    [
        ("bf17", False, "no precision 'bf17'; known: auto, fp32, bf16, fp16"),
        ("bf16", True, "exact means fp32, but precision 'bf16' was asked for"),
        ("fp16", False, "fp16 is for CUDA devices, this is cpu; take bf16 or fp32"),
    ],
)
def test_number_types_that_cannot_be(wished, exact, says):
    with pytest.raises(InputError, match=says):
        choose_precision(wished, "fp32", CPU, exact=exact)


@pytest.mark.parametrize(
    ("precision", "exact", "call"),
    [("fp32", True, (False, False, False)), ("fp32", False, (True, False, False)), ("bf16", False, (True, True, False))],
)
def test_a_forward_runs_as_it_says(precision, exact, call):
    torch.manual_seed(0)
    model, image = Seen(), torch.randn(1, 2, 8, 9)
    expected = model.conv(image).detach()
    found = forward_on(model, CPU, precision, exact=exact)(image)
    assert model.calls == [call]  # (channels last, bf16, gradients or training)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.05 if precision == "bf16" else 1e-6, rtol=0)


def confusion(shared: int, lung_missed: int) -> Confusion:
    """`shared` pixels of each class alike, and lung_missed that fp32 calls lung and bf16 background."""
    counts = Confusion(CLASSES)
    counts.update(np.repeat([0, 3, 3], [shared, shared, lung_missed]), np.repeat([0, 3, 0], [shared, shared, lung_missed]))
    return counts


@pytest.mark.parametrize(
    ("counts", "bf16_s", "precision", "reason"),
    [
        (confusion(5000, 1), 0.5, "bf16", r"1000 ms an image in fp32, 500 ms in bf16, and they agree on 99\.9900% of the pixels"),
        (confusion(5000, 1), 1.0, "fp32", r"bf16 is not quicker \(1000 ms an image in fp32, 1000 ms in bf16\)"),
        (confusion(5000, 20), 0.5, "fp32", r"agrees on 99\.8004% of the pixels, 99\.9% are needed"),  # 10000 / 10020
    ],
)
def test_the_verdict(counts, bf16_s, precision, reason):
    found = judge(counts, 1.0, bf16_s, images=4)
    assert found.precision == precision
    assert re.search(reason, found.reason)
    assert found.to_dict()["images"] == 4


def test_a_small_class_that_suffers_decides_against_bf16():
    counts = Confusion(CLASSES)
    # 100,000 pixels of background alike; of 40 lung pixels one is lost: 99.999 % of all pixels, but lung IoU 39/40.
    counts.update(np.repeat([0, 3, 3], [100_000, 39, 1]), np.repeat([0, 3, 0], [100_000, 39, 1]))
    found = judge(counts, 1.0, 0.5, images=1)
    assert found.precision == "fp32"
    assert "single classes (IoU lung 0.9750; 0.99 is needed)" in found.reason
    assert found.classes == {"background": pytest.approx(100_000 / 100_001), "lung": pytest.approx(0.975)}


def test_a_class_that_is_nowhere_does_not_decide():
    counts = Confusion(CLASSES)
    counts.update(np.zeros(10, int), np.zeros(10, int))
    found = judge(counts, 1.0, 0.5, images=1)
    assert found.precision == "bf16"
    assert math.isnan(found.classes["lung"])


def test_both_types_are_run_on_all_images(monkeypatch):
    monkeypatch.setattr(agreement, "computes_bf16", lambda _: True)
    model = Seen()
    found = compare_bf16(model, [torch.randn(1, 2, 12, 10) for _ in range(3)], CLASSES, CPU)
    # The first run of each prepares the kernels.
    assert [bf16 for _, bf16, _ in model.calls] == [False, False, True, True, False, True, False, True]
    assert found.images == 3
    assert 0.9 < found.pixels <= 1
    assert min(found.fp32_s, found.bf16_s) > 0


def test_nothing_is_said_without_images_or_hardware(monkeypatch):
    monkeypatch.setattr(agreement, "computes_bf16", lambda _: True)
    assert compare_bf16(Seen(), [], CLASSES, CPU) is None
    monkeypatch.setattr(agreement, "computes_bf16", lambda _: False)
    assert compare_bf16(Seen(), [torch.randn(1, 2, 4, 4)], CLASSES, CPU) is None

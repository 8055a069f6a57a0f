"""Devices and number types: what is asked for is what runs, and bf16 has to earn its place."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.inference import backends
from maskwright.inference.backends import choose_device, choose_precision, forward_on

CPU = torch.device("cpu")


class Seen(nn.Module):
    """A convolution that remembers, with all its copies, how it was called."""

    def __init__(self, calls: list[tuple[bool, bool, bool]]) -> None:
        super().__init__()
        self.conv, self.calls = nn.Conv2d(2, 2, 3, padding=1), calls

    def __deepcopy__(self, memo: dict[int, Any]) -> Seen:
        copied = Seen(self.calls)
        copied.load_state_dict(self.state_dict())
        return copied

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
        ("bf17", False, "no precision 'bf17'; known: auto, fp32, bf16, fp16, int8"),
        ("bf16", True, "exact means fp32, but precision 'bf16' was asked for"),
        ("int8", False, "precision int8 is for OpenVINO; take the runtime openvino"),
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
    calls: list[tuple[bool, bool, bool]] = []
    model, image = Seen(calls), torch.randn(1, 2, 8, 9)
    expected = model.conv(image).detach()
    found = forward_on(model, CPU, precision, exact=exact)(image)
    assert set(calls) == {call}  # (channels last, bf16, gradients or training); a copy in bf16 is tried first
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.05 if precision == "bf16" else 1e-6, rtol=0)


def test_a_layer_that_was_left_in_training_is_evaluated():
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 1), torch.nn.BatchNorm2d(2)).eval()
    model[1].train()
    forward_on(model, CPU, "fp32")(torch.randn(1, 2, 8, 9))
    assert torch.equal(model[1].running_mean, torch.zeros(2))


@pytest.mark.parametrize("how", [{"exact": True}, {"many": True}, {}], ids=str)
def test_what_the_caller_computes_in_changes_nothing(how):
    model, image = nn.Sequential(nn.Conv2d(2, 8, 3), nn.Conv2d(8, 2, 1)).eval(), torch.randn(1, 2, 8, 9)
    forward = forward_on(model, CPU, "fp32", **how)
    expected = forward(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(forward(image), expected)

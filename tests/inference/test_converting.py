"""What comes out of a conversion computes what went in, at sizes that the tracer has not seen."""

from __future__ import annotations

import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from maskwright.errors import InputError, MissingExtraError
from maskwright.inference import converting
from maskwright.inference.converting import free_axes, onnx_of, to_onnx, to_openvino, traced
from maskwright.inference.telemetry import openvino_core

SIZES = [(1, 33, 70, 3), (2, 97, 41, 3), (1, 48, 48, 3)]


class Sized(nn.Module):
    """Every kind of arithmetic of sizes that the graphs use, around an antialiased resizing."""

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h, w = image.shape[1], image.shape[2]
        longest = torch.sym_max(h, w)
        hw = torch.sym_max(1, h * 40 // longest), w * 40 // longest + torch.sym_min(1, w % 2)
        small = F.interpolate(image.permute(0, 3, 1, 2).float(), size=hw, mode="bilinear", antialias=True)
        return small, F.interpolate(small, size=(h, w), mode="bilinear").argmax(1)


def picture(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


@pytest.fixture(scope="module")
def program():
    return traced(Sized(), (picture(2, 60, 50, 3),), (free_axes(0, 1, 2),))


@pytest.mark.parametrize("shape", SIZES)
def test_onnx_computes_the_same(program, shape):
    session = onnxruntime.InferenceSession(onnx_of(program, inputs=["image"], outputs=["small", "best"]).SerializeToString())
    image = picture(*shape)
    small, best = Sized()(image)
    found = session.run(["small", "best"], {"image": image.numpy()})
    torch.testing.assert_close(torch.from_numpy(found[0]), small, atol=0.01, rtol=0)
    assert (torch.from_numpy(found[1]) == best).float().mean() > 0.999


@pytest.mark.parametrize("shape", SIZES)
def test_openvino_computes_the_same(program, shape):
    compiled = openvino_core("this test").compile_model(
        converting.openvino_of(program), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    image = picture(*shape)
    small, best = Sized()(image)
    found = compiled(image.numpy())
    torch.testing.assert_close(torch.from_numpy(found[0]), small, atol=0.01, rtol=0)
    assert (torch.from_numpy(found[1]) == best).float().mean() > 0.999


def test_fixed_sizes_and_several_inputs():
    class Sum(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a + 2 * b

    given = torch.rand(2, 3), torch.rand(2, 3)
    session = onnxruntime.InferenceSession(to_onnx(Sum(), given).SerializeToString())
    names = [x.name for x in session.get_inputs()]
    torch.testing.assert_close(
        torch.from_numpy(session.run(None, dict(zip(names, (g.numpy() for g in given), strict=True)))[0]), Sum()(*given)
    )
    assert [tuple(x.shape) for x in to_openvino(Sum(), given).inputs] == [(2, 3), (2, 3)]


class Deciding(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Fixing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.ones(7)


@pytest.mark.parametrize("module", [Deciding(), Fixing()])
def test_a_module_that_cannot_be_traced_is_named(module):
    with pytest.raises(InputError, match=f"{type(module).__name__} cannot be traced with these sizes free: .+"):
        traced(module, (torch.rand(7),), ({0: torch.export.Dim("n")},))


class Foreign(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.igamma(x, x)


def test_an_operation_that_a_runtime_does_not_know_is_named():
    with pytest.raises(InputError, match=r"the network cannot be converted for OpenVINO: .*igamma"):
        to_openvino(Foreign(), (torch.rand(7),))
    with pytest.raises(InputError, match=r"the network cannot be converted to ONNX: .*igamma"):
        to_onnx(Foreign(), (torch.rand(7),))


def test_without_the_extra_the_command_is_said(monkeypatch):
    monkeypatch.setattr(converting, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError, match=r"conversion to ONNX needs the package 'onnx': pip install 'maskwright\[export\]'"
    ):
        to_onnx(nn.ReLU(), (torch.rand(2),))


def test_the_number_type_of_the_caller_is_not_in_the_graph():
    with torch.autocast("cpu", torch.bfloat16):
        program = traced(nn.Conv2d(2, 3, 1), (torch.zeros(1, 2, 4, 4),))
    assert {node.meta["val"].dtype for node in program.graph.nodes if "val" in node.meta} == {torch.float32}

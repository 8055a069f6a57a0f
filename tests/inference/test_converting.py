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
from maskwright.models.sizes import cropped, on_grid

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


class Cropped(nn.Module):
    """What the networks do around themselves: filled up to cells of 32 px, and back."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return cropped(on_grid(image, 32) + 1, image)


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


def test_what_is_picked_in_order_is_a_slice():
    model = to_openvino(Cropped(), (torch.zeros(2, 3, 40, 50),), (free_axes(0, 2, 3),))
    kinds = [op.get_type_name() for op in model.get_ordered_ops()]
    assert kinds.count("Slice") == 2
    compiled = openvino_core("this test").compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for hw in ((33, 70), (64, 96), (1, 1)):
        image = torch.rand(2, 3, *hw)
        assert torch.from_numpy(compiled(image.numpy())[0]).equal(image + 1)


class Labelled(nn.Module):
    """The likeliest channel of each pixel of what was filled up and cropped."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return cropped(on_grid(image, 32) * 2, image).float().argmax(1).to(torch.uint8)


def test_labels_are_chosen_before_they_are_cut_out():
    model = to_openvino(Labelled(), (torch.zeros(2, 5, 40, 50),), (free_axes(0, 2, 3),))
    kinds = [op.get_type_name() for op in model.get_ordered_ops()]
    assert kinds.index("TopK") < kinds.index("Slice")
    compiled = openvino_core("this test").compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for hw in ((33, 70), (64, 96), (1, 1)):
        image = torch.rand(2, 5, *hw)
        assert torch.from_numpy(compiled(image.numpy())[0]).equal(image.argmax(1).to(torch.uint8))


class OfSome(nn.Module):
    """The likeliest of a few channels, or columns, alone."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.index_select(self.axis, torch.arange(3)).argmax(self.axis)


@pytest.mark.parametrize("axis", [1, 3, -1])
def test_what_is_cut_off_is_never_chosen(axis):
    compiled = openvino_core("this test").compile_model(to_openvino(OfSome(axis), (torch.zeros(1, 5, 8, 8),)), "CPU")
    image = torch.rand(1, 5, 8, 8)
    image.select(axis, 4).fill_(2)
    assert torch.from_numpy(compiled(image.numpy())[0]).equal(image.narrow(axis, 0, 3).argmax(axis))

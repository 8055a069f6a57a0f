"""What is rewritten in an OpenVINO graph is there no more, and the answers are the same at sizes that nobody has seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.inference.converting import free_axes, to_openvino
from maskwright.inference.machine import computes_bf16
from maskwright.inference.rewriting import near_in_bf16
from maskwright.inference.telemetry import openvino_core
from maskwright.models.sizes import cropped, on_grid


class Cropped(nn.Module):
    """What the networks do around themselves: filled up to cells of 32 px, and back."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return cropped(on_grid(image, 32) + 1, image)


def test_what_is_picked_in_order_is_a_slice():
    model = to_openvino(Cropped(), (torch.zeros(2, 3, 40, 50),), (free_axes(0, 2, 3),))
    kinds = [op.get_type_name() for op in model.get_ordered_ops()]
    assert kinds.count("Slice") == 2
    compiled = openvino_core("this test").compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for hw in ((33, 70), (64, 96), (1, 1)):
        image = torch.rand(2, 3, *hw)
        assert torch.from_numpy(compiled(image.numpy())[0]).equal(image + 1)


@pytest.mark.parametrize(
    "pooling",
    [
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    ],
    ids=repr,
)
def test_pooling_answers_where_its_window_is_larger_than_the_map(pooling):
    model = to_openvino(nn.Sequential(pooling, nn.ReLU()), (torch.zeros(2, 3, 8, 12),), (free_axes(0, 2, 3),))
    compiled = openvino_core("this test").compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    least = 2 if (pooling.kernel_size, pooling.padding) == (3, 0) else 1  # with less torch has no answer either
    for hw in ((5, 6), (least, least), (3, 2), (least, 7), (8, 9)):
        image = torch.randn(2, 3, *hw)
        torch.testing.assert_close(torch.from_numpy(compiled(image.numpy())[0]), pooling(image).relu())


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


class Enlarging(nn.Module):
    """Convolutions of maps that were enlarged by repeating: alone, beside others, with and without what stands behind them."""

    def __init__(self, beside: int, bias: bool, relu: bool) -> None:
        super().__init__()
        self.relu = relu
        self.convs = nn.Sequential(nn.Conv2d(3 + 3 * beside, 5, 3, padding=1, bias=bias), nn.BatchNorm2d(5))
        self.convs[1].running_mean.uniform_(-1, 1)

    def forward(self, small: Tensor, *beside: Tensor) -> Tensor:
        x = self.convs(torch.cat([F.interpolate(small, scale_factor=2.0), *beside], dim=1))
        return x.relu() if self.relu else x


def counted(model) -> dict[str, int]:
    kinds = [op.get_type_name() for op in model.get_ordered_ops()]
    return {kind: kinds.count(kind) for kind in ("Interpolate", "Convolution", "ConvolutionBackpropData")}


@pytest.mark.parametrize("beside", [0, 1, 2])
@pytest.mark.parametrize(("bias", "relu"), [(True, True), (False, True), (True, False)])
def test_what_is_repeated_is_convolved_before(beside, bias, relu):
    net = Enlarging(beside, bias, relu).eval()
    example = (torch.rand(2, 3, 8, 9), *(torch.rand(2, 3, 16, 18) for _ in range(beside)))
    model = to_openvino(net, example, None if beside else (free_axes(0, 2, 3),))
    assert counted(model) == {"Interpolate": 0, "Convolution": int(beside > 0), "ConvolutionBackpropData": 1}
    compiled = openvino_core("this test").compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    others = [] if beside else [(torch.rand(1, 3, 1, 1),), (torch.rand(1, 3, 2, 7),)]
    for given in (example, *others):
        found = compiled([x.numpy() for x in given])[0]
        assert np.abs(found - net(*given).detach().numpy()).max() < 1e-5


class Otherwise(nn.Module):
    """What looks alike and is none: other kernels, other ways to enlarge, a map that others read too."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        size, stride, padding, dilation = {"5x5": (5, 1, 2, 1), "strided": (3, 2, 1, 1), "unpadded": (3, 1, 0, 1)}.get(
            kind, (3, 1, 2, 2) if kind == "dilated" else (3, 1, 1, 1)
        )
        self.conv = nn.Conv2d(6, 4, size, stride=stride, padding=padding, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "thrice":
            wide = F.interpolate(x, scale_factor=3.0)
        elif self.kind == "rows":
            wide = F.interpolate(x, scale_factor=(2.0, 1.0))
        elif self.kind == "bilinear":
            wide = F.interpolate(x, scale_factor=2.0, mode="bilinear")
        else:
            wide = F.interpolate(x, scale_factor=2.0)
        both = torch.cat([wide, wide * 2], dim=1)
        return self.conv(both).mean() + both.mean() if self.kind == "read twice" else self.conv(both)


@pytest.mark.parametrize("kind", ["5x5", "strided", "unpadded", "dilated", "thrice", "rows", "bilinear", "read twice"])
def test_what_only_looks_alike_stays(kind):
    net, x = Otherwise(kind).eval(), torch.rand(1, 3, 6, 8)
    model = to_openvino(net, (x,))
    assert counted(model) == {"Interpolate": 1, "Convolution": 1, "ConvolutionBackpropData": 0}
    compiled = openvino_core("this test").compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert np.abs(compiled(x.numpy())[0] - net(x).detach().numpy()).max() < 1e-5


class Chosen(nn.Module):
    """A few layers and the likeliest class, or the sums themselves."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.answer = answer
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 7, padding=3), nn.ReLU(), nn.ConvTranspose2d(16, 16, 4, stride=2, padding=1), nn.ReLU()
        )
        self.deep = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.head = nn.Conv2d(16, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        sums = self.head(self.deep(self.body(x)))
        return sums if self.answer == "sums" else sums.argmax(1).to(torch.uint8)


@pytest.mark.parametrize("answer", ["sums", "classes"])
@pytest.mark.parametrize("hint", ["f32", "bf16"])
def test_what_is_made_for_bf16_answers_the_same_in_fp32_and_nearer_in_bf16(answer, hint):
    x = torch.rand(3, 3, 60, 80, generator=torch.Generator().manual_seed(1)) + 1
    with torch.no_grad():
        net = Chosen(answer).eval()
        net.head.bias -= net.head(net.deep(net.body(x))).mean((0, 2, 3))  # so that each class is chosen somewhere
        expected = net(x).numpy()
    plain = to_openvino(net, (torch.rand(2, 3, 8, 9),), (free_axes(0, 2, 3),))
    near = near_in_bf16(plain.clone())
    core = openvino_core("this test")
    found = [core.compile_model(m, "CPU", {"INFERENCE_PRECISION_HINT": hint})(x.numpy())[0] for m in (plain, near)]
    assert found[1].shape == expected.shape
    assert found[1].dtype == expected.dtype
    if answer == "classes":
        changed = [(labels != expected).mean() for labels in found]
        assert changed[1] < 0.01
    else:
        changed = [np.abs(sums - expected).mean() / expected.std() for sums in found]
        assert changed[1] < 0.02
    if hint == "bf16" and computes_bf16(torch.device("cpu")):
        assert 0 < changed[1] < 0.95 * changed[0]


def test_weights_for_bf16_are_what_bf16_holds_and_shared_ones_stay_shared():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x).relu())

    model = near_in_bf16(to_openvino(Shared(), (torch.rand(1, 3, 8, 9),)))
    weights = [op.input_value(1).get_node() for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"]
    assert len({op.get_friendly_name() for op in weights}) == 1
    values = torch.from_numpy(np.array(weights[0].get_data()))
    assert values.bfloat16().float().equal(values)


def test_what_is_no_number_stays_none():
    model = near_in_bf16(to_openvino(nn.Conv2d(3, 2, 1), (torch.rand(1, 3, 8, 9),)))
    x = np.ones((1, 3, 8, 9), np.float32)
    x[0, :, 0, 0] = np.nan
    found = openvino_core("this test").compile_model(model, "CPU")(x)[0]
    assert np.isnan(found[0, :, 0, 0]).all()
    assert np.isfinite(found[0, :, 1, 1]).all()


def test_sums_that_are_moved_about_are_the_answer_and_what_another_layer_reads_stays():
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head, self.linear = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            maps = self.trunk(x)
            ranked = self.head(maps).permute(0, 2, 3, 1).reshape(x.shape[0], -1)
            return maps, torch.cat([ranked, ranked.new_ones(x.shape[0], 1)], dim=1), self.linear(maps.mean((2, 3)))

    net, x = Heads().eval(), torch.rand(2, 3, 8, 10)
    model = near_in_bf16(to_openvino(net, (x,), (free_axes(0, 2, 3),)))
    before = [op.input_value(0).get_node() for op in model.get_ordered_ops() if op.get_type_name() == "PRelu"]
    before = [op.input_value(0).get_node() if op.get_type_name() == "Add" else op for op in before]
    assert sorted(op.get_type_name() for op in before) == ["Convolution", "MatMul"]  # not the trunk, which the heads read too
    found = openvino_core("this test").compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x.numpy())
    for expected, answer in zip(net(x), found.values(), strict=True):
        assert np.abs(answer - expected.detach().numpy()).max() < 0.01  # kernels are rounded

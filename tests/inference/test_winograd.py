"""Wide 3x3 convolutions as products of tiles: the same answers, at every size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskwright.inference.conversions import openvino_model
from maskwright.inference.converting import free_axes, to_openvino
from maskwright.inference.telemetry import openvino_core
from maskwright.inference.winograd import FEWEST_CHANNELS, _near_tiles, with_fewer_products

pytest.importorskip("openvino")

SIZES = ((1, 1), (1, 6), (7, 1), (2, 2), (9, 14), (16, 15))
FEW = 4  # channels, so that tests are quick


def kinds(model) -> list[str]:
    return [op.get_type_name() for op in model.get_ordered_ops()]


class Absolute(nn.Module):
    """What a network answers, without its sign, so that no convolution is the answer itself."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).abs()


def rewritten_and_run(
    net: nn.Module, channels: int = FEW, *, fewest: int = FEW, divided: int = 1, sizes=SIZES, batches=(1, 3, 0)
):
    """The rewritten model's operations, having compared its answers with torch's at all sizes."""
    net, example = Absolute(net).eval(), (torch.zeros(2, channels, 8, 12),)
    model = with_fewer_products(to_openvino(net, example, (free_axes(0, 2, 3),)), fewest, divided)
    compiled = openvino_core("this test").compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for batch in batches:
        for hw in sizes:
            x = torch.randn(batch, channels, *hw)
            with torch.no_grad():
                expected = net(x)
            found = torch.from_numpy(compiled(x.numpy())[0])
            assert found.shape == expected.shape, hw
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    return kinds(model)


def conv(c: int = FEW, k: int = FEW, **how) -> nn.Conv2d:
    return nn.Conv2d(c, k, 3, **{"padding": 1, **how})


def test_a_wide_convolution_is_products_of_tiles():
    done = rewritten_and_run(conv(5, 7), 5)
    assert "Convolution" not in done
    assert done.count("MatMul") == 3


def test_layers_in_a_row_share_their_tiles_and_pass_pixels_on():
    done = rewritten_and_run(nn.Sequential(conv(), nn.BatchNorm2d(FEW), nn.ReLU(), conv(), nn.SiLU(), conv(bias=False)))
    assert "Convolution" not in done
    assert done.count("ShapeOf") == 1
    assert done.count("Transpose") == 2  # pixels out of the map, and the last ones back


class Residual(nn.Module):
    """Blocks as in a ResNet: a step of two, its shortcut, and one that keeps the size."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.after, self.short = conv(stride=2), conv(), nn.Conv2d(FEW, FEW, 1, stride=2)
        self.one, self.two = conv(), conv()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.after(torch.relu(self.down(x))) + self.short(x))
        return torch.relu(self.two(torch.relu(self.one(x))) + x)


def test_shortcuts_are_added_as_pixels():
    done = rewritten_and_run(Residual())
    assert done.count("Convolution") == 2  # those with a step
    assert done.count("ShapeOf") == 1
    assert done.count("Transpose") == 3  # two in, one out


class Attending(nn.Module):
    """What is added has one pixel alone, and maps lie side by side: no size is taken for another."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = conv(), conv(), conv(2 * FEW)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        y = y + y.mean((2, 3), keepdim=True)
        return self.three(torch.cat([self.two(y), x], 1)) * torch.sigmoid(y)


def test_maps_of_one_pixel_and_maps_side_by_side():
    done = rewritten_and_run(Attending())
    assert "Convolution" not in done


class Pooled(nn.Module):
    """Sides are halved in two ways that agree, and in one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool = nn.Conv2d(FEW, FEW, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1)
        self.one, self.two, self.other = conv(), conv(), conv()

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(self.stem(x)) + self.two(self.pool(x))
        return self.other(nn.functional.avg_pool2d(y, 2, ceil_mode=True)) + self.other(self.pool(y))


def test_sizes_that_are_sure_to_agree_share_tiles():
    assert rewritten_and_run(Pooled(), sizes=((9, 14), (16, 15)), batches=(1, 3)).count("ShapeOf") == 3


class Halves(nn.Module):
    """A map is cut in two, which need not be equally large."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis, self.conv = axis, conv()

    def forward(self, x: Tensor) -> Tensor:
        one, other = x.split([3, x.shape[self.axis] - 3], self.axis)
        return torch.cat([self.conv(one), self.conv(other)], self.axis)


@pytest.mark.parametrize("axis", [2, 3])
def test_parts_of_a_map_have_sizes_of_their_own(axis):
    assert "Convolution" not in rewritten_and_run(Halves(axis), sizes=((8, 13), (9, 11)), batches=(1, 3))


@pytest.mark.parametrize("how", [{"stride": 2}, {"dilation": 2, "padding": 2}, {"padding": 0}, {"groups": 2}])
def test_other_convolutions_stay(how):
    net = conv(**how)
    before = kinds(to_openvino(Absolute(net), (torch.zeros(2, FEW, 8, 12),), (free_axes(0, 2, 3),)))
    assert rewritten_and_run(net, sizes=((9, 14),)) == before


def test_maps_nearly_as_large_as_the_image_stay():
    net = nn.Sequential(conv(), conv(stride=2), nn.ReLU(), conv(), nn.ConvTranspose2d(FEW, FEW, 2, 2), nn.ReLU(), conv())
    assert rewritten_and_run(net, divided=2, sizes=((9, 14), (16, 15))).count("Convolution") == 3
    assert rewritten_and_run(net, divided=4, sizes=((9, 14),)).count("Convolution") == 4


def test_a_convolution_whose_sums_are_the_answer_stays():
    """In bf16 those are given in fp32 (rewriting.near_in_bf16)."""
    net = nn.Sequential(conv(), nn.ReLU(), conv())
    model = with_fewer_products(to_openvino(net, (torch.zeros(2, FEW, 8, 12),), (free_axes(0, 2, 3),)), FEW, 1)
    assert kinds(model).count("Convolution") == 1


def test_a_step_keeps_what_is_done_behind_it_within():
    """A second reader of its sums would keep the runtime from adding and cutting off within the convolution."""
    net = nn.Sequential(conv(stride=2), nn.ReLU(), conv(), nn.ReLU())
    model = with_fewer_products(to_openvino(net, (torch.zeros(2, FEW, 8, 12),), (free_axes(0, 2, 3),)), FEW, 1)
    (step,) = (op for op in model.get_ordered_ops() if op.get_type_name() == "Convolution")
    assert [port.get_node().get_type_name() for port in step.output(0).get_target_inputs()] == ["Add"]


def test_places_beyond_16_million_pixels_are_exact():
    from openvino import Model, Type, opset15

    given = [opset15.parameter([1], Type.i32) for _ in range(4)]
    model = Model([opset15.result(_near_tiles(*given))], given, "places")
    compiled = openvino_core("this test").compile_model(model, "CPU")
    step, beyond = (1 << 24) + 1, 90_000_001
    found = compiled([np.array([n], np.int32) for n in (2, 3, step, beyond)])[0]
    assert found.T.tolist() == [[beyond, 0, step, 2 * step], [step, 2 * step, beyond, beyond]]


class Unpooled(nn.Module):
    """Maxima are put back to where they were."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.pool, self.unpool, self.after = conv(), nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2), conv()

    def forward(self, x: Tensor) -> Tensor:
        x, places = self.pool(self.before(x))
        return self.after(self.unpool(torch.relu(x), places))


def test_where_maxima_were_decides_so_that_nothing_is_rewritten():
    example = (torch.zeros(2, FEW, 8, 12),)
    model = to_openvino(Absolute(Unpooled()).eval(), example, (free_axes(0, 2, 3),))
    before = kinds(model)
    assert before.count("Convolution") == 2
    assert kinds(with_fewer_products(model, FEW, 1)) == before


def test_narrow_convolutions_stay():
    narrow = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 3))
    assert rewritten_and_run(narrow, 3).count("Convolution") == 2


def test_what_will_be_run_is_rewritten_and_what_is_changed_further_is_not():
    wide = conv(FEWEST_CHANNELS, FEWEST_CHANNELS)
    net, free = nn.Sequential(nn.Conv2d(3, FEWEST_CHANNELS, 8, 8), wide, nn.ReLU()).eval(), (free_axes(0, 2, 3),)
    x = torch.rand(2, 3, 32, 40)
    assert kinds(openvino_model(net, (x,), free)).count("Convolution") == 2
    assert kinds(openvino_model(net, (x,), free, precision="fp32")).count("Convolution") == 1
    assert kinds(openvino_model(net, (x,), free, precision="bf16")).count("Convolution") == 1

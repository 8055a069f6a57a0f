"""Wide 3x3 convolutions as products of tiles: the same answers, at every size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from maskwright.inference.conversions import openvino_model
from maskwright.inference.converting import free_axes, to_openvino
from maskwright.inference.telemetry import openvino_core
from maskwright.inference.winograd import FEWEST_CHANNELS, with_fewer_products

pytest.importorskip("openvino")

SIZES = ((1, 1), (1, 6), (7, 1), (2, 2), (9, 14), (16, 15))
FEW = 4  # channels, so that tests are quick


def kinds(model) -> list[str]:
    return [op.get_type_name() for op in model.get_ordered_ops()]


def rewritten_and_run(net: nn.Module, channels: int = FEW, fewest: int = FEW, sizes=SIZES, batches=(1, 3, 0)):
    """The rewritten model's operations, having compared its answers with torch's at all sizes."""
    net = net.eval()
    model = with_fewer_products(to_openvino(net, (torch.zeros(2, channels, 8, 12),), (free_axes(0, 2, 3),)), fewest)
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
    """What is added has one pixel alone, or two channels more beside it: no size is taken for another."""

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
    """Sides are halved in three ways that agree, and in one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool = nn.Conv2d(FEW, FEW, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1)
        self.one, self.two, self.other = conv(), conv(), conv()

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(self.stem(x)) + self.two(self.pool(x))
        return self.other(nn.functional.max_pool2d(y, 2, ceil_mode=True)) + self.other(self.pool(y))


def test_sizes_that_are_sure_to_agree_share_tiles():
    assert rewritten_and_run(Pooled(), sizes=((9, 14), (16, 15)), batches=(1, 3)).count("ShapeOf") == 3


@pytest.mark.parametrize("how", [{"stride": 2}, {"dilation": 2, "padding": 2}, {"padding": 0}, {"groups": 2}])
def test_other_convolutions_stay(how):
    net = conv(**how)
    before = kinds(to_openvino(net, (torch.zeros(2, FEW, 8, 12),), (free_axes(0, 2, 3),)))
    assert rewritten_and_run(net, sizes=((9, 14),)) == before


def test_narrow_convolutions_stay():
    narrow = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 3))
    assert rewritten_and_run(narrow, 3, 4).count("Convolution") == 2
    assert FEWEST_CHANNELS > 64  # where they were measured to be slower


def test_what_will_be_run_is_rewritten_and_what_is_changed_further_is_not():
    net, free = conv(FEWEST_CHANNELS, FEWEST_CHANNELS).eval(), (free_axes(0, 2, 3),)
    x = torch.rand(2, FEWEST_CHANNELS, 8, 8)
    assert "Convolution" in kinds(openvino_model(net, (x,), free))
    assert "Convolution" not in kinds(openvino_model(net, (x,), free, precision="fp32"))
    assert "Convolution" not in kinds(openvino_model(net, (x,), free, precision="bf16"))

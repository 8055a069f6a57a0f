"""FPN and UPerNet: which maps take part, what is added to what, parameter counts from the figures."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.models.context import PooledNorm, PyramidPooling
from maskwright.models.encoders import TimmEncoder
from maskwright.models.fpn import FPN, Double, Pyramid, UPerNet


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


LATERAL = (256 + 512 + 1024) * 256 + 3 * 256  # ResNet-50's maps at strides 4, 8, 16 to 256 channels, with biases
SMOOTH = 4 * (256 * 256 * 9 + 256)


def test_parameter_count():
    # Branches: seven 3x3 convolutions with group norm, the first of each of the four from 256 to 128, three from 128 to 128.
    lateral = LATERAL + 2048 * 256 + 256
    branches = 4 * (256 * 128 * 9 + 256) + 3 * (128 * 128 * 9 + 256)
    assert count(FPN(3, 21)) == 23_508_032 + lateral + SMOOTH + branches + 128 * 21 + 21


def test_parameter_count_of_upernet():
    # Two numbers of a batch norm for each channel in place of a bias; three maps are smoothed, the pooled one is not.
    lateral = (256 + 512 + 1024) * 256 + 3 * 512
    pooling = 4 * (2048 * 256 + 512) + (2048 + 4 * 256) * 256 * 9 + 512
    smooth = 3 * (256 * 256 * 9 + 512)
    fuse = 4 * 256 * 256 * 9 + 512
    assert count(UPerNet(3, 21)) == 23_508_032 + lateral + pooling + smooth + fuse + 256 * 21 + 21


def test_upernet_norms_and_rectifies_what_fpn_only_convolves():
    upernet, fpn = UPerNet(3, 4, encoder="test_resnet", width=8).pyramid, FPN(3, 4, encoder="test_resnet", width=8).pyramid
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert [[type(m) for m in part] for part in (*upernet.lateral[:3], *upernet.smooth[:3])] == [kinds] * 6
    assert isinstance(upernet.smooth[3], nn.Identity)
    assert [type(m) for m in (*fpn.lateral, *fpn.smooth)] == [nn.Conv2d] * 8


def test_a_branch_doubles_as_often_as_its_map_is_coarse():
    model = FPN(3, 4, encoder="test_resnet", width=8)
    assert [sum(isinstance(m, Double) for m in b) for b in model.branches] == [0, 1, 2, 3]
    assert [sum(isinstance(m, nn.Conv2d) for m in b) for b in model.branches] == [1, 1, 2, 3]


@torch.no_grad()
def test_the_way_up_adds_the_doubled_deeper_map():
    torch.manual_seed(0)
    encoder = TimmEncoder("test_resnet", 3)
    pyramid = Pyramid(encoder, 6, pyramid_pooling=False)
    assert pyramid.levels == (1, 2, 3, 4)  # stride 2 is finer than the paper's pyramid
    maps = [torch.rand(1, c, 64 // s, 96 // s) for c, s in zip(encoder.widths, encoder.strides, strict=True)]
    p5 = pyramid.lateral[3](maps[4])
    p4 = pyramid.lateral[2](maps[3]) + p5.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    found = pyramid(maps)
    assert_close(found[3], pyramid.smooth[3](p5))
    assert_close(found[2], pyramid.smooth[2](p4))
    assert [tuple(m.shape[2:]) for m in found] == [(16, 24), (8, 12), (4, 6), (2, 3)]


@torch.no_grad()
def test_pyramid_pooling_lays_means_beside_the_map():
    pooling = PyramidPooling(2, 3, bins=(1, 2)).eval()
    seen = []
    pooling.fuse.register_forward_pre_hook(lambda _m, given: seen.append(given[0]))
    x = torch.rand(1, 2, 4, 6)
    assert pooling(x).shape == (1, 3, 4, 6)
    assert_close(seen[0][:, :2], x)
    conv = pooling.pooled[1][1].weight[:, :, 0, 0]
    quarter = (conv @ x[0, :, :2, :3].mean(dim=(1, 2))).clamp(min=0) / (1 + 1e-5) ** 0.5  # fresh norm: mean 0, variance 1
    assert_close(seen[0][0, 5:, 0, 0], quarter)  # the outermost pixels take the nearest part's value


def test_norms():
    def kinds(model: nn.Module, kind: type) -> int:
        return sum(isinstance(m, kind) for m in model.branches.modules())

    assert kinds(FPN(3, 4, encoder="test_resnet", width=8), nn.GroupNorm) == 7
    assert kinds(FPN(3, 4, encoder="test_resnet", width=8, norm="batch"), nn.BatchNorm2d) == 7
    pooled = FPN(3, 4, encoder="test_resnet", width=8, pyramid_pooling=True)
    assert sum(isinstance(m, PooledNorm) for m in pooled.modules()) == 4


@pytest.mark.parametrize("net", [FPN, UPerNet])
@pytest.mark.parametrize("encoder", ["test_efficientnet", "mobilenetv3_small_050", "tf_efficientnet_lite0", "test_convnext"])
@torch.no_grad()
def test_encoders_of_many_kinds(net, encoder):
    model = net(3, 4, encoder=encoder, width=8)
    assert model(torch.rand(1, 3, 1, 1)).shape == (1, 4, 1, 1)  # in training
    assert model.eval()(torch.rand(1, 3, 45, 70)).shape == (1, 4, 45, 70)


def test_double_is_bilinear():
    x = torch.tensor([[[[0.0, 1.0]]]])
    assert_close(Double()(x), torch.tensor([[[[0.0, 0.25, 0.75, 1.0]] * 2]]).view(1, 1, 2, 4))
    assert_close(Double()(x), F.interpolate(x, size=(2, 4), mode="bilinear"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"norm": "none"}, "norm='none' is not known; expected one of group, batch"),
        ({"width": 0}, "width=0 is not usable"),
        ({"dropout": 1}, "dropout=1 is not usable"),
        ({"pyramid_pooling": "nein"}, "pyramid_pooling='nein' is not usable; expected true or false"),
        ({"encoder": None}, "encoder=None is not usable; expected the name of a timm model, as resnet34"),
    ],
)
def test_arguments_that_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        FPN(3, 4, **{"encoder": "test_resnet", **given})

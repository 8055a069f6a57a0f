"""Numbers of networks against numbers derived by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright import models
from maskwright.models.describe import HW, Averaging, describe, multiply_adds, receptive_field
from maskwright.models.segnet import SegNet
from maskwright.models.unet import UNet

STRIP = [(32, 512)]


class Plain(nn.Module):
    """Layers in a row."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


# Multiply-adds


def test_multiply_adds_of_convolutions():
    # 3 x 3 x 2 x 5 for each of 6 x 8 pixels, then 5 x 7 for each of the 3 x 4 that the pooling leaves,
    # then transposed 2 x 2 from 7 to 3 channels: each of the 3 x 4 pixels is multiplied 2 x 2 x 7 x 3 times.
    net = Plain(nn.Conv2d(2, 5, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(5, 7, 1), nn.ConvTranspose2d(7, 3, 2, stride=2))
    assert multiply_adds(net, 2, (6, 8)) == 48 * 90 + 12 * 35 + 12 * 84


def test_multiply_adds_of_matrix_products_and_attention():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(4, 12)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, dim=-1)  # (B, 15, 4) each
            return F.scaled_dot_product_attention(q, k, v)

    # 15 pixels times 4 x 12; 15 x 15 products of 4 numbers for the shares, as many for the means.
    assert multiply_adds(Attention(), 4, (3, 5)) == 15 * 48 + 2 * 15 * 15 * 4


def test_the_meta_device_counts_the_same():
    with torch.device("meta"):
        outline = UNet(3, 4, width=4, depth=2).eval()
    assert multiply_adds(outline, 3, (40, 48)) == multiply_adds(UNet(3, 4, width=4, depth=2).eval(), 3, (40, 48))


# Receptive field


@pytest.mark.parametrize(
    ("layers", "field"),
    [
        ([nn.Conv2d(3, 4, 1)], 1),
        ([nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 5, padding=2)], 7),  # 1 + 2 + 4
        ([nn.Conv2d(3, 4, 3, padding=4, dilation=4), nn.BatchNorm2d(4)], 9),  # 1 + 2 x 4
        ([nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3, padding=1), nn.Upsample(scale_factor=2)], 8),
        ([nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.GroupNorm(2, 6), nn.Conv2d(6, 2, 3, padding=1)], 5),
        ([nn.MaxPool2d(2), nn.ConvTranspose2d(3, 2, 2, stride=2)], 2),
    ],
)
def test_receptive_fields_derived_by_hand(layers, field):
    """The fourth: 3 px of a map of step 2, each the maximum of 2 pixels: 6 px, and one more on each side."""
    assert receptive_field(Plain(*layers).eval(), 3, STRIP) == field


@pytest.mark.parametrize(
    "layer",
    [nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 4, (1, 2001), padding=(0, 1000))],
    ids=["pooling over the image", "a kernel longer than the strip"],
)
def test_the_whole_image_is_seen(layer):
    class Net(Plain):
        def forward(self, x: Tensor) -> Tensor:
            return F.interpolate(super().forward(x), size=x.shape[-2:])

    assert receptive_field(Net(layer).eval(), 3, STRIP) is None


@pytest.mark.parametrize("gate", [nn.Sigmoid(), nn.Tanh(), nn.ReLU6(), nn.Hardsigmoid()])
def test_a_gate_that_is_wide_open_hides_nothing(gate):
    class Gated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * gate(1000 * x.mean(dim=(2, 3), keepdim=True))

    assert receptive_field(Gated(), 3, STRIP) is None


def test_receptive_field_of_vgg16():
    # conv k adds 2 x step: 2 convs at 1, 2 at 2, 3 at 4, 3 at 8, 3 at 16 px: 2 x (2 + 4 + 12 + 24 + 48) = 180; each pooling adds
    # its step: 1 + 2 + 4 + 8 = 15; 1 + 180 + 15 = 196 (the known number for conv5_3).
    encoder = models.vgg.VGG16Encoder(3, width=2).eval()

    class Deepest(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.interpolate(encoder(x)[-1], size=x.shape[-2:])

    assert receptive_field(Deepest(), 3, STRIP) == 196


def test_unpooling_lets_every_place_of_a_window_through():
    wide, narrow = (receptive_field(SegNet(3, 2, width=w).eval(), 3, [(32, 1024)]) for w in (16, 32))
    assert wide is not None
    assert wide == narrow  # were only some places seen, more channels would see more


def test_a_longer_strip_is_taken_where_the_first_is_too_short():
    wide = Plain(nn.Conv2d(3, 4, 3, padding=20, dilation=20)).eval()  # 1 + 2 x 20 = 41 px
    assert receptive_field(wide, 3, [(32, 40)]) is None
    assert receptive_field(wide, 3, [(32, 40), (32, 128)]) == 41


def test_weights_play_no_part_and_are_kept():
    net = UNet(3, 2, width=4, depth=2).eval()
    before = {key: t.clone() for key, t in net.state_dict().items()}
    state = torch.get_rng_state()
    field = receptive_field(net, 3, STRIP)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    assert receptive_field(net, 3, STRIP) == field
    assert torch.equal(torch.get_rng_state(), state)
    assert set(before) == set(net.state_dict())


def test_a_layer_gives_the_mean_of_what_it_looks_at():
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    with Averaging():
        y = nn.Conv2d(2, 5, 1)(x)
    assert y.shape == (1, 5, 3, 4)
    # The mean of channels 0 and 1 of pixel i is i + 6; rows and columns are off by at most a tenth each.
    assert ((y / (torch.arange(12.0).reshape(3, 4) + 6) - 1).abs() < 0.22).all()


# The registry


@pytest.mark.parametrize("name", ["unet"])
def test_a_row_of_the_registry(name):
    found = describe(name, {"width": 4, "depth": 2})
    small = models.build(name, channels=3, classes=21, width=4, depth=2)
    assert found.parameters == sum(p.numel() for p in small.parameters())
    assert found.multiply_adds == multiply_adds(small.eval(), 3, HW)
    assert (found.name, found.task, found.paper) == ("unet", "semantic", "1505.04597")
    # Down: 1 + 4 + 1 + 8 + 2 + 16; up at step 2, then 1: 2x2 transposed convolutions add none, 3x3 pairs add 8 and 4.
    assert found.receptive_field == 44

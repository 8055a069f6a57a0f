"""GoogLeNet against table 1 of its paper and against torchvision's."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models import googlenet as published_googlenet

from maskwright.errors import InputError
from maskwright.models.googlenet import TABLE_1, GoogLeNetEncoder, googlenet_encoder_weights


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def published() -> nn.Module:
    torch.manual_seed(0)
    model = published_googlenet(init_weights=False, aux_logits=True)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def test_widths_of_table_1():
    # Output column: 3a 256, 3b 480, 4a to 4c 512, 4d 528, 4e and 5a 832, 5b 1024.
    sums = {name: row[0] + row[2] + row[4] + row[5] for name, row in TABLE_1.items()}
    assert sums == {"3a": 256, "3b": 480, "4a": 512, "4b": 512, "4c": 512, "4d": 528, "4e": 832, "5a": 832, "5b": 1024}
    with torch.device("meta"):
        encoder = GoogLeNetEncoder(3)
    assert encoder.widths == (64, 192, 480, 832, 1024)


def test_parameters():
    with torch.device("meta"):
        as_published, as_drawn = GoogLeNetEncoder(3), GoogLeNetEncoder(3, five_by_five=True)
    # torchvision gives 6 624 904 with its layer 1024 -> 1000, which has 1 025 000.
    assert parameters(as_published) == 6_624_904 - 1_025_000 == 5_599_904
    # The paper's net has 6 998 552 as published in Caffe: one bias for each of 7280 channels of convolutions, where ours
    # has scale and shift.
    assert parameters(as_drawn) == 6_998_552 - 1_025_000 + 7_280 == 5_980_832
    # The paper's column "params" in units of 1024, kernels alone: 3a 159K, 3b 380K (its later rows do not follow from its
    # widths). 3a: 192 x (64 + 96 + 16 + 32) + 9 x 96 x 128 + 25 x 16 x 32 = 39 936 + 110 592 + 12 800 = 163 328.
    kernels = {
        name: sum(p.numel() for p in getattr(as_drawn, f"inception{name}").parameters() if p.ndim == 4) for name in TABLE_1
    }
    assert kernels["3a"] == 163_328
    assert kernels["3a"] // 1024 == 159
    assert round(kernels["3b"] / 1024, -1) == 380


def test_keys_and_shapes_are_torchvisions():
    with torch.device("meta"):
        theirs = googlenet_encoder_weights(published_googlenet(init_weights=False, aux_logits=True).state_dict())
        ours = GoogLeNetEncoder(3).state_dict()
    assert {key: t.shape for key, t in ours.items()} == {key: t.shape for key, t in theirs.items()}


@pytest.mark.parametrize("hw", [(64, 96), (224, 224)])
@torch.no_grad()
def test_maps_are_torchvisions(hw):
    theirs, expected = published(), {}
    for name in ("conv1", "conv3", "inception3b", "inception4e", "inception5b"):
        theirs.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: expected.__setitem__(name, out))
    encoder = GoogLeNetEncoder(3).eval()
    encoder.load_state_dict(googlenet_encoder_weights(theirs.state_dict()))
    image = torch.randn(2, 3, *hw)
    logits, maps = theirs(image), encoder(image)
    (h, w) = hw
    shapes = [(2, c, h // s, w // s) for c, s in zip(encoder.widths, encoder.strides, strict=True)]
    assert [tuple(m.shape) for m in maps] == shapes
    assert [m.std() > 1e-3 for m in maps] == [True] * 5
    assert_close(maps, list(expected.values()), atol=1e-5, rtol=1e-4)
    assert_close(theirs.fc(maps[-1].mean(dim=(2, 3))), logits, atol=1e-5, rtol=1e-4)


def test_shifts_follow_from_kernels_and_padding():
    # A layer with kernel k and padding p moves the centre of view by (k - 1) / 2 - p of its own input's pixels.
    encoder = GoogLeNetEncoder(3, width=4)
    conv1 = encoder.conv1.conv
    layers = [(conv1.kernel_size[0], conv1.padding[0]), (3, 0), (3, 0), (3, 0), (2, 0)]  # poolings 1 to 4 behind it
    centre, step, shifts = 0.0, 1, {}
    for k, p in layers:
        centre += step * ((k - 1) / 2 - p)
        step *= 2
        shifts[step] = centre - (step - 1) / 2  # the centre of the first cell of so many pixels
    assert tuple(shifts.values()) == encoder.shifts_px
    inside = [m for m in encoder.modules() if isinstance(m, nn.Conv2d) and m is not conv1]
    assert all(m.kernel_size[0] == 2 * m.padding[0] + 1 for m in inside)  # centred


@torch.no_grad()
def test_weights_for_colour_see_grey_as_the_sum_of_three():
    torch.manual_seed(0)
    colour, grey = GoogLeNetEncoder(3, width=8).eval(), GoogLeNetEncoder(1, width=8).eval()
    grey.load_state_dict(googlenet_encoder_weights(colour.state_dict(), channels=1))
    image = torch.rand(1, 1, 32, 64)
    assert_close(grey(image)[-1], colour(image.expand(-1, 3, -1, -1))[-1], atol=1e-5, rtol=1e-5)


def test_narrow_nets_keep_every_branch():
    encoder = GoogLeNetEncoder(3, width=1)  # 16 / 64 of a channel is still one
    assert all(min(p.shape) >= 1 for p in encoder.parameters())
    with pytest.raises(InputError, match="width=0 is not usable; expected a whole number of 1 or more"):
        GoogLeNetEncoder(3, width=0)

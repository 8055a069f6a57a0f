"""U-Net against figure 1 of its paper, and its other forms against their descriptions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.models.layers import GATE_OPEN, AttentionGate, TwoConvs, crop_to, he_init
from maskwright.models.unet import UNet, margin_px, valid_px


def on_meta(**given) -> UNet:
    """Shapes without memory or arithmetic."""
    with torch.device("meta"):
        return UNet(**given)


def test_parameters_of_figure_1():
    # A convolution a -> b has 9ab + b.
    #   down: 1-64-64                640 +    36 928 =    37 568
    #         64-128-128          73 856 +   147 584 =   221 440
    #         128-256-256        295 168 +   590 080 =   885 248
    #         256-512-512      1 180 160 + 2 359 808 = 3 539 968
    #         512-1024-1024    4 719 616 + 9 438 208 = 14 157 824   sum 18 842 048
    #   up, 2x2, 4ab + b:      2 097 664 + 524 544 + 131 200 + 32 832 = 2 786 240
    #   beside the copies: 1024-512-512  4 719 104 + 2 359 808 = 7 078 912
    #         512-256-256      1 179 904 +   590 080 = 1 769 984
    #         256-128-128        295 040 +   147 584 =   442 624
    #         128-64-64           73 792 +    36 928 =   110 720   sum 9 402 240
    #   head 64-2, 1x1: 130
    # (31 031 685, often quoted, is a Keras copy with a further 3x3 convolution 64-2 and one channel out.)
    assert 18_842_048 + 2_786_240 + 9_402_240 + 130 == 31_030_658
    model = on_meta(channels=1, classes=2, padded=False)
    assert sum(p.numel() for p in model.parameters()) == 31_030_658


def test_sizes_of_figure_1():
    model = on_meta(channels=1, classes=2, padded=False)
    sizes = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(lambda _m, _i, out: sizes.append(out.shape[-1]))
    logits = model.valid_forward(torch.empty(1, 1, 572, 572, device="meta"))
    assert sizes == [570, 568, 282, 280, 138, 136, 66, 64, 30, 28, 56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388, 388]
    assert logits.shape == (1, 2, 388, 388)


def test_margins_from_depth():
    # One pair of convolutions takes 2 px from each border, two more at every depth, twice as wide each time:
    # depth 1: 2 + 2 * 2 + 2 = 8; depth 2: 2 + 2 * 8 + 2 = 20; 44; 92.
    assert [margin_px(d) for d in (1, 2, 3, 4)] == [8, 20, 44, 92]
    assert margin_px(4) == (572 - 388) // 2


def test_sizes_are_rounded_to_the_valid_grid():
    assert valid_px(388, 4) == 572
    assert valid_px(389, 4) == 588  # 404 px come out
    assert valid_px(373, 4) == 572
    assert valid_px(1, 4) == 188  # the smallest: 4 px come out


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_valid_sizes_go_through(depth):
    model = on_meta(channels=1, classes=2, padded=False, depth=depth, width=2)
    for wanted in range(1, 40):
        side = valid_px(wanted, depth)
        out = model.valid_forward(torch.empty(1, 1, side, side, device="meta")).shape[-1]
        assert wanted <= out < wanted + max(2**depth, 4)
        assert out == side - 2 * margin_px(depth)


def test_other_sizes_are_refused_by_the_raw_figure():
    with pytest.raises(InputError, match="side of 570 px does not go through 4 unpadded steps; the next that does has 572 px"):
        on_meta(channels=1, classes=2, padded=False).valid_forward(torch.empty(1, 1, 572, 570, device="meta"))
    with pytest.raises(InputError, match="build the model with padded=False"):
        on_meta(channels=1, classes=2).valid_forward(torch.empty(1, 1, 572, 572, device="meta"))


@torch.no_grad()
def test_overlap_tile_is_seamless():
    # The whole mirrored image at once, or tile by tile where the poolings fall on the same pixels (multiples of 4).
    model = UNet(2, 3, width=4, depth=2, padded=False).eval()
    image = torch.rand(1, 2, 33, 54)
    whole, bordered = model(image), model.with_margins(image)
    side = valid_px(12, 2)
    out_px = side - 2 * margin_px(2)
    assert (side, out_px) == (52, 12)
    for top in range(0, 33 - out_px, 4):
        for left in range(0, 54 - out_px, 12):
            tile = model.valid_forward(bordered[..., top : top + side, left : left + side])
            assert_close(tile, whole[..., top : top + out_px, left : left + out_px], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_margins_are_mirrored():
    model = UNet(1, 2, width=2, depth=1, padded=False)
    image = torch.rand(1, 1, 12, 14)
    # Margin 8; 12 px out of 12 + 16 = 28 fit the grid, 14 do too: (14 - 4) / 2 = 5 steps.
    assert_close(model.with_margins(image), F.pad(image, (8, 8, 8, 8), mode="reflect"), atol=0, rtol=0)
    assert model.with_margins(torch.full((1, 1, 1, 1), 7.0)).unique().tolist() == [7.0]


@pytest.mark.parametrize("hw", [(2, 5), (3, 9), (1, 4)])
def test_margins_wider_than_the_image_are_mirrored_again(hw):
    image = np.arange(hw[0] * hw[1], dtype=np.float32).reshape(hw)
    found = UNet(1, 2, width=2, depth=1, padded=False).with_margins(torch.from_numpy(image)[None, None])[0, 0].numpy()
    more = [(8, n - side - 8) for n, side in zip(found.shape, hw, strict=True)]
    assert (found == np.pad(image, more, mode="reflect")).all()


@torch.no_grad()
def test_unpadded_answer_does_not_see_the_border():
    # Away from the border by more than the margin, what lies beyond it is out of sight.
    model = UNet(1, 2, width=4, depth=1, padded=False).eval()
    image = torch.rand(1, 1, 40, 40)
    assert_close(model(image)[..., 8:28, 8:28], model(image[..., :36, :36])[..., 8:28, 8:28], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_padded_repeats_right_and_lower_border():
    model = UNet(1, 2, width=4, depth=2).eval()
    image = torch.rand(1, 1, 9, 14)
    rows, columns = [*range(9), 8, 8, 8], [*range(14), 13, 13]
    assert_close(model(image), model(image[:, :, rows][:, :, :, columns])[..., :9, :14], atol=0, rtol=0)


def test_single_small_image_trains_with_batch_norm():
    model = UNet(1, 2, width=4, depth=4)
    assert model(torch.rand(1, 1, 16, 16)).isfinite().all()  # a deepest map of one pixel, were it not widened


def test_crop_is_central():
    x = torch.arange(5 * 8).reshape(1, 1, 5, 8)
    assert crop_to(x, torch.empty(1, 1, 3, 4)).tolist() == [[[[10, 11, 12, 13], [18, 19, 20, 21], [26, 27, 28, 29]]]]
    assert crop_to(x, x).equal(x)


def test_weights_are_drawn_as_in_section_3():
    torch.manual_seed(0)
    conv, up = nn.Conv2d(64, 64, 3), nn.ConvTranspose2d(256, 64, 2, stride=2)
    he_init(conv)
    he_init(up)
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / 576), rel=0.02)  # N = 9 * 64, the paper's own example
    assert up.weight.std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.02)  # every pixel has one tap of 256 channels
    assert conv.bias.abs().max() == 0
    depthwise = nn.Conv2d(512, 512, 3, groups=512)
    he_init(depthwise)
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / 9), rel=0.05)  # N = 9 * 1: one channel a group


def test_norm_decides_biases():
    def biases(**given):
        return sum(isinstance(m, nn.Conv2d) and m.bias is not None for m in UNet(1, 2, width=4, depth=1, **given).modules())

    assert biases() == 1  # the head
    assert biases(norm="group") == 1
    assert biases(padded=False) == 2 * 2 + 2 + 1  # two pairs down, one up, the head


def test_max_width_caps_deep_nets():
    model = on_meta(channels=1, classes=2, width=32, depth=7, max_width=256)
    assert model.encoder.widths == (32, 64, 128, 256, 256, 256, 256, 256)
    assert model.expanding.widths == (256, 256, 256, 256, 128, 64, 32)


def test_identity_shortcut_adds_the_cropped_input():
    block = TwoConvs(3, 3, padded=False, norm="none", residual=True)
    for p in block.parameters():
        nn.init.zeros_(p)
    x = torch.randn(1, 3, 7, 8)
    assert_close(block(x), x[..., 2:-2, 2:-2].clamp(min=0), atol=0, rtol=0)
    assert isinstance(TwoConvs(3, 3, padded=True, norm="batch", residual=True).shortcut, nn.Identity)
    assert TwoConvs(3, 5, padded=True, norm="batch", residual=True).shortcut.weight.shape == (5, 3, 1, 1)


@torch.no_grad()
def test_convolving_before_interpolation_is_the_same():
    torch.manual_seed(0)
    stage = UNet(1, 2, width=4, depth=1, up="bilinear").expanding.stages[0].up
    x = torch.rand(1, 8, 5, 6)
    after = stage.conv(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))
    assert_close(stage(x), after, atol=1e-6, rtol=1e-5)


def test_dropout_acts_on_the_deepest_map_in_training_only():
    torch.manual_seed(0)
    model, image = UNet(1, 2, width=4, depth=2, norm="none", dropout=0.5), torch.rand(1, 1, 16, 16)
    assert not torch.equal(model(image), model(image))
    model.eval()
    assert torch.equal(model(image), model(image))


@pytest.mark.parametrize("given", [{}, {"residual": True, "up": "bilinear"}, {"padded": False}])
def test_maps_stay_channels_last_and_bf16(given):
    model = UNet(3, 2, width=8, depth=2, **given).to(memory_format=torch.channels_last)
    wrong = []

    def look(module, _inputs, out):
        if out.dtype != torch.bfloat16 or not out.is_contiguous(memory_format=torch.channels_last):
            wrong.append((type(module).__name__, out.dtype, out.stride()))

    for module in model.modules():
        if isinstance(module, TwoConvs | nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            module.register_forward_hook(look)
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.rand(2, 3, 32, 32))
    assert wrong == []


def test_parameters_of_attention_gates():
    # On maps of 128, 256 and 512 channels, i of them inside: 2x2 convolution 4ci, 1x1 from the 2c channels below 2ci + i, i + 1.
    gates = sum(4 * c * i + 2 * c * i + i + i + 1 for c, i in ((128, 64), (256, 128), (512, 256)))
    assert gates == 49_281 + 196_865 + 786_945
    plain, attentive = (on_meta(channels=1, classes=2, padded=False, attention=a) for a in (False, True))
    assert sum(p.numel() for p in attentive.parameters()) == 31_030_658 + gates
    assert [stage.gate is None for stage in attentive.expanding.stages] == [False, False, False, True]
    assert all(stage.gate is None for stage in plain.expanding.stages)


def test_attention_keeps_the_sizes_of_figure_1():
    model = on_meta(channels=1, classes=2, padded=False, attention=True)
    assert model.valid_forward(torch.empty(1, 1, 572, 572, device="meta")).shape == (1, 2, 388, 388)


@torch.no_grad()
def test_attention_gate_by_hand():
    gate = AttentionGate(2, 1)  # one channel inside
    nn.init.constant_(gate.of_skip.weight, 0.5)
    nn.init.constant_(gate.of_coarser.weight, 1.0)
    nn.init.constant_(gate.of_coarser.bias, -1.0)
    nn.init.constant_(gate.squeeze.weight, 2.0)
    nn.init.constant_(gate.squeeze.bias, -3.0)
    skip = torch.tensor([[1.0, 2], [3, 4]]).expand(1, 2, 2, 2)
    # 0.5 * 2 * (1 + 2 + 3 + 4) + g - 1 = 9 + g; after the ReLU: g = -9 gives 0 and sigmoid(-3); g = -7 gives 2 and sigmoid(1).
    for coarser, logit in ((-9.0, -3), (-20.0, -3), (-7.0, 1)):
        found = gate(skip, torch.full((1, 1, 1, 1), coarser))
        assert_close(found, skip / (1 + math.exp(-logit)), atol=1e-6, rtol=1e-5)


def test_untrained_gates_let_nearly_everything_through():
    torch.manual_seed(0)
    model = UNet(1, 2, width=8, depth=3, attention=True)
    assert [s.gate.squeeze.bias.item() for s in model.expanding.stages[:-1]] == [GATE_OPEN, GATE_OPEN]
    passed = []
    for stage in model.expanding.stages[:-1]:
        stage.gate.squeeze.register_forward_hook(lambda _m, _i, out: passed.append(out.sigmoid().mean().item()))
    model(torch.rand(2, 1, 32, 32))
    assert len(passed) == 2
    assert min(passed) > 0.7


def test_attention_without_a_map_to_gate():
    with pytest.raises(InputError, match="gates the copied maps below full size, and depth=1 has none; take 2 or more"):
        UNet(1, 2, width=4, depth=1, attention=True)

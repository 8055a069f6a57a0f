"""SegNet, SegNet-Basic and their Bayesian forms against the papers."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.models.segnet import SegNet, SegNetBasic, down_and_up


def on_meta(kind: type[nn.Module], **given) -> nn.Module:
    """Shapes without memory or arithmetic."""
    with torch.device("meta"):
        return kind(**{"channels": 3, "classes": 11, **given})


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_parameters_of_segnet():
    # VGG-16's convolutions, 9ab + b, without the first: 64-64, 64-128-128, 128-256-256-256, 256-512-512-512, 512-512-512-512
    inner = 9 * (64 * 64 + 64 * 128 + 128**2 + 128 * 256 + 2 * 256**2 + 256 * 512 + 2 * 512**2 + 3 * 512**2)
    assert inner == 14_708_736
    biases = 2 * 64 + 2 * 128 + 3 * 256 + 6 * 512
    assert biases == 4_224
    encoder = 9 * 3 * 64 + inner + biases + 2 * biases  # batch norm has two numbers a channel
    # The mirror has the same twelve inner convolutions and 64-11 with a bias at the end; the norms between see, stage by stage:
    normed = 3 * 512 + 2 * 512 + 256 + 2 * 256 + 128 + 128 + 64 + 64
    assert normed == 3_712
    decoder = inner + 2 * normed + 9 * 64 * 11 + 11
    assert (encoder, decoder, encoder + decoder) == (14_723_136, 14_722_507, 29_445_643)  # the paper's 29.45 M
    model = on_meta(SegNet)
    assert (count(model.encoder), count(model.decoder), count(model)) == (encoder, decoder, encoder + decoder)


def test_parameters_of_segnet_basic():
    # 7 x 7 convolutions without bias: 3-64 and seven times 64-64; eight norms; 1 x 1 convolution 64-11 with bias.
    # Table 1 says 1.425 M, and its other nets too are multiples of 0.025: ours is the nearest of them.
    assert 49 * (3 * 64 + 7 * 64 * 64) + 8 * 2 * 64 + 64 * 11 + 11 == 1_416_075
    assert count(on_meta(SegNetBasic)) == 1_416_075


def test_thirteen_convolutions_down_and_thirteen_up():
    model = on_meta(SegNet)
    for path in (model.encoder, model.decoder):
        assert sum(isinstance(m, nn.Conv2d) for m in path.modules()) == 13
    shapes = [(m.in_channels, m.out_channels) for stage in model.decoder for m in stage if isinstance(m, nn.Conv2d)]
    assert shapes[:6] == [(512, 512)] * 5 + [(512, 256)]
    assert shapes[6:] == [(256, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64), (64, 11)]


def test_where_relus_and_biases_are():
    def relus(path: nn.Module) -> int:
        return sum(isinstance(m, nn.ReLU) for m in path.modules())

    def biases(path: nn.Module) -> int:
        return sum(isinstance(m, nn.Conv2d) and m.bias is not None for m in path.modules())

    full, basic = on_meta(SegNet), on_meta(SegNetBasic)
    assert (relus(full.encoder), relus(full.decoder), relus(basic.encoder), relus(basic.decoder)) == (13, 12, 4, 0)
    assert (biases(full.encoder), biases(full.decoder), biases(basic)) == (13, 1, 1)


def test_encoder_takes_torchvisions_vgg16_bn():
    with torch.device("meta"):
        published = torchvision.models.vgg16_bn().features.state_dict()
    own = {key.removeprefix("features."): t.shape for key, t in on_meta(SegNet).encoder.state_dict().items()}
    assert own == {key: t.shape for key, t in published.items()}


def test_the_decoder_puts_values_where_the_encoder_took_them():
    x = torch.tensor([[1.0, 0, 0, 3], [0, 2, 4, 0], [0, 0, 0, 0], [5, 0, 0, 6]])[None, None]
    through_one = down_and_up(x, [[]], [nn.Identity()], nn.Identity(), 0)
    assert through_one[0, 0].tolist() == [[0, 0, 0, 0], [0, 2, 4, 0], [0, 0, 0, 0], [5, 0, 0, 6]]
    through_two = down_and_up(x, [[], []], [nn.Identity()] * 2, nn.Identity(), 0)
    assert through_two[0, 0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 6]]


@pytest.mark.parametrize(
    ("kind", "side", "dropped"),
    [
        # After poolings 3, 4 and 5 of 64 px, and after the decoder's stages 5, 4 and 3.
        (SegNet, 64, [8, 4, 2, 4, 8, 16]),
        # The central four: after poolings 3 and 4 of 32 px, and after the decoder's stages 4 and 3.
        (SegNetBasic, 32, [4, 2, 4, 8]),
    ],
)
def test_bayesian_segnet_drops_after_the_central_stages(kind, side, dropped):
    model, sides = on_meta(kind, dropout=0.5, width=4), []
    model.dropout.register_forward_hook(lambda _m, _i, out: sides.append(out.shape[-1]))
    model(torch.empty(2, 3, side, side, device="meta"))
    assert sides == dropped
    assert model.dropout.p == 0.5


@pytest.mark.parametrize(("kind", "filled_hw"), [(SegNet, (32, 64)), (SegNetBasic, (32, 48))])
@torch.no_grad()
def test_right_and_lower_border_are_repeated(kind, filled_hw):
    torch.manual_seed(0)
    model = kind(1, 2, width=4).eval()
    image = torch.rand(1, 1, 30, 45)
    rows, columns = ([min(i, side - 1) for i in range(filled)] for side, filled in zip((30, 45), filled_hw, strict=True))
    assert_close(model(image), model(image[:, :, rows][:, :, :, columns])[..., :30, :45], atol=0, rtol=0)


@pytest.mark.parametrize("kind", [SegNet, SegNetBasic])
@torch.no_grad()
def test_bf16_is_near_fp32(kind):
    # Not pixel by pixel: where two values of a window round to the same, another one is put back, at another place. These
    # images are noise, where that is common; a net is used in bf16 only after it has agreed on its validation images.
    torch.manual_seed(0)
    model = kind(3, 4, width=16)
    for _ in range(3):
        model(torch.rand(2, 3, 64, 96))
    image = torch.rand(2, 3, 64, 96)
    exact = model.eval()(image)
    with torch.autocast("cpu", torch.bfloat16):
        quick = model(image)
    assert quick.dtype == torch.bfloat16
    assert (quick.float() - exact).norm() < 0.3 * exact.norm()  # of another image it differs by more than exact.norm()


@pytest.mark.parametrize("kind", [SegNet, SegNetBasic])
def test_one_small_image_trains(kind):
    assert kind(1, 2, width=4)(torch.rand(1, 1, 8, 8)).isfinite().all()  # a deepest map of one pixel, were it not widened


@pytest.mark.parametrize("kind", [SegNet, SegNetBasic])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"width": 0}, "width=0 is not usable; expected a whole number of 1 or more"),
        ({"classes": 2.0}, r"classes=2\.0 is not usable"),
        ({"dropout": 1.0}, r"dropout=1\.0 is not usable; expected a share from 0 up to, but not, 1"),
    ],
)
def test_arguments_out_of_range(kind, given, message):
    with pytest.raises(InputError, match=message):
        on_meta(kind, **given)

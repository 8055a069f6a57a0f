"""DeepLabV3 and V3+: torchvision's weights give torchvision's logits; the image's mean and its norm; figure 2 of V3+."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models import segmentation

from maskwright.errors import InputError
from maskwright.models.context import ImagePooling, PooledNorm
from maskwright.models.deeplab import ASPP, DeepLabV3, DeepLabV3Plus, from_torchvision, rates_at
from maskwright.models.outputs import WithAuxiliary


def lived_in(model: nn.Module) -> nn.Module:
    """Batch norms that have seen something: a fresh one passes everything unchanged and would hide a wrong key."""
    torch.manual_seed(3)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_var, 0.5, 1.5)
            nn.init.uniform_(m.weight, 0.8, 1.2)
            for t in (m.running_mean, m.bias):
                nn.init.normal_(t, std=0.1)
        if isinstance(m, nn.Dropout):
            m.p = 0.0
    return model


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Module, nn.Module]:
    """torchvision's deeplabv3_resnet50 with random weights, and ours with the same."""
    torch.manual_seed(0)
    theirs = lived_in(segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True))
    ours = DeepLabV3(3, 21, dropout=0.0)
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    ours.auxiliary[3].p = 0.0
    return theirs, ours


@pytest.mark.parametrize("hw", [(64, 96), (61, 95), (33, 2), (1, 1)])
@torch.no_grad()
def test_torchvisions_logits(pair, hw):
    theirs, ours = (m.eval() for m in pair)
    image = torch.rand(2, 3, *hw)
    expected = theirs(image)["out"]
    assert expected.std() > (1 if min(hw) > 60 else 0.03)  # the smallest see hardly more than biases
    assert_close(ours(image), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_torchvisions_logits_of_both_heads_in_training(pair):
    theirs, ours = (m.train() for m in pair)
    image = torch.rand(4, 3, 61, 95)
    expected, found = theirs(image), ours(image)
    assert isinstance(found, WithAuxiliary)
    assert_close(found.logits, expected["out"], atol=1e-3, rtol=1e-3)
    assert_close(found.auxiliary[0], expected["aux"], atol=1e-4, rtol=1e-4)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameter_count(pair):
    # ResNet-50 23,508,032. Pyramid: 1x1 and mean 2 x (2048 x 256 + 512), rates 3 x (2048 x 256 x 9 + 512), 1x1 over all
    # 1280 x 256 + 512; behind it 256 x 256 x 9 + 512 and 256 x 21 + 21. Auxiliary head 2,365,205 as in FCN-ResNet.
    pyramid = 2 * 524_800 + 3 * 4_719_104 + 328_192
    assert count(pair[1].head[0]) == pyramid
    assert count(pair[1]) == 23_508_032 + pyramid + 590_336 + 5_397 + 2_365_205 == 42_004_074  # as torchvision states


def test_parameter_count_of_v3_plus():
    # Separable a to b: 9 a + 2 a (norm) + a b + 2 b (norm).
    def separable(a: int, b: int) -> int:
        return 11 * a + a * b + 2 * b

    pyramid = 2 * 524_800 + 3 * separable(2048, 256) + 328_192
    decoder = (256 * 48 + 96) + separable(304, 256) + separable(256, 256)
    assert count(DeepLabV3Plus(3, 21)) == 23_508_032 + pyramid + decoder + 5_397


def test_rates_are_the_same_in_pixels_of_the_image():
    assert [rates_at(s) for s in (8, 16, 32)] == [(12, 24, 36), (6, 12, 18), (3, 6, 9)]
    model = DeepLabV3(3, 4, encoder="test_resnet", width=8, output_stride=16)
    assert [conv[0].dilation for conv in model.head[0].convs[1:4]] == [(6, 6), (12, 12), (18, 18)]
    model = DeepLabV3Plus(3, 4, encoder="test_resnet", width=8, rates=[2, 3])
    assert [conv[0].dilation for conv in model.aspp.convs[1:3]] == [(2, 2), (3, 3)]
    assert model.aspp.project[0].in_channels == 4 * 8


@torch.no_grad()
def test_an_atrous_tap_reaches_as_far_as_its_rate():
    branch = ASPP(1, 1, [3], dropout=0.0).convs[1].eval()
    nn.init.ones_(branch[0].weight)
    x = torch.zeros(1, 1, 9, 11)
    x[0, 0, 4, 5] = 1.0
    rows, columns = branch(x)[0, 0].nonzero(as_tuple=True)
    assert sorted(set(rows.tolist())) == [1, 4, 7]
    assert sorted(set(columns.tolist())) == [2, 5, 8]


@torch.no_grad()
def test_the_mean_lies_over_the_whole_map():
    pooling = ImagePooling(2, 1).eval()
    nn.init.constant_(pooling[1].weight, 3.0)
    x = torch.rand(2, 2, 4, 5)
    expected = 3 * x.sum(dim=1).mean(dim=(1, 2)) / (1 + 1e-5) ** 0.5  # fresh statistics: mean 0, variance 1
    assert_close(pooling(x), expected.view(2, 1, 1, 1).expand(2, 1, 4, 5))


def test_one_value_a_channel_is_normed_by_the_running_statistics():
    norm, plain = PooledNorm(3), nn.BatchNorm2d(3)
    norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    norm.running_var.fill_(4.0)
    before = {k: t.clone() for k, t in norm.state_dict().items()}
    x = torch.tensor([3.0, 2.0, 1.0]).view(1, 3, 1, 1)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        plain(x)
    out = norm(x)
    assert_close(out.flatten(), torch.tensor([1.0, 0.0, -1.0]), atol=1e-5, rtol=0)  # (3 - 1) / 2, (2 - 2) / 2, (1 - 3) / 2
    out.sum().backward()
    assert norm.weight.grad.abs().sum() > 0
    assert all(torch.equal(t, before[k]) for k, t in norm.state_dict().items())


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (1, 3, 1, 2)])
def test_more_values_are_normed_as_by_batch_norm(shape):
    norm, plain, x = PooledNorm(3), nn.BatchNorm2d(3), torch.rand(*shape)
    assert torch.equal(norm(x), plain(x))
    assert torch.equal(norm.running_mean, plain.running_mean)
    assert list(norm.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("net", [DeepLabV3, DeepLabV3Plus])
@pytest.mark.parametrize("hw", [(1, 1), (16, 16), (40, 7)])
def test_one_small_image_trains(net, hw):
    output = net(3, 4, encoder="test_resnet", width=8)(torch.rand(1, 3, *hw))
    logits = output.logits if isinstance(output, WithAuxiliary) else output
    assert logits.shape == (1, 4, *hw)
    logits.sum().backward()


@pytest.mark.parametrize("encoder", ["test_efficientnet", "mobilenetv3_small_050", "tf_efficientnet_lite0"])
@torch.no_grad()
def test_mobile_encoders(encoder):
    model = DeepLabV3Plus(3, 4, encoder=encoder, width=16, low_width=8).eval()
    assert model.encoder.strides[-1] == 16
    assert model(torch.rand(1, 3, 45, 70)).shape == (1, 4, 45, 70)


@torch.no_grad()
def test_the_decoder_takes_in_the_map_at_stride_four():
    model = DeepLabV3Plus(3, 4, encoder="test_resnet", width=8, low_width=5).eval()
    assert model.encoder.strides[model.low] == 4
    assert model.decoder[0].in_channels == 8 + 5
    seen = []
    model.decoder.register_forward_pre_hook(lambda _m, given: seen.append(tuple(given[0].shape)))
    model(torch.rand(1, 3, 64, 96))
    assert seen == [(1, 13, 16, 24)]


@pytest.mark.parametrize(
    ("net", "given", "message"),
    [
        (DeepLabV3, {"rates": [6, 0]}, r"rates=\[6, 0\] is not usable; expected a list of whole numbers of 1 or more"),
        (DeepLabV3, {"rates": 6}, "rates=6 is not usable; expected a list of whole numbers of 1 or more"),
        (DeepLabV3, {"rates": []}, r"rates=\[\] is not usable; expected at least one"),
        (DeepLabV3Plus, {"rates": []}, r"rates=\[\] is not usable; expected at least one"),
        (DeepLabV3, {"auxiliary_width": 0}, "auxiliary_width=0 is not usable"),
        (DeepLabV3Plus, {"low_width": 0}, "low_width=0 is not usable"),
        (DeepLabV3Plus, {"dropout": -0.1}, "dropout=-0.1 is not usable; expected a share"),
    ],
)
def test_arguments_that_cannot_be(net, given, message):
    with pytest.raises(InputError, match=message):
        net(3, 4, encoder="test_resnet", width=8, **given)

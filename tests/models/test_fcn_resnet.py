"""FCN-ResNet: torchvision's weights give torchvision's logits; the auxiliary head is there in training only."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models import segmentation

from maskwright.errors import InputError
from maskwright.models.fcn_resnet import AUXILIARY_WEIGHT, FCNHead, FCNResNet, from_torchvision
from maskwright.models.outputs import WithAuxiliary


def lived_in(model: nn.Module) -> nn.Module:
    """Batch norms that have seen something: a fresh one passes everything unchanged and would hide a wrong key."""
    torch.manual_seed(3)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_var, 0.5, 1.5)
            nn.init.uniform_(m.weight, 0.7, 1.1)
            for t in (m.running_mean, m.bias):
                nn.init.normal_(t, std=0.1)
    return model


def without_dropout(model: nn.Module) -> nn.Module:
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.p = 0.0
    return model


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Module, nn.Module]:
    """torchvision's fcn_resnet50 with random weights, and ours with the same."""
    torch.manual_seed(0)
    theirs = lived_in(segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True))
    ours = FCNResNet(3, 21)
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    return without_dropout(theirs), without_dropout(ours)


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
    image = torch.rand(2, 3, 61, 95)
    expected, found = theirs(image), ours(image)
    assert isinstance(found, WithAuxiliary)
    assert found.weight == AUXILIARY_WEIGHT == 0.5
    assert_close(found.logits, expected["out"], atol=1e-4, rtol=1e-4)
    assert_close(found.auxiliary[0], expected["aux"], atol=1e-4, rtol=1e-4)


def test_parameter_count(pair):
    # torchvision's published fcn_resnet50 has 35,322,218 with its auxiliary head:
    # ResNet-50 without classifier 23,508,032; head 2048 x 512 x 9 + 1,024 + 512 x 21 + 21; auxiliary 1024 x 256 x 9 + 512 + 256 x 21 + 21
    assert sum(p.numel() for p in pair[1].parameters()) == 23_508_032 + 9_448_981 + 2_365_205 == 35_322_218


def test_only_names_change(pair):
    given = pair[0].state_dict()
    found = from_torchvision(given)
    assert [t.data_ptr() for t in found.values()] == [t.data_ptr() for t in given.values()]
    assert {"encoder.net.layer4.2.bn3.bias", "head.4.weight", "auxiliary.4.bias"} <= set(found)


def test_weights_without_the_auxiliary_head():
    torch.manual_seed(0)
    theirs = segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=5, aux_loss=False)
    ours = FCNResNet(3, 5, auxiliary=False)
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    assert type(ours(torch.rand(2, 3, 16, 24))) is torch.Tensor  # in training as well


def test_a_head_has_a_quarter_of_its_maps_channels():
    assert FCNHead(96, 4)[0].out_channels == 24
    assert FCNHead(2, 4)[0].out_channels == 1
    assert FCNHead(96, 4, width=7)[0].out_channels == 7


@pytest.mark.parametrize("hw", [(1, 1), (8, 8), (9, 3)])
def test_one_small_image_trains(hw):
    output = FCNResNet(3, 4, encoder="test_resnet", width=8)(torch.rand(1, 3, *hw))
    assert output.logits.shape == output.auxiliary[0].shape == (1, 4, *hw)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"width": 0}, "width=0 is not usable; expected a whole number of 1 or more"),
        ({"dropout": 1.0}, "dropout=1.0 is not usable; expected a share from 0 up to, but not, 1"),
        ({"output_stride": 4}, "output_stride=4 is not usable; expected one of 32, 16, 8"),
        ({"encoder": "resnet43"}, "no encoder named 'resnet43'"),
    ],
)
def test_arguments_that_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        FCNResNet(3, 4, **{"encoder": "test_resnet", **given})

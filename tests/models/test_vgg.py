"""VGG-16 against table 1 of its paper and against torchvision's, weight by weight and logit by logit."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close
from torchvision.models import vgg as published

from maskwright.errors import InputError
from maskwright.models.vgg import VGG16, VGG16Encoder, through, vgg_encoder_weights

NARROW = [4, 4, "M", 8, 8, "M", 16, 16, 16, "M", 32, 32, 32, "M", 32, 32, 32, "M"]  # column D at width 4


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def narrow_published(batch_norm: bool) -> nn.Module:
    """torchvision's own code with a sixteenth of the channels, weights and statistics at random."""
    model = published.VGG(published.make_layers(NARROW, batch_norm), init_weights=False)
    model.classifier = nn.Sequential(
        nn.Linear(32 * 49, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 10)
    )
    return with_random_statistics(model).eval()


def with_random_statistics(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    return model


def test_parameters_of_configuration_d():
    # A convolution a -> b has 9ab + b.
    #   3-64-64            1 792 +    36 928 =    38 720
    #   64-128-128        73 856 +   147 584 =   221 440
    #   128-256-256-256  295 168 + 2 x   590 080 = 1 475 328
    #   256-512-512-512 1 180 160 + 2 x 2 359 808 = 5 899 776
    #   512-512-512-512             3 x 2 359 808 = 7 079 424      sum 14 714 688
    #   fully connected: 512 x 49 x 4096 + 4096 = 102 764 544, 4096^2 + 4096 = 16 781 312, 4096 x 1000 + 1000 = 4 097 000
    assert 14_714_688 + 102_764_544 + 16_781_312 + 4_097_000 == 138_357_544
    with torch.device("meta"):
        assert parameters(VGG16()) == 138_357_544
        assert parameters(VGG16Encoder(3)) == 14_714_688
        # Scale and shift of each of the 2(64 + 128) + 3(256 + 512 + 512) = 4224 channels of convolutions.
        assert parameters(VGG16(batch_norm=True)) == 138_357_544 + 2 * 4224


@pytest.mark.parametrize("batch_norm", [False, True])
def test_keys_and_shapes_are_torchvisions(batch_norm):
    with torch.device("meta"):
        theirs = (published.vgg16_bn if batch_norm else published.vgg16)(init_weights=False).state_dict()
        ours = VGG16(batch_norm=batch_norm).state_dict()
    assert {key: t.shape for key, t in ours.items()} == {key: t.shape for key, t in theirs.items()}


@pytest.mark.parametrize("name", ["vgg16", pytest.param("vgg16_bn", marks=pytest.mark.slow)])
@torch.no_grad()
def test_the_whole_classifier_gives_torchvisions_logits(name):
    torch.manual_seed(0)
    theirs = with_random_statistics(getattr(published, name)(init_weights=False)).eval()
    with torch.device("meta"):
        ours = VGG16(batch_norm=name == "vgg16_bn")
    ours.load_state_dict(theirs.state_dict(), assign=True)
    image = torch.randn(1, 3, 64, 96)
    expected = theirs(image)
    assert expected.std() > 1e-3
    assert_close(ours.eval()(image), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("hw", [(224, 224), (45, 70), (32, 300)])
@torch.no_grad()
def test_any_size_gives_torchvisions_logits(batch_norm, hw):
    torch.manual_seed(0)
    theirs = narrow_published(batch_norm)
    ours = VGG16(3, 10, batch_norm=batch_norm, width=4, fc_width=24)
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(2, 3, *hw)
    assert_close(ours.eval()(image), theirs(image), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_side_below_32_px_is_filled_up():
    torch.manual_seed(0)
    model = VGG16(1, 3, width=4, fc_width=8).eval()
    image = torch.rand(1, 1, 5, 40)
    filled = image[:, :, [*range(5), *[4] * 27]]
    assert_close(model(image), model(filled), atol=0, rtol=0)
    with pytest.raises(InputError, match=r"takes \(B, 1, H, W\), found \(1, 3, 40, 40\)"):
        model(torch.rand(1, 3, 40, 40))


@pytest.mark.parametrize("batch_norm", [False, True])
@torch.no_grad()
def test_encoder_maps_are_those_in_front_of_each_pooling(batch_norm):
    torch.manual_seed(0)
    theirs = narrow_published(batch_norm)
    expected, x = [], torch.randn(2, 3, 35, 64)
    image = x
    for layer in theirs.features:
        if isinstance(layer, nn.MaxPool2d):
            expected.append(x)
        x = layer(x)
    encoder = VGG16Encoder(3, batch_norm=batch_norm, width=4).eval()
    encoder.load_state_dict(vgg_encoder_weights(theirs.state_dict()))
    maps = encoder(image)
    assert [tuple(m.shape) for m in maps] == [(2, 4, 35, 64), (2, 8, 17, 32), (2, 16, 8, 16), (2, 32, 4, 8), (2, 32, 2, 4)]
    assert encoder.widths == tuple(m.shape[1] for m in maps)
    assert_close(maps, expected, atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_pooling_keeps_the_places_of_the_maxima():
    torch.manual_seed(0)
    encoder = VGG16Encoder(3, width=4).eval()
    image = torch.randn(2, 3, 64, 99)
    pooled, maps = encoder.pooled(image), encoder(image)
    assert pooled.sizes == [(64, 99), (32, 49), (16, 24), (8, 12), (4, 6)]
    for before, after, places in zip(maps, pooled.maps, pooled.indices, strict=True):
        assert_close(after, F.max_pool2d(before, 2), atol=0, rtol=0)
        assert_close(before.flatten(2).gather(2, places.flatten(2)), after.flatten(2), atol=0, rtol=0)
    # Row and column of the first maximum lie in the first 2x2 cell of a plane that is 99 px wide.
    row, column = divmod(int(pooled.indices[0][0, 0, 0, 0]), 99)
    assert row in (0, 1)
    assert column in (0, 1)


@torch.no_grad()
def test_stages_are_the_layers_between_the_poolings_as_they_are_now():
    encoder = VGG16Encoder(3, batch_norm=True, width=4).eval()
    assert [sum(isinstance(m, nn.Conv2d) for m in stage) for stage in encoder.stages] == [2, 2, 3, 3, 3]
    x = torch.randn(1, 3, 32, 32)
    maps = encoder(x)
    for stage, expected in zip(encoder.stages, maps, strict=True):
        x = through(stage, x)
        assert_close(x, expected, atol=0, rtol=0)
        x = F.max_pool2d(x, 2)
    # Several processes swap the norms after the net was built; a list kept from the start would still hold the old ones.
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(encoder)
    assert isinstance(synchronised.stages[4][-2], nn.SyncBatchNorm)


@torch.no_grad()
def test_weights_for_colour_see_grey_as_the_sum_of_three():
    torch.manual_seed(0)
    colour, grey = VGG16Encoder(3, width=4), VGG16Encoder(1, width=4)
    grey.load_state_dict(vgg_encoder_weights(colour.state_dict(), channels=1))
    image = torch.rand(1, 1, 32, 32)
    assert_close(grey(image)[-1], colour(image.expand(-1, 3, -1, -1))[-1], atol=1e-5, rtol=1e-5)


def test_classifier_layers_are_left_out_of_the_encoder():
    state = VGG16(3, 5, width=4, fc_width=8).state_dict()
    assert len(state) == 13 * 2 + 3 * 2
    assert set(vgg_encoder_weights(state)) == {key for key in state if not key.startswith("classifier.")}


@pytest.mark.parametrize("given", [{"width": 0}, {"fc_width": 2.5}, {"classes": True}, {"channels": -1}])
def test_numbers_that_are_none_are_refused(given):
    name, value = next(iter(given.items()))
    with pytest.raises(InputError, match=rf"{name}={value!r} is not usable; expected a whole number of 1 or more"):
        VGG16(**({"channels": 3, "classes": 2} | given))

"""models.build: names, arguments and what it says about wrong ones."""

from __future__ import annotations

import pytest

from maskwright import models
from maskwright.errors import InputError


def test_build_passes_numbers_on():
    model = models.build("unet", channels=2, classes=5, width=4, depth=1)
    assert (model.channels, model.head.out_channels, len(model.encoder.widths)) == (2, 5, 2)


def test_unknown_model_shows_near_names():
    with pytest.raises(InputError, match=r"no model named 'u-net'; did you mean unet\b"):
        models.build("u-net", channels=1, classes=2)
    with pytest.raises(InputError, match=r"did you mean one of: .*unet"):
        models.build("zzz", channels=1, classes=2)


def test_unknown_argument_shows_near_names():
    with pytest.raises(InputError, match=r"'unet' takes no argument 'widht'; did you mean width\b"):
        models.build("unet", channels=1, classes=2, widht=8)


def test_arguments_are_the_models_own():
    assert models.MODELS["unet"].arguments == (
        "width", "depth", "padded", "norm", "residual", "up", "max_width", "dropout", "encoder", "decoder", "attention", "head_px"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"width": 0}, "width=0 is not usable; expected a whole number of 1 or more"),
        ({"depth": "4"}, "depth='4' is not usable"),
        ({"max_width": True}, "max_width=True is not usable"),
        ({"norm": "instance"}, "norm='instance' is not known; expected one of batch, group, none"),
        ({"up": "cubic"}, "up='cubic' is not known; expected one of transpose, bilinear, nearest"),
        ({"head_px": 2}, "head_px=2 is not usable; expected an odd number"),
        ({"head_px": 3, "padded": False}, "head_px=3 is not usable; .* and 1 where padded=False"),
        ({"dropout": 1.0}, "dropout=1.0 is not usable"),
        ({"padded": "nein"}, "padded='nein' is not usable; expected true or false"),
        ({"encoder": 7}, "encoder=7 is not usable; expected the name of a timm model, as resnet34"),
        ({"decoder": [True, 8, 8, 8]}, r"decoder=\[True, 8, 8, 8\] is not usable; expected a list of whole numbers of 1 or more"),
        ({"decoder": 8}, "decoder=8 is not usable; expected a list"),
        ({"depth": 2, "decoder": [8]}, r"decoder=\[8\] does not fit; this encoder needs 2 numbers"),
        ({"encoder": "test_resnet", "width": 32}, "encoder='test_resnet' replaces; leave them out"),
        ({"encoder": "test_resnet", "padded": False}, "encoder='test_resnet' replaces; leave them out"),
        ({"encoder": "test_resnet", "decoder": [8, 8]}, "this encoder needs 5 numbers of channels"),
    ],
)
def test_impossible_arguments_are_named(given, message):
    with pytest.raises(InputError, match=message):
        models.build("unet", channels=1, classes=2, **given)


def test_no_class_is_refused():
    with pytest.raises(InputError, match="classes=0 is not usable"):
        models.build("unet", channels=1, classes=0)

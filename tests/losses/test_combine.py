"""The sum of losses by name."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from maskwright import losses
from maskwright.errors import InputError


@pytest.fixture
def batch():
    torch.manual_seed(0)
    target = torch.randint(0, 3, (2, 5, 6))
    target[0, :2] = 255
    return torch.randn(2, 3, 5, 6, requires_grad=True), target


def test_it_is_the_sum_of_its_terms(batch):
    weights = torch.tensor([1.0, 2.0, 0.5])
    loss = losses.combine({"cross_entropy": 0.5, "dice": 2.0}, weights=weights)
    expected = 0.5 * losses.cross_entropy(*batch, weights=weights) + 2.0 * losses.dice(*batch)
    assert_close(loss(*batch), expected)
    assert_close(torch.autograd.grad(loss(*batch), batch[0]), torch.autograd.grad(expected, batch[0]))


def test_parts_are_named_and_not_yet_multiplied(batch):
    parts = losses.combine({"dice": 3.0, "cross_entropy": 0.1}).parts(*batch)
    assert list(parts) == ["dice", "cross_entropy"]
    assert_close(parts["dice"], losses.dice(*batch))


def test_settings_reach_their_loss(batch):
    loss = losses.combine({"dice": 1.0}, settings={"dice": {"per": "image", "classes": "all", "smooth": 0.0}})
    assert_close(loss(*batch), losses.dice(*batch, per="image", classes="all", smooth=0.0))


def test_ignore_index_reaches_every_loss(batch):
    logits, target = batch
    loss = losses.combine({"cross_entropy": 1.0, "dice": 1.0}, ignore_index=77)
    assert_close(loss(logits, target.masked_fill(target == 255, 77)), losses.cross_entropy(*batch) + losses.dice(*batch))


def test_weights_move_with_the_module_and_are_not_saved():
    loss = losses.combine({"cross_entropy": 1.0}, weights=torch.ones(3))
    assert loss.double().weights.dtype == torch.float64
    assert loss.state_dict() == {}


@pytest.mark.parametrize(
    ("terms", "settings", "message"),
    [
        ({"crossentropy": 1.0}, None, r"no loss named 'crossentropy'; did you mean cross_entropy\?"),
        ({"focus": 1.0}, None, r"no loss named 'focus'; did you mean focal\?"),
        ({"xyz": 1.0}, None, r"no loss named 'xyz'; did you mean one of: cross_entropy, focal, .*, cldice\?"),
        ({}, None, "a loss is a sum of terms with positive factors"),
        ({"dice": 0.0}, None, r"positive factors, .* found \{'dice': 0.0\}"),
        ({"dice": float("nan")}, None, "positive factors"),
        ({"dice": 1.0}, {"dice": {"smoth": 1}}, r"'dice' takes no setting 'smoth'; did you mean smooth\?"),
        ({"dice": 1.0}, {"dcie": {}}, r"no loss named 'dcie'; did you mean dice, cldice\?"),
        ({"cross_entropy": 1.0}, {"cross_entropy": {"weights": 1}}, "'cross_entropy' takes no setting 'weights'"),
        ({"boundary": 1.0}, {"boundary": {"px": 1}}, "loss 'boundary' takes no settings, found 'px'"),
    ],
)
def test_unknown_names_and_factors_are_refused(terms, settings, message):
    with pytest.raises(InputError, match=message):
        losses.combine(terms, settings=settings)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("cross_entropy", {"label_smoothing": 2}, "cross_entropy takes label_smoothing of 0 or more and at most 1, found 2"),
        ("focal", {"gamma": -1}, "focal takes gamma of 0 or more, found -1"),
        ("ohem", {"threshold": 0}, "ohem takes threshold above 0"),
        ("dice", {"per": "pixel"}, "dice takes per='batch' or 'image', found 'pixel'"),
        ("jaccard", {"smooth": -1}, "jaccard takes smooth of 0 px or more, found -1"),
        ("tversky", {"beta": -1}, "tversky takes beta of 0 or more, found -1"),
        ("lovasz", {"classes": "some"}, "lovasz takes classes='present' or 'all', found 'some'"),
        ("cldice", {"iterations": 1.5}, "cldice takes a whole number of iterations"),
    ],
)
def test_wrong_values_of_settings_are_refused_at_once(name, settings, message):
    with pytest.raises(InputError, match=message):
        losses.combine({name: 1.0}, settings={name: settings})


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "ohem"])
def test_class_weights_reach_the_losses_that_take_them(batch, name):
    weights = torch.tensor([1.0, 2.0, 0.5])
    assert_close(losses.combine({name: 1.0}, weights=weights)(*batch), getattr(losses, name)(*batch, weights=weights))

"""What every loss must do, in every form that it has: walked over the registry, not listed by hand."""

from __future__ import annotations

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from maskwright import losses
from maskwright.losses import LOSSES

GROUPED = [{}, {"per": "image"}, {"classes": "all"}, {"per": "image", "classes": "all"}]
OVERLAP = [*GROUPED, {"smooth": 0.0}]
# A loss without a row here fails test_every_loss_has_a_form.
FORMS_OF = {
    "cross_entropy": [{}, {"label_smoothing": 0.1}],
    "focal": [{}, {"gamma": 0.5}, {"gamma": 0}],
    "ohem": [{}, {"threshold": 1.0}, {"threshold": 0.05, "min_share": 0.5}],
    "dice": OVERLAP,
    "jaccard": OVERLAP,
    "tversky": [*OVERLAP, {"alpha": 0.9, "beta": 0}, {"gamma": 4 / 3, "per": "image"}],
    "lovasz": GROUPED,
    "boundary": [{}],
    "cldice": [*OVERLAP, {"iterations": 0}, {"channels": [0, 2], "iterations": 1}],
}
FORMS = [(name, form) for name, forms in FORMS_OF.items() for form in forms]


def over(forms: list[tuple[str, dict]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "form"), forms, ids=[f"{n} {f}".removesuffix(" {}") for n, f in forms])


over_forms = over(FORMS)


def loss_of(name: str, form: dict, logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    return losses.combine({name: 1.0}, settings={name: form}, ignore_index=ignore_index)(logits, target)


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def target():
    """Every class in the first image, no class 2 in the second, some pixels of both ignored."""
    torch.manual_seed(1)
    target = torch.stack([torch.randint(0, 3, (4, 5)), torch.randint(0, 2, (4, 5))])
    target[0, 0, 1:] = target[1, :, 2] = 255
    return target


def test_every_loss_has_a_form():
    assert set(FORMS_OF) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_formula_check_and_public_function_have_the_same_settings(name):
    def settings(function, *apart):
        parameters = inspect.signature(function).parameters.values()
        return {p.name: p.default for p in parameters if p.name not in apart}

    of, check = LOSSES[name]
    expected = settings(of, "pixels", "weights")
    assert settings(getattr(losses, name), "logits", "target", "ignore_index", "weights") == expected
    assert (settings(check) if check else {}) == expected


@over_forms
def test_the_public_function_is_the_row(name, form, logits, target):
    assert_close(getattr(losses, name)(logits, target, **form), loss_of(name, form, logits, target))


@over_forms
def test_one_finite_number_and_a_finite_gradient(name, form, logits, target):
    loss = loss_of(name, form, logits, target)
    loss.backward()
    assert loss.shape == ()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


# OHEM leaves out the easy pixels and clDice all that lies off the centre lines.
@over([(name, form) for name, form in FORMS if name not in ("ohem", "cldice") or form == {"threshold": 1.0}])
def test_every_counted_pixel_learns(name, form, logits, target):
    loss_of(name, form, logits, target).backward()
    assert ((logits.grad != 0).any(dim=1) == (target != 255)).all()


@over_forms
def test_the_gradient_is_that_of_the_loss(name, form, logits, target):
    assert torch.autograd.gradcheck(lambda x: loss_of(name, form, x, target), logits)


@over_forms
def test_ignored_pixels_do_not_matter(name, form, logits, target):
    ignored = (target == 255).unsqueeze(1).expand_as(logits)
    expected = loss_of(name, form, logits, target)
    (gradient,) = torch.autograd.grad(expected, logits)
    assert (gradient[ignored] == 0).all()
    assert gradient.abs().max() > 0
    assert_close(loss_of(name, form, torch.where(ignored, 9 * torch.randn_like(logits), logits), target), expected)
    assert_close(loss_of(name, form, logits, target.masked_fill(target == 255, -100), ignore_index=-100), expected)


@over_forms
def test_nothing_counted_is_zero_with_a_gradient_of_zero(name, form, logits, target):
    loss = loss_of(name, form, logits, torch.full_like(target, 255))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@over_forms
def test_an_image_with_nothing_counted_changes_nothing(name, form, logits, target):
    more = torch.cat([logits, torch.randn_like(logits[:1])]), torch.cat([target, torch.full_like(target[:1], 255)])
    assert_close(loss_of(name, form, *more), loss_of(name, form, logits, target))


@over_forms
def test_the_order_of_images_does_not_matter(name, form, logits, target):
    assert_close(loss_of(name, form, logits.flip(0), target.flip(0)), loss_of(name, form, logits, target))


@over_forms
def test_mirrored_images_have_the_same_loss(name, form, logits, target):
    assert_close(loss_of(name, form, logits.flip(3), target.flip(2)), loss_of(name, form, logits, target))


# Smoothed labels ask for less than certainty.
@over([(name, form) for name, form in FORMS if "label_smoothing" not in form])
def test_the_truth_is_the_minimum(name, form, target):
    truth = F.one_hot(target.masked_fill(target == 255, 0), 3).permute(0, 3, 1, 2).double()
    best = loss_of(name, form, 500 * truth, target)
    if name == "boundary":
        assert best < 0
    else:
        assert best.item() == pytest.approx(0, abs=1e-9)
    for _ in range(5):
        assert loss_of(name, form, 3 * torch.randn_like(truth), target) > best + 1e-3


@over_forms
def test_half_precision_is_computed_in_full(name, form, target):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 5).bfloat16().contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):  # as in a training loop that forgot to leave it
        found = loss_of(name, form, logits, target)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(loss_of(name, form, logits.double(), target).item(), rel=1e-5)


@over_forms
@pytest.mark.parametrize("size", [(1, 2, 1, 1), (2, 1, 2, 3), (1, 3, 1, 7), (3, 2, 6, 1)])
def test_any_size_and_number_of_classes(name, form, size):
    torch.manual_seed(0)
    logits, target = torch.randn(size, requires_grad=True), torch.randint(0, min(2, size[1]), (size[0], *size[2:]))
    if max(form.get("channels", [0])) >= size[1]:
        return
    loss = loss_of(name, form, logits, target)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@over_forms
def test_nothing_given_is_changed(name, form, logits, target):
    before = logits.detach().clone(), target.clone()
    loss_of(name, form, logits, target).backward()
    assert torch.equal(logits.detach(), before[0])
    assert torch.equal(target, before[1])

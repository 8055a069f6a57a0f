"""What every model of the registry must do, in every form that it has: walked, not listed by hand."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from maskwright import models
from maskwright.errors import InputError

# Small forms of each model; a model without a row here fails test_every_model_has_a_small_form.
SMALL = {
    "unet": [
        {"width": 4, "depth": 2},
        {"width": 4, "depth": 2, "padded": False},
        {"width": 4, "depth": 3, "max_width": 8, "residual": True, "up": "bilinear", "norm": "group"},
        {"width": 4, "depth": 1, "padded": False, "residual": True, "up": "bilinear"},
        {"encoder": "test_resnet", "decoder": [16, 12, 8, 8, 4], "dropout": 0.1},
        {"encoder": "test_convnext", "decoder": [16, 12, 8, 8, 4], "residual": True},
        {"encoder": "test_mambaout", "decoder": [16, 12, 8, 8, 4], "up": "bilinear"},
    ]
}
FORMS = [(name, form) for name, forms in SMALL.items() for form in forms]
over_forms = pytest.mark.parametrize(("name", "form"), FORMS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(FORMS)])


def small(name: str, form: dict, channels: int = 3, classes: int = 4) -> torch.nn.Module:
    torch.manual_seed(0)
    return models.build(name, channels=channels, classes=classes, **form)


def test_every_model_has_a_small_form():
    assert set(SMALL) == set(models.MODELS) == set(models.semantic_models())


@over_forms
@pytest.mark.parametrize("hw", [(1, 1), (1, 37), (33, 2), (61, 95), (64, 96)])
@torch.no_grad()
def test_logits_have_the_size_of_the_image(name, form, hw):
    for mode in (True, False):
        assert small(name, form).train(mode)(torch.rand(1, 3, *hw)).shape == (1, 4, *hw)


@over_forms
@pytest.mark.parametrize("channels", [1, 3, 5])
@torch.no_grad()
def test_any_number_of_channels(name, form, channels):
    model = small(name, form, channels=channels).eval()
    assert model(torch.rand(2, channels, 20, 30)).isfinite().all()
    with pytest.raises(InputError, match=rf"takes \(B, {channels}, H, W\), found \(2, 2, 20, 30\)"):
        model(torch.rand(2, 2, 20, 30))


@over_forms
def test_every_weight_learns(name, form):
    model = small(name, form)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(
                0.05 * torch.randn_like(p)
            )  # timm starts the last norm of each residual block at 0, which learns one step later
    logits = model(torch.rand(2, 3, 64, 96))
    # Not the mean: batch norm would hide a weight that only shifts it.
    (logits * torch.randn_like(logits)).sum().backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []


@over_forms
@torch.no_grad()
def test_a_batch_is_its_images_one_by_one(name, form):
    model = small(name, form)
    for _ in range(3):
        model(torch.rand(2, 3, 40, 56))  # gives batch norm something to hold
    model.eval()
    images = torch.rand(3, 3, 40, 56)
    together = model(images)
    assert_close(together, torch.cat([model(i[None]) for i in images]), atol=1e-5, rtol=1e-5)
    # The comparison means something only if the answer depends on the image.
    assert (together[0] - together[1]).abs().max() > 1e-2


@over_forms
@torch.no_grad()
def test_saved_and_loaded_is_the_same_model(name, form, tmp_path):
    model, image = small(name, form), torch.rand(1, 3, 33, 47)
    model(torch.rand(2, 3, 64, 64))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    torch.manual_seed(1)
    other = models.build(name, channels=3, classes=4, **form)
    assert not torch.equal(other.eval()(image), model.eval()(image))
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert_close(other(image), model(image), atol=0, rtol=0)


@over_forms
@torch.no_grad()
def test_the_image_is_not_changed(name, form):
    image = torch.rand(2, 3, 30, 41)
    before = image.clone()
    small(name, form)(image)
    assert torch.equal(image, before)


@over_forms
@torch.no_grad()
def test_the_same_seed_gives_the_same_weights(name, form):
    first, second = small(name, form).state_dict(), small(name, form).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@over_forms
@torch.no_grad()
def test_bf16_channels_last_agrees_with_fp32(name, form):
    model, image = small(name, form).eval(), torch.rand(2, 3, 40, 56)
    exact = model(image)
    model = model.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        quick = model(image.contiguous(memory_format=torch.channels_last)).float()
    # bf16 keeps 8 bits: relative steps of 0.4 %, a few of them through some twenty layers.
    assert (quick - exact).abs().max() < 0.05 * exact.abs().max()

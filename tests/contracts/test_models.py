"""What every model of the registry must do, in every form that it has: walked, not listed by hand."""

from __future__ import annotations

import inspect

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from maskwright import models
from maskwright.errors import InputError
from maskwright.models import segnet
from maskwright.models.outputs import Output, Queries, WithAuxiliary
from maskwright.models.unpooling import max_pool_with_positions

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
        {"width": 4, "depth": 3, "attention": True},
        {"width": 4, "depth": 2, "padded": False, "attention": True},
        {"encoder": "test_resnet", "decoder": [16, 12, 8, 8, 4], "attention": True},
        {"encoder": "test_resnet", "decoder": [16, 12, 8, 8, 4], "up": "nearest", "head_px": 3},
        {"width": 4, "depth": 2, "padded": False, "up": "nearest"},
    ],
    "unetpp": [
        {"width": 4, "depth": 3},
        {"width": 4, "depth": 2, "norm": "group", "up": "bilinear", "deep_supervision": True},
        {"width": 4, "depth": 2, "up": "nearest"},
        {"encoder": "test_resnet", "decoder": [12, 8, 8, 4], "deep_supervision": True},
    ],
    "fcn32s": [
        {"width": 4, "fc_width": 16},
        {"width": 4, "fc_width": 16, "learn_last": False, "pad_image": True},
    ],
    "fcn16s": [{"width": 4, "fc_width": 16, "batch_norm": True}],
    "fcn8s": [
        {"width": 4, "fc_width": 16},
        {"width": 4, "fc_width": 16, "batch_norm": True, "at_once": True, "pad_image": True},
    ],
    "fcn_googlenet": [{"width": 8}, {"width": 8, "stride": 8, "five_by_five": True}],
    "segnet": [{"width": 4}, {"width": 4, "dropout": 0.5}],
    "segnet_basic": [{"width": 4}],
    "bisenetv2": [
        {"width_multiplier": 0.125, "head_width": 16, "booster_width": 8},
        {"width_multiplier": 0.125, "depth_multiplier": 2, "head_width": 16, "boosters": False},
    ],
    "fcn_resnet": [
        {"encoder": "test_resnet", "width": 8},
        {"encoder": "test_efficientnet", "output_stride": 16, "width": 8, "auxiliary": False},
    ],
    "deeplabv3": [
        {"encoder": "test_resnet", "width": 8, "auxiliary_width": 8},
        {"encoder": "test_convnext", "output_stride": 16, "width": 8, "auxiliary": False, "dropout": 0.0},
    ],
    "deeplabv3plus": [
        {"encoder": "test_resnet", "width": 8, "low_width": 4},
        {"encoder": "test_efficientnet", "output_stride": 32, "width": 8, "low_width": 4, "rates": [2, 3]},
    ],
    "fpn": [
        {"encoder": "test_resnet", "width": 8},
        {"encoder": "test_convnext", "width": 8, "norm": "batch", "pyramid_pooling": True, "dropout": 0.1},
    ],
    "upernet": [{"encoder": "test_resnet", "width": 8}, {"encoder": "test_mambaout", "width": 8}],
    "eomt": [
        {"encoder": "test_vit", "queries": 7, "query_blocks": 2},
        {"encoder": "test_vit3", "queries": 5, "query_blocks": 1},
    ],
}
FORMS = [(name, form) for name, forms in SMALL.items() for form in forms]
over_forms = pytest.mark.parametrize(("name", "form"), FORMS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(FORMS)])


def small(name: str, form: dict, channels: int = 3, classes: int = 4) -> torch.nn.Module:
    torch.manual_seed(0)
    return models.build(name, channels=channels, classes=classes, **form)


def tensors(output: Output) -> list[torch.Tensor]:
    """Everything that a loss may look at, logits first."""
    if isinstance(output, WithAuxiliary):
        return [output.logits, *output.auxiliary]
    if isinstance(output, Queries):
        return [output.semantic(), output.masks, output.classes, *(t for pair in output.earlier for t in pair)]
    return [output]


def in_the_places_of_the_first_pass():
    """SegNet's pooling for a pass in fp32 and one in bf16 after it: the second takes its values where the first found maxima."""
    places: list[torch.Tensor] = []

    def pool(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if x.dtype == torch.float32:
            places.append(max_pool_with_positions(x)[1])
            return max_pool_with_positions(x)
        positions = places.pop(0)
        return x.flatten(2).gather(2, positions.flatten(2)).view_as(positions), positions

    return pool


def test_every_model_has_a_small_form():
    assert set(SMALL) == set(models.semantic_models())
    # Networks of objects give no logits; what they must do is tested in tests/models/mask_rcnn.
    assert set(models.MODELS) - set(SMALL) == {"mask_rcnn"}


@over_forms
@pytest.mark.parametrize("hw", [(1, 1), (1, 37), (33, 2), (61, 95), (64, 96)])
@torch.no_grad()
def test_logits_have_the_size_of_the_image(name, form, hw):
    assert small(name, form).eval()(torch.rand(1, 3, *hw)).shape == (1, 4, *hw)
    output = small(name, form).train()(torch.rand(1, 3, *hw))
    if isinstance(output, Queries):
        assert output.semantic().shape == (1, 4, *hw)
    else:
        assert all(t.shape == (1, 4, *hw) for t in tensors(output))


@over_forms
@torch.no_grad()
def test_evaluation_gives_plain_logits(name, form):
    assert type(small(name, form).eval()(torch.rand(1, 3, 32, 32))) is torch.Tensor


@over_forms
@pytest.mark.parametrize("channels", [1, 3, 5])
@torch.no_grad()
def test_any_number_of_channels(name, form, channels):
    model = small(name, form, channels=channels).eval()
    assert model(torch.rand(2, channels, 20, 30)).isfinite().all()
    with pytest.raises(InputError, match=rf"takes \(B, {channels}, H, W\), found \(2, 2, 20, 30\)"):
        model(torch.rand(2, 2, 20, 30))


ARGUMENTS = [(name, argument) for name, entry in models.MODELS.items() for argument in entry.arguments]
WRONG = {bool: ["nein", 1, None], int: ["six", 2.5, True, None, [3]], float: ["much", True, None], str: [7, True, None]}


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS, ids=[f"{n}-{a}" for n, a in ARGUMENTS])
def test_values_of_another_kind_are_refused_by_name(name, argument):
    default = inspect.signature(models.MODELS[name].build).parameters[argument].default
    # None stands for a default that is worked out, of whatever kind; no argument takes a table, or a list of lists.
    for value in (*WRONG.get(type(default), []), {"a": 1}, [[1]]):
        with pytest.raises(InputError, match=rf"^{argument}="):
            models.build(name, channels=3, classes=4, **{argument: value})


@over_forms
def test_every_weight_learns(name, form):
    model = small(name, form)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(
                0.05 * torch.randn_like(p)
            )  # timm starts the last norm of each residual block at 0, which learns one step later
    # Not the mean: batch norm would hide a weight that only shifts it.
    sum((t * torch.randn_like(t)).sum() for t in tensors(model(torch.rand(2, 3, 64, 96)))).backward()
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
def test_bf16_channels_last_agrees_with_fp32(name, form, monkeypatch):
    # SegNet's neighbours that bf16 rounds to the same value exchange their positions, and a few pixels their answer with
    # them. That is no mistake of the sums, which are compared with the positions of the first pass in both.
    monkeypatch.setattr(segnet, "max_pool_with_positions", in_the_places_of_the_first_pass())
    model, image = small(name, form).eval(), torch.rand(2, 3, 40, 56)
    exact = model(image)
    model = model.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        quick = model(image.contiguous(memory_format=torch.channels_last)).float()
    # bf16 keeps 8 bits: relative steps of 0.4 %, a few of them through some twenty layers.
    assert (quick - exact).abs().max() < 0.05 * exact.abs().max()


@over_forms
def test_bf16_training_gives_finite_gradients(name, form):
    model = small(name, form)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = tensors(model(torch.rand(2, 3, 40, 56)))
        sum((t.float() * torch.randn_like(t.float())).sum() for t in outputs).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@over_forms
@torch.no_grad()
def test_exported_it_takes_other_sizes(name, form):
    """torch.export with free batch, height and width gives the model's own answer, also at sizes that it has not seen."""
    model = small(name, form).eval()
    free = {
        0: torch.export.Dim("b", min=1, max=64),
        2: torch.export.Dim("h", min=33, max=512),
        3: torch.export.Dim("w", min=33, max=512),
    }
    exported = torch.export.export(
        model,
        (torch.rand(2, 3, 64, 96),),
        dynamic_shapes=(free,),
        strict=False,
        # ConvNeXt asks about strides in a way that the solver cannot prove for all sizes; then the graph asks when it runs.
        prefer_deferred_runtime_asserts_over_guards=True,
    ).module()
    for shape in ((2, 3, 64, 96), (3, 3, 71, 45), (1, 3, 45, 71)):
        image = torch.rand(shape)
        assert_close(exported(image), model(image), atol=1e-5, rtol=1e-5)


@over_forms
@torch.no_grad()
def test_traced_for_compilation_in_one_piece(name, form):
    """torch.compile sees the whole network as one graph, without breaks; "eager" leaves out the compiler behind it."""
    model, image = small(name, form).eval(), torch.rand(1, 3, 45, 70)
    torch._dynamo.reset()  # forms of one class count as recompilations of it
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert_close(compiled(image), model(image), atol=1e-5, rtol=1e-5)

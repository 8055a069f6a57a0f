"""BiSeNetV2 against table 1 and figures 3 to 6 of its paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.models.bisenet import BiSeNetV2
from maskwright.models.context import PooledNorm
from maskwright.models.outputs import WithAuxiliary

SMALL = {"width_multiplier": 0.25, "head_width": 8, "booster_width": 4}


def on_meta(**given) -> BiSeNetV2:
    """Shapes without memory or arithmetic."""
    with torch.device("meta"):
        return BiSeNetV2(**{"channels": 3, "classes": 19, **given})


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def conv(a: int, b: int, kernel: int = 3, groups: int = 1) -> int:
    """Parameters of a convolution without bias and of its norm."""
    return kernel**2 * a * b // groups + 2 * b


def test_parameters_of_table_1():
    # Detail: 3-64-64, 64-64-64-64, 64-128-128-128.
    detail = conv(3, 64) + 4 * conv(64, 64) + conv(64, 128) + 2 * conv(128, 128)
    assert detail == 519_232
    stem = conv(3, 16) + conv(16, 8, 1) + conv(8, 16) + conv(32, 16)
    assert stem == 6_432

    def halving(a: int, b: int) -> int:  # figure 5 (c): gather, two depthwise, project; a separable shortcut
        return conv(a, a) + 2 * (9 * 6 * a + 2 * 6 * a) + conv(6 * a, b, 1) + conv(a, a, groups=a) + conv(a, b, 1)

    def keeping(a: int) -> int:  # figure 5 (b)
        return conv(a, a) + 9 * 6 * a + 2 * 6 * a + conv(6 * a, a, 1)

    assert [halving(16, 32), halving(32, 64), halving(64, 128)] == [8_336, 28_448, 104_000]
    assert [keeping(32), keeping(64), keeping(128)] == [17_600, 65_920, 254_720]
    context = conv(128, 128, 1) + conv(128, 128)  # the first norm has no parameters
    stages = 8_336 + 17_600 + 28_448 + 65_920 + 104_000 + 3 * 254_720
    semantic = stem + stages + context
    assert semantic == 1_159_248
    separable = conv(128, 128, groups=128) + 128 * 128 + 128
    aggregation = 2 * separable + 3 * conv(128, 128)
    assert aggregation == 478_976
    head = conv(128, 1024) + 1024 * 19 + 19
    assert head == 1_201_171
    boosters = sum(conv(c, 128) + 128 * 19 + 19 for c in (16, 32, 64, 128))
    assert boosters == 287_308

    model = on_meta()
    parts = (model.detail, model.semantic, model.aggregation, model.head, model.boosters)
    assert [count(p) for p in parts] == [detail, semantic, aggregation, head, boosters]
    assert count(model) == 3_645_935
    assert count(on_meta(boosters=False)) == detail + semantic + aggregation + head == 3_358_627


def test_sizes_of_figure_3():
    model = on_meta().eval()
    image = torch.empty(1, 3, 128, 192, device="meta")
    assert model.detail(image).shape == (1, 128, 16, 24)  # an eighth
    expected = [(16, 32, 48), (32, 16, 24), (64, 8, 12), (128, 4, 6), (128, 4, 6)]  # S2, S3, S4, S5 and the context
    assert [tuple(m.shape[1:]) for m in model.semantic(image)] == expected
    assert model.aggregation(model.detail(image), model.semantic(image)[-1]).shape == (1, 128, 16, 24)
    assert model(image).shape == (1, 19, 128, 192)


def test_multipliers():
    large = on_meta(width_multiplier=2.0, depth_multiplier=3)
    assert large.semantic.widths == [32, 64, 128, 256]
    assert [len(stage) for stage in large.semantic.stages] == [6, 6, 12]
    assert large.detail[-1][0].out_channels == 256
    assert large.head[0][0].out_channels == 1024


def test_boosters_speak_in_training_only():
    torch.manual_seed(0)
    model, image = BiSeNetV2(3, 4, **SMALL), torch.rand(2, 3, 45, 70)
    output = model(image)
    assert isinstance(output, WithAuxiliary)
    assert (output.weight, len(output.auxiliary)) == (1.0, 4)
    assert {tuple(t.shape) for t in (output.logits, *output.auxiliary)} == {(2, 4, 45, 70)}
    assert type(model.eval()(image)) is torch.Tensor
    assert type(BiSeNetV2(3, 4, boosters=False, **SMALL)(image)) is torch.Tensor


@torch.no_grad()
def test_boosters_are_not_needed_for_the_answer():
    torch.manual_seed(0)
    model, image = BiSeNetV2(3, 4, **SMALL), torch.rand(2, 3, 45, 70)
    model(image)
    plain = BiSeNetV2(3, 4, boosters=False, **SMALL)
    plain.load_state_dict({key: t for key, t in model.state_dict().items() if not key.startswith("boosters.")})
    assert_close(plain.eval()(image), model.eval()(image), atol=0, rtol=0)


def test_one_image_in_a_batch_trains():
    torch.manual_seed(0)
    model = BiSeNetV2(3, 4, **SMALL)
    for hw in ((8, 8), (70, 45)):
        output = model(torch.rand(1, 3, *hw))
        assert all(t.isfinite().all() for t in (output.logits, *output.auxiliary))
    output.logits.sum().backward()
    assert model.semantic.context.pooled[0].weight.grad.abs().max() > 0


def test_pooled_context_is_normed_as_in_the_other_models():
    # What PooledNorm does is tested in test_deeplab.py; the two norms here see maps of a single pixel.
    context = BiSeNetV2(3, 4, **SMALL).semantic.context
    assert isinstance(context.norm, PooledNorm)
    assert isinstance(context.pooled[1], PooledNorm)


@torch.no_grad()
def test_each_branch_is_weighed_by_the_other():
    # A guide of -inf closes the way of what it guides; 0.5 is what an indifferent one lets through.
    model = BiSeNetV2(3, 4, **SMALL).eval().aggregation
    model.last = nn.Identity()
    detail, meaning = torch.rand(1, 32, 16, 24), torch.rand(1, 32, 4, 6)
    nn.init.zeros_(model.meaning_kept[1].weight)
    nn.init.constant_(model.meaning_kept[1].bias, -100.0)
    nn.init.zeros_(model.meaning_up[0].weight)
    assert_close(model(detail, meaning), 0.5 * model.detail_kept(detail), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_context_reaches_every_pixel_alike():
    torch.manual_seed(0)
    context = BiSeNetV2(3, 4, **SMALL).eval().semantic.context
    context.last = nn.Identity()
    x = torch.rand(2, 32, 4, 6)
    added = context(x) - x  # (2, 32, 4, 6)
    assert_close(added, added[..., :1, :1].expand_as(added), atol=1e-6, rtol=0)
    assert added.abs().max() > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"width_multiplier": 0}, "width_multiplier=0 is not usable; expected a number above 0"),
        ({"depth_multiplier": 1.5}, r"depth_multiplier=1\.5 is not usable; expected a whole number"),
        ({"booster_width": 0}, "booster_width=0 is not usable"),
    ],
)
def test_arguments_out_of_range(given, message):
    with pytest.raises(InputError, match=message):
        on_meta(**given)

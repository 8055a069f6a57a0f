"""EoMT: who sees whom, the annealing of masked attention, what training and evaluation give."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.models.eomt import EoMT, doublings, mask_shares
from maskwright.models.loading import load_weights
from maskwright.models.outputs import BLOCK, Queries
from maskwright.models.plain_vit import PlainViT


def small(**given) -> EoMT:
    torch.manual_seed(0)
    return EoMT(3, 4, **{"encoder": "test_vit", "queries": 6, "query_blocks": 2, **given})


def test_parameter_count():
    # ViT-S/16: patches 16 x 16 x 3 x 384 + 384, class token 384, positions 197 x 384, twelve blocks of 12 x 384^2 + 13 x 384,
    # last norm 2 x 384: 21,665,664.
    vit = (768 * 384 + 384) + 384 + 197 * 384 + 12 * (12 * 384**2 + 13 * 384) + 768
    heads = 100 * 384 + (384 * 22 + 22) + 3 * (384**2 + 384)
    upscale = 2 * ((4 * 384**2 + 384) + 9 * 384 + 2 * 384)
    assert vit == 21_665_664
    assert sum(p.numel() for p in EoMT(3, 21).parameters()) == vit + heads + upscale


def test_training_gives_every_blocks_proposals():
    output = small()(torch.rand(2, 3, 64, 96))
    assert isinstance(output, Queries)
    assert (output.masks.shape, output.classes.shape, output.hw) == ((2, 6, 16, 24), (2, 6, 5), (64, 96))
    assert [(m.shape, c.shape) for m, c in output.earlier] == [((2, 6, 16, 24), (2, 6, 5))] * 2
    assert not torch.equal(output.earlier[0][0], output.masks)


def test_masks_of_a_padded_image_stand_for_the_image_alone():
    output = small()(torch.rand(1, 3, 61, 95))
    assert output.hw == (61, 95)
    assert all(m.shape == (1, 6, 61, 95) for m in (output.masks, *(m for m, _ in output.earlier)))


@torch.no_grad()
def test_evaluation_gives_the_logits_of_the_queries():
    model, image = small(), torch.rand(1, 3, 64, 96)
    model.mask_share.zero_()
    queries, logits = model(image), model.eval()(image)
    assert queries.masks.shape == (1, 6, 16, 24)
    assert_close(logits, queries.semantic(), atol=1e-5, rtol=1e-4)


def test_masks_are_enlarged_before_the_sigmoid():
    # One class and the answer "nothing", of which the first is certain. Two pixels, logits -4 and 12, become four by linear
    # interpolation: -4, -4 + 16 / 4 = 0, 8, 12. The sigmoid of the second is 1/2; between the two pixels' sigmoids, 0.018 and
    # 1, it would be 0.26.
    masks, sure = torch.tensor([[[[-4.0, 12.0]]]]), torch.tensor([[[50.0, 0.0]]])
    shares = Queries(masks, sure, (1, 4)).semantic().exp()
    assert_close(shares.flatten(), torch.tensor([-4.0, 0, 8, 12]).sigmoid())


def test_all_queries_count_however_many_at_a_time():
    torch.manual_seed(0)
    masks, classes = torch.randn(2, 2 * BLOCK + 3, 3, 4), torch.randn(2, 2 * BLOCK + 3, 5)
    found = Queries(masks, classes, (3, 4)).semantic().exp()
    assert_close(found, torch.einsum("bqk,bqhw->bkhw", classes.softmax(-1)[..., :4], masks.sigmoid()))


def test_annealing_lets_the_first_block_go_first():
    # Four blocks: six equal parts of the training.
    assert mask_shares(0.0, 4) == mask_shares(1 / 6, 4) == [1, 1, 1, 1]
    assert mask_shares(1.5 / 6, 4) == pytest.approx([0.5**0.9, 1, 1, 1])
    assert mask_shares(2.25 / 6, 4) == pytest.approx([0, 0.75**0.9, 1, 1])
    assert mask_shares(5 / 6, 4) == pytest.approx([0, 0, 0, 0], abs=1e-12)
    assert mask_shares(1.0, 4) == mask_shares(2.0, 4) == [0, 0, 0, 0]


def test_anneal_sets_the_share():
    model = small()
    assert model.mask_share.tolist() == [1, 1]
    model.anneal(0.5)  # two blocks, four parts: the second part is over, the third begins
    assert model.mask_share.tolist() == [0, 1]
    assert "mask_share" not in model.state_dict()


def test_a_query_sees_the_patches_of_its_own_mask():
    model = small()
    masks = torch.full((1, 6, 4, 4), -1.0)
    masks[0, 1, :2, 2:] = 1.0  # the upper right of 2 x 2 patches
    masks[0, 2] = 1.0
    q, prefix = 6, model.encoder.prefix
    allowed = model._allowed(masks, (2, 2), torch.tensor(1.0))[0, 0]
    assert allowed.shape == (q + prefix + 4, q + prefix + 4)
    assert allowed[0, q + prefix :].tolist() == [False] * 4
    assert allowed[1, q + prefix :].tolist() == [False, True, False, False]
    assert allowed[2, q + prefix :].all()
    assert allowed[:, : q + prefix].all()  # all see the queries and the class token
    assert allowed[q:].all()  # nobody else is masked
    assert model._allowed(masks, (2, 2), torch.tensor(0.0)).all()


def test_a_share_of_the_queries_is_masked():
    model, masks = small(queries=4000), torch.full((1, 4000, 1, 1), -1.0)
    torch.manual_seed(0)
    masked = ~model._allowed(masks, (1, 1), torch.tensor(0.3))[0, 0, :4000, -1]
    assert masked.float().mean().item() == pytest.approx(0.3, abs=0.03)  # four standard deviations


@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "test_vit3"])
@torch.no_grad()
def test_a_block_with_all_allowed_is_timms_block(name):
    torch.manual_seed(0)
    vit = PlainViT(name, 3).eval()
    tokens = vit(torch.rand(2, 3, 4 * vit.patch, 6 * vit.patch))
    assert tokens.shape == (2, vit.prefix + 24, vit.width)
    for block in vit.blocks:
        all_allowed = torch.ones(2, 1, tokens.shape[1], tokens.shape[1], dtype=torch.bool)
        assert_close(vit.attend(block, tokens, all_allowed), block(tokens), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_is_not_allowed_is_not_seen():
    torch.manual_seed(0)
    vit = PlainViT("test_vit", 3).eval()
    tokens, allowed = torch.randn(1, 5, vit.width), torch.ones(1, 1, 5, 5, dtype=torch.bool)
    allowed[..., 0, 3] = False
    changed = tokens.clone()
    changed[0, 3] = torch.randn(vit.width)
    before, after = (vit.attend(vit.blocks[0], t, allowed)[0] for t in (tokens, changed))
    assert_close(before[0], after[0], atol=0, rtol=0)
    assert not torch.allclose(before[1], after[1])


def test_whole_classifiers_weights_fit_the_encoder(tmp_path):
    torch.manual_seed(7)
    full = timm.create_model("test_vit", pretrained=False).state_dict()
    save_file(full, tmp_path / "vit.safetensors")
    model = EoMT(1, 2, encoder="test_vit", queries=3)
    loaded = load_weights(model, str(tmp_path / "vit.safetensors"))
    assert loaded.first_layer == "sum over 3 channels"
    own = model.encoder.net.state_dict()
    assert torch.equal(own["blocks.5.attn.qkv.weight"], full["blocks.5.attn.qkv.weight"])
    assert torch.equal(own["pos_embed"], full["pos_embed"])
    assert_close(own["patch_embed.proj.weight"], full["patch_embed.proj.weight"].sum(1, keepdim=True))


def test_positions_of_another_image_size_are_resampled(tmp_path):
    torch.manual_seed(7)
    full = timm.create_model("test_vit", pretrained=False, img_size=96).state_dict()  # 6 x 6 patches instead of 10 x 10
    full["pos_embed"][:, 1:] = 0.5
    save_file(full | {"mask_token": torch.zeros(1, 64)}, tmp_path / "vit.safetensors")
    model = EoMT(3, 2, encoder="test_vit", queries=3)
    load_weights(model, str(tmp_path / "vit.safetensors"))
    own = model.encoder.net.pos_embed
    assert own.shape == (1, 101, 64)
    assert torch.equal(own[:, 0], full["pos_embed"][:, 0])
    assert_close(own[:, 1:].detach(), torch.full((1, 100, 64), 0.5))  # a flat map stays flat


def test_masks_stand_at_about_a_quarter_of_the_image():
    assert [doublings(p) for p in (8, 14, 16, 32)] == [1, 2, 2, 3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"encoder": "resnet18"}, "encoder 'resnet18' is no plain ViT .*; choose one, as vit_small_patch16_224"),
        ({"encoder": "vit_smal_patch16_224"}, "no encoder named 'vit_smal_patch16_224' .*did you mean .*vit_small_patch16_224"),
        ({"encoder": "test_convnext"}, "encoder 'test_convnext' is no plain ViT"),
        ({"query_blocks": 7}, "query_blocks=7 is not usable; encoder 'test_vit' has 6 blocks"),
        ({"queries": 0}, "queries=0 is not usable; expected a whole number of 1 or more"),
    ],
)
def test_arguments_that_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        small(**given)

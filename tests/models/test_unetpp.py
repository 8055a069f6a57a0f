"""U-Net++ against figure 1 and equation 1 of its paper."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.models.outputs import WithAuxiliary
from maskwright.models.unet import Contracting, UNet
from maskwright.models.unetpp import UNetPlusPlus, nested


def on_meta(**given) -> UNetPlusPlus:
    """Shapes without memory or arithmetic."""
    with torch.device("meta"):
        return UNetPlusPlus(**{"channels": 3, "classes": 1, **given})


def test_parameters_of_the_paper():
    # Two convolutions a -> b -> b: 9ab + b + 9bb + b; a step up a -> b: 4ab + b; rows of 32, 64, 128, 256 and 512 channels.
    #   encoder       10 144 + 55 424 + 221 440 + 885 248 + 3 539 968                              = 4 712 224
    #   steps up      8 224 (four in row 0), 32 832 (three), 131 200 (two), 524 544                = 918 336
    #   column 1, 2b -> b:   27 712 + 110 720 + 442 624 + 1 769 984                                = 2 351 040
    #   column 2, 3b -> b:   36 928 + 147 584 + 590 080                                            = 774 592
    #   column 3, 4b -> b:   46 144 + 184 448 = 230 592;   column 4, 5b -> b: 55 360;   head 32-1: 33
    assert 4 * 8_224 + 3 * 32_832 + 2 * 131_200 + 524_544 == 918_336
    total = 4_712_224 + 918_336 + 2_351_040 + 774_592 + 230_592 + 55_360 + 33
    assert total == 9_042_177  # table 3 says 9.04 M
    assert sum(p.numel() for p in on_meta(norm="none").parameters()) == total
    with_heads = on_meta(norm="none", deep_supervision=True)
    assert sum(p.numel() for p in with_heads.parameters()) == total + 3 * 33


def test_every_node_sees_its_row_and_the_node_below():
    model, seen = on_meta(), {}
    for name, node in model.nodes.items():
        i, j = map(int, name.split("_"))
        node.register_forward_pre_hook(lambda _m, given, at=(i, j): seen.update({at: given}))
    model(torch.empty(1, 3, 64, 96, device="meta"))
    assert sorted(seen) == [(i, j) for i in range(4) for j in range(1, 5 - i)]
    for (i, j), (row, below) in seen.items():
        assert below.shape == (1, 32 * 2 ** (i + 1), 64 >> (i + 1), 96 >> (i + 1))
        # The list goes on growing after the call: its first j entries are what the node was given.
        assert {tuple(m.shape) for m in row[:j]} == {(1, 32 * 2**i, 64 >> i, 96 >> i)}
    assert model.nodes["0_4"].convs.convs[0].in_channels == 4 * 32 + 32


@torch.no_grad()
def test_one_column_is_a_u_net():
    torch.manual_seed(0)
    plain, nest = UNet(2, 3, width=4, depth=1), UNetPlusPlus(2, 3, width=4, depth=1)
    renamed = {"expanding.stages.0.": "nodes.0_1.", "head.": "heads.0."}
    state = plain.state_dict()
    for old, new in renamed.items():
        state = {(new + key.removeprefix(old) if key.startswith(old) else key): t for key, t in state.items()}
    nest.load_state_dict(state)
    image = torch.rand(2, 2, 13, 22)
    assert_close(nest.eval()(image), plain.eval()(image), atol=0, rtol=0)


def test_deep_supervision_trains_every_column_and_answers_with_their_mean():
    torch.manual_seed(0)
    model, image = UNetPlusPlus(2, 3, width=4, depth=3, deep_supervision=True), torch.rand(2, 2, 24, 16)
    output = model(image)
    assert isinstance(output, WithAuxiliary)
    assert (len(output.auxiliary), output.weight) == (2, 1.0)
    found = []
    for head in model.heads:
        head.register_forward_hook(lambda _m, _i, out: found.append(out))
    with torch.no_grad():
        answer = model.eval()(image)
    assert len(found) == 3
    assert_close(answer, (found[0] + found[1] + found[2]) / 3, atol=1e-6, rtol=1e-5)
    assert type(UNetPlusPlus(2, 3, width=4, depth=3)(image)) is torch.Tensor


@torch.no_grad()
def test_on_a_timm_encoder():
    model = UNetPlusPlus(2, 3, encoder="test_resnet", decoder=[16, 12, 8, 8], deep_supervision=True)
    assert len(model.nodes) == 4 + 3 + 2 + 1  # rows at strides 2, 4, 8 and 16
    assert model(torch.rand(2, 2, 33, 50)).logits.shape == (2, 3, 33, 50)
    # Node (1, 2) joins the encoder's 32 channels at stride 4, node (1, 1) of 8 and the enlarged node below, made 8 wide.
    assert model.nodes["1_2"].convs.convs[0].in_channels == 32 + 8 + 8
    assert on_meta(depth=2).heads[0].in_channels == 32


def test_default_nodes_on_a_timm_encoder():
    model = UNetPlusPlus(3, 2, encoder="test_convnext")  # strides 4, 8, 16, 32: nodes of 64, 128 and 256 channels
    assert [model.nodes[f"{i}_1"].convs.convs[0].out_channels for i in range(3)] == [64, 128, 256]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"depth": 9}, "depth=9 is not usable; expected at most 8"),
        ({"norm": "layer"}, "norm='layer' is not known; expected one of batch, group, none"),
        ({"up": "cubic"}, "up='cubic' is not known; expected one of transpose, bilinear, nearest"),
        (
            {"encoder": "test_resnet", "depth": 3},
            "width and depth describe the paper's first column, which encoder='test_resnet'",
        ),
        ({"decoder": [8, 8]}, r"decoder=\[8, 8\] does not fit; this encoder needs 4 numbers of channels, deepest first"),
    ],
)
def test_arguments_that_do_not_fit(given, message):
    with pytest.raises(InputError, match=message):
        UNetPlusPlus(3, 2, **given)


def test_encoders_with_gaps_are_refused():
    encoder = Contracting(1, (2, 4), padded=True, norm="batch", residual=False)
    encoder.strides = (1, 4)
    with pytest.raises(InputError, match=r"maps at strides \[1, 4\] has gaps; U-Net\+\+ needs strides that double"):
        nested(encoder, [2], norm="batch", up="transpose")

"""FCN against figures 2 and 3 of its paper: the classifier as convolutions, the skips, the upsampling, the alignment."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.models.fcn import FCN, FCNGoogLeNet, fcn_weights
from maskwright.models.fcn_head import Upsampling, bilinear_init
from maskwright.models.vgg import VGG16
from maskwright.training.setup import Parent


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def tiny(stride: int, classes: int = 3, **given) -> FCN:
    return FCN(stride, 3, classes, **({"width": 4, "fc_width": 16} | given)).eval()


def test_parameters_at_21_classes():
    # Thirteen convolutions 14 714 688 and the first two fully connected layers 102 764 544 + 16 781 312 (test_vgg.py);
    # score of fc7 4096 x 21 + 21 = 86 037, of pool4 512 x 21 + 21 = 10 773, of pool3 256 x 21 + 21 = 5 397.
    # Transposed convolutions from 21 classes to 21, no bias: 4 x 4 x 441 = 7 056 each doubling; the last one
    # 16 x 16 x 441 = 112 896, 32 x 32 x 441 = 451 584 or 64 x 64 x 441 = 1 806 336.
    shared = 14_714_688 + 102_764_544 + 16_781_312 + 86_037
    with torch.device("meta"):
        assert parameters(FCN(8, 3, 21)) == shared + 10_773 + 5_397 + 2 * 7_056 + 112_896 == 134_489_759
        assert parameters(FCN(16, 3, 21)) == shared + 10_773 + 7_056 + 451_584 == 134_815_994
        assert parameters(FCN(32, 3, 21)) == shared + 1_806_336 == 136_152_917
        assert parameters(FCN(8, 3, 21, learn_last=False)) == 134_489_759 - 112_896
        # GoogLeNet 5 599 904 (test_googlenet.py), score 1024 x 21 + 21 = 21 525; the paper says 6 M.
        assert parameters(FCNGoogLeNet(3, 21, learn_last=False)) == 5_599_904 + 21_525
        # With the last upsampling of FCN-32s, 64 x 64 x 441, as docs/models.md says 7.43 M.
        assert parameters(FCNGoogLeNet(3, 21)) == 5_599_904 + 21_525 + 1_806_336 == 7_427_765


def test_doubling_starts_with_the_weights_of_linear_interpolation():
    conv = nn.ConvTranspose2d(2, 2, 4, stride=2, bias=False)
    bilinear_init(conv)
    # Pixels of the output lie a quarter of a pixel beside the old ones: 3/4 from the nearer, 1/4 from the farther one.
    hat = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert_close(conv.weight[0, 0], hat[:, None] * hat)
    assert_close(conv.weight[1, 1], hat[:, None] * hat)
    assert conv.weight[0, 1].abs().max() == conv.weight[1, 0].abs().max() == 0


@pytest.mark.parametrize("learnt", [True, False])
@pytest.mark.parametrize("factor", [2, 8, 16, 32])
@torch.no_grad()
def test_upsampling_starts_as_bilinear_interpolation(factor, learnt):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 1)
    expected = F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)
    assert_close(Upsampling(3, factor, learnt=learnt)(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("learnt", [True, False])
@pytest.mark.parametrize("shift", [-1, 2, 3])
@torch.no_grad()
def test_shifted_pixels_are_put_where_they_look(learnt, shift):
    # Pixel j stands for column 8j + 3.5 + shift; given that column as its value, the output is its own column number
    # everywhere between the first and the last of them.
    columns = 8 * torch.arange(5.0) + 3.5 + shift
    out = Upsampling(1, 8, learnt=learnt, shift_px=shift)(columns.expand(1, 1, 2, 5))
    inner = slice(int(columns[0]) + 1, int(columns[-1]) + 1)
    assert out.shape == (1, 1, 16, 40)
    assert_close(out[0, 0, 7, inner], torch.arange(40.0)[inner], atol=1e-4, rtol=1e-5)


def classifier() -> VGG16:
    torch.manual_seed(0)
    return VGG16(3, 5, width=4, fc_width=16).eval()


def as_convolutions(given: VGG16) -> FCN:
    net = tiny(32, classes=5)
    missing, unexpected = net.load_state_dict(fcn_weights(given.state_dict(), with_score=True), strict=False)
    assert (missing, unexpected) == (["head.last.conv.weight"], [])
    return net


@torch.no_grad()
def test_one_image_of_224_px_gives_the_classifiers_own_logits():
    given = classifier()
    image = torch.randn(2, 3, 224, 224)
    assert_close(as_convolutions(given).heat_map(image)[..., 0, 0], given(image), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_larger_image_gives_a_heat_map_of_the_classifiers_logits():
    given = classifier()
    image = torch.randn(1, 3, 290, 265)  # a last map of 9 x 8 pixels, 3 x 2 windows of 7 x 7
    found = as_convolutions(given).heat_map(image)
    pool5 = given.features(image)
    assert found.shape == (1, 5, 3, 2)
    for row in range(3):
        for column in range(2):
            window = pool5[..., row : row + 7, column : column + 7]
            assert_close(found[..., row, column], given.classifier(window.flatten(1)), atol=1e-5, rtol=1e-5)
    assert found.std(dim=(2, 3)).min() > 1e-4


@torch.no_grad()
def test_the_heat_map_is_the_classifier_on_crops_of_the_image():
    # With kernels of one tap no convolution sees across the border of a crop, where it would find zeros instead of image.
    given = classifier()
    for module in given.features:
        if isinstance(module, nn.Conv2d):
            centre = module.weight[:, :, 1, 1].clone()
            module.weight.zero_()
            module.weight[:, :, 1, 1] = 3 * centre
    image = torch.randn(1, 3, 256, 288)
    found = as_convolutions(given).heat_map(image)
    assert found.std(dim=(2, 3)).min() > 1e-4
    for row in range(2):
        for column in range(3):
            crop = image[..., 32 * row : 32 * row + 224, 32 * column : 32 * column + 224]
            assert_close(found[..., row, column], given(crop), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_everything_but_the_head_comes_from_the_classifier(batch_norm):
    state = VGG16(3, 10, width=4, fc_width=16, batch_norm=batch_norm).state_dict()
    net = FCN(8, 5, 3, width=4, fc_width=16, batch_norm=batch_norm)
    missing, unexpected = net.load_state_dict(fcn_weights(state, channels=5), strict=False)
    assert unexpected == []
    assert all(key.startswith("head.") for key in missing)


def test_a_heat_map_needs_a_window():
    with pytest.raises(InputError, match=r"sides of at least 224 px, found \(224, 223\)"):
        tiny(32).heat_map(torch.rand(1, 3, 224, 223))


def carry_first_channel(net: FCN) -> None:
    """Every layer hands on its first channel as it is; all other weights are 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
            middle = module.kernel_size[0] // 2
            module.weight[0, 0, middle, middle] = 1


@pytest.mark.parametrize("pad_image", [False, True])
@pytest.mark.parametrize("hw", [(96, 128), (75, 101), (1, 33)])
@torch.no_grad()
def test_scores_lie_over_the_pixels_that_they_are_of(pad_image, hw):
    # An image of cells of 32 px, each of one value, cropped anywhere: then every map holds the value of its cell.
    torch.manual_seed(0)
    h, w = hw
    cells = torch.rand(1, 1, -(-h // 32), -(-w // 32))
    image = repeat(cells, 32)[..., :h, :w].expand(-1, 3, -1, -1)
    for stride, expected in (
        (32, larger(cells, 32)),
        (16, larger(larger(cells, 2) + repeat(cells, 2), 16)),
        (8, larger(larger(larger(cells, 2) + repeat(cells, 2), 2) + repeat(cells, 4), 8)),
    ):
        net = tiny(stride, pad_image=pad_image)
        carry_first_channel(net)
        assert_close(net(image)[:, :1], expected[..., :h, :w], atol=1e-5, rtol=1e-5)


def repeat(x: Tensor, factor: int) -> Tensor:
    return x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def larger(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


@torch.no_grad()
def test_padding_the_image_scores_windows_that_reach_96_px_beyond_it():
    torch.manual_seed(0)
    outer, inner = tiny(32, pad_image=True), tiny(32)
    inner.load_state_dict(outer.state_dict())
    image = torch.randn(1, 3, 64, 96)
    found = scores_of(outer, image)
    assert_close(found, outer.heat_map(F.pad(image, (96,) * 4)), atol=1e-6, rtol=1e-6)
    # Not the same as padding the last map: convolutions spill into the zeros around the image.
    assert found.shape == scores_of(inner, image).shape == (1, 3, 2, 3)
    assert (found - scores_of(inner, image)).abs().max() > 1e-3


def scores_of(net: FCN, image: Tensor) -> Tensor:
    """What the deepest map's score layer gives in a forward pass."""
    found = []
    hook = net.head.score.register_forward_hook(lambda _m, _i, out: found.append(out))
    net(image)
    hook.remove()
    return found[0]


def given_to(finer: nn.Module, coarser: nn.Module) -> list[str]:
    classes = ClassMap(ids=(0, 1, 2), names=("a", "b", "c"))
    manifest = SimpleNamespace(class_map=lambda: classes)
    with torch.no_grad():
        return Parent(Path("run"), manifest, coarser.state_dict()).give_weights(finer, classes, {})


def test_finer_nets_start_from_the_coarser_ones_weights():
    torch.manual_seed(0)
    coarse, middle, fine = tiny(32), tiny(16), tiny(8)
    new4 = {"head.score_pool4.weight", "head.score_pool4.bias", "head.up2.conv.weight", "head.last.conv.weight"}
    new3 = {"head.score_pool3.weight", "head.score_pool3.bias", "head.up4.conv.weight", "head.last.conv.weight"}
    assert set(given_to(middle, coarse)) == new4
    assert set(given_to(fine, middle)) == new3


@torch.no_grad()
def test_a_finer_net_begins_with_the_coarser_ones_answers():
    torch.manual_seed(0)
    coarse, middle, fine = tiny(32), tiny(16), tiny(8)
    given_to(middle, coarse)
    given_to(fine, middle)
    image = torch.randn(1, 3, 128, 160)
    scores, answers = scores_of(coarse, image), coarse(image)
    assert torch.equal(scores_of(middle, image), scores)
    assert torch.equal(scores_of(fine, image), scores)
    assert_close(middle(image), larger(larger(scores, 2), 16), atol=1e-5, rtol=1e-5)
    assert_close(fine(image), larger(larger(larger(scores, 2), 2), 8), atol=1e-5, rtol=1e-5)
    # Both answers interpolate the same scores. Doubling first cuts the corners of the line through them: the chord from a
    # quarter of a pixel before to a quarter behind misses the corner by 1/8 of the second difference, along each axis.
    around = F.pad(scores, (1, 1, 1, 1), mode="replicate")
    bends = [around.diff(n=2, dim=axis).abs().max() for axis in (2, 3)]
    assert 0 < (middle(image) - answers).abs().max() <= sum(bends) / 8 + 1e-5


@torch.no_grad()
def test_training_at_once_scales_the_finer_maps():
    torch.manual_seed(0)
    plain, at_once = tiny(8), tiny(8, at_once=True)
    for score in (plain.head.score_pool4, plain.head.score_pool3):
        nn.init.normal_(score.weight)
    state = plain.state_dict()
    at_once.load_state_dict(
        state
        | {
            "head.score_pool4.weight": state["head.score_pool4.weight"] * 1e2,
            "head.score_pool3.weight": state["head.score_pool3.weight"] * 1e4,
        }
    )
    image = torch.randn(1, 3, 64, 64)
    assert_close(at_once(image), plain(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", [32, 16, 8])
@torch.no_grad()
def test_googlenet_in_every_stride(stride):
    net = FCNGoogLeNet(3, 4, stride=stride, width=8).eval()
    assert net.head.last.shift_px == {32: 6, 16: 6, 8: 2}[stride]  # whole pixels of 6.5, 6.5 and 2.5
    assert net(torch.rand(2, 3, 45, 70)).shape == (2, 4, 45, 70)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stride": 4}, "stride=4 is not known; expected one of 32, 16, 8"),
        ({"dropout": 1.0}, "dropout=1.0 is not usable; expected a share from 0 up to, but not, 1"),
        ({"fc_width": 0}, "fc_width=0 is not usable; expected a whole number of 1 or more"),
        ({"width": "64"}, "width='64' is not usable"),
    ],
)
def test_wrong_numbers_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        FCN(**({"stride": 8, "channels": 3, "classes": 2} | given))

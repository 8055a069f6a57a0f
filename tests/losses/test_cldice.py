"""clDice: skeletons drawn by hand, shares of them, and monai's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.losses import cldice
from maskwright.losses.cldice import soft_skeleton


def drawn(text: str, marks: str = "#") -> Tensor:
    """(1, 1, H, W) bool: where the drawing has one of the marks."""
    return torch.tensor([[[[c in marks for c in line] for line in text.split()]]])


def skeleton(text: str, iterations: int) -> Tensor:
    """Of the region #; ? is not counted."""
    return soft_skeleton(drawn(text).double(), drawn(text, "#."), iterations)


def logits_of(found: Tensor) -> Tensor:
    """Hard answers, (B, 2, H, W), from (B, 1, H, W)."""
    return 120.0 * torch.cat([~found, found], dim=1)


LINE = """.....
          #####
          ....."""
TORN = """.....
          ##.##
          ....."""


def test_a_line_is_its_own_skeleton():
    for iterations in (0, 3):
        assert torch.equal(skeleton(LINE, iterations), drawn(LINE).double())
        assert torch.equal(skeleton(TORN, iterations), drawn(TORN).double())


BAR = """.........
         .#######.
         .#######.
         .#######.
         ........."""


def test_a_bar_has_its_centre_line_after_as_many_iterations_as_its_half_width():
    assert skeleton(BAR, 0).sum() == 0
    # One erosion leaves the middle row without its ends, which an opening takes away.
    centre = """.........
                .........
                ..#####..
                .........
                ........."""
    for iterations in (1, 4):
        assert torch.equal(skeleton(BAR, iterations), drawn(centre).double())


def test_what_is_not_counted_neither_tears_nor_ends_a_line():
    bar = """.........
             .###?###.
             .###?###.
             .###?###.
             ........."""
    # As above, without the unknown column; the border of the image is the same: nothing is known there.
    assert skeleton(bar, 2)[0, 0, 2].tolist() == [0, 0, 1, 1, 0, 1, 1, 0, 0]
    assert skeleton(bar, 2).sum() == 4
    band = """.....
              #####
              #####
              #####
              ....."""
    assert skeleton(band, 2)[0, 0, 2].tolist() == [1, 1, 1, 1, 1]


def test_half_sure_lines_have_half_a_skeleton():
    assert_close(soft_skeleton(0.5 * drawn(LINE), drawn(LINE, "#."), 2), 0.5 * drawn(LINE))


def test_a_torn_line_lacks_sensitivity():
    # found skeleton 4 px, all in the truth: (4 + 1) / (4 + 1); true skeleton 5 px, 4 of them found: (4 + 1) / (5 + 1)
    loss = cldice(logits_of(drawn(TORN)), drawn(LINE)[:, 0].long())
    assert loss.item() == pytest.approx(1 - 2 * (5 / 6) / (1 + 5 / 6))
    # without smooth: 1 and 4 / 5
    loss = cldice(logits_of(drawn(TORN)), drawn(LINE)[:, 0].long(), smooth=0)
    assert loss.item() == pytest.approx(1 - 2 * (4 / 5) / (1 + 4 / 5))


def test_a_line_too_much_lacks_precision():
    # two lines found, 5 px of 10 in the truth: (5 + 1) / (10 + 1); the true skeleton is found: 1
    two, one = drawn("..... ##### ..... ##### ....."), drawn("..... ##### ..... ..... .....")
    assert cldice(logits_of(two), one[:, 0].long()).item() == pytest.approx(1 - 2 * (6 / 11) / (1 + 6 / 11))


def test_the_line_may_lie_anywhere_inside():
    # A bar of 3 px found where the truth is its centre line: skeletons agree, the widths do not matter.
    thin = """.........
              .........
              ..#####..
              .........
              ........."""
    assert cldice(logits_of(drawn(BAR)), drawn(thin)[:, 0].long()).item() == pytest.approx(0, abs=1e-6)


def test_images_are_summed_or_averaged():
    # image 1 torn as above; image 2 right: found and true skeleton 5 px
    found, truth = torch.cat([drawn(TORN), drawn(LINE)]), torch.cat([drawn(LINE), drawn(LINE)])[:, 0].long()
    # together: 9 of 9 px, 9 of 10 px
    assert cldice(logits_of(found), truth, smooth=0).item() == pytest.approx(1 - 2 * 0.9 / 1.9)
    assert cldice(logits_of(found), truth, smooth=0, per="image").item() == pytest.approx((1 - 2 * 0.8 / 1.8) / 2)


def test_absent_class_is_left_out_or_counted():
    # nothing true, 5 px found: precision (0 + 1) / (5 + 1), sensitivity (0 + 1) / (0 + 1)
    logits, target = logits_of(drawn(LINE)), torch.zeros(1, 3, 5, dtype=torch.int64)
    assert cldice(logits, target).item() == 0
    assert cldice(logits, target, classes="all").item() == pytest.approx(1 - 2 * (1 / 6) / (1 + 1 / 6))


def test_channels_choose_the_thin_classes():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 6, 7), torch.randint(0, 3, (2, 6, 7))
    each = [cldice(logits, target, channels=[k]) for k in range(3)]
    assert_close(cldice(logits, target), (each[1] + each[2]) / 2)
    assert_close(cldice(logits, target, channels=[2, 0]), (each[0] + each[2]) / 2)
    with pytest.raises(InputError, match=r"cldice takes channels=\[1, 3\], but the logits have channels 0 to 2"):
        cldice(logits, target, channels=[1, 3])


@pytest.mark.parametrize("iterations", [0, 3])
def test_monai_agrees_on_one_channel(iterations):
    monai = pytest.importorskip("monai.losses")
    torch.manual_seed(0)
    logits, target = torch.randn(2, 2, 9, 11, dtype=torch.float64, requires_grad=True), torch.randint(0, 2, (2, 9, 11))
    target[1] = 0
    settings = {"softmax": True, "to_onehot_y": True, "include_background": False, "smooth": 1e-12}
    theirs = monai.SoftclDiceLoss(iter_=iterations, **settings)(logits, target.unsqueeze(1))
    found = cldice(logits, target, iterations=iterations, per="image", classes="all")
    assert_close(found, theirs)
    assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(theirs, logits))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": -1}, "cldice takes a whole number of iterations of 0 or more, found -1"),
        ({"iterations": 2.0}, "cldice takes a whole number of iterations of 0 or more, found 2.0"),
        ({"channels": []}, r"cldice takes a list of different channels, as \[1, 2\], found \[\]"),
        ({"channels": 1}, "list of different channels, .* found 1"),
        ({"channels": "12"}, "list of different channels, .* found '12'"),
        ({"channels": [1, 1]}, "list of different channels"),
        ({"channels": [-1]}, "list of different channels"),
        ({"per": "pixel"}, "cldice takes per='batch' or 'image', found 'pixel'"),
        ({"smooth": -1}, "cldice takes smooth of 0 px or more, found -1"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        cldice(logits_of(drawn(LINE)), drawn(LINE)[:, 0].long(), **settings)

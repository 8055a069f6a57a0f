"""Mask classification: values by hand, the best of all matchings, points, what is ignored, sums over processes."""

from __future__ import annotations

from itertools import permutations
from math import log

import pytest
import torch
from torch import Tensor

from maskwright.errors import InputError
from maskwright.losses import mask_classification as module
from maskwright.losses.mask_classification import (
    CLASS,
    DICE,
    MASK,
    mask_classification,
    mask_classification_parts,
    mask_costs,
    matched_pairs,
)

IGNORE = 255


def logit(p: list) -> Tensor:
    return torch.logit(torch.tensor(p, dtype=torch.float64))


# One image of 1 x 2 pixels, class 0 on the left, class 1 on the right; three queries.
MASKS = logit([[[[0.75, 0.25]], [[0.2, 0.8]], [[0.5, 0.5]]]])  # (1, 3, 1, 2)
CLASSES = torch.tensor([[[0.7, 0.1, 0.2], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]], dtype=torch.float64).log()  # (1, 3, 3)
TARGET = torch.tensor([[[0, 1]]])


def test_by_hand():
    # Query 0 takes class 0, query 1 class 1, query 2 nothing (weight 0.1).
    ce = (-log(0.7) - log(0.5) - 0.1 * log(0.8)) / 2.1
    bce = (-log(0.75) - log(0.8)) / 2  # each mask is equally sure of both pixels
    dice = ((1 - (2 * 0.75 + 1) / (1 + 1 + 1)) + (1 - (2 * 0.8 + 1) / (1 + 1 + 1))) / 2
    found = mask_classification_parts(MASKS, CLASSES, TARGET, points=None)
    assert found.tolist() == pytest.approx([ce, bce, dice])
    total = mask_classification(MASKS, CLASSES, TARGET, points=None)
    assert total.item() == pytest.approx(2 * ce + 5 * bce + 5 * dice)


def test_ignored_pixels_count_nowhere():
    # The right pixel is ignored: class 1 is not there. Query 0 has the best cost for class 0; the others are nothing.
    target = torch.tensor([[[0, IGNORE]]])
    ce = (-log(0.7) - 0.1 * log(0.3) - 0.1 * log(0.8)) / 1.2
    expected = [ce, -log(0.75), 1 - (2 * 0.75 + 1) / (0.75 + 1 + 1)]
    assert mask_classification_parts(MASKS, CLASSES, target, points=None).tolist() == pytest.approx(expected)
    masks = MASKS.clone().requires_grad_()
    mask_classification(masks, CLASSES, target, points=None).backward()
    assert masks.grad[0, :, 0, 1].tolist() == [0, 0, 0]
    assert masks.grad[0, 0, 0, 0] != 0


def test_an_image_without_labels_says_nothing():
    masks, classes = torch.cat([MASKS, -MASKS]), torch.cat([CLASSES, CLASSES.flip(1)])
    both = torch.cat([TARGET, torch.full_like(TARGET, IGNORE)])
    alone = mask_classification_parts(MASKS, CLASSES, TARGET, points=None)
    assert mask_classification_parts(masks, classes, both, points=None).tolist() == pytest.approx(alone.tolist())


@pytest.mark.parametrize("points", [None, 8])
def test_nothing_counted_is_zero_with_a_gradient(points):
    masks, classes = MASKS.clone().requires_grad_(), CLASSES.clone().requires_grad_()
    loss = mask_classification(masks, classes, torch.full_like(TARGET, IGNORE), points=points)
    loss.backward()
    assert loss.item() == 0
    assert masks.grad.abs().max() == 0
    assert classes.grad.abs().max() == 0


def test_costs_by_hand():
    # Two pixels, of which the mask is 0.75 and 0.25 sure; the segment is the left one, or both.
    truth = torch.tensor([[True, False], [True, True]])
    found = mask_costs(MASKS[0, :1].flatten(1), truth, torch.tensor([True, True]))
    left = 5 * -log(0.75) + 5 * (1 - (1.5 + 1) / (1 + 1 + 1))
    both = 5 * (-log(0.75) - log(0.25)) / 2 + 5 * (1 - (2 + 1) / (1 + 2 + 1))
    assert found.flatten().tolist() == pytest.approx([left, both])


def test_of_all_matchings_the_cheapest():
    torch.manual_seed(0)
    masks, classes = torch.randn(1, 5, 4, 6, dtype=torch.float64), torch.randn(1, 5, 4, dtype=torch.float64)
    target = torch.randint(0, 3, (1, 4, 6))
    _, query, label = matched_pairs(masks, classes, target, points=None)
    truth = torch.stack([target.flatten() == k for k in range(3)])
    cost = mask_costs(masks[0].flatten(1), truth, torch.ones(24, dtype=torch.bool)) - CLASS * classes[0].softmax(-1)[:, :3]
    best = min(permutations(range(5), 3), key=lambda order: sum(cost[q, k].item() for k, q in enumerate(order)))
    assert {int(k): int(q) for q, k in zip(query, label, strict=True)} == dict(enumerate(best))
    # The case is worth its name only if taking the best query class by class ends elsewhere or twice at one query.
    assert tuple(cost.argmin(dim=0).tolist()) != best


def test_more_classes_than_queries():
    target = torch.tensor([[[0, 1, 2, 3]]])
    masks = logit([[[[0.9, 0.1, 0.1, 0.1]], [[0.1, 0.1, 0.1, 0.9]]]])
    image, query, label = matched_pairs(masks, torch.zeros(1, 2, 5, dtype=torch.float64), target, points=None)
    assert (image.tolist(), query.tolist(), label.tolist()) == ([0, 0], [0, 1], [0, 3])


def test_masks_of_another_size_are_resized():
    torch.manual_seed(0)
    masks, target = torch.randn(2, 3, 3, 4, dtype=torch.float64), torch.randint(0, 2, (2, 7, 9))
    classes = torch.randn(2, 3, 3, dtype=torch.float64)
    large = torch.nn.functional.interpolate(masks, size=(7, 9), mode="bilinear", align_corners=False)
    expected = mask_classification_parts(large, classes, target, points=None)
    assert mask_classification_parts(masks, classes, target, points=None).tolist() == pytest.approx(expected.tolist())


def test_earlier_blocks_are_added_each_with_its_own_matching():
    swapped = (MASKS[:, [1, 0, 2]], CLASSES[:, [1, 0, 2]])
    one = mask_classification(MASKS, CLASSES, TARGET, points=None).item()
    both = mask_classification(MASKS, CLASSES, TARGET, earlier=[swapped], points=None).item()
    assert both == pytest.approx(2 * one)


@pytest.mark.parametrize("points", [4, 50])
def test_points_agree_where_every_point_says_the_same(points):
    # Masks constant within the labelled left half and wild in the ignored right one.
    torch.manual_seed(0)
    masks = torch.full((1, 2, 8, 8), 1.5)
    masks[:, 1] = -0.5
    target = torch.zeros(1, 8, 8, dtype=torch.int64)
    target[..., 4:] = IGNORE
    masks[..., 5:] = 40.0  # column 4 stays constant: points in column 3 are interpolated with it
    classes = torch.zeros(1, 2, 3)
    ce, bce, dice = mask_classification_parts(masks, classes, target, points=points).tolist()
    assert bce == pytest.approx(mask_classification_parts(masks, classes, target, points=None)[1].item(), rel=1e-5)
    assert 0 < dice < 1  # the smoothing pixel weighs as one point, so that this part depends on their number
    assert ce == pytest.approx(log(3))


def test_points_lie_where_the_mask_is_uncertain():
    torch.manual_seed(0)
    masks = torch.full((2, 1, 10), 9.0)
    masks[..., 4:6] = 0.1  # a fifth of the image; further points lie in the slopes beside it
    target, image = torch.zeros(2, 1, 10, dtype=torch.int64), torch.tensor([0, 1])
    where = module._uncertain(masks, target, image, IGNORE, 400)
    assert where.shape == (2, 400, 2)
    x = where[..., 0]
    inside = ((x > 0.35) & (x < 0.65)).float().mean(dim=1)
    # 3 x 400 candidates give about 360 inside the three tenths: nearly all of the 300 uncertain ones, and 30 of the 100 even ones.
    assert inside.min() > 0.75
    target[..., 4:6] = IGNORE
    x = module._uncertain(masks, target, image, IGNORE, 400)[..., 0]
    assert ((x > 0.4) & (x < 0.6)).float().mean() < 0.1  # only even ones: a fifth of a quarter


def test_the_seed_decides_the_points():
    def drawn(seed: int) -> float:
        torch.manual_seed(seed)
        masks, classes = torch.randn(2, 4, 5, 6), torch.randn(2, 4, 4)
        target = torch.randint(0, 3, (2, 20, 24))
        return mask_classification(masks, classes, target, points=16).item()

    assert drawn(1) == drawn(1) != drawn(2)


def test_labels_at_points():
    target = torch.tensor([[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]])
    where = torch.tensor([[[0.0, 0.0], [0.34, 0.49], [1.0, 1.0]], [[0.5, 0.75], [0.99, 0.0], [0.0, 0.51]]])
    assert module._labels_at(target, torch.tensor([0, 1]), where).tolist() == [[0, 1, 5], [10, 8, 9]]


def test_gradient():
    torch.manual_seed(0)
    target = torch.tensor([[[0, 2, IGNORE], [0, 0, 2]], [[1, 1, 0], [IGNORE, 0, 0]]])
    masks = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    classes = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, c: mask_classification(m, c, target, points=None), (masks, classes))


def test_half_precision_is_summed_in_full():
    torch.manual_seed(0)
    masks, classes = torch.randn(1, 4, 40, 50).bfloat16(), torch.randn(1, 4, 4).bfloat16()
    target = torch.randint(0, 3, (1, 40, 50))
    with torch.autocast("cpu", torch.bfloat16):
        found = mask_classification(masks, classes, target, points=None)
    assert found.dtype == torch.float32
    expected = mask_classification(masks.double(), classes.double(), target, points=None)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_two_processes_are_one(monkeypatch):
    """Each process sees half of the batch; the sums of both give the loss of the whole."""
    torch.manual_seed(0)
    masks, classes = torch.randn(4, 3, 4, 5, dtype=torch.float64), torch.randn(4, 3, 3, dtype=torch.float64)
    target = torch.randint(0, 2, (4, 4, 5))
    target[0] = IGNORE
    halves = slice(0, 2), slice(2, 4)
    whole = mask_classification(masks, classes, target, points=None).item()
    own = [mask_classification(masks[h], classes[h], target[h], points=None).item() for h in halves]
    assert abs(sum(own) / 2 - whole) > 1e-3  # the mean of both would be another loss
    sums: list[Tensor] = []
    monkeypatch.setattr(module, "summed_over_processes", lambda s: sums.append(s) or s)
    for h in halves:
        mask_classification(masks[h], classes[h], target[h], points=None)
    monkeypatch.setattr(module, "summed_over_processes", lambda _s: torch.stack(sums).sum(dim=0))
    assert mask_classification(masks[:2], classes[:2], target[:2], points=None).item() == pytest.approx(whole)


def test_values_that_are_not_finite_reach_the_loss():
    assert mask_classification(MASKS * torch.nan, CLASSES, TARGET, points=None).isnan()


@pytest.mark.parametrize(
    ("masks", "classes", "target", "message"),
    [
        (MASKS, CLASSES[:, :2], TARGET, r"masks are \(1, 3, 1, 2\) and classes \(1, 2, 3\); expected \(B, Q, h, w\) and"),
        (MASKS, CLASSES, TARGET.expand(2, -1, -1), r"the target is \(2, 1, 2\) torch.int64; .* need \(1, H, W\) torch.int64"),
        (MASKS, CLASSES, TARGET.int(), r"the target is \(1, 1, 2\) torch.int32"),
        (
            MASKS,
            CLASSES,
            TARGET + 1,
            "the target holds labels 1 to 2, but the queries know classes 0 to 1; mark pixels .* with 255",
        ),
        (MASKS, CLASSES, TARGET - 1, "the target holds labels -1 to 0"),
    ],
)
def test_what_does_not_go_together(masks, classes, target, message):
    with pytest.raises(InputError, match=message):
        mask_classification(masks, classes, target)


def test_factors_are_the_papers():
    assert (CLASS, MASK, DICE, module.NOTHING, module.POINTS) == (2, 5, 5, 0.1, 12544)

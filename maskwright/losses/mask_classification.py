"""The loss of mask classification: queries are matched with the classes of each image, then pulled towards their masks.

Source: MaskFormer, Cheng, Schwing, Kirillov 2021, arXiv:2107.06278, section 3.2; its factors, its sampled points and the loss of
every block after Mask2Former, Cheng et al. 2022, arXiv:2112.01527, sections 3.2.2, 3.3 and 4.1.
Differs: semantic segmentation (every class that an image holds is one segment); pixels to ignore count nowhere: points on them
weigh nothing, and an image without a labelled pixel says nothing, not even that its queries are empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from maskwright.errors import InputError
from maskwright.processes import summed_over_processes

CLASS, MASK, DICE = 2.0, 5.0, 5.0  # factors, in the matching and in the loss
NOTHING = 0.1  # weight of the queries that nothing was matched to, in cross entropy
POINTS = 112 * 112
OVERSAMPLED, UNCERTAIN = 3, 0.75  # candidates a point, share of the points that are the least certain ones


def mask_classification(
    masks: Tensor,
    classes: Tensor,
    target: Tensor,
    *,
    earlier: Sequence[tuple[Tensor, Tensor]] = (),
    ignore_index: int = 255,
    points: int | None = POINTS,
) -> Tensor:
    """2 cross entropy of the queries' classes + 5 binary cross entropy + 5 Dice of the matched masks, summed over the blocks.

    Every class that an image holds is matched with one query, so that the sum of the same three costs is least (for the class the
    probability itself, negated); all other queries are to say "nothing". Cross entropy is the weighted mean over all queries of
    the batch, nothing weighing 0.1; the mask terms are means over the matched pairs of the batch (and of all processes).

    Arguments:
        earlier: masks and classes of earlier blocks, each matched and summed by itself
        points: points a mask at which it is compared, drawn by PyTorch's generator: everywhere for the matching, for the loss
            three quarters of them where the mask is least certain; None compares at all pixels of the target

    Shapes:
        masks: (B, Q, h, w) logits of any float type and any size, standing for the whole image; computed in float32 at least
        classes: (B, Q, K + 1) logits, the last one "nothing"
        target: (B, H, W) int64, in [0, K) or ignore_index
        returns: scalar; 0 with a gradient of 0 if no pixel counts

    Edge cases: where an image holds more classes than there are queries, the best pairs are matched and the others left out.

    Raises:
        InputError: shapes, types or labels that do not go together.
    """
    parts = [mask_classification_parts(m, c, target, ignore_index, points) for m, c in ((masks, classes), *earlier)]
    ce, bce, dice = torch.stack(parts).sum(dim=0)
    total: Tensor = CLASS * ce + MASK * bce + DICE * dice
    return total


def mask_classification_parts(
    masks: Tensor, classes: Tensor, target: Tensor, ignore_index: int = 255, points: int | None = POINTS
) -> Tensor:
    """(3,): cross entropy, binary cross entropy and Dice of one block, before their factors."""
    _check(masks, classes, target, ignore_index)
    # Half precision cannot hold sums over an image; autocast would take the products below down to it.
    with torch.autocast(masks.device.type, enabled=False):
        wide = torch.promote_types(masks.dtype, torch.float32)
        masks, classes = masks.to(wide), classes.to(wide)
        image, query, label = matched_pairs(masks, classes, target, ignore_index, points)
        ce_sum, ce_weight = _class_sums(classes, target, ignore_index, image, query, label)
        bce_sum, dice_sum = _mask_sums(masks[image, query], target, image, label, ignore_index, points)
        pairs = torch.full_like(ce_sum, len(label))
        sums = summed_over_processes(torch.stack([ce_sum, bce_sum, dice_sum, ce_weight, pairs]))
        return sums[:3] / torch.stack([sums[3].clamp(min=NOTHING), sums[4].clamp(min=1), sums[4].clamp(min=1)])


@torch.no_grad()
def matched_pairs(
    masks: Tensor, classes: Tensor, target: Tensor, ignore_index: int = 255, points: int | None = POINTS
) -> tuple[Tensor, Tensor, Tensor]:
    """Which query stands for which class of which image.

    Shapes:
        returns: image, query and label of each pair, (N,) int64 each
    """
    found = []
    probs = classes.softmax(dim=-1)
    for b, labels in enumerate(target):
        present = torch.unique(labels[labels != ignore_index])  # (S,)
        if not len(present):
            continue
        where = _everywhere(1, target, points, masks.dtype)
        shown = _labels_at(target, torch.full((1,), b, device=target.device), where)[0]  # (P,)
        cost = -CLASS * probs[b][:, present] + mask_costs(
            _values_at(masks[b : b + 1], where)[0], shown == present[:, None], shown != ignore_index
        )
        # A cost that is not finite would be refused here; the loss that follows says it better.
        rows, columns = linear_sum_assignment(cost.nan_to_num().cpu().numpy())
        query, segment = (torch.as_tensor(n, device=target.device) for n in (rows, columns))
        found.append(torch.stack([torch.full_like(query, b), query, present[segment]]))
    image, query, label = torch.cat([target.new_empty(3, 0), *found], dim=1)
    return image, query, label


def mask_costs(logits: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """5 binary cross entropy + 5 Dice of every query against every segment.

    Shapes:
        logits: (Q, P); truth: (S, P) bool; counted: (P,) bool
        returns: (Q, S)
    """
    weight = counted.to(logits)
    inside, outside = truth * weight, ~truth * weight
    bce = F.softplus(-logits) @ inside.T + F.softplus(logits) @ outside.T
    probs = logits.sigmoid() * weight
    dice = 1 - (2 * probs @ inside.T + 1) / (probs.sum(dim=1)[:, None] + inside.sum(dim=1) + 1)
    return MASK * bce / weight.sum().clamp(min=1) + DICE * dice


def _class_sums(
    classes: Tensor, target: Tensor, ignore_index: int, image: Tensor, query: Tensor, label: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum of weight x cross entropy over all queries, and sum of the weights."""
    wanted = torch.full(classes.shape[:2], classes.shape[2] - 1, dtype=torch.int64, device=classes.device)
    wanted[image, query] = label
    weight = torch.full_like(wanted, NOTHING, dtype=classes.dtype)
    weight[image, query] = 1.0
    weight = weight * (target != ignore_index).flatten(1).any(dim=1)[:, None]
    each = F.cross_entropy(classes.flatten(0, 1), wanted.flatten(), reduction="none")
    return (each * weight.flatten()).sum(), weight.sum()


def _mask_sums(
    masks: Tensor, target: Tensor, image: Tensor, label: Tensor, ignore_index: int, points: int | None
) -> tuple[Tensor, Tensor]:
    """Sums over the pairs of their masks' mean binary cross entropy and of their Dice loss; masks are (N, h, w)."""
    where = _uncertain(masks, target, image, ignore_index, points)
    shown = _labels_at(target, image, where)  # (N, P)
    weight = (shown != ignore_index).to(masks)
    truth = (shown == label[:, None]).to(masks)
    logits = _values_at(masks[:, None], where)[:, 0]  # (N, P)
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    bce = (each * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
    probs, inside = logits.sigmoid() * weight, truth * weight
    dice = 1 - (2 * (probs * inside).sum(dim=1) + 1) / (probs.sum(dim=1) + inside.sum(dim=1) + 1)
    return bce.sum(), dice.sum()


def _everywhere(rows: int, target: Tensor, points: int | None, dtype: torch.dtype) -> Tensor:
    """(rows, P, 2): x and y in [0, 1] of points drawn evenly; of all pixels' centres if points is None."""
    h, w = target.shape[-2:]
    if points is not None:
        return torch.rand(rows, points, 2, dtype=dtype, device=target.device)
    y, x = ((torch.arange(n, dtype=dtype, device=target.device) + 0.5) / n for n in (h, w))
    return torch.stack([x.repeat(h), y.repeat_interleave(w)], dim=1).expand(rows, -1, -1)


@torch.no_grad()
def _uncertain(masks: Tensor, target: Tensor, image: Tensor, ignore_index: int, points: int | None) -> Tensor:
    """(N, P, 2): three quarters of them where the masks (N, h, w) are nearest to 0 and a label is known, the others anywhere."""
    if points is None:
        return _everywhere(len(masks), target, None, masks.dtype)
    candidates = _everywhere(len(masks), target, OVERSAMPLED * points, masks.dtype)
    doubt = -_values_at(masks[:, None], candidates)[:, 0].abs()
    doubt = doubt.masked_fill(_labels_at(target, image, candidates) == ignore_index, -torch.inf)
    best = doubt.topk(int(UNCERTAIN * points), dim=1).indices
    chosen = candidates.gather(1, best[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, _everywhere(len(masks), target, points - chosen.shape[1], masks.dtype)], dim=1)


def _values_at(maps: Tensor, where: Tensor) -> Tensor:
    """(N, C, h, w) and (N, P, 2) to (N, C, P): bilinear between pixel centres, constant beyond, as F.interpolate."""
    grid = (2 * where - 1).unsqueeze(1)
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)[:, :, 0]


def _labels_at(target: Tensor, image: Tensor, where: Tensor) -> Tensor:
    """(N, P): labels of the pixels of target[image] that the points (N, P, 2) lie in."""
    h, w = target.shape[-2:]
    column, row = ((where[..., i] * n).long().clamp(0, n - 1) for i, n in ((0, w), (1, h)))
    return target.flatten(1)[image[:, None], row * w + column]


def _check(masks: Tensor, classes: Tensor, target: Tensor, ignore_index: int) -> None:
    if masks.ndim != 4 or classes.ndim != 3 or masks.shape[:2] != classes.shape[:2] or classes.shape[2] < 2 or 0 in masks.shape:
        raise InputError(
            f"masks are {tuple(masks.shape)} and classes {tuple(classes.shape)}; expected (B, Q, h, w) and (B, Q, K + 1)."
        )
    if target.ndim != 3 or len(target) != len(masks) or target.dtype != torch.int64 or 0 in target.shape:
        raise InputError(
            f"the target is {tuple(target.shape)} {target.dtype}; masks {tuple(masks.shape)} need "
            f"({len(masks)}, H, W) torch.int64."
        )
    labels = target[target != ignore_index]
    if len(labels) and (int(labels.min()) < 0 or int(labels.max()) > classes.shape[2] - 2):
        raise InputError(
            f"the target holds labels {int(labels.min())} to {int(labels.max())}, but the queries know classes 0 to "
            f"{classes.shape[2] - 2}; mark pixels that belong to no class with {ignore_index}."
        )

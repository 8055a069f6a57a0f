"""clDice: Dice of centre lines, for thin structures (vessels, roads, cracks) that must not be torn apart.

Source: Shit, Paetzold et al. 2020, arXiv:2003.07311, Algorithms 1 (soft skeleton) and 2 (soft clDice).
Differs: the minimum is taken over a pixel and its four neighbours, as in the authors' code, which keeps diagonals whole; a
class has a value of its own; ignored pixels are like the outside of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.errors import InputError
from maskwright.losses.per_class import check_grouping, counting, grouped, mean_over_classes
from maskwright.losses.pixels import Pixels
from maskwright.losses.settings import check_number


def cldice(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = 255,
    iterations: int = 3,
    channels: Sequence[int] | None = None,
    per: str = "batch",
    classes: str = "present",
    smooth: float = 1.0,
) -> Tensor:
    """1 - mean over classes of 2 x precision x sensitivity / (precision + sensitivity) of the centre lines.

    Precision is the share of the found skeleton that lies in the true region, sensitivity the share of the true skeleton
    that was found, both with smooth added above and below. The skeleton is what repeated openings take away. The paper
    trains (1 - alpha) Dice + alpha clDice: combine({"dice": 0.5, "cldice": 0.5}).

    Arguments:
        iterations: how often the region is eroded: at least the largest half width of the structures, in px
        channels: the thin classes; None takes all but channel 0, which is the background where there is one. The cost grows
            with each, so name the few that are thin
        per: "batch": one value a class, from sums over all images (and processes); "image": one a class and image, then the
            mean of all of them
        classes: "present" leaves out classes that the truth of the batch (or image) does not hold; "all" counts them
        smooth: pixels added above and below both shares

    Shapes:
        logits: (B, K, H, W) of any float type; computed in float32 at least
        target: (B, H, W) int64, in [0, K) or ignore_index
        returns: scalar in [0, 1]; 0 with a gradient of 0 if no pixel counts, or none is of the channels ("present")

    Elsewhere: monai's SoftclDiceLoss adds the channels of an image together, and a small number to precision +
    sensitivity; for one channel it is per="image", classes="all". segmentation-models-pytorch has none.

    Raises:
        InputError: shapes, types or labels that do not go together, or a setting out of its range.
    """
    pixels = Pixels.of(logits, target, ignore_index)
    return cldice_of(pixels, iterations=iterations, channels=channels, per=per, classes=classes, smooth=smooth)


def cldice_of(
    pixels: Pixels,
    *,
    iterations: int = 3,
    channels: Sequence[int] | None = None,
    per: str = "batch",
    classes: str = "present",
    smooth: float = 1.0,
) -> Tensor:
    """cldice of prepared pixels."""
    check_cldice(iterations=iterations, channels=channels, per=per, classes=classes, smooth=smooth)
    chosen = _chosen(channels, pixels.log_probs.shape[1])
    counted = (pixels.counted > 0).reshape(-1, 1, *pixels.hw)  # (B, 1, H, W)
    found = pixels.probs[:, chosen].reshape(-1, len(chosen), *pixels.hw)  # (B, C, H, W)
    labels = pixels.target.reshape(-1, 1, *pixels.hw)
    true = ((labels == torch.tensor(chosen, device=labels.device).view(1, -1, 1, 1)) & counted).to(found)
    found_line, true_line = (soft_skeleton(region, counted, iterations) for region in (found, true))
    sums = torch.stack([found_line * true, found_line, true_line * found, true_line]).sum(dim=(3, 4))
    hit, line, seen, true_length = grouped(sums, per)  # (G, C) each
    least = torch.finfo(sums.dtype).tiny
    precision = (hit + smooth) / (line + smooth).clamp(min=least)
    sensitivity = (seen + smooth) / (true_length + smooth).clamp(min=least)
    score = 2 * precision * sensitivity / (precision + sensitivity).clamp(min=least)
    (truth,) = grouped(pixels.by_class(pixels.counted).unsqueeze(0), per)  # (G, K)
    return mean_over_classes(1 - score, counting(truth, classes)[:, chosen], local=per == "image")


def soft_skeleton(regions: Tensor, counted: Tensor, iterations: int) -> Tensor:
    """Centre lines of soft regions: all that an opening takes away, from the region and from each erosion of it.

    Shapes:
        regions: (B, C, H, W) in [0, 1]
        counted: (B, 1, H, W) bool; elsewhere is treated as outside the image: it neither erodes nor grows anything
        returns: (B, C, H, W) in [0, 1], at most the region; 0 where nothing is counted
    """
    skeleton = torch.zeros_like(regions)
    for _ in range(iterations + 1):
        eroded = _eroded(regions, counted)
        taken = F.relu(regions - _dilated(eroded, counted))
        skeleton = skeleton + (1 - skeleton) * taken
        regions = eroded
    return torch.where(counted, skeleton, 0.0)


def _eroded(regions: Tensor, counted: Tensor) -> Tensor:
    """The minimum over each pixel and its four neighbours, those that count."""
    negative = -torch.where(counted, regions, 1.0)
    columns = F.max_pool2d(negative, (3, 1), stride=1, padding=(1, 0))
    rows = F.max_pool2d(negative, (1, 3), stride=1, padding=(0, 1))
    return -torch.maximum(columns, rows)


def _dilated(regions: Tensor, counted: Tensor) -> Tensor:
    """The maximum over 3 x 3 pixels, those that count."""
    return F.max_pool2d(torch.where(counted, regions, 0.0), 3, stride=1, padding=1)


def _chosen(channels: Sequence[int] | None, count: int) -> list[int]:
    if channels is None:
        return list(range(min(1, count - 1), count))
    if max(channels) >= count:
        raise InputError(f"cldice takes channels={list(channels)}, but the logits have channels 0 to {count - 1}.")
    return list(channels)


def check_cldice(
    *,
    iterations: int = 3,
    channels: Sequence[int] | None = None,
    per: str = "batch",
    classes: str = "present",
    smooth: float = 1.0,
) -> None:
    """Refuse what cldice does not know, before the first batch.

    Raises:
        InputError: the message names the setting and its range or choices.
    """
    if not _whole(iterations):
        raise InputError(f"cldice takes a whole number of iterations of 0 or more, found {iterations!r}.")
    if channels is not None and not (
        isinstance(channels, Sequence) and channels and all(map(_whole, channels)) and len({*channels}) == len(channels)
    ):
        raise InputError(f"cldice takes a list of different channels, as [1, 2], found {channels!r}.")
    check_grouping("cldice", per, classes)
    check_number("cldice", "smooth", smooth, unit=" px")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

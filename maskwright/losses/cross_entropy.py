"""Cross entropy over the pixels that count.

Source of label smoothing: Szegedy et al. 2015, arXiv:1512.00567, section 7.
"""

from __future__ import annotations

from torch import Tensor

from maskwright.losses.per_pixel import checked_weights, mean_over_pixels, pixel_weights
from maskwright.losses.pixels import Pixels
from maskwright.losses.settings import check_number


def cross_entropy(
    logits: Tensor, target: Tensor, *, weights: Tensor | None = None, label_smoothing: float = 0.0, ignore_index: int = 255
) -> Tensor:
    """Mean of -log p(own class) over all counted pixels of the batch, each pixel weighed by its class.

    The sum of weight x -log p, divided by the sum of the weights, over the whole batch and all processes: an image with few
    counted pixels weighs less than a full one.

    Arguments:
        label_smoothing: share of the truth that is spread evenly over all K classes, in [0, 1]; each class's part is
            weighed by that class's own weight, and the sum of the weights below stays that of the true classes

    Shapes:
        logits: (B, K, H, W) of any float type; computed in float32 at least
        target: (B, H, W) int64, in [0, K) or ignore_index
        weights: (K,), none negative
        returns: scalar; 0 with a gradient of 0 if no pixel counts

    Elsewhere: PyTorch's is the same, but nan if no pixel counts; segmentation-models-pytorch's SoftCrossEntropyLoss divides
    by the ignored pixels too.

    Raises:
        InputError: shapes, types or labels that do not go together, or a setting out of its range.
    """
    return cross_entropy_of(Pixels.of(logits, target, ignore_index), weights, label_smoothing=label_smoothing)


def cross_entropy_of(pixels: Pixels, weights: Tensor | None = None, *, label_smoothing: float = 0.0) -> Tensor:
    """cross_entropy of prepared pixels."""
    check_cross_entropy(label_smoothing=label_smoothing)
    weight = pixel_weights(pixels, weights)
    loss_sum = -(pixels.log_likelihood * weight).sum()
    if label_smoothing:
        loss_sum = (1 - label_smoothing) * loss_sum + label_smoothing * _spread_sum(pixels, weights)
    return mean_over_pixels(loss_sum, weight.sum())


def _spread_sum(pixels: Pixels, weights: Tensor | None) -> Tensor:
    """Scalar: the sum of the loss if every class had the same share of the truth."""
    by_class = -(pixels.log_probs * pixels.counted.unsqueeze(1)).sum(dim=(0, 2))  # (K,)
    return by_class.mean() if weights is None else (by_class * checked_weights(weights, pixels)).mean()


def check_cross_entropy(*, label_smoothing: float = 0.0) -> None:
    """Refuse what cross_entropy does not know, before the first batch.

    Raises:
        InputError: the message names the setting and its range.
    """
    check_number("cross_entropy", "label_smoothing", label_smoothing, high=1)

"""Class weights from pixel counts.

Source of "median": Eigen, Fergus 2015, arXiv:1411.4734, section 4.3; used by SegNet, arXiv:1511.00561.
Differs: of an image only the counted pixels are its size; ignored ones would make its classes look rarer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskwright.errors import InputError

KINDS = ("none", "inverse", "median")


def class_weights(pixels: Sequence[int], image_pixels: Sequence[int] | None = None, *, kind: str = "none") -> Tensor:
    """One weight a class, for cross entropy.

    "none": 1 each. "inverse": all counted pixels / (classes present x pixels of the class), so that every class has the same
    part in the sum. "median": median of the frequencies / frequency of the class, where the frequency is taken only over
    the images that hold the class. A class without a pixel has weight 1 and no part in any of the numbers.

    Shapes:
        pixels: (K,) counted pixels of each class in the training images
        image_pixels: (K,) counted pixels, of any class, of the images that hold the class; needed for "median"
        returns: (K,) float32

    Raises:
        InputError: unknown kind, missing or impossible counts.
    """
    if kind not in KINDS:
        raise InputError(f"class weights {kind!r} are not known; expected one of {', '.join(KINDS)}.")
    counts = torch.tensor(list(pixels), dtype=torch.float64)
    if counts.ndim != 1 or not len(counts) or bool((counts < 0).any()):
        raise InputError(f"pixel counts {list(pixels)} cannot be; expected one number of 0 or more a class.")
    weights = torch.ones_like(counts)
    seen = counts > 0
    if kind == "inverse":
        weights[seen] = counts.sum() / (seen.sum() * counts[seen])
    elif kind == "median":
        share = counts[seen] / _image_pixels(counts, image_pixels)[seen]
        weights[seen] = _median(share) / share
    return weights.float()


def _image_pixels(counts: Tensor, image_pixels: Sequence[int] | None) -> Tensor:
    if image_pixels is None:
        raise InputError("class weights 'median' need image_pixels, the pixels of the images that hold each class.")
    whole = torch.tensor(list(image_pixels), dtype=torch.float64)
    if whole.shape != counts.shape or bool((whole < counts).any()):
        raise InputError(
            f"image_pixels {list(image_pixels)} do not go with pixels {counts.tolist()}: images hold all pixels of their classes."
        )
    return whole


def _median(values: Tensor) -> Tensor:
    """The middle value, the mean of the middle two; torch.median takes the lower of the two."""
    return values.quantile(0.5) if len(values) else values.new_ones(())

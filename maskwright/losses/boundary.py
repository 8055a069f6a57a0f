"""Boundary loss: probabilities weighed by how far, and on which side, a pixel lies from the true boundary.

Source: Kervadec, Bouchtiba, Desrosiers, Granger, Dolz, Ben Ayed 2018, arXiv:1812.07032, section 2.
Differs: every class has a map, the background too; the mean is over counted pixels and classes.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from maskwright.losses.per_pixel import mean_over_pixels
from maskwright.losses.pixels import Pixels


def boundary(logits: Tensor, target: Tensor, *, ignore_index: int = 255) -> Tensor:
    """Mean over counted pixels and classes of probability x signed distance to the class's true boundary, in px.

    The distance of class k is above 0 outside its region and below 0 inside; its outermost pixels have 0, their neighbours
    outside 1. It says nothing of a region that is not there, so it is meant as a part of a sum: combine({"dice": 1.0,
    "boundary": 0.01}), with a small factor, because it grows with the size of the image.

    Ignored pixels are of no side: they count 0, and distances are those to the nearest counted pixel of the other side. The
    map of a class is 0 in an image that does not hold it, or that holds nothing else.

    Shapes:
        logits: (B, K, H, W) of any float type; computed in float32 at least
        target: (B, H, W) int64, in [0, K) or ignore_index
        returns: scalar, below 0 for a good answer and lowest for the truth; 0 with a gradient of 0 if no pixel counts

    Distances are found on the CPU, twice for every class that an image holds.

    Elsewhere: monai's BoundaryLoss(softmax=True) is the same where no pixel is ignored, and has no ignored pixels;
    segmentation-models-pytorch has none.

    Raises:
        InputError: shapes, types or labels that do not go together.
    """
    return boundary_of(Pixels.of(logits, target, ignore_index))


def boundary_of(pixels: Pixels) -> Tensor:
    """boundary of prepared pixels."""
    return mean_over_pixels((pixels.probs * _distance_maps(pixels)).sum(), pixels.counted.sum() * pixels.probs.shape[1])


def signed_distance(own: NDArray[np.bool_], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance in px to the boundary of a region: positive outside, 0 on its outermost pixels, negative further inside.

    Shapes:
        own: (H, W), the region; counted: (H, W), own and all that is known not to be
        returns: (H, W); 0 where nothing is counted, and everywhere if the region is empty or all there is
    """
    own, other = own & counted, counted & ~own
    if not own.any() or not other.any():
        return np.zeros(own.shape)
    return np.where(own, 1 - distance_transform_edt(~other), distance_transform_edt(~own)) * counted


def _distance_maps(pixels: Pixels) -> Tensor:
    """(B, K, N): signed distance of each class in each image."""
    shape = (len(pixels.target), *pixels.hw)
    labels = pixels.target.cpu().numpy().reshape(shape)
    counted = (pixels.counted > 0).cpu().numpy().reshape(shape)
    maps = np.zeros((shape[0], pixels.log_probs.shape[1], *pixels.hw), dtype=np.float32)
    for found, image, known in zip(maps, labels, counted, strict=True):
        for k in np.unique(image[known]):
            found[k] = signed_distance(image == k, known)
    return torch.from_numpy(maps).flatten(2).to(pixels.log_probs)

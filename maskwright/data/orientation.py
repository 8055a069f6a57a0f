"""Was a mask drawn on the picture as displayed, or as stored before its EXIF orientation was applied?

Where the two have different sizes the size tells. Where they have the same size (square pictures, half turns, mirrors) the
pictures tell: borders of a mask that fits lie where the picture changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from maskwright.io.decoded import upright
from maskwright.io.image import Image

# How many times more the picture must change under the borders of one mask than under those of the other.
CLEARLY = 1.25
FITS, TURNED, UNSURE = "fits", "turned", "unsure"


def fit_of(image: Image, labels: NDArray[Any]) -> str:
    """FITS where the labels lie on the displayed picture, TURNED where on the stored one, UNSURE where neither stands out.

    Shapes:
        labels: (H, W), of the size of the displayed image
    """
    turned = upright(labels, image.orientation)
    if image.orientation == 1 or turned.shape != labels.shape or np.array_equal(turned, labels):
        return FITS
    grey = scipy.ndimage.gaussian_filter(image.to_uint8().mean(axis=2), 1)
    change = scipy.ndimage.gaussian_gradient_magnitude(grey, 1)
    as_given, as_turned = _mean_on_borders(change, labels), _mean_on_borders(change, turned)
    if as_given > CLEARLY * as_turned:
        return FITS
    return TURNED if as_turned > CLEARLY * as_given else UNSURE


def _mean_on_borders(change: NDArray[Any], labels: NDArray[Any]) -> float:
    border = np.zeros(labels.shape, np.bool)
    border[1:] |= labels[1:] != labels[:-1]
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    return float(change[border].mean()) if border.any() else 0.0

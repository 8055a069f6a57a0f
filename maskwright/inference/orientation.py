"""Answers turned to how a file stores its pixels, where EXIF says that it is displayed another way round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.ops.rle import Rle
from maskwright.result import Segmentation


def as_stored(found: Segmentation) -> Segmentation:
    """The answer turned back to how the file stores its pixels: the inverse of the file's EXIF orientation."""
    if found.image is None or found.image.orientation == 1:
        return found
    back = _BACK[found.image.orientation]
    image = replace(found.image, pixels=back(found.image.pixels), orientation=1)
    if found.instances is not None:
        masks = tuple(Rle.from_mask(back(mask.to_mask())) for mask in found.instances.masks)
        hw = found.instances.hw if found.image.orientation < 5 else found.instances.hw[::-1]
        turned = replace(found.instances, hw=hw, masks=masks, boxes_xyxy=None, rings=())
        return replace(found, instances=turned, labels=back(found.labels), image=image)
    probs = None if found.probs is None else np.stack([back(p) for p in found.probs])
    confidence = None if found.confidence is None else back(found.confidence)
    uncertainty = None if found.uncertainty is None else back(found.uncertainty)
    return replace(found, labels=back(found.labels), image=image, confidence=confidence, probs=probs, uncertainty=uncertainty)


# From displayed to stored, on (H, W, ...), by EXIF orientation. 6 is displayed after a quarter turn clockwise, so its way
# back is one anticlockwise; 8 the other way round; all others are their own inverse.
_BACK: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: np.ascontiguousarray(a[:, ::-1]),
    3: lambda a: np.ascontiguousarray(a[::-1, ::-1]),
    4: lambda a: np.ascontiguousarray(a[::-1]),
    5: lambda a: np.ascontiguousarray(a.swapaxes(0, 1)),
    6: lambda a: np.ascontiguousarray(np.rot90(a, 1)),
    7: lambda a: np.ascontiguousarray(a[::-1, ::-1].swapaxes(0, 1)),
    8: lambda a: np.ascontiguousarray(np.rot90(a, -1)),
}

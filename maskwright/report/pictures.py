"""Pictures inside the page: as small as the room that all of them share asks for."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from maskwright.evaluation import AnyEvaluation

PICTURES_BYTES = 4_000_000  # of all pictures as text: leaves room for the rest in 5 MB
# (share of the width, JPEG quality), from the best to what always fits.
SQUEEZES = ((1.0, 88), (1.0, 75), (0.75, 75), (0.5, 72), (0.35, 60), (0.2, 50))
WIDE = 1.5  # pictures wider than this, relative to their height, get a row of their own


@dataclass(frozen=True)
class Picture:
    """A picture of one image, with what is said of it."""

    name: str
    says: str
    uri: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        return self.width > WIDE * self.height


def embedded(evaluation: AnyEvaluation, names: Sequence[str]) -> dict[str, Picture]:
    """The kept pictures of these images as data URIs that together stay below PICTURES_BYTES."""
    kept = [name for name in names if name in evaluation.pictures]
    scores = {score.name: score for score in evaluation.per_image}
    room = PICTURES_BYTES // max(len(kept), 1)
    return {name: _picture(name, scores[name].said, evaluation.pictures[name], room) for name in kept}


def _picture(name: str, says: str, pixels: NDArray[np.uint8], room_bytes: int) -> Picture:
    height, width = pixels.shape[:2]
    for share, quality in SQUEEZES:
        uri = _jpeg_uri(pixels, share, quality)
        if len(uri) <= room_bytes:
            break
    return Picture(name, says, uri, width, height)


def _jpeg_uri(pixels: NDArray[np.uint8], share: float, quality: int) -> str:
    picture, buffer = PIL.Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    if share < 1:
        picture = picture.resize((max(round(picture.width * share), 1), max(round(picture.height * share), 1)))
    # Full colour resolution: class contours are thin and strongly coloured.
    picture.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

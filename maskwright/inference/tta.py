"""Mirror images as a second opinion: a forward averaged over flips of its input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskwright.inference.tiled import Forward

if TYPE_CHECKING:
    from torch import Tensor

LEFT_RIGHT = (3,)
UP_DOWN = (2,)


def flipped(forward: Forward, dims: Sequence[Sequence[int]] = (LEFT_RIGHT,)) -> Forward:
    """The average of forward's logits over the image as it is and over each of its flips, turned back.

    Averaging logits is averaging probabilities geometrically: a flip that rules a class out weighs more than one that is
    unsure. Flips that agree leave their common value unchanged to the bit.

    Shapes:
        dims: one tuple of axes a flip; image and answer (B, C, H, W), so (3,) is left-right and (2, 3) a half turn
    """

    def run(image: Tensor) -> Tensor:
        average = forward(image)
        for count, axes in enumerate(dims, start=2):
            answer = forward(image.flip(tuple(axes))).flip(tuple(axes))
            average = average + (answer - average) / count
        return average

    return run

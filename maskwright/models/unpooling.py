"""Max pooling that says where each maximum stood, and its counterpart, which puts values back there.

Source: Badrinarayanan, Kendall, Cipolla 2015, arXiv:1511.00561, section 3 and figure 3. Written from the paper.
Differs: nothing; the results are those of torch's max_pool2d and max_unpool2d with 2x2 windows. `unpool` is a single scatter, an
operation that every exporter and runtime knows, and takes images of free size.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def max_pool_with_positions(x: Tensor) -> tuple[Tensor, Tensor]:
    """The largest value of every 2x2 window, and where it stood.

    Of equal values the first one in reading order is taken, and nan before any number. The gradient goes to the value that
    was taken and to no other.

    Shapes:
        x: (B, C, H, W)
        returns: (B, C, H // 2, W // 2) values, and of the same shape int64 positions row * W + column in x

    Edge cases: an odd row or column at the end belongs to no window and is left out.
    """
    values, positions = F.max_pool2d(x, 2, return_indices=True)
    return values, positions


def unpool(x: Tensor, positions: Tensor, hw: tuple[int, int]) -> Tensor:
    """A map of size hw with the values of x at their positions and 0 elsewhere.

    Shapes:
        x, positions: (B, C, h, w), as max_pool_with_positions gives them; each plane's positions are all different
        returns: (B, C, *hw)
    """
    sparse = x.new_zeros(x.shape[0], x.shape[1], hw[0] * hw[1]).scatter_(2, positions.flatten(2), x.flatten(2))
    return sparse.view(x.shape[0], x.shape[1], *hw)

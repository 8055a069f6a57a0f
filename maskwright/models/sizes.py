"""What every network does with its input: refuse what it cannot take, fill up to the grid of its deepest map.

Traced for torch.export or torch.compile, nothing here asks whether two sizes are equal: the graph must hold for all sizes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.errors import InputError


def check_image(image: Tensor, channels: int) -> None:
    """Refuse a batch that is not (B, channels, H, W).

    Raises:
        InputError: the message names the shape that was found and the one that is taken.
    """
    if image.ndim != 4 or image.shape[1] != channels or 0 in image.shape:
        raise InputError(f"the model takes (B, {channels}, H, W), found {tuple(image.shape)}; check the image's channels.")


def on_grid(image: Tensor, grid: int, *, least: int = 1) -> Tensor:
    """The image with its right and lower border repeated until both sides are multiples of `grid`, at least `least` of them.

    Arguments:
        least: cells of the grid along each side at least. A deepest map of one pixel has no variance, and batch norm refuses to
            train on a single such image, so that a network with batch norm asks for `least=2` in training where it must.

    Shapes:
        image: (B, C, H, W)
        returns: (B, C, a * grid, b * grid), the image itself at the top left
    """
    h, w = image.shape[-2:]
    # Counted in cells: the tracer then knows that every map of the grid divides evenly. From -h % grid it does not see that.
    rows, columns = (h + grid - 1) // grid, (w + grid - 1) // grid
    if least > 1:
        rows, columns = max(rows, least), max(columns, least)
    bottom, right = rows * grid - h, columns * grid - w
    if not (torch.compiler.is_compiling() or bottom or right):
        return image
    return F.pad(image, (0, right, 0, bottom), mode="replicate")


def cropped(x: Tensor, like: Tensor) -> Tensor:
    """The top left of x that is as high and wide as `like`: what on_grid has added is gone again.

    Traced, the rows and columns are picked by number, since a slice would ask whether they are there.
    """
    h, w = like.shape[-2:]
    if not torch.compiler.is_compiling():
        return x[..., :h, :w]
    return x.index_select(-2, torch.arange(h, device=x.device)).index_select(-1, torch.arange(w, device=x.device))


def resized(x: Tensor, hw: tuple[int, int]) -> Tensor:
    """(B, C, h, w) to (B, C, *hw), bilinear, pixel centres kept; the tensor itself where the size is right already."""
    if not torch.compiler.is_compiling() and (x.shape[-2], x.shape[-1]) == hw:
        return x
    return F.interpolate(x, size=hw, mode="bilinear", align_corners=False)

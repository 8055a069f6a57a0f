"""How far the found and the true region of a class overlap: the one core of Dice, Jaccard and Tversky.

Source: Salehi, Erdogmus, Gholipour 2017, arXiv:1706.05721: Dice is alpha = beta = 1/2, Jaccard alpha = beta = 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskwright.losses.per_class import grouped
from maskwright.losses.pixels import Pixels


def tversky_index(pixels: Pixels, *, alpha: float, beta: float, smooth: float, per: str) -> tuple[Tensor, Tensor]:
    """(overlap + smooth) / (overlap + alpha x falsely found + beta x missed + smooth), and the true pixels, of each class.

    overlap sums the probability of class k over the counted pixels that are k; falsely found sums it over those that are
    not; missed is what the probability of class k lacks to 1 on the pixels that are k.

    Shapes:
        returns: index (G, K) in [0, 1] and true pixels (G, K); G = B for per="image", 1 for "batch"
    """
    overlap = pixels.by_class(pixels.log_likelihood.exp())  # (B, K)
    # Multiplied and summed, not a matrix product: autocast would take that down to half precision.
    found = (pixels.probs * pixels.counted.unsqueeze(1)).sum(dim=2)
    truth = pixels.by_class(pixels.counted)
    overlap, found, truth = grouped(torch.stack([overlap, found, truth]), per)  # (G, K) each
    # Falsely found is found - overlap, missed is truth - overlap; collected so that nothing is subtracted for Dice.
    whole = (1 - alpha - beta) * overlap + alpha * found + beta * truth
    return (overlap + smooth) / (whole + smooth).clamp(min=torch.finfo(whole.dtype).tiny), truth

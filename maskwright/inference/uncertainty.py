"""What a network is unsure of: many answers with its dropout switched on, their mean and how much they differ.

Source: Kendall, Badrinarayanan, Cipolla 2015, arXiv:1511.02680, sections 3 and 4; Gal, Ghahramani 2016, arXiv:1506.02142.
Written from the papers. Differs: any network with dropout will do, not SegNet alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd  # the one base class of every dropout layer; it has no public name

from maskwright.errors import InputError
from maskwright.inference.tiled import Forward

PASSES = 50  # as in the paper, where the mean of more than six beats a single pass without dropout


class Sampled(NamedTuple):
    """The answers of several passes in short.

    Attributes:
        probs: (B, K, H, W) mean probability of each class; the class map is probs.argmax(dim=1)
        uncertainty: (B, H, W) variance of a class's probability over the passes, mean over the classes; in [0, 0.25]
    """

    probs: Tensor
    uncertainty: Tensor


def monte_carlo(
    model: nn.Module, image: Tensor, *, passes: int = PASSES, seed: int = 0, forward: Forward | None = None
) -> Sampled:
    """Probabilities and their uncertainty from several passes with dropout.

    Only the dropout layers are switched on: batch norm keeps its statistics. Afterwards every layer is in the mode it was in
    before, and torch's random numbers go on as if nothing had been drawn. The same seed gives the same answer for the same
    batch on the same device; the images of a batch do not share their dropped values.

    Args:
        passes: how often the image goes through the model, at least 2
        forward: how to run the model, as from backends.forward_on or tiled(); None: as it is, without gradients

    Shapes:
        image: (B, C, H, W)

    Raises:
        InputError: fewer than two passes, or the model has no dropout to switch on.
    """
    check_samples(model, passes)
    forward = forward or model
    devices = {t.device for t in (image, *model.parameters()) if t.device.type == "cuda"}
    with dropout_on(model), torch.random.fork_rng(devices=list(devices)), torch.no_grad():
        torch.manual_seed(seed)
        mean = forward(image).float().softmax(dim=1)
        squares = torch.zeros_like(mean)  # sum of squared distances from the mean so far (Welford 1962)
        for count in range(2, passes + 1):
            probs = forward(image).float().softmax(dim=1)
            away = probs - mean
            mean = mean + away / count
            squares += away * (probs - mean)
    return Sampled(mean, (squares / passes).mean(dim=1))


def check_samples(model: nn.Module, passes: int) -> None:
    """Refuse what cannot be sampled, before any image is read.

    Raises:
        InputError: see monte_carlo.
    """
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 2:
        raise InputError(f"{passes!r} passes with dropout are not usable; a variance needs a whole number of 2 or more.")
    if not _dropouts(model):
        raise InputError(
            "the model drops no values, so that all its passes would agree; train one with dropout, as segnet with dropout=0.5."
        )


@contextmanager
def dropout_on(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in evaluation mode but for its dropout layers; afterwards every layer is in its former mode."""
    before = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        for layer in _dropouts(model):
            layer.train()
        yield
    finally:
        for module, training in before:
            module.training = training


def _dropouts(model: nn.Module) -> list[_DropoutNd]:
    return [m for m in model.modules() if isinstance(m, _DropoutNd) and m.p > 0]

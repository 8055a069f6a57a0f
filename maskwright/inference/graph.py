"""PixelGraph: everything between a stored image and its class ids as one network, so that a runtime gets it whole.

Predictor prepares an image with Preprocess, runs the net and decodes; here the same three steps are tensor operations in one
forward, which torch.export takes with free batch, height and width (see converting.py). Pixels go in as they are stored and ids
come out, one byte each: nothing wider crosses the border of the runtime.
Differs from Predictor: by rounding alone, in resizing and in the net; a pixel whose two best classes are as good as equal may
change. An image with values that are not finite is not refused, since a graph cannot. Every image is scaled by its own values:
an image that is part of a whole with statistics (a volume's slice) goes another way.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.transforms import Preprocess
from maskwright.transforms.preprocess import LUMA

Answer = Literal["labels", "logits", "work_logits"]
LEAST_SPREAD = 1e-6  # of the values of an image, as in Preprocess
MANY_PX = 1 << 18  # above it percentiles are those of every 4th pixel, as in Preprocess


class PixelGraph(nn.Module):
    """A semantic network with what is done before and after it: stored pixels to class ids.

    Args:
        model: (B, C, H, W) to logits (B, K, H, W), in evaluation mode
        preprocess: what is done to an image first, of the model's manifest
        classes: what its channels mean
        value_range: lowest and highest value of the images (Image.value_range), which scaling "range" brings to 0 and 1
        answer: "labels"; "logits" at the image's size; "work_logits" at the size that the net sees

    Shapes:
        image: (B, H, W, C) of any number type; C is the model's number of channels, or 1 for 3, or 3 for 1
        returns: labels (B, H, W) of classes.dtype, or logits (B, K, H, W) or (B, K, h, w) float32

    Raises:
        InputError: the image's channels cannot be turned into the model's.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Preprocess,
        classes: ClassMap,
        *,
        value_range: tuple[float, float] = (0.0, 255.0),
        answer: Answer = "labels",
    ) -> None:
        super().__init__()
        self.before = PixelsIn(preprocess, value_range=value_range)
        self.model = model
        self.after = PixelsOut(preprocess, classes, answer=answer)

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.after(self.model(self.before(image)), image)
        return answer


class PixelsIn(nn.Module):
    """The first half: stored pixels to what a network sees, as Preprocess does it.

    Shapes:
        image: (B, H, W, C') of any number type
        returns: (B, C, h, w) float32

    Raises:
        InputError: the image's channels cannot be turned into the model's.
    """

    mean: Tensor
    std: Tensor
    luma: Tensor

    def __init__(self, preprocess: Preprocess, *, value_range: tuple[float, float] = (0.0, 255.0)) -> None:
        super().__init__()
        self.preprocess, self.value_range, self.resizes = preprocess, value_range, _resizes(preprocess)
        for name, values in (("mean", preprocess.mean), ("std", preprocess.std), ("luma", LUMA)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        hw = image.shape[1], image.shape[2]
        x = self._scaled(image.permute(0, 3, 1, 2).float())  # (B, C', H, W)
        if self.resizes:
            x = F.interpolate(
                x, size=self.preprocess.work_hw(hw), mode="bilinear", align_corners=False, antialias=self.preprocess.smooth
            )  # (B, C', h, w)
        return (self._to_channels(x) - self.mean) / self.std  # (B, C, h, w)

    def _scaled(self, x: Tensor) -> Tensor:
        if self.preprocess.scaling == "range":
            low, high = self.value_range
            return (x - low) / max(high - low, LEAST_SPREAD)
        if self.preprocess.scaling == "zscore":
            # A line, then the lines: a running sum of millions of numbers would lose the last ones.
            mean = x.mean(dim=3, keepdim=True).mean(dim=(1, 2, 3), keepdim=True)
            spread = (x - mean).square().mean(dim=3, keepdim=True).mean(dim=(1, 2, 3), keepdim=True).sqrt()
            return (x - mean) / spread.clamp(min=LEAST_SPREAD)
        low_value, high_value = _outer_percentiles(x)
        return ((x - low_value) / (high_value - low_value).clamp(min=LEAST_SPREAD)).clamp(0, 1)

    def _to_channels(self, x: Tensor) -> Tensor:
        have, wanted = x.shape[1], self.preprocess.channels
        if have == wanted:
            return x
        if (have, wanted) == (3, 1):
            return (x * self.luma).sum(1, keepdim=True)
        if (have, wanted) == (1, 3):
            return x.repeat(1, 3, 1, 1)
        raise InputError(
            f"the graph's image has {have} channels, the model was trained on {wanted}; give an example with {wanted}."
        )


class PixelsOut(nn.Module):
    """The second half: what a network answers to class ids, or to logits, at the image's size; see PixelGraph.

    Shapes:
        logits: (B, K, h, w); image: (B, H, W, C), of which the size alone counts
        returns: (B, H, W), or (B, K, H, W) or (B, K, h, w) float32
    """

    ids: Tensor

    def __init__(self, preprocess: Preprocess, classes: ClassMap, *, answer: Answer = "labels") -> None:
        super().__init__()
        self.resizes, self.answer = _resizes(preprocess), answer
        self.numbered = classes.ids == tuple(range(len(classes)))  # each id is its channel, and needs no looking up
        self.register_buffer("ids", torch.from_numpy(np.asarray(classes.ids, classes.dtype)), persistent=False)

    def forward(self, logits: Tensor, image: Tensor) -> Tensor:
        logits = logits.float()
        if self.answer == "work_logits":
            return logits
        if self.resizes:
            hw = image.shape[1], image.shape[2]
            logits = F.interpolate(logits, size=hw, mode="bilinear", align_corners=False)  # (B, K, H, W)
        if self.answer == "logits":
            return logits
        channels = logits.argmax(dim=1)  # (B, H, W)
        return channels.to(self.ids.dtype) if self.numbered else self.ids[channels]


def _resizes(preprocess: Preprocess) -> bool:
    return (preprocess.max_side_px, preprocess.min_side_px, preprocess.zoom) != (None, None, 1.0)


def _outer_percentiles(x: Tensor) -> tuple[Tensor, Tensor]:
    """The 0.5 and the 99.5 percentile of each image's values, in between the two nearest as numpy.percentile.

    Shapes:
        x: (B, C, H, W)
        returns: two (B, 1, 1, 1)
    """
    h, w = x.shape[2], x.shape[3]
    step = 1 + 3 * torch.sym_min(1, (h * w - 1) // MANY_PX)
    rows, columns = (torch.arange((side + step - 1) // step, device=x.device).mul(step) for side in (h, w))
    values = x.index_select(2, rows).index_select(3, columns).flatten(1)  # (B, N)
    places = values.shape[1] - 1
    at, share = places * 5 // 1000, (places * 5 % 1000) / 1000
    found = []
    for largest in (False, True):
        # Sorted as far as needed: place `at` and the next one from either end.
        ends = values.topk(torch.sym_min(at + 2, places + 1), dim=1, largest=largest).values
        outer, inner = ends.select(1, at), ends[:, -1]
        found.append((outer + (inner - outer) * share).view(-1, 1, 1, 1))
    return found[0], found[1]

"""From a stored image to what the network sees, and exactly back again.

Preprocess is shared by training and prediction and stands in every checkpoint: that is how the two cannot drift apart.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.io.image import Image, nominal_range
from maskwright.io.volume import slice_of
from maskwright.later import torch

if TYPE_CHECKING:
    from torch import Tensor

MOST_ZOOM = 16
ZOOM_STEPS = 1000  # a zoom is taken to the nearest fraction with at most this denominator
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Frame:
    """Where a preprocessed image came from: enough to bring an answer back to the original pixels.

    Attributes:
        hw: height and width of the original image
        work_hw: height and width of what the network sees
    """

    hw: tuple[int, int]
    work_hw: tuple[int, int]

    def restore(self, logits: Tensor) -> Tensor:
        """Logits at the original size; unchanged to the bit where the sizes are equal.

        Shapes:
            logits: (B, K, h, w) at work_hw
            returns: (B, K, H, W) float32 at hw, bilinear
        """
        if self.hw == self.work_hw:
            return logits.float()
        return torch.nn.functional.interpolate(logits.float(), size=self.hw, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Preprocess:
    """Channels, size and value scale of what the network sees.

    Attributes:
        channels: channels of the network; 3 -> 1 takes the luma, 1 -> 3 repeats, anything else must match
        max_side_px: images are scaled so that their longer side has this length; None keeps their own size
        min_side_px: the same of their shorter side; with both the shorter side has min_side_px, unless the longer one would
            surpass max_side_px, which it then has
        zoom: magnification on top of that, for things too small for the network's coarse maps
        scaling: "range" by the type's value range to [0, 1]; "percentile" by each image's 0.5 and 99.5 percentile to
            [0, 1]; "zscore" by each image's mean and standard deviation; of a part of a whole (a volume's slice) by the whole's
        mean, std: one a channel, applied after the scaling
        smooth: a smaller image is the mean of what each pixel covers; False takes points, as some published weights were trained
    """

    channels: int
    max_side_px: int | None = None
    scaling: Literal["range", "percentile", "zscore"] = "range"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    min_side_px: int | None = None
    smooth: bool = True
    zoom: float = 1.0

    def __post_init__(self) -> None:
        for name, fill in (("mean", 0.0), ("std", 1.0)):
            given = tuple(float(v) for v in getattr(self, name)) or (fill,) * self.channels
            if len(given) != self.channels:
                raise InputError(f"preprocess: {len(given)} values of {name} for {self.channels} channels; give one a channel.")
            object.__setattr__(self, name, given)
        if self.scaling not in ("range", "percentile", "zscore"):
            raise InputError(f"preprocess: scaling {self.scaling!r} is unknown; known: range, percentile, zscore.")
        for name in ("max_side_px", "min_side_px"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"preprocess: {name}={getattr(self, name)} must be 1 or more, or None for the images' own size.")
        if not 0 < self.zoom <= MOST_ZOOM:
            raise InputError(f"preprocess: zoom={self.zoom} must be above 0 and at most {MOST_ZOOM}.")
        if min(self.std) <= 0:
            raise InputError(f"preprocess: std {self.std} must be greater than zero.")

    def __call__(self, image: Image) -> tuple[Tensor, Frame]:
        """The network's input and the way back.

        Shapes:
            returns: (1, C, h, w) float32, and the Frame

        Raises:
            InputError: the image's channels cannot be turned into the network's.
        """
        x, frame = self.seen(image)
        return torch.from_numpy(x), frame

    def seen(self, image: Image) -> tuple[NDArray[np.float32], Frame]:
        """The same as an array; torch is only needed where the size changes."""
        work_hw = self.work_hw(image.hw)
        x = np.ascontiguousarray(self.scaled(image).transpose(2, 0, 1))[None]  # (1, C', H, W)
        if work_hw != image.hw:
            x = _resized(x, work_hw, smooth=self.smooth)  # (1, C', h, w)
        x = self._to_channels(x, image)  # (1, C, h, w)
        mean, std = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in (self.mean, self.std))
        return (x - mean) / std, Frame(image.hw, work_hw)

    def work_hw(self, hw: tuple[int, int]) -> tuple[int, int]:
        """Size the network sees for an image of size hw, see max_side_px, min_side_px and zoom; no side under 1.

        Counted in whole numbers, with what a tracer can follow: a graph with free sizes then comes to the same size.
        """
        zoom = Fraction(self.zoom).limit_denominator(ZOOM_STEPS)
        scales = [(zoom.numerator, zoom.denominator)]
        lesser, greater = _extremes(hw)
        if (self.max_side_px, self.min_side_px) != (None, None):
            wished = ((self.max_side_px, greater(*hw)), (self.min_side_px, lesser(*hw)))
            scales = [(px * zoom.numerator, side * zoom.denominator) for px, side in wished if px is not None]
        h, w = (functools.reduce(lesser, (_rounded(side * up, down) for up, down in scales)) for side in hw)
        return greater(1, h), greater(1, w)

    def scaled(self, image: Image) -> NDArray[np.float32]:
        """The image's values by `scaling`, (H, W, C) as stored; mean and std come after.

        Raises:
            InputError: a value is not finite.
        """
        pixels = image.pixels
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise InputError(
                f"{image.path or image.name}: {np.count_nonzero(~np.isfinite(pixels))} values are not finite (nan or infinite); "
                'replace them by a number, such as the value that means "no data".'
            )
        low, high = self.ends(image)
        scaled = (pixels.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-6))
        return np.clip(scaled, 0, 1) if self.scaling == "percentile" else scaled

    def doubt(self, image: Image) -> str | None:
        """What a person should know whose image is scaled by "range", as 8-bit images are, and looks like another kind."""
        pixels = image.pixels
        if self.scaling != "range" or pixels.dtype == np.uint8:
            return None
        if pixels.dtype.kind == "f":
            told = "its floats go beyond 0 to 1, so their lowest and highest became black and white; give 0 to 255 as uint8."
            return None if image.value_range == (0.0, 1.0) else told
        told = f"as {pixels.dtype} it is all but black, for no value is above 255; give values of 8 bits as uint8."
        # A slice may well be all but black; what is asked is about the whole.
        is_slice = image.path is not None and slice_of(image.path) is not None
        full = not is_slice and image.value_range == nominal_range(pixels)
        return told if full and pixels.min() >= 0 and pixels.max() <= np.iinfo(np.uint8).max else None

    def ends(self, image: Image) -> tuple[float, float]:
        """The values of an image that become 0 and 1, before mean and std."""
        pixels, whole = image.pixels, image.statistics
        if self.scaling == "range":
            return image.value_range
        if whole is not None:
            return (whole.low, whole.high) if self.scaling == "percentile" else (whole.mean, whole.mean + whole.std)
        if self.scaling == "percentile":
            # Every 4th pixel gives the same percentiles on a large image at a fraction of the time.
            step = 4 if pixels.shape[0] * pixels.shape[1] > 1 << 18 else 1
            low, high = np.percentile(pixels[::step, ::step].astype(np.float32), (0.5, 99.5))
            return float(low), float(high)
        mean, spread = float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
        return mean, mean + spread

    def _to_channels(self, x: NDArray[np.float32], image: Image) -> NDArray[np.float32]:
        have = x.shape[1]
        if have == self.channels:
            return x
        if self.channels == 1 and have == 3:
            return np.asarray((x * np.array(LUMA, np.float32).reshape(1, 3, 1, 1)).sum(1, keepdims=True))
        if self.channels == 3 and have == 1:
            return np.broadcast_to(x, (len(x), 3, *x.shape[2:]))
        raise InputError(
            f"{image.path or image.name}: the image has {have} channels, the model was trained on {self.channels}. "
            f"Give an image with {self.channels} channels, or train a model on images like this one."
        )

    def to_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Preprocess:
        unknown = sorted(set(given) - {f.name for f in fields(cls)})
        if unknown:
            raise InputError(f"preprocess: unknown keys {unknown}; known: {[f.name for f in fields(cls)]}.")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        return cls(**plain)


def _extremes(hw: tuple[int, int]) -> tuple[Callable[[int, int], int], Callable[[int, int], int]]:
    """The lesser and the greater of two lengths; of those that a tracer leaves free as it can follow, which Python would fix."""
    if all(type(side) is int for side in hw):
        return min, max
    return torch.sym_min, torch.sym_max  # type: ignore[return-value]  # whole numbers in, whole numbers out


def _resized(x: NDArray[np.float32], hw: tuple[int, int], *, smooth: bool) -> NDArray[np.float32]:
    resize = torch.nn.functional.interpolate
    found: NDArray[np.float32] = resize(
        torch.from_numpy(x), size=hw, mode="bilinear", align_corners=False, antialias=smooth
    ).numpy()
    return found


def _rounded(up: int, down: int) -> int:
    """up / down to the nearest whole number, the greater of two that are as near."""
    return (2 * up + down) // (2 * down)


def resize_target(target: NDArray[np.uint8], hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Channel-index target at another size: each new pixel takes the class that covers most of it.

    Shapes:
        target: (H, W) uint8, channel indices or 255 (ignored; it competes for the majority like a class)
        returns: (h, w) uint8
    """
    if target.shape == hw:
        return target
    values = np.flatnonzero(np.bincount(target.ravel(), minlength=256))
    onehot = (target[None] == values[:, None, None]).astype(np.float32)[None]  # (1, V, H, W)
    return np.asarray(values[_resized(onehot, hw, smooth=True)[0].argmax(0)], np.uint8)

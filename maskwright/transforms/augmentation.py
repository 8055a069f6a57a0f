"""The paired augmentation of training images, built on torchvision.transforms.v2.

Each transform draws its numbers once and applies them to the image (bilinear) and to the target (nearest) alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from maskwright.classes import IGNORE_ID
from maskwright.errors import InputError
from maskwright.transforms.preprocess import LUMA

ELASTIC_KNOTS = 6
SHARES = ("flip_horizontal", "flip_vertical", "turn", "hide", "foreground", "copy_paste")  # at most 1


@dataclass(frozen=True)
class Augmentation:
    """How far training images are varied; probabilities in [0, 1], strengths as named. Zero switches a part off.

    Attributes:
        scale: zoom drawn log-uniformly from 1 / (1 + scale) to 1 + scale
        stretch: the same for the ratio of width to height
        rotation_deg: rotation drawn uniformly from -rotation_deg to rotation_deg
        shift: shift of whole images as a share of their side, either way
        elastic: standard deviation of a smooth random displacement as a share of the patch side
        flip_horizontal, flip_vertical: probability of a mirror image
        turn: probability of a turn by 90, 180 or 270 degrees
        exposure: factor 1 / (1 + e) .. 1 + e on the distance from the image's darkest value, cut off at its lightest: another
            time of day, another aperture
        contrast, brightness: factor 1 / (1 + c) .. 1 + c around the mean; offset in standard deviations either way
        saturation: factor 1 / (1 + s) .. 1 + s on each pixel's distance from its grey; images of three channels alone
        tint: offset of each channel for itself, in standard deviations either way; images of several channels alone
        gamma: exponent 1 / (1 + g) .. 1 + g on values scaled to [0, 1]
        noise: standard deviation of added noise is drawn from 0 .. noise (in standard deviations of the data)
        blur: largest sigma in px of a Gaussian blur, used for a third of the images
        hide: probability that a rectangle is overwritten with a flat value while its label stays
        foreground: share of the patches whose centre is drawn from the pixels of a class other than background
        copy_paste: probability that some objects of another training image are pasted in; where truths tell objects apart
    """

    scale: float = 0.25
    stretch: float = 0.1
    rotation_deg: float = 15.0
    shift: float = 0.08
    elastic: float = 0.015
    flip_horizontal: float = 0.0
    flip_vertical: float = 0.0
    turn: float = 0.0
    exposure: float = 0.0
    contrast: float = 0.3
    brightness: float = 0.3
    saturation: float = 0.3
    tint: float = 0.1
    gamma: float = 0.4
    noise: float = 0.1
    blur: float = 1.0
    hide: float = 0.1
    foreground: float = 0.33
    copy_paste: float = 0.0

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            most = 1.0 if f.name in SHARES else math.inf
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
                raise InputError(f"augment.{f.name} is {value!r}; expected a number from 0 to {most:g}.")


class RandomWindow(v2.Transform):  # type: ignore[misc]
    """One smooth map for zoom, stretch, rotation, shift, flips, turns and elastic change, sampled once.

    Doing all of it in one resampling keeps the image sharp and costs one grid_sample. Outside the image the image repeats
    its border and the target is ignored (255).

    Shapes:
        image: (C, H, W) float -> (C, h, w) = patch_hw
        target: (H, W) uint8 -> (h, w), 255 outside the image; or the layers of objects (L, H, W) -> (L, h, w), 0 outside
    """

    def __init__(self, patch_hw: tuple[int, int], augmentation: Augmentation) -> None:
        super().__init__()
        self.patch_hw, self.augmentation = patch_hw, augmentation

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        a = self.augmentation
        target = next(t for t in flat_inputs if isinstance(t, tv_tensors.Mask))
        hw = (target.shape[-2], target.shape[-1])
        zoom, stretch = _factor(a.scale), _factor(a.stretch)
        angle = math.radians(_uniform(-a.rotation_deg, a.rotation_deg))
        if torch.rand(()) < a.turn:
            angle += math.pi / 2 * int(torch.randint(1, 4, ()))
        flip_x, flip_y = (-1.0 if torch.rand(()) < p else 1.0 for p in (a.flip_horizontal, a.flip_vertical))
        turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        root = math.sqrt(stretch)
        matrix = torch.diag(torch.tensor([flip_x * root / zoom, flip_y / root / zoom])) @ turn
        return {"grid": self._grid(matrix, self._centre(target, hw), hw)}

    def _centre(self, target: Tensor, hw: tuple[int, int]) -> tuple[float, float]:
        """Centre of the window in the image, (x, y) in px: drawn from a class, or anywhere that shows the most image."""
        if torch.rand(()) < self.augmentation.foreground and any(n > p for n, p in zip(hw, self.patch_hw, strict=True)):
            shown = (target > 0).any(dim=0) if target.ndim == 3 else (target > 0) & (target != IGNORE_ID)
            inside = shown.flatten().nonzero().flatten()
            if len(inside):
                pixel = int(inside[int(torch.randint(len(inside), ()))])
                return pixel % hw[1] + 0.5, pixel // hw[1] + 0.5
        centre = []
        for length, patch in zip(hw, self.patch_hw, strict=True):
            reach = max(0.0, (length - patch) / 2) or self.augmentation.shift * length
            centre.append(length / 2 + _uniform(-reach, reach))
        return centre[1], centre[0]

    def _grid(self, matrix: Tensor, centre_xy: tuple[float, float], hw: tuple[int, int]) -> Tensor:
        h, w = self.patch_hw
        ys, xs = torch.arange(h)[:, None] - (h - 1) / 2, torch.arange(w)[None] - (w - 1) / 2
        shift = self._elastic()
        axes = []
        for row, centre, length, moved in zip(matrix.tolist(), centre_xy, (hw[1], hw[0]), shift, strict=True):
            point = row[0] * xs + row[1] * ys + moved + centre  # (h, w) in px of the image
            axes.append(point * (2 / length) - 1)  # grid_sample's units
        return torch.stack(axes, dim=-1)

    def _elastic(self) -> Tensor:
        """A smooth random displacement, (2, h, w) in px: a coarse grid of normal numbers, interpolated bicubically."""
        sigma_px = self.augmentation.elastic * max(self.patch_hw)
        if not sigma_px:
            return torch.zeros(2, 1, 1)
        rows, columns = (_cubic_basis(n) for n in self.patch_hw)
        return rows @ (torch.randn(2, ELASTIC_KNOTS, ELASTIC_KNOTS) * sigma_px) @ columns.T

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        grid = params["grid"][None]
        if isinstance(inpt, tv_tensors.Mask) and inpt.ndim == 3:
            # Outside the image there are no objects.
            return tv_tensors.Mask(F.grid_sample(inpt[None].float(), grid, mode="nearest", align_corners=False)[0].to(inpt.dtype))
        if isinstance(inpt, tv_tensors.Mask):
            # Shifting by one makes the zeros that grid_sample puts outside the image stand for "ignored".
            moved = F.grid_sample(inpt[None, None].float() + 1, grid, mode="nearest", padding_mode="zeros", align_corners=False)
            target = torch.where(moved == 0, IGNORE_ID, moved - 1)[0, 0].to(torch.uint8)
            return tv_tensors.Mask(target)
        image = F.grid_sample(inpt[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0]
        return tv_tensors.Image(image)


class RandomAppearance(v2.Transform):  # type: ignore[misc]
    """Contrast, brightness, colour, gamma, blur, noise and hidden rectangles; the target is left alone.

    Shapes:
        image: (C, h, w) float, normalised to mean 0 and standard deviation 1 over the data; returns the same
    """

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, augmentation: Augmentation) -> None:
        super().__init__()
        self.augmentation = augmentation

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:  # noqa: ARG002
        # A copy, changed in place: a new image for each step of the sums would cost more than the sums.
        a, x = self.augmentation, inpt.as_subclass(Tensor).clone()
        low, high = x.amin(), x.amax()
        if a.exposure:
            x.sub_(low).mul_(_factor(a.exposure)).add_(low).clamp_(max=high)
        if a.gamma:
            span = (high - low).clamp(min=1e-6)
            x.sub_(low).div_(span).clamp_(min=0).pow_(_factor(a.gamma)).mul_(span).add_(low)
        if a.contrast or a.brightness:
            mean = x.mean()
            x.sub_(mean).mul_(_factor(a.contrast)).add_(mean).add_(_uniform(-a.brightness, a.brightness))
        if a.saturation and len(x) == 3:
            grey = (x * x.new_tensor(LUMA).view(3, 1, 1)).sum(0, keepdim=True)
            x.sub_(grey).mul_(_factor(a.saturation)).add_(grey)
        if a.tint and len(x) > 1:
            x.add_((torch.rand(len(x), 1, 1) * 2 - 1) * a.tint)
        if a.blur and torch.rand(()) < 1 / 3:
            x = v2.functional.gaussian_blur(x, kernel_size=[7, 7], sigma=[max(0.1, _uniform(0, a.blur))])
        if a.hide and torch.rand(()) < a.hide:
            x = _hide_rectangle(x)
        if a.noise:
            x.add_(torch.randn_like(x).mul_(_uniform(0, a.noise)))
        return tv_tensors.Image(x)


def augmenter(patch_hw: Sequence[int], augmentation: Augmentation) -> v2.Compose:
    """The paired training transform: (Image (C, H, W), Mask (H, W)) -> (Image (C, h, w), Mask (h, w)); or layers of objects.

    All numbers come from torch's global generator, so a caller that seeds it gets the same patch again.
    """
    return v2.Compose([RandomWindow((patch_hw[0], patch_hw[1]), augmentation), RandomAppearance(augmentation)])


@lru_cache(maxsize=8)
def _cubic_basis(length: int) -> Tensor:
    """(length, ELASTIC_KNOTS): weights with which the knots make a bicubic line of that length; two thin matrix products
    with it cost a tenth of interpolating the full-size field."""
    knots = torch.eye(ELASTIC_KNOTS)[None, None]
    return F.interpolate(knots, size=(length, ELASTIC_KNOTS), mode="bicubic", align_corners=True)[0, 0]


def _hide_rectangle(x: Tensor) -> Tensor:
    """x, in which a rectangle of a tenth to a third of each side is set to a value between its least and greatest."""
    h, w = x.shape[-2:]
    tall, wide = (max(1, round(n * _uniform(0.1, 0.33))) for n in (h, w))
    top, left = int(torch.randint(h - tall + 1, ())), int(torch.randint(w - wide + 1, ()))
    x[..., top : top + tall, left : left + wide] = _uniform(float(x.amin()), float(x.amax()))
    return x


def _factor(strength: float) -> float:
    """Drawn log-uniformly from 1 / (1 + strength) to 1 + strength."""
    return math.exp(_uniform(-math.log1p(strength), math.log1p(strength)))


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))

"""Objects as training sees them: a few layers of object numbers, which are warped as one label map is.

Objects that overlap stand in different layers, so that no pixel is lost and a hundred objects cost little more than one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from maskwright.errors import InputError
from maskwright.instances import Instances

MOST_OBJECTS = 32767
LEAST_PX = 4  # what is left of an object at a window's edge and is smaller than this is no longer one


@dataclass(frozen=True, eq=False)
class ObjectLayers:
    """The objects of one training image.

    Attributes:
        layers: (L, h, w) int16, at each pixel the number of an object (its position below, from 1 on) or 0; L is at least 1
        classes: (N,) int64, channel of each object's class, from 1 on
        crowds: (N,) bool, objects that count nowhere
    """

    layers: Tensor
    classes: Tensor
    crowds: Tensor

    @property
    def nbytes(self) -> int:
        return self.layers.nbytes + self.classes.nbytes + self.crowds.nbytes

    def resized(self, hw: tuple[int, int]) -> ObjectLayers:
        """At another size, each pixel from the nearest."""
        if self.layers.shape[1:] == hw:
            return self
        moved = F.interpolate(self.layers[None].float(), size=hw, mode="nearest-exact")[0]
        return replace(self, layers=moved.to(torch.int16))

    def boxes(self) -> tuple[Tensor, Tensor]:
        """Numbers (M,) of the objects that are still there, and their boxes (M, 4) float32, xyxy in pixels, half open."""
        numbers, boxes = [], []
        for layer in self.layers.numpy():
            for number, place in _places(layer):
                rows, columns = place
                numbers.append(number)
                boxes.append((columns.start, rows.start, columns.stop, rows.stop))
        order = np.argsort(numbers, kind="stable")
        found = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)[order]
        return torch.tensor(numbers, dtype=torch.int64)[order], found

    def crop(self, number: int, box: Tensor) -> Tensor:
        """The mask of one object within its box, (y1 - y0, x1 - x0) bool."""
        x0, y0, x1, y1 = (int(v) for v in box)
        return (self.layers[:, y0:y1, x0:x1] == number).any(dim=0)


def layered(instances: Instances) -> ObjectLayers:
    """Each object in the first layer where it meets no other, the largest first.

    Raises:
        InputError: more than 32767 objects.
    """
    if len(instances) > MOST_OBJECTS:
        raise InputError(
            f"{instances.name}: {len(instances)} objects; training takes at most {MOST_OBJECTS} an image. Cut it up."
        )
    stack: list[NDArray[np.int16]] = []
    for k in np.argsort(-instances.areas_px, kind="stable"):
        x0, y0, x1, y1 = instances.masks[k].box_xyxy
        mask = instances.masks[k].crop((x0, y0, x1, y1))
        free = next((layer for layer in stack if not layer[y0:y1, x0:x1][mask].any()), None)
        if free is None:
            free = np.zeros(instances.hw, np.int16)
            stack.append(free)
        free[y0:y1, x0:x1][mask] = k + 1
    layers = np.stack(stack or [np.zeros(instances.hw, np.int16)])
    channels = instances.classes.to_indices(instances.class_ids)
    return ObjectLayers(torch.from_numpy(layers), torch.from_numpy(channels), torch.from_numpy(instances.crowds.copy()))


def paste_objects(image: Tensor, objects: ObjectLayers, other: Tensor, others: ObjectLayers) -> tuple[Tensor, ObjectLayers]:
    """Some objects of another image pasted onto this one; which they are is drawn from torch's generator.

    What they cover of the objects below is gone; crowds are never pasted.

    Shapes:
        image, other: (C, h, w), alike

    Source: Ghiasi et al. 2021, arXiv:2012.07177, without its blending.
    """
    numbers = [int(n) for n in others.boxes()[0] if not others.crowds[n - 1]]
    chosen = [n for n in numbers if torch.rand(()) < 0.5]
    if not chosen:
        return image, objects
    count = len(objects.classes)
    table = torch.zeros(len(others.classes) + 1, dtype=torch.int16)
    table[chosen] = torch.arange(count + 1, count + 1 + len(chosen), dtype=torch.int16)
    above = table[others.layers.long()]  # (L', h, w)
    covered = (above > 0).any(dim=0)
    layers = torch.cat([torch.where(covered, torch.zeros_like(objects.layers), objects.layers), above])
    taken = torch.tensor(chosen) - 1
    joined = ObjectLayers(
        layers, torch.cat([objects.classes, others.classes[taken]]), torch.cat([objects.crowds, others.crowds[taken]])
    )
    return torch.where(covered, other, image), joined


def _places(layer: NDArray[np.int16]) -> list[tuple[int, tuple[slice, slice]]]:
    """Number and bounding slices of each object of a layer that is not smaller than LEAST_PX."""
    from scipy.ndimage import find_objects

    sizes = np.bincount(layer.ravel())
    places = enumerate(find_objects(layer), start=1)
    return [(n, (place[0], place[1])) for n, place in places if place is not None and sizes[n] >= LEAST_PX]

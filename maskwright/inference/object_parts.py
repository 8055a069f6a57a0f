"""A network of objects on a runtime: its dense parts converted, what depends on the values in torch between them.

    detect = detect_by(net, parts_on(net, Way("openvino", "bf16")))

The graphs take images of any size and any number of boxes. A runtime prepares kernels for every new number, so boxes are filled
up to steps of STEP; what is computed for the filling is cut off again.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.inference.backends import computing
from maskwright.inference.converting import free_axes
from maskwright.inference.objects import Detect
from maskwright.inference.runtimes import Run, Way, compiled
from maskwright.models.mask_rcnn.heads import BOX_PX, MASK_PX
from maskwright.models.mask_rcnn.parts import BoxGraph, Looked, LookGraph, MaskGraph, Parts
from maskwright.models.outputs import Detections

if TYPE_CHECKING:
    from maskwright.models.mask_rcnn.model import MaskRCNN

GRAPHS = ("look", "boxes", "masks")  # of graphs_of, in the order of parts_of
STEP = 8
_EXAMPLE_HW = (128, 192)  # of the image that is traced; both sides are free in the graph

Graph = tuple[nn.Module, tuple[Tensor, ...], tuple[dict[int, Any], ...]]  # module, example, free axes of each input


def graphs_of(net: MaskRCNN) -> dict[str, Graph]:
    """The dense parts as modules to be converted, with an example of their input and its free axes."""
    width = int(net.rpn.objectness.weight.shape[1])
    crops = [torch.zeros(2 * STEP, px, px, width) for px in (BOX_PX, MASK_PX)]
    classes = torch.ones(2 * STEP, dtype=torch.int64)
    image = torch.zeros(1, net.channels, *_EXAMPLE_HW)
    return {
        "look": (LookGraph(net), (image,), (free_axes(2, 3),)),
        "boxes": (BoxGraph(net.box_head), (crops[0],), (free_axes(0),)),
        "masks": (MaskGraph(net.mask_head), (crops[1], classes), (free_axes(0), free_axes(0))),
    }


def parts_on(net: nn.Module, way: Way, *, key: str | None = None) -> Parts:
    """The dense parts of a network of objects as they run on a runtime; see runtimes.compiled.

    Args:
        key: under which the converted graphs are kept in the cache; None converts them anew

    Raises:
        InputError, MissingExtraError: the network is not of the kind, or the runtime is not there.
    """
    runs = {
        name: compiled(module, example, way, dynamic=free, key=f"{key}-{name}" if key else None)
        for name, (module, example, free) in graphs_of(_checked(net)).items()
    }
    return parts_of(runs["look"], runs["boxes"], runs["masks"])


def parts_of(look: Run, boxes: Run, masks: Run) -> Parts:
    """Parts from the three graphs as they run somewhere."""

    def looked(image: Tensor) -> Looked:
        *maps, objectness, deltas = look(image)
        return [m.permute(0, 3, 1, 2) for m in maps], objectness, deltas

    def boxed(crops: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = filled(boxes, len(crops), crops.permute(0, 2, 3, 1))
        return logits, deltas

    def masked(crops: Tensor, classes: Tensor) -> Tensor:
        if not len(crops):
            return crops.new_zeros(0, 1, 2 * MASK_PX, 2 * MASK_PX)
        return filled(masks, len(crops), crops.permute(0, 2, 3, 1), classes)[0]

    return Parts(looked, boxed, masked)


def filled(run: Run, count: int, *inputs: Tensor) -> tuple[Tensor, ...]:
    """What a graph says of `count` entries, filled up with zeros to the next step and cut off again."""
    more = -count % STEP if count else STEP
    if more:
        inputs = tuple(F.pad(x, [0, 0] * (x.ndim - 1) + [0, more]) for x in inputs)
    return tuple(out[:count] for out in run(*inputs))


def detect_by(net: nn.Module, parts: Parts) -> Detect:
    """The objects of one image, (1, C, h, w) on the CPU, with the dense parts computed by `parts`."""
    detector = _checked(net).eval()
    device = next(detector.parameters()).device

    def detect(image: Tensor) -> Detections:
        with ExitStack() as settings:
            computing(settings, device, "fp32", False)
            (found,) = detector.detect(image, parts=parts)
            return found

    return detect


def _checked(net: nn.Module) -> MaskRCNN:
    from maskwright.models.mask_rcnn.model import MaskRCNN  # timm and torchvision, which other networks do not need

    if not isinstance(net, MaskRCNN):
        raise InputError(f"{type(net).__name__} finds objects in another way than Mask R-CNN; run it on torch.")
    return net

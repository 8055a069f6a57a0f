"""What the mask doctor sees in the objects of an image: shapes that cross themselves, leave the image or lie twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maskwright.annotations.assemble import assembled, rasterised, remark
from maskwright.annotations.drawn import COCO, AnnotatedImage, Annotations, Drawn, Remark
from maskwright.instances import Instances
from maskwright.ops.nesting import lies_inside
from maskwright.ops.ring_checks import box_of, crosses_itself, share_outside
from maskwright.ops.rle import Rle

# Vertices on the border are often rounded outwards, and the last pixel's far edge is the image's: a pixel beyond is no mistake.
OUTSIDE_PX = 1.0
# A stated box fits while no side is farther off than this many pixels and this share of the longer side: annotation tools round
# boxes and polygons differently, and COCO's own boxes are up to 3 pixels off.
BOX_PX, BOX_SHARE = 2.0, 0.05


def examine(annotations: Annotations, k: int, hw: tuple[int, int]) -> tuple[Instances, list[Remark]]:
    """As assemble.instances_of, with what is odd about the shapes of the objects among the remarks.

    Raises:
        InputError: the image's annotations cannot be read at all.
    """
    image = annotations.images[k]
    drawn, remarks = annotations.objects(k)
    kept, lost = rasterised(drawn, image, hw)
    shapes = [r for one in drawn for r in _of_rings(one, image, hw)]
    boxes = [r for one, mask in kept for r in _of_box(one, mask, image)]
    found = assembled(kept, annotations.classes, hw, image.name)
    return found, [*remarks, *lost, *shapes, *boxes, *_duplicates(kept, image)]


def _of_rings(one: Drawn, image: AnnotatedImage, hw: tuple[int, int]) -> Iterator[Remark]:
    crossing = next((point for ring in one.rings if (point := crosses_itself(ring)) is not None), None)
    if crossing is not None:
        what = f"crosses itself at ({crossing[0]:.1f}, {crossing[1]:.1f}); draw it again there."
        yield remark("self-crossing", image, one, what)
    x0, y0, x1, y1 = box_of(one.rings)
    beyond = max(-x0, -y0, x1 - hw[1], y1 - hw[0])
    if beyond > OUTSIDE_PX:
        share = share_outside(one.rings, hw)
        what = f"reaches {beyond:.1f} px beyond the image of {hw[1]}x{hw[0]} ({share:.0%} of its area); the rest is cut off."
        yield remark("out-of-image", image, one, what)
    if one.rule == COCO and _has_ring_in_ring(one):
        what = "has a polygon inside another of its polygons, which COCO's rule fills; store a hole as run lengths."
        yield remark("holes-lost", image, one, what)


def _has_ring_in_ring(one: Drawn) -> bool:
    return any(lies_inside(inner, outer) for inner in one.rings for outer in one.rings if inner is not outer)


def _of_box(one: Drawn, mask: Rle, image: AnnotatedImage) -> Iterator[Remark]:
    if one.box_xyxy is None:
        return
    # The tip of a thin polygon may cover no pixel; its file's box is right all the same.
    fitting = [mask.box_xyxy, *([box_of(one.rings)] if one.rings else [])]
    if not any(_fits(one.box_xyxy, box, mask.hw) for box in fitting):
        x0, y0, x1, y1 = mask.box_xyxy
        box = ", ".join(f"{v:.1f}" for v in one.box_xyxy)
        what = f"states the box ({box}), its mask has ({x0}, {y0}, {x1}, {y1}); one of the two is wrong."
        yield remark("box-mismatch", image, one, what)


def _fits(stated: Sequence[float], drawn: Sequence[float], hw: tuple[int, int]) -> bool:
    """Whether no side of a stated box is farther off than allowed, as far as both lie within the image: masks end there."""
    limits = (hw[1], hw[0]) * 2
    stated, drawn = ([min(max(v, 0.0), float(limit)) for v, limit in zip(box, limits, strict=True)] for box in (stated, drawn))
    allowed = max(BOX_PX, BOX_SHARE * max(drawn[2] - drawn[0], drawn[3] - drawn[1]))
    # A box of NaN does not fit.
    return all(abs(a - b) <= allowed for a, b in zip(stated, drawn, strict=True))


def _duplicates(kept: Sequence[tuple[Drawn, Rle]], image: AnnotatedImage) -> Iterator[Remark]:
    seen: dict[tuple[int, Rle], Drawn] = {}
    for one, mask in kept:
        first = seen.setdefault((one.class_id, mask), one)
        if first is not one:
            other = first.where or "another"
            yield remark("duplicate-object", image, one, f"has the very class and mask of {other}; delete one of the two.")

"""Objects over a picture: a colour an object, outlines, and tags with name and score where there is room. RGB uint8."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from maskwright.classes import BRIGHT_COLOURS, Colour
from maskwright.ops.draw import (
    HATCH,
    HATCH_PX,
    INK,
    PAPER,
    SHADE,
    SMALLEST_FOR_TEXT_PX,
    Font,
    blend,
    font,
    inner_edges,
    line_px,
    shortened,
    text_px,
)
from maskwright.ops.rle import Rle

# Objects nearer than this share of the image's shorter side are neighbours and get different colours.
NEAR_SHARE = 0.02
# More tags than this hide what they name: then none are drawn. Where tags would cover more than this share of the picture,
# objects smaller than their tag get none.
MOST_TAGS = 80
MOST_TAG_SHARE = 0.1
CROWD_COLOUR: Colour = (255, 255, 255)


@dataclass(frozen=True, eq=False)
class Shown:
    """What is drawn of the objects of one image, as plain values.

    Attributes:
        masks: one an object
        boxes_xyxy: (N, 4) in pixels
        names: the class of each
        scores: (N,), or None for a truth
        crowds: (N,) bool
    """

    masks: Sequence[Rle]
    boxes_xyxy: NDArray[np.floating[Any]]
    names: Sequence[str]
    scores: NDArray[np.floating[Any]] | None
    crowds: NDArray[np.bool_]


def drawn(
    image: NDArray[np.uint8], shown: Shown, order: NDArray[np.int64], alpha: float = 0.5, counts: bool = True
) -> NDArray[np.uint8]:
    """Objects over a picture, with tags where there is room, and with counts a line below that counts them.

    Shapes:
        image: (H, W, 3) uint8
        order: positions from the bottom to the top; those on top are named first
        returns: (H, W, 3) uint8 without counts; with them, higher by the line, and a small picture enlarged in whole steps
    """
    colours = distinct_colours(shown.boxes_xyxy, (image.shape[0], image.shape[1]))
    picture = overlay(image, shown.masks, colours, order, shown.crowds, alpha)
    picture, times = enlarged(picture) if counts else (picture, 1)
    named = [int(k) for k in order[::-1] if not shown.crowds[k]]
    scores = [""] * len(shown.names) if shown.scores is None else [f" {score:.2f}" for score in shown.scores]
    texts = [shown.names[k] + scores[k] for k in named]
    picture = with_tags(picture, shown.boxes_xyxy[named] * times, texts, [colours[k] for k in named])
    return with_counts(picture, [shown.names[k] for k in named]) if counts else picture


def overlay(
    image: NDArray[np.uint8],
    masks: Sequence[Rle],
    colours: Sequence[Colour],
    order: Sequence[int] | NDArray[np.int64],
    crowds: NDArray[np.bool_],
    alpha: float = 0.5,
) -> NDArray[np.uint8]:
    """Each object tinted and outlined in its colour; crowds shaded and hatched, without an outline.

    Outlines lie on the inner side of an object, so that two that touch show two lines.

    Shapes:
        image: (H, W, 3) uint8
        masks, colours, crowds: one an object
        order: positions from the bottom to the top
        alpha: 0: outlines alone, 1: flat colours
        returns: (H, W, 3) uint8
    """
    paint = image.copy()
    weight = np.zeros(image.shape[:2], np.uint8)  # 255: paint alone
    width = line_px(image.shape)
    for k in order:
        x0, y0, x1, y1 = masks[k].box_xyxy
        if x1 <= x0:
            continue
        mask = masks[k].crop((x0, y0, x1, y1))
        tint = _hatched(mask, (x0, y0), width) if crowds[k] else _outlined(mask, width, alpha)
        weight[y0:y1, x0:x1][mask] = tint[mask]
        paint[y0:y1, x0:x1][mask] = CROWD_COLOUR if crowds[k] else colours[k]
    return blend(image, paint, weight)


def distinct_colours(boxes_xyxy: NDArray[np.floating[Any]], hw: tuple[int, int]) -> list[Colour]:
    """A colour for each object, from sixteen that are told apart easily; no two neighbours share one while that is possible.

    Objects take the colours by turns, each the next that none of its neighbours before it has.

    Shapes:
        boxes_xyxy: (N, 4) in pixels
    """
    near = NEAR_SHARE * min(hw)
    low, high = boxes_xyxy[:, :2] - near, boxes_xyxy[:, 2:] + near
    chosen = np.zeros(len(boxes_xyxy), np.int64)
    for k in range(len(boxes_xyxy)):
        touching = ((low[:k] <= boxes_xyxy[k, 2:]) & (high[:k] >= boxes_xyxy[k, :2])).all(axis=1)
        used = np.bincount(chosen[:k][touching], minlength=len(BRIGHT_COLOURS))
        turn = np.roll(used, -(k % len(BRIGHT_COLOURS)))
        chosen[k] = (int(turn.argmin()) + k) % len(BRIGHT_COLOURS)
    return [BRIGHT_COLOURS[i] for i in chosen]


def with_tags(
    picture: NDArray[np.uint8], boxes_xyxy: NDArray[np.floating[Any]], texts: Sequence[str], colours: Sequence[Colour]
) -> NDArray[np.uint8]:
    """Each text on a tag in its object's colour, at its box; those first in the list have the first choice of a place.

    Tags stay inside the picture and off each other; a tag that finds no place is left out, and where there are many so are those
    of small objects. With hundreds of objects there are none at all, nor in pictures too small to read text in.

    Shapes:
        picture: (H, W, 3) uint8
        boxes_xyxy: (N, 4) in pixels of the picture
        returns: (H, W, 3) uint8
    """
    height, width = picture.shape[:2]
    face = font(max(12, round(text_px(width) * 0.9)))
    shown = [shortened(text, face, width / 3) for text in texts]
    sizes = [_tag_size(text, face) for text in shown]
    if len(texts) > MOST_TAGS or width < SMALLEST_FOR_TEXT_PX // 2:
        return picture.copy()
    crowded = sum(w * h for w, h in sizes) > MOST_TAG_SHARE * width * height
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    taken = np.zeros((0, 4))
    for text, (w, h), box, colour in zip(shown, sizes, boxes_xyxy, colours, strict=True):
        smaller = (box[2] - box[0]) * (box[3] - box[1]) < w * h
        place = None if crowded and smaller else _free_place(box, (w, h), (width, height), taken)
        if place is None:
            continue
        x, y = place
        taken = np.vstack([taken, (x, y, x + w, y + h)])
        pen.rounded_rectangle((x, y, x + w - 1, y + h - 1), max(2, h // 6), colour)
        pen.text((x + w / 2, y + h / 2), text, _ink_on(colour), face, anchor="mm")
    return np.array(canvas)


def enlarged(picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """A small picture repeated a whole number of times until text on it can be read, and that number; 1 for others."""
    times = -(-SMALLEST_FOR_TEXT_PX // picture.shape[1])
    return (picture.repeat(times, axis=0).repeat(times, axis=1), times) if times > 1 else (picture, 1)


def with_counts(picture: NDArray[np.uint8], names: Sequence[str]) -> NDArray[np.uint8]:
    """The picture with a line below that says how many objects of each class there are, the most frequent class first.

    Shapes:
        picture: (H, W, 3) uint8
        names: the class of each object
        returns: (H + h, W, 3) uint8
    """
    size = text_px(picture.shape[1])
    pad, line = round(size * 0.9), round(size * 1.75)
    words = [f"{count} {name}" for name, count in Counter(names).most_common()] or ["no objects"]
    rows = _wrapped(words, font(size), picture.shape[1] - 2 * pad)
    strip = Image.new("RGB", (picture.shape[1], pad + line * len(rows)), PAPER)
    for number, row in enumerate(rows):
        ImageDraw.Draw(strip).text((pad, pad // 2 + number * line + line // 2), row, INK, font(size), anchor="lm")
    return np.concatenate([picture, np.array(strip)])


def _outlined(mask: NDArray[np.bool_], width: int, alpha: float) -> NDArray[np.uint8]:
    # One more pixel around it: an object's border at the edge of its box is an outline as well.
    edges = inner_edges(np.pad(mask, width), width)[width:-width, width:-width]
    return np.where(edges, np.uint8(255), np.uint8(round(alpha * 255)))


def _hatched(mask: NDArray[np.bool_], corner_xy: tuple[int, int], width: int) -> NDArray[np.uint8]:
    """Light diagonals that go on over neighbouring crowds."""
    rows, columns = np.indices(mask.shape)
    lines = (rows + columns + sum(corner_xy)) % (HATCH_PX * width) < width
    return np.where(lines, np.uint8(HATCH), np.uint8(SHADE // 2))


def _tag_size(text: str, face: Font) -> tuple[int, int]:
    _, top, _, bottom = face.getbbox("Ag")
    line = bottom - top
    return round(face.getlength(text) + 0.6 * line), round(1.4 * line)


def _free_place(
    box: NDArray[np.floating[Any]], size: tuple[int, int], limits: tuple[int, int], taken: NDArray[np.float64]
) -> tuple[int, int] | None:
    """The first of a few corners near a box where a tag covers no other; above its left corner if that is free."""
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    w, h = size
    middle = ((x0 + x1 - w) // 2, (y0 + y1 - h) // 2)
    for x, y in ((x0, y0 - h), (x0, y0), (x1 - w, y0 - h), (x0, y1), (x1 - w, y1), middle):
        x, y = min(max(x, 0), limits[0] - w), min(max(y, 0), limits[1] - h)
        covers = (taken[:, 0] < x + w) & (taken[:, 2] > x) & (taken[:, 1] < y + h) & (taken[:, 3] > y)
        if x >= 0 and y >= 0 and not covers.any():
            return x, y
    return None


def _ink_on(colour: Colour) -> Colour:
    """Dark or white text, whichever stands out more: by the luma of the colour."""
    luma = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return INK if luma > 140 else PAPER


def _wrapped(words: Sequence[str], face: Font, room_px: float) -> list[str]:
    rows: list[str] = []
    for word in words:
        longer = f"{rows[-1]}  ·  {word}" if rows else word
        if rows and face.getlength(longer) <= room_px:
            rows[-1] = longer
        else:
            rows.append(shortened(word, face, room_px))
    return rows

"""Pictures for people: labels over an image, legends, contact sheets. Arrays in, arrays out, RGB uint8."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from maskwright.classes import ClassMap, Colour
from maskwright.ops.colour import BLACK, WHITE, colour_labels

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PAPER: Colour = (255, 255, 255)
INK: Colour = (38, 43, 51)
RULE: Colour = (208, 213, 220)
GREY: Colour = (120, 126, 136)

CONTOUR_SHARE = 600
HATCH_PX = 8
SHADE, HATCH = 96, 140
SMALLEST_FOR_TEXT_PX = 320


def overlay(
    image: NDArray[np.uint8], labels: NDArray[Any], classes: ClassMap, alpha: float = 0.5, contour: bool = True
) -> NDArray[np.uint8]:
    """Labels over a picture: areas tinted in their class colour and outlined in it, ignored pixels shaded and hatched.

    The background class stays as photographed. Outlines lie on the inner side of an area, 1 px wide up to 900 px of shorter
    side and in proportion beyond.

    Shapes:
        image: (H, W, 3) uint8
        labels: (H, W) integers: ids of classes, or classes.ignore_id
        alpha: 0: the picture alone, 1: flat colours
        returns: (H, W, 3) uint8
    """
    colours = colour_labels(labels, classes)
    strength = np.full(65536, round(alpha * 255), np.uint8)
    if classes.background is not None:
        strength[classes.background] = 0
    strength[classes.ignore_id] = 0
    weight = strength.take(labels)  # (H, W), 255: class colour alone
    if contour:
        solid = np.where(strength > 0, np.uint8(255), np.uint8(0)).take(labels)
        weight = np.where(inner_edges(labels, line_px(labels.shape)), solid, weight)
    _hatch(weight, colours, labels == classes.ignore_id)
    return blend(image, colours, weight)


def blend(image: NDArray[np.uint8], colours: NDArray[np.uint8], weight: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mix two pictures pixel by pixel.

    Shapes:
        image, colours: (H, W, 3) uint8
        weight: (H, W) uint8, 0: image, 255: colours
    """
    return np.array(Image.composite(Image.fromarray(colours), Image.fromarray(image), Image.fromarray(weight)))


def inner_edges(labels: NDArray[Any], width_px: int = 1) -> NDArray[np.bool]:
    """Pixels within width_px of a pixel of another label, up, down, left or right. The image's own border is no edge.

    Shapes:
        labels: (H, W)
        returns: (H, W) bool
    """
    edges = np.zeros(labels.shape, bool)
    for step in range(1, width_px + 1):
        differs = labels[step:] != labels[:-step]
        edges[step:] |= differs
        edges[:-step] |= differs
        differs = labels[:, step:] != labels[:, :-step]
        edges[:, step:] |= differs
        edges[:, :-step] |= differs
    return edges


def line_px(hw: tuple[int, ...]) -> int:
    """Width of an outline that stays crisp when a picture of this size is shown on a screen."""
    return max(1, round(min(hw) / CONTOUR_SHARE))


def _hatch(weight: NDArray[np.uint8], colours: NDArray[np.uint8], ignored: NDArray[np.bool]) -> None:
    """Draw into weight and colours: ignored pixels darkened, with thin light diagonals."""
    if not ignored.any():
        return
    rows, columns = np.nonzero(ignored)
    scale = line_px(weight.shape)
    lines = (rows + columns) % (HATCH_PX * scale) < scale
    weight[rows, columns] = np.where(lines, HATCH, SHADE)
    colours[rows, columns] = np.where(lines[:, None], WHITE, BLACK).astype(np.uint8)


@lru_cache(maxsize=32)
def font(size_px: int) -> Font:
    """Pillow's built-in scalable font."""
    return ImageFont.load_default(size_px)


def legend(classes: ClassMap, present: Sequence[int], width_px: int = 640) -> NDArray[np.uint8]:
    """Swatches and names of the classes in as many columns as the width holds, read row by row.

    The background, which overlays leave as photographed, has an empty swatch; ignored pixels have a hatched one.

    Shapes:
        present: ids to show, in the order of classes; classes.ignore_id is shown last, as "ignored"
        returns: (h, width_px, 3) uint8, as high as its rows need
    """
    size = text_px(width_px)
    text, swatch, gap, pad = font(size), round(size * 1.05), round(size * 0.5), round(size * 0.9)
    ids = [i for i in (*classes.ids, classes.ignore_id) if i in present]
    room = width_px - 2 * pad - swatch - gap
    names = [shortened(classes.name_of(i), text, room) for i in ids]
    widest = swatch + gap + max((round(text.getlength(n)) for n in names), default=0)
    columns = max(1, min(len(ids), (width_px - 2 * pad + 2 * gap) // (widest + 2 * gap)))
    line = round(size * 1.75)
    strip = Image.new("RGB", (width_px, pad + line * max(1, -(-len(ids) // columns))), PAPER)
    for number, (class_id, name) in enumerate(zip(ids, names, strict=True)):
        x = pad + number % columns * (widest + 2 * gap)
        middle = pad // 2 + number // columns * line + line // 2
        strip.paste(Image.fromarray(_swatch(classes, class_id, swatch)), (x, middle - swatch // 2))
        ImageDraw.Draw(strip).text((x + swatch + gap, middle), name, INK, text, anchor="lm")
    return np.array(strip)


def _swatch(classes: ClassMap, class_id: int, side: int) -> NDArray[np.uint8]:
    """A small square, (side, side, 3) uint8, that looks as the class does in an overlay."""
    if class_id == classes.ignore_id:
        rows, columns = np.indices((side, side))
        return np.where(((rows + columns) % 5 < 1)[..., None], WHITE, GREY).astype(np.uint8)
    tile = Image.new("RGB", (side, side), PAPER)
    empty = class_id == classes.background
    fill = PAPER if empty else classes.colours[classes.ids.index(class_id)]
    ImageDraw.Draw(tile).rounded_rectangle((0, 0, side - 1, side - 1), side // 5, fill, GREY if empty else fill)
    return np.array(tile)


def with_legend(picture: NDArray[np.uint8], classes: ClassMap, present: Sequence[int] | None = None) -> NDArray[np.uint8]:
    """The picture with a legend strip below; small pictures are enlarged in whole steps so that names can be read.

    Shapes:
        picture: (H, W, 3) uint8
        present: ids to show; default: all classes
        returns: (n*H + h, n*W, 3) uint8, n = 1 for pictures at least 320 px wide
    """
    times = -(-SMALLEST_FOR_TEXT_PX // picture.shape[1])
    picture = picture.repeat(times, axis=0).repeat(times, axis=1) if times > 1 else picture
    strip = legend(classes, classes.ids if present is None else present, picture.shape[1])
    return np.concatenate([picture, strip])


def text_px(width_px: int) -> int:
    """Height of text that suits a picture of this width."""
    return min(max(13, round(width_px / 42)), 64)


def shortened(text: str, face: Font, room_px: float) -> str:
    """The text, cut at the end with an ellipsis where it is wider than room_px."""
    if face.getlength(text) <= room_px:
        return text
    while text and face.getlength(f"{text}…") > room_px:
        text = text[:-1]
    return f"{text}…"


def contact_sheet(pictures: Sequence[tuple[NDArray[np.uint8], str]], columns: int = 4, cell_px: int = 320) -> NDArray[np.uint8]:
    """Pictures in a grid, each fitted into a square cell with its title below.

    Large pictures are shrunk smoothly; small ones are enlarged in whole steps, so that their pixels stay square and sharp.

    Shapes:
        pictures: (H, W, 3) uint8 each, of any size, with a title
        returns: (h, w, 3) uint8
    """
    columns = max(1, min(columns, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    size = max(12, round(cell_px / 24))
    gap, title = max(8, cell_px // 20), round(size * 1.9)
    sheet = Image.new("RGB", (gap + columns * (cell_px + gap), gap + rows * (cell_px + title + gap)), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (picture, text) in enumerate(pictures):
        x = gap + number % columns * (cell_px + gap)
        y = gap + number // columns * (cell_px + title + gap)
        fitted = Image.fromarray(fit(picture, cell_px))
        left, top = x + (cell_px - fitted.width) // 2, y + (cell_px - fitted.height) // 2
        sheet.paste(fitted, (left, top))
        pen.rectangle((left - 1, top - 1, left + fitted.width, top + fitted.height), outline=RULE)
        shown = shortened(text, font(size), cell_px)
        pen.text((x + cell_px // 2, y + cell_px + title // 2), shown, INK, font(size), anchor="mm")
    return np.array(sheet)


def fit(picture: NDArray[np.uint8], cell_px: int) -> NDArray[np.uint8]:
    """The picture as large as a square cell allows: shrunk smoothly, or repeated a whole number of times.

    Shapes:
        picture: (H, W, 3) uint8
        returns: (h, w, 3) uint8, h and w at most cell_px
    """
    height, width = picture.shape[:2]
    times = cell_px // max(height, width)
    if times >= 1:
        return picture.repeat(times, axis=0).repeat(times, axis=1)
    scale = cell_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))

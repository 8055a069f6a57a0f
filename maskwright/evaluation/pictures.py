"""Truth and prediction side by side, for looking at the worst and the best images.

Four panels: the image, the truth, the prediction, and where they differ; below them what the colours mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from maskwright.classes import ClassMap, Colour
from maskwright.instances import Instances
from maskwright.ops import draw
from maskwright.result import Segmentation
from maskwright.sample import Sample

PANEL_PX = 480
GAP_PX = 12
# Vermilion, yellow and reddish purple of Okabe and Ito 2008: told apart with any kind of colour vision, and on grey.
MISSED, ADDED, CONFUSED = 1, 2, 3
ERRORS: dict[int, tuple[str, Colour]] = {
    MISSED: ("missed", (213, 94, 0)),
    ADDED: ("found where there is none", (240, 228, 66)),
    CONFUSED: ("taken for another class", (204, 121, 167)),
}


def compare(sample: Sample, truth: NDArray[Any], found: NDArray[Any], title: str, panel_px: int = PANEL_PX) -> NDArray[np.uint8]:
    """The picture of one image: panels in a row, in two rows where they are wide, a title above, legends below.

    Shapes:
        truth, found: (H, W) ids of sample.classes; in found also anything else, drawn as ignored
        returns: (h, w, 3) uint8
    """
    classes = sample.classes
    found = np.where(np.isin(found, classes.ids), found, classes.ignore_id)
    image = draw.fit(sample.image.to_uint8(), panel_px)
    shown_truth, shown_found = (_nearest(labels, image.shape[:2]) for labels in (truth, found))
    errors = _nearest(error_kinds(truth, found, classes), image.shape[:2])
    panels = [
        ("image", image),
        ("truth", draw.overlay(image, shown_truth, classes)),
        ("prediction", draw.overlay(image, shown_found, classes)),
        ("errors", _draw_errors(image, errors)),
    ]
    sheet = _arrange(panels, title)
    there = sorted({*np.unique(truth).tolist(), *np.unique(found).tolist()})
    # As wide as two panels, however many stand in the row: text of one size everywhere.
    width = min(sheet.shape[1], 2 * panel_px + 3 * GAP_PX)
    legends = np.concatenate([draw.legend(classes, there, width), _error_legend(np.unique(errors), width)])
    margin = [(0, 0), (0, sheet.shape[1] - width), (0, 0)]
    return np.concatenate([sheet, np.pad(legends, margin, constant_values=255)])


def compare_objects(sample: Sample, found: Instances, title: str, panel_px: int = PANEL_PX) -> NDArray[np.uint8]:
    """The picture of one image and its objects: image, truth, answer, and where the classes of pixels differ.

    Each object has a colour of its own, in truth and answer for itself.
    """
    true = sample.instances if sample.instances is not None else found
    image = draw.fit(sample.image.to_uint8(), panel_px)
    errors = _nearest(error_kinds(true.to_labels(), found.to_labels(), sample.classes), image.shape[:2])
    panels = [
        ("image", image),
        ("truth", draw.fit(_overlaid(sample, true), panel_px)),
        ("answer", draw.fit(_overlaid(sample, found), panel_px)),
        ("errors", _draw_errors(image, errors)),
    ]
    sheet = _arrange(panels, title)
    width = min(sheet.shape[1], 2 * panel_px + 3 * GAP_PX)
    legend = _error_legend(np.unique(errors), width)
    return np.concatenate([sheet, np.pad(legend, [(0, 0), (0, sheet.shape[1] - width), (0, 0)], constant_values=255)])


def _overlaid(sample: Sample, objects: Instances) -> NDArray[np.uint8]:
    return Segmentation.of_instances(objects, sample.image).overlay(legend=False)


def error_kinds(truth: NDArray[Any], found: NDArray[Any], classes: ClassMap) -> NDArray[np.uint8]:
    """0 where right or ignored, MISSED (a class taken for background or void), ADDED (background taken for a class), CONFUSED.

    Shapes:
        truth, found: (H, W) ids
        returns: (H, W) uint8
    """
    nothing = [i for i in (classes.background, classes.ignore_id) if i is not None]
    wrong = (truth != found) & (truth != classes.ignore_id)
    in_truth, in_found = ~np.isin(truth, nothing), ~np.isin(found, nothing)
    kinds = np.where(in_truth & in_found, CONFUSED, np.where(in_found, ADDED, MISSED))
    return np.where(wrong, kinds, 0).astype(np.uint8)


def _nearest(labels: NDArray[Any], hw: tuple[int, ...]) -> NDArray[Any]:
    """Labels at another size, each pixel that of the nearest."""
    rows, columns = ((np.arange(new) * 2 + 1) * old // (2 * new) for new, old in zip(hw, labels.shape, strict=True))
    taken: NDArray[Any] = labels[rows[:, None], columns]
    return taken


def _draw_errors(image: NDArray[np.uint8], errors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = image.mean(axis=2, keepdims=True) * 0.6 + 60  # paler, so that errors stand out on dark and on light
    drawn = np.broadcast_to(grey, image.shape).astype(np.uint8)
    for kind, (_, colour) in ERRORS.items():
        drawn[errors == kind] = colour
    return drawn


def _arrange(panels: list[tuple[str, NDArray[np.uint8]]], title: str) -> NDArray[np.uint8]:
    height, width = panels[0][1].shape[:2]
    cell = max(width, draw.SMALLEST_FOR_TEXT_PX // 2)
    columns = 2 if width > 1.25 * height else len(panels)
    size = draw.text_px(2 * cell)
    line = round(size * 1.9)
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (GAP_PX + columns * (cell + GAP_PX), line + rows * (height + line)), draw.PAPER)
    pen, face = ImageDraw.Draw(sheet), draw.font(size)
    pen.text((GAP_PX, line // 2), draw.shortened(title, face, sheet.width - 2 * GAP_PX), draw.INK, face, anchor="lm")
    for number, (name, panel) in enumerate(panels):
        x = GAP_PX + number % columns * (cell + GAP_PX)
        y = line + number // columns * (height + line)
        pen.text((x, y + line // 2), name, draw.GREY, draw.font(round(size * 0.9)), anchor="lm")
        sheet.paste(Image.fromarray(panel), (x, y + line))
    return np.array(sheet)


def _error_legend(kinds: NDArray[np.uint8], width_px: int) -> NDArray[np.uint8]:
    """What the colours of the error panel mean: only those that occur."""
    size = draw.text_px(width_px)
    face, swatch = draw.font(size), round(size * 1.05)
    strip = Image.new("RGB", (width_px, round(size * 2.6)), draw.PAPER)
    pen, x, middle = ImageDraw.Draw(strip), round(size * 0.9), round(size * 1.2)
    there = [ERRORS[k] for k in ERRORS if k in kinds] or [("no errors", draw.PAPER)]
    for name, colour in there:
        pen.rounded_rectangle((x, middle - swatch // 2, x + swatch, middle + swatch // 2), swatch // 5, colour, draw.RULE)
        pen.text((x + round(swatch * 1.5), middle), name, draw.INK, face, anchor="lm")
        x += round(swatch * 1.5 + face.getlength(name) + 2 * size)
    return np.array(strip)

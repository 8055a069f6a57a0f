"""The contact sheet of a check: images beside their masks, those with findings first and framed.

What is shown is what training would see: the picture turned upright, the mask as class ids after snapping.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from maskwright.data.dataset import Dataset, Pair
from maskwright.data.examine import Examined
from maskwright.data.findings import ERROR, CheckReport, Finding
from maskwright.data.stored import stored_mask
from maskwright.errors import InputError
from maskwright.io.masks import labels_of
from maskwright.io.read import read_image
from maskwright.ops.draw import contact_sheet, overlay, with_legend
from maskwright.result import Segmentation

SHOWN, WITH_FINDINGS, OF_A_KIND = 24, 20, 2
COLUMNS = 6
PANEL_PX, FRAME_PX = 288, 4
RED, AMBER, PAPER, BLANK = (214, 40, 40), (240, 160, 0), (255, 255, 255), 225


def contact_sheet_of(dataset: Dataset, seen: Sequence[Examined], report: CheckReport) -> NDArray[np.uint8]:
    """One sheet of at most SHOWN pairs: up to WITH_FINDINGS with findings, the others evenly from the rest.

    Shapes:
        returns: (h, w, 3) uint8
    """
    of_pair: dict[str, list[Finding]] = {}
    for f in report.findings:
        if f.name:
            of_pair.setdefault(f.name, []).append(f)
    cells = []
    for pair in choose([one.pair for one in seen], of_pair):
        findings = of_pair.get(pair.name, [])
        frame = PAPER if not findings else RED if any(f.severity == ERROR for f in findings) else AMBER
        said = "; ".join(dict.fromkeys(f"{f.code} {f.value}" if len(f.value) < 24 else f.code for f in findings))
        picture, labels = panels(dataset, pair)
        cells += [(framed(picture, frame), pair.name), (framed(labels, frame), said)]
    return with_legend(contact_sheet(cells, COLUMNS, PANEL_PX + 2 * FRAME_PX), dataset.classes)


def choose(pairs: Sequence[Pair], of_pair: dict[str, list[Finding]]) -> list[Pair]:
    """Which pairs are shown: at most OF_A_KIND of each kind of finding, then pairs without any, evenly spread."""
    shown: list[Pair] = []
    kinds: dict[str, int] = {}
    for pair in sorted(pairs, key=lambda p: min((f.severity != ERROR for f in of_pair.get(p.name, [])), default=True)):
        codes = {f.code for f in of_pair.get(pair.name, [])}
        if any(kinds.get(code, 0) < OF_A_KIND for code in codes) and len(shown) < WITH_FINDINGS:
            shown.append(pair)
            kinds |= {code: kinds.get(code, 0) + 1 for code in codes}
    taken = {p.name for p in shown}
    rest = [p for p in pairs if p.name not in taken and p.name not in of_pair] or [p for p in pairs if p.name not in taken]
    count = min(SHOWN - len(shown), len(rest))
    return shown + [rest[k] for k in np.linspace(0, len(rest) - 1, count).astype(int)]


def panels(dataset: Dataset, pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The image, and the labels over it; grey where a file is missing or cannot be read, which has its finding.

    Shapes:
        returns: twice (h, w, 3) uint8, at most PANEL_PX by PANEL_PX
    """
    picture = labels = None
    with suppress(InputError):
        sample = dataset.read(pair) if pair.objects is not None else None
        if sample is not None and sample.instances is not None:
            drawn = Segmentation.of_instances(sample.instances, sample.image).overlay(legend=False)
            return _small(sample.image.to_uint8()), _small(drawn)
    with suppress(InputError):
        picture = _small(read_image(pair.image).to_uint8())
    with suppress(InputError):
        if pair.mask is not None:
            mask = stored_mask(pair.mask, pair.name, dataset.classes)
            labels = _small(labels_of(mask, dataset.classes, snap=dataset.snap).labels)
    if picture is None:
        hw = labels.shape if labels is not None else (PANEL_PX, PANEL_PX)
        picture = np.full((*hw, 3), BLANK, np.uint8)
    if labels is None:
        return picture, np.full_like(picture, BLANK)
    ground = picture if picture.shape[:2] == labels.shape else np.zeros((*labels.shape, 3), np.uint8)
    return picture, overlay(ground, labels, dataset.classes)


def framed(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The picture in a frame; frames of the paper's colour keep all cells at one scale."""
    height, width = picture.shape[:2]
    framed = np.full((height + 2 * FRAME_PX, width + 2 * FRAME_PX, 3), colour, np.uint8)
    framed[FRAME_PX : FRAME_PX + height, FRAME_PX : FRAME_PX + width] = picture
    return framed


def _small(array: NDArray[Any]) -> NDArray[Any]:
    """Fitted into a panel: pictures smoothly, labels by nearest; small ones enlarged by whole steps."""
    height, width = array.shape[:2]
    scale = PANEL_PX / max(height, width)
    if scale >= 2:
        return array.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
    if scale >= 1:
        return array
    size = max(1, round(height * scale)), max(1, round(width * scale))
    if array.ndim == 3:
        return np.asarray(PIL.Image.fromarray(array).resize(size[::-1], PIL.Image.Resampling.BOX))
    rows, columns = ((np.arange(n) + 0.5) * full / n for n, full in zip(size, (height, width), strict=True))
    nearest: NDArray[Any] = array[rows.astype(int)[:, None], columns.astype(int)]
    return nearest

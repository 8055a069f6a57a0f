"""Drawn scenes as a data set on disk: the same layout for every demo, made in all processes at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations import coco_write
from maskwright.annotations.drawn import AnnotatedImage
from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.io.write import write_mask, write_png, write_text
from maskwright.sample import Sample

SPLITS = {"train": 0.7, "val": 0.15, "test": 0.15}


def write_scenes(
    out: str | Path,
    draw: Callable[[int], Sample],
    classes: ClassMap,
    count: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `count` scenes under out/train, out/val and out/test (images and masks) with their classes.yaml; give out back.

    Scene n of a seed is always the same; how many there are decides only in which split it lies.

    Args:
        draw: scene number -> scene; it must be picklable, since other processes call it

    Raises:
        InputError: count is under 3, one a split, or the seed is negative.
    """
    out = Path(out)
    folders = [out / split for split in _splits(count, seed)]
    numbers = [seed * 100_003 + n for n in range(count)]
    with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        for done, _ in enumerate(pool.map(partial(_write, draw), folders, numbers, chunksize=4), start=1):
            if progress:
                progress(done, count)
    write_text(out / "classes.yaml", classes.to_yaml())
    return out


def write_object_scenes(
    out: str | Path,
    draw: Callable[[int], tuple[NDArray[np.uint8], Instances]],
    count: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `count` scenes with their objects as COCO json: out/train, out/val, out/test and out/annotations; give out back.

    Args:
        draw: scene number -> picture (H, W, 3) and its objects; it must be picklable, since other processes call it

    Raises:
        InputError: count is under 3, one a split, or the seed is negative.
    """
    out = Path(out)
    splits = _splits(count, seed)

    def drawn() -> Iterator[tuple[AnnotatedImage, Instances]]:
        with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
            for done, (pixels, found) in enumerate(pool.map(draw, range(count), chunksize=4), start=1):
                path = out / splits[done - 1] / f"{found.name}.png"
                write_png(path, pixels)
                yield AnnotatedImage(found.name, path, found.hw, splits[done - 1]), found
                if progress:
                    progress(done, count)

    coco_write.write(out, drawn(), copy_images=False)
    return out


def _splits(count: int, seed: int) -> list[str]:
    if count < 3:
        raise InputError(f"count={count}: at least 3 scenes are needed, one a split.")
    if seed < 0:
        raise InputError(f"seed={seed} cannot be; give a whole number of 0 or more.")
    val, test = (max(1, round(count * SPLITS[s])) for s in ("val", "test"))
    return ["train"] * (count - val - test) + ["val"] * val + ["test"] * test


def _write(draw: Callable[[int], Sample], folder: Path, number: int) -> None:
    made = draw(number)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    pixels = made.image.pixels
    write_png(folder / "images" / f"{made.name}.png", pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if made.labels is not None:
        write_mask(folder / "masks" / f"{made.name}.png", made.labels, made.classes)

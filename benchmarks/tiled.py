"""Images larger than memory: peak memory, share of the time that is the net's own, price of overlapping; and against monai.

    python benchmarks/tiled.py --side 20000
    python benchmarks/tiled.py --side 8000 --against-monai

Draws a GeoTIFF piece by piece and a U-Net nobody trained, then runs every contender in a process of its own, turn by turn. The
net's own time is taken in the same process, on tiles of the same size, before and after the job.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from record import record

from maskwright import models
from maskwright.checkpoint import Manifest, save_checkpoint
from maskwright.classes import ClassMap
from maskwright.inference.large import predict_large
from maskwright.inference.predictor import Predictor
from maskwright.inference.tiling import Tiling
from maskwright.transforms import Preprocess

CLASSES = ClassMap((0, 1), ("background", "field"))
NET = {"width": 16, "depth": 4}
TILE_PX = 512
MONAI_ROI_PX = 512
PLACE = [(33550, 12, 3, (0.5, 0.5, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 5e5, 5e6, 0.0), True),
         (34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 32632), True)]  # fmt: skip


def draw(path: Path, side: int) -> None:
    """Three bands of squares in even colours, written tile by tile."""

    def tiles() -> Iterator[NDArray[np.uint8]]:
        rng = np.random.default_rng(0)
        for _ in range((-(-side // TILE_PX)) ** 2):
            coarse = rng.integers(0, 256, (TILE_PX // 16, TILE_PX // 16, 3), np.uint8)
            yield coarse.repeat(16, axis=0).repeat(16, axis=1)

    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(tiles(), shape=(side, side, 3), dtype=np.uint8, tile=(TILE_PX, TILE_PX), photometric="rgb",
                   compression="zlib", metadata=None, extratags=PLACE)  # fmt: skip


def make_run(folder: Path) -> None:
    torch.manual_seed(0)
    model = models.build("unet", channels=3, classes=len(CLASSES), **NET)
    manifest = Manifest(model="unet", model_args=NET, classes=CLASSES.to_dict(), preprocess=Preprocess(3).to_dict())
    save_checkpoint(folder, model, manifest)


def ours(run: Path, image: Path, out: Path, precision: str) -> dict[str, Any]:
    predictor = Predictor.load(run, device="cpu", precision=precision)  # type: ignore[arg-type]  # as the command line gives it
    tile = torch.rand(1, 3, 1024, 1024)
    alone = [net_seconds(predictor, tile) for _ in range(3)]
    start = time.perf_counter()
    found = predict_large(predictor, image, out)
    seconds = time.perf_counter() - start
    alone += [net_seconds(predictor, tile) for _ in range(3)]
    with tifffile.TiffFile(image) as tiff:
        tiling = Tiling.blended(tiff.pages[0].shape[:2], None)
    model_s = statistics.median(alone) * tiling.seen_px / (1024 * 1024)
    return {"seconds": seconds, "model share": model_s / seconds, "overlap cost": found.overlap_cost}


def net_seconds(predictor: Predictor, tile: torch.Tensor) -> float:
    start = time.perf_counter()
    predictor.logits(tile)
    return time.perf_counter() - start


def monai(run: Path, image: Path, out: Path, precision: str) -> dict[str, Any]:
    """sliding_window_inference as its documentation uses it: the image in memory, overlap 0.25, constant weights."""
    from monai.inferers import sliding_window_inference

    predictor = Predictor.load(run, device="cpu", precision=precision)  # type: ignore[arg-type]  # as the command line gives it
    start = time.perf_counter()
    x = torch.from_numpy(tifffile.imread(image)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        logits = sliding_window_inference(x, (MONAI_ROI_PX, MONAI_ROI_PX), 1, predictor.logits)
    labels = logits.argmax(1)[0].to(torch.uint8).numpy()  # type: ignore[union-attr]  # a tensor in gives a tensor
    tifffile.imwrite(out.with_suffix(".tif"), labels, compression="zlib")
    return {"seconds": time.perf_counter() - start, "model share": float("nan"), "overlap cost": float("nan")}


CONTENDERS = {"maskwright": ours, "monai": monai}


def in_a_process(who: str, precision: str, run: Path, image: Path, out: Path) -> dict[str, Any]:
    words = [sys.executable, __file__, "--one", who, precision, str(run), str(image), str(out)]
    found = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(found.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--against-monai", action="store_true")
    parser.add_argument("--one", nargs=5)
    given = parser.parse_args()
    if given.one:
        who, precision, run, image, out = given.one
        found = CONTENDERS[who](Path(run), Path(image), Path(out), precision)
        print(json.dumps({**found, "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    contenders = [("maskwright", "fp32"), ("maskwright", "bf16")]
    contenders += [("monai", "fp32"), ("monai", "bf16")] if given.against_monai else []
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        make_run(here / "run")
        draw(here / "image.tif", given.side)
        runs: dict[tuple[str, str], list[dict[str, Any]]] = {contender: [] for contender in contenders}
        for _ in range(given.rounds):
            for who, precision in contenders:
                runs[who, precision].append(in_a_process(who, precision, here / "run", here / "image.tif", here / "out"))
    rows = [
        {"what": f"{who} {precision}", "side px": given.side, **{k: statistics.median(r[k] for r in found) for k in found[0]}}
        for (who, precision), found in runs.items()
    ]
    notes = [
        "model share: the net's own time on as many pixels as went through it, over the time of the whole job, file to file",
        "overlap cost: pixels that the net saw more than once, over the image's",
        f"monai: sliding_window_inference, roi {MONAI_ROI_PX} px, default overlap 0.25, constant weights; the same forward",
        "peak MB: of the process, Python and torch included (a process that only imports torch takes some 250)",
    ]
    name = f"tiled-{given.side}" + ("-monai" if given.against_monai else "")
    record(name, rows, f"python benchmarks/tiled.py {' '.join(sys.argv[1:])}", notes)


if __name__ == "__main__":
    main()

"""Images larger than memory: peak memory, share of the time that is the net's own, price of overlapping; and against monai.

    python benchmarks/tiled.py --side 20000
    python benchmarks/tiled.py --side 8000 --against-monai
    python benchmarks/tiled.py --side 8000 --against-monai --classes 12
    python benchmarks/tiled.py --side 8000 --against-monai --minutes 4 --ways auto,fp32,fp32:512

Draws a GeoTIFF piece by piece, trains a small U-Net on such pieces, then runs every contender in a process of its own, turn by
turn. The net's own time is taken in the same process, on tiles of the same size, after the job. A way is what runs and, behind a
colon, the tiles' side; "openvino-bf16" is OpenVINO, "plain" the network as its user runs it: eager fp32, in the layout it was
written in.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from record import record

import maskwright
from maskwright.classes import ClassMap
from maskwright.inference.freed import reusing_memory
from maskwright.inference.large import predict_large
from maskwright.inference.predictor import Predictor
from maskwright.inference.tiling import Tiling
from maskwright.transforms import Frame


def peak_mb() -> float:
    """Of this process; getrusage would begin with what its parent held."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


IMPORTED_MB = peak_mb()
NET = {"width": 16, "depth": 4}
TILE_PX = 512
SQUARE_PX = 16
STEPS = 120
MONAI_ROI_PX = 512
OPENVINO = "openvino-"
PLACE = [(33550, 12, 3, (0.5, 0.5, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 5e5, 5e6, 0.0), True),
         (34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 32632), True)]  # fmt: skip


def squares(rng: np.random.Generator, side: int, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(side, side, 3) squares of even colour, and the class of each pixel: the higher, the greener and the less red."""
    labels = rng.integers(0, classes, (side // SQUARE_PX, side // SQUARE_PX), np.uint8)
    colour = rng.integers(0, 110, (*labels.shape, 3), np.uint8)
    share = labels / (classes - 1)
    colour[..., 0] += (140 * (1 - share)).astype(np.uint8)
    colour[..., 1] += (140 * share).astype(np.uint8)
    return tuple(a.repeat(SQUARE_PX, axis=0).repeat(SQUARE_PX, axis=1) for a in (colour, labels))  # type: ignore[return-value]


def draw(path: Path, side: int, classes: int) -> None:
    """Three bands of squares, written tile by tile."""
    rng = np.random.default_rng(0)
    tiles = (squares(rng, TILE_PX, classes)[0] for _ in range((-(-side // TILE_PX)) ** 2))
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(tiles, shape=(side, side, 3), dtype=np.uint8, tile=(TILE_PX, TILE_PX), photometric="rgb",
                   compression="zlib", metadata=None, extratags=PLACE)  # fmt: skip


def make_run(here: Path, classes: int, minutes: float | None) -> Path:
    """A net that tells the squares apart, with its probes, so that `predict` may choose what it runs on.

    A training of some minutes, as real ones, has measured the runtimes at its end.
    """
    rng = np.random.default_rng(1)
    for folder in ("images", "masks"):
        (here / "data" / folder).mkdir(parents=True)
    for number in range(24):
        pixels, labels = squares(rng, 256, classes)
        Image.fromarray(pixels).save(here / "data" / "images" / f"{number}.png")
        Image.fromarray(labels).save(here / "data" / "masks" / f"{number}.png")
    settings = {"model_args": NET} | ({"steps": STEPS} if minutes is None else {})
    named = ClassMap(tuple(range(classes)), tuple(f"class {k}" for k in range(classes)))
    return maskwright.train(
        here / "data", out=here / "run", model="unet", classes=named, settings=settings, minutes=minutes
    ).folder


def ours(run: Path, image: Path, out: Path, way: str) -> dict[str, Any]:
    predictor = loaded(run, way)
    with tifffile.TiffFile(image) as tiff:
        tiling = Tiling.blended(tiff.pages[0].shape[:2], predictor.tile)
    start = time.perf_counter()
    found = predict_large(predictor, image, out)
    seconds, peak = time.perf_counter() - start, peak_mb()
    side = tiling.tile_px
    tile = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    with reusing_memory():  # as within the job
        alone = [net_seconds(predictor, tile) for _ in range(6)][1:]
    model_s = statistics.median(alone) * tiling.seen_px / side**2
    return {
        "seconds": seconds,
        "model share": model_s / seconds,
        "overlap cost": found.overlap_cost,
        "runs on": predictor.runtime,
        "peak MB": peak,
    }


def loaded(run: Path, way: str) -> Predictor:
    """What is asked for on torch, or on OpenVINO; "auto" is what `predict` takes unasked."""
    precision, _, side = way.partition(":")
    tile = int(side) if side else None
    if precision == "auto":
        return Predictor.load(run, device="cpu", tile=tile)
    if precision == "plain":
        return Predictor.load(run, device="cpu", exact=True)
    runtime, precision = "openvino" if precision.startswith(OPENVINO) else "torch", precision.removeprefix(OPENVINO)
    return Predictor.load(run, device="cpu", runtime=runtime, precision=precision, tile=tile)  # type: ignore[arg-type]  # as named


def net_seconds(predictor: Predictor, tile: NDArray[np.float32]) -> float:
    start, hw = time.perf_counter(), tile.shape[2:]
    predictor.logits_of(tile, Frame(hw, hw))  # type: ignore[arg-type]  # two sides
    return time.perf_counter() - start


def monai(run: Path, image: Path, out: Path, way: str) -> dict[str, Any]:
    """sliding_window_inference as its documentation uses it: the image in memory, overlap 0.25, constant weights."""
    import torch
    from monai.inferers import sliding_window_inference

    predictor = loaded(run, way)
    start = time.perf_counter()
    x = torch.from_numpy(tifffile.imread(image)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        logits = sliding_window_inference(x, (MONAI_ROI_PX, MONAI_ROI_PX), 1, predictor.logits)
    labels = logits.argmax(1)[0].to(torch.uint8).numpy()  # type: ignore[union-attr]  # a tensor in gives a tensor
    tifffile.imwrite(out.with_suffix(".tif"), labels, compression="zlib")
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "model share": float("nan"),
        "overlap cost": float("nan"),
        "runs on": predictor.runtime,
        "peak MB": peak_mb(),
    }


CONTENDERS = {"maskwright": ours, "monai": monai}


def in_a_process(who: str, way: str, run: Path, image: Path, out: Path) -> dict[str, Any]:
    words = [sys.executable, __file__, "--one", who, way, str(run), str(image), str(out)]
    found = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(found.splitlines()[-1]))


def middle(values: list[Any]) -> Any:
    return values[0] if isinstance(values[0], str) else statistics.median(values)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=4000)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--minutes", type=float, help=f"of training; else {STEPS} steps")
    parser.add_argument(
        "--ways", default="auto,fp32,bf16", help="of maskwright: unasked, on torch in a number type, or openvino-bf16"
    )
    parser.add_argument("--monai-ways", default="plain,fp32,bf16")
    parser.add_argument("--against-monai", action="store_true")
    parser.add_argument("--run", type=Path, help="of this script, trained before; else one is trained")
    parser.add_argument("--one", nargs=5)
    given = parser.parse_args()
    if given.one:
        who, way, run, image, out = given.one
        found = CONTENDERS[who](Path(run), Path(image), Path(out), way)
        print(json.dumps({"MB of imports": IMPORTED_MB, **found}))
        return
    contenders = [("maskwright", way) for way in given.ways.split(",")]
    contenders += [("monai", way) for way in given.monai_ways.split(",")] if given.against_monai else []
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        run = given.run or make_run(here, given.classes, given.minutes)
        draw(here / "image.tif", given.side, given.classes)
        runs: dict[tuple[str, str], list[dict[str, Any]]] = {contender: [] for contender in contenders}
        for _ in range(given.rounds):
            for who, way in contenders:
                runs[who, way].append(in_a_process(who, way, run, here / "image.tif", here / "out"))
    rows = [
        {"what": f"{who} {way}", "side px": given.side, **{k: middle([r[k] for r in found]) for k in found[0]}}
        for (who, way), found in runs.items()
    ]
    notes = [
        "model share: the net's own time on as many pixels as went through it, over the time of the whole job, file to file",
        "overlap cost: pixels that the net saw more than once, over the image's",
        f"monai: sliding_window_inference, roi {MONAI_ROI_PX} px, default overlap 0.25, constant weights",
        "monai plain: the network in eager fp32 as it was written; fp32, bf16: channels_last, as maskwright on torch;",
        "openvino-bf16: the same converted network on OpenVINO on both sides",
        "peak MB: of the process; MB of imports: before anything is loaded, and torch only when it is needed",
    ]
    notes.append(f"{given.classes} classes")
    many = f"-{given.classes}classes" if given.classes > 2 else ""
    name = f"tiled-{given.side}" + ("-monai" if given.against_monai else "") + many
    words = ["RUN" if given.run and word == str(given.run) else word for word in sys.argv[1:]]
    record(name, rows, f"python benchmarks/tiled.py {' '.join(words)}", notes)


if __name__ == "__main__":
    main()

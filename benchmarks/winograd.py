"""What 3x3 convolutions as products of tiles save on OpenVINO: milliseconds an image with and without them, and their rounding.

    python benchmarks/winograd.py [--data DATA --run RUN] [--images 6] [--sides 256 512 1024]

Weights are random where no run is named; they do not change the time. Both graphs of a network take turns, two images side by
side as `predict` runs a folder; milliseconds are medians. The rounding is the error of logits against torch in fp32, by its
root mean square in shares of the logits' own spread. With a run, also the pixels of DATA's split val whose class changes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import record
from rounding import CPU
from torch import Tensor, nn

import maskwright
from maskwright import models
from maskwright.data.dataset import open_dataset
from maskwright.inference import rewriting
from maskwright.inference.converting import free_axes, to_openvino
from maskwright.inference.freed import reusing_memory
from maskwright.inference.labelling import GraphLabels, free, labels_on_torch
from maskwright.inference.machine import computes_bf16
from maskwright.inference.probes import spread
from maskwright.inference.runtimes import Run, Way, on_openvino
from maskwright.inference.winograd import with_fewer_products

SIDE_BY_SIDE = 2
NETWORKS: dict[str, dict[str, Any]] = {
    "U-Net, ResNet-34": {"name": "unet", "encoder": "resnet34"},
    "U-Net of the paper": {"name": "unet"},
    "DeepLabV3+, ResNet-50": {"name": "deeplabv3plus", "encoder": "resnet50"},
    "FPN, ResNet-50": {"name": "fpn", "encoder": "resnet50"},
    "FCN-8s, VGG-16": {"name": "fcn8s"},
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--run", type=Path)
    arguments.add_argument("--images", type=int, default=6)
    arguments.add_argument("--sides", type=int, nargs="+", default=[256, 512, 1024])
    arguments.add_argument("--networks", nargs="+", default=list(NETWORKS))
    given = arguments.parse_args()
    if (given.run is None) != (given.data is None):
        arguments.error("--run and --data go together")
    with reusing_memory():  # as in predict
        measure(given)


def measure(given: argparse.Namespace) -> None:
    kinds = ["fp32", *(["bf16"] if computes_bf16(CPU) else [])]
    rows = []
    for title in given.networks:
        for kind in kinds:
            rows += compared(title, kind, given.sides, given.images)
    notes = [
        f"{SIDE_BY_SIDE} images side by side, in turns; {torch.get_num_threads()} threads; freed memory is kept, as in predict"
    ]
    if given.run:
        notes += [changed(given.data, given.run, kind) for kind in kinds]
    trained = " --data DATA --run RUN" if given.run else ""
    sides = " ".join(map(str, given.sides))
    record("winograd", rows, command=f"python benchmarks/winograd.py{trained} --sides {sides}", notes=notes)


def compared(title: str, kind: str, sides: list[int], images: int) -> list[dict[str, str | float]]:
    torch.manual_seed(0)
    settings = dict(NETWORKS[title])
    net = models.build(settings.pop("name"), channels=3, classes=11, **settings).eval()
    plain, in_tiles = (of(net, kind, tiles=tiles) for tiles in (False, True))
    rows: list[dict[str, str | float]] = []
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for side in sides:
            image = torch.randn(1, 3, side, side)
            times = in_turns(pool, [plain, in_tiles], image, images)
            row: dict[str, str | float] = {
                "network": title,
                "type": kind,
                "side, px": side,
                "ms": times[0],
                "ms in tiles": times[1],
            }
            rows.append({**row, "times as fast": times[0] / times[1], **errors(net, image, plain, in_tiles)})
            print(rows[-1], flush=True)
    return rows


def of(net: nn.Module, kind: str, *, tiles: bool) -> Run:
    model = to_openvino(net, (torch.zeros(2, 3, 96, 128),), (free_axes(0, 2, 3),))
    if tiles:
        with_fewer_products(model)
    return on_openvino(
        rewriting.near_in_bf16(model) if kind == "bf16" else model, kind, streams=SIDE_BY_SIDE, threads=torch.get_num_threads()
    )


def in_turns(pool: ThreadPoolExecutor, runs: list[Run], image: Tensor, images: int) -> list[float]:
    spent: list[list[float]] = [[] for _ in runs]
    for _ in range(3):
        for run, times in zip(runs, spent, strict=True):
            list(pool.map(run, [image] * SIDE_BY_SIDE))
            began = time.perf_counter()
            list(pool.map(run, [image] * images))
            times.append(1000 * (time.perf_counter() - began) / images)
    return [statistics.median(times) for times in spent]


def errors(net: nn.Module, image: Tensor, plain: Run, in_tiles: Run) -> dict[str, str]:
    with torch.inference_mode():
        exact = net(image)
    found = {"error": plain, "error in tiles": in_tiles}
    return {name: f"{float((run(image)[0] - exact).square().mean().sqrt() / exact.std()):.1e}" for name, run in found.items()}


def changed(data: Path, run: Path, kind: str) -> str:
    """A line on how many pixels of a trained network change class, with tiles and without."""
    dataset, (model, manifest) = open_dataset(data), maskwright.load_checkpoint(run)
    pairs = dataset.split("val")
    images = [dataset.read(pairs[k]).image for k in spread(len(pairs), 40)]
    exact = [labels_on_torch(model, manifest, CPU, "fp32", exact=True)(image) for image in images]
    labels = GraphLabels(model, manifest, Way("openvino", kind))
    shares = []
    for tiles in (False, True):
        graph, example = labels.graph(True, manifest.preprocessing().channels)
        converted = to_openvino(graph, (example,), free(0, 1, 2))
        if tiles:
            with_fewer_products(converted)
        on_graph = on_openvino(
            rewriting.near_in_bf16(converted) if kind == "bf16" else converted, kind, threads=torch.get_num_threads()
        )
        found = [on_graph(torch.from_numpy(labels.input_of(image)))[0][0].numpy() for image in images]
        shares.append(float(np.mean([(a != b).mean() for a, b in zip(found, exact, strict=True)])))
    return (
        f"{manifest.model} trained on {data.name}, {len(images)} images of val, {kind}: {shares[0]:.3%} of the pixels change "
        f"class without tiles, {shares[1]:.3%} with them"
    )


if __name__ == "__main__":
    main()

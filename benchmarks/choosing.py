"""The class of each pixel chosen before or after the filling is cut off, on OpenVINO: the same labels, in turns.

    python benchmarks/choosing.py [--repeats 15]

Weights are random: they do not change the time. 480 x 360 px: networks whose deepest map has stride 32 fill up the lower side.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch
from record import record

from maskwright import models
from maskwright.classes import ClassMap
from maskwright.inference import rewriting
from maskwright.inference.converting import free_axes, to_openvino
from maskwright.inference.graph import PixelGraph
from maskwright.inference.machine import computes_bf16
from maskwright.inference.runtimes import on_openvino
from maskwright.transforms import Preprocess

CLASSES = ClassMap(tuple(range(12)), tuple(f"class {k}" for k in range(12)))
HW = (360, 480)
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "U-Net on ResNet-34": ("unet", {"encoder": "resnet34"}),
    "U-Net, width 16": ("unet", {"width": 16}),
    "FPN on EfficientNet-Lite0, width 48": ("fpn", {"encoder": "tf_efficientnet_lite0", "width": 48}),
    "DeepLabV3+ on ResNet-18": ("deeplabv3plus", {"encoder": "resnet18"}),
}


def compared(name: str, repeats: int, precision: str) -> dict[str, str]:
    kind, arguments = NETS[name]
    torch.manual_seed(0)
    graph = PixelGraph(models.build(kind, channels=3, classes=len(CLASSES), **arguments).eval(), Preprocess(3), CLASSES)
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, *HW, 3), np.uint8))
    passed = rewriting._choose_before_slicing
    runs = {}
    for way, change in (("after", lambda _: None), ("before", passed)):
        rewriting._choose_before_slicing = change
        try:
            model = to_openvino(graph, (image,), (free_axes(1, 2),))
        finally:
            rewriting._choose_before_slicing = passed
        runs[way] = on_openvino(model, precision, threads=torch.get_num_threads())
    labels = {way: run(image)[0] for way, run in runs.items()}
    spent: dict[str, list[float]] = {way: [] for way in runs}
    for _ in range(repeats):
        for way, run in runs.items():
            began = time.perf_counter()
            run(image)
            spent[way].append(1000 * (time.perf_counter() - began))
    after, before = (statistics.median(spent[way]) for way in ("after", "before"))
    same = float((labels["after"] == labels["before"]).float().mean())
    return {
        "network": name, "chosen after, ms": f"{after:.1f}", "chosen before, ms": f"{before:.1f}",
        "of the time": f"{before / after:.2f}", "equal pixels": f"{same:.4%}",
    }  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeats", type=int, default=15)
    given = arguments.parse_args()
    precision = "bf16" if computes_bf16(torch.device("cpu")) else "fp32"
    rows = [compared(name, given.repeats, precision) for name in NETS]
    record(
        "choosing",
        rows,
        "python benchmarks/choosing.py",
        [f"480 x 360 px, 12 classes, {precision}; medians of {given.repeats}, in turns"],
    )


if __name__ == "__main__":
    main()

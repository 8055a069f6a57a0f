"""What torch.compile gives on a processor, beside eager torch and OpenVINO: milliseconds an image, and the wait for the first.

    python benchmarks/compiling.py [--images 8]

One image of 384 x 480 as logits; weights are random, they do not change the time. All sizes are free in what is compiled.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from record import record

from maskwright import models
from maskwright.inference.converting import free_axes
from maskwright.inference.machine import computes_bf16
from maskwright.inference.runtimes import Run, Way, compiled

ENCODERS = ("resnet34", "tf_efficientnet_lite0")


def timed(run: Run, image: torch.Tensor) -> float:
    began = time.perf_counter()
    run(image)
    return time.perf_counter() - began


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=8)
    given = arguments.parse_args()
    image, example = torch.randn(1, 3, 384, 480), (torch.randn(2, 3, 96, 128),)
    kinds = ("fp32", "bf16") if computes_bf16(torch.device("cpu")) else ("fp32",)
    rows = []
    for encoder in ENCODERS:
        net = models.build("unet", channels=3, classes=11, encoder=encoder)
        ways = [Way(runtime, kind) for runtime in ("torch", "compile", "openvino") for kind in kinds]
        runs, waits = {}, {}
        for way in ways:
            began = time.perf_counter()
            runs[way] = compiled(net, example, way, dynamic=(free_axes(0, 2, 3),))
            runs[way](image)
            waits[way] = time.perf_counter() - began
        spent: dict[Way, list[float]] = {way: [] for way in ways}
        for _ in range(given.images):  # in turns: the machine is noisy
            for way in ways:
                spent[way].append(timed(runs[way], image))
        for way in ways:
            ms, eager = (1000 * statistics.median(spent[w]) for w in (way, Way("torch", way.precision)))
            rows.append(
                {
                    "network": f"unet, {encoder}",
                    "way": str(way),
                    "ms an image": f"{ms:.0f}",
                    "times as fast as torch": f"{eager / ms:.2f}",
                    "s until the first": f"{waits[way]:.1f}",
                }
            )
            print(rows[-1], flush=True)
    record(
        "compiling",
        rows,
        command=f"python benchmarks/compiling.py --images {given.images}",
        notes=[f"{torch.get_num_threads()} threads; medians, in turns; nothing was in the caches"],
    )


if __name__ == "__main__":
    main()

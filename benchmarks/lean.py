"""What a lean copy of a network (inference/lean.py) and reused memory (inference/freed.py) save of a forward pass, side by side.

    python benchmarks/lean.py [--px 1024] [--rounds 5]

The same network with random weights and statistics, the same image on the CPU; the four ways take passes in turn, and the median
of each counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext

import torch
from record import record
from torch import nn

from maskwright import models
from maskwright.inference.backends import forward_on
from maskwright.inference.freed import reusing_memory
from maskwright.inference.machine import computes_bf16
from maskwright.inference.tiled import Forward

NETS: list[tuple[str, dict[str, object]]] = [
    ("unet", {"width": 16, "depth": 4}),
    ("unet", {"width": 32, "depth": 4}),
    ("unet", {"encoder": "resnet34"}),
    ("unet", {"encoder": "tf_efficientnet_lite0"}),
    ("fpn", {"encoder": "resnet18"}),
]
CPU = torch.device("cpu")


def with_statistics(net: nn.Module) -> nn.Module:
    """Batch norms as after a training: fresh ones change nothing."""
    draw = torch.Generator().manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean.copy_(0.1 * torch.randn(layer.num_features, generator=draw))
            layer.running_var.copy_(0.5 + torch.rand(layer.num_features, generator=draw))
    return net.eval()


def seconds(forward: Forward, image: torch.Tensor, *, reused: bool) -> float:
    with reusing_memory() if reused else nullcontext():
        forward(image)  # memory that is reused must have been used
        began = time.perf_counter()
        forward(image)
        return time.perf_counter() - began


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--px", type=int, default=1024)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    image = torch.rand(1, 3, given.px, given.px, generator=torch.Generator().manual_seed(0))
    rows = []
    for name, args in NETS:
        net = with_statistics(models.build(name, channels=3, classes=2, **args))
        form = ", ".join(f"{key} {value}" for key, value in args.items())
        for precision in ["fp32", "bf16"] if computes_bf16(CPU) else ["fp32"]:
            plain, many = (forward_on(net, CPU, precision, many=many) for many in (False, True))
            ways = [(plain, False), (plain, True), (many, False), (many, True)]
            spent: list[list[float]] = [[] for _ in ways]
            for _ in range(given.rounds):
                for times, (forward, reused) in zip(spent, ways, strict=True):
                    times.append(1000 * seconds(forward, image, reused=reused))
            ms = [statistics.median(times) for times in spent]
            found = dict(zip(("ms plain", "ms reused", "ms lean", "ms both"), ms, strict=True))
            rows.append({"network": f"{name}, {form}", "in": precision, **found, "times as fast": ms[0] / ms[-1]})
            print(rows[-1], flush=True)
    record(
        "lean",
        rows,
        command=f"python benchmarks/lean.py --px {given.px} --rounds {given.rounds}",
        notes=[f"one image of {given.px} x {given.px} px, channels_last, {torch.get_num_threads()} threads"],
    )


if __name__ == "__main__":
    main()

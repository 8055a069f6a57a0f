"""Training steps of networks with depthwise convolutions, with and without maskwright's own backward pass for them.

    python benchmarks/depthwise.py [--steps 8]

The same network, the same batch of 4 images of 256 x 256, forward and backward in bf16 (where the processor computes it) and
channels_last; the two take steps in turn, and the quickest of each counts. The loss is the mean of squares.
"""

from __future__ import annotations

import argparse
import copy
import time

import torch
from record import record
from torch import nn

from maskwright import models
from maskwright.inference.machine import computes_bf16
from maskwright.training.depthwise import quicken

NETS: list[tuple[str, dict[str, object]]] = [
    ("unet", {"encoder": "tf_efficientnet_lite0"}),
    ("fpn", {"encoder": "tf_efficientnet_lite0", "width": 128, "norm": "batch"}),
    ("unet", {"encoder": "mobilenetv3_small_100"}),
    ("unet", {"encoder": "mobilenetv2_100"}),
    ("deeplabv3plus", {"encoder": "resnet18"}),
    ("bisenetv2", {}),
]


def step(net: nn.Module, image: torch.Tensor, bf16: bool) -> float:
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        answer = net(image)
    logits = answer if isinstance(answer, torch.Tensor) else answer[0]
    logits.float().square().mean().backward()
    net.zero_grad(set_to_none=True)
    return time.perf_counter() - began


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=8)
    given = arguments.parse_args()
    bf16 = computes_bf16(torch.device("cpu"))
    image = torch.randn(4, 3, 256, 256).to(memory_format=torch.channels_last)
    rows = []
    for name, args in NETS:
        plain = models.build(name, channels=3, classes=2, **args).to(memory_format=torch.channels_last).train()
        quick = copy.deepcopy(plain)
        layers = quicken(quick)
        spent: tuple[list[float], list[float]] = [], []
        for _ in range(given.steps + 2):
            for times, net in zip(spent, (plain, quick), strict=True):
                times.append(step(net, image, bf16))
        before, after = (1000 * min(times[2:]) for times in spent)
        form = ", ".join(f"{key} {value}" for key, value in args.items()) or "the paper's"
        rows.append(
            {
                "network": name,
                "form": form,
                "layers": str(layers),
                "ms plain": f"{before:.0f}",
                "ms quick": f"{after:.0f}",
                "times as fast": f"{before / after:.2f}",
            }
        )
        print(rows[-1], flush=True)
    record(
        "depthwise",
        rows,
        command=f"python benchmarks/depthwise.py --steps {given.steps}",
        notes=[
            f"{'bf16' if bf16 else 'fp32'}, channels_last, {torch.get_num_threads()} threads",
            "the two in turns, the quickest step of each",
        ],
    )


if __name__ == "__main__":
    main()

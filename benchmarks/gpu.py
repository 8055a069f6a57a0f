"""Images a second on a GPU: U-Net and Mask R-CNN as maskwright runs many images, against the same nets in eager fp32 and bf16.

    python benchmarks/gpu.py [--device cuda] [--seconds 5] [--hw 512,512] [--batch 1]

Weights are random: they do not change the time of U-Net; Mask R-CNN's heads see as many proposals as with trained ones. Eager is
the network as it was written, in bf16 under torch.autocast. The ways take turns, image by image, and each is waited for; an image
lies on the device before its time begins. On a processor (--device cpu) the script can be tried, its numbers mean little there.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from record import record
from torch import Tensor, nn

from maskwright import models
from maskwright.inference.backends import forward_on
from maskwright.inference.converting import free_axes
from maskwright.inference.objects import detect_on
from maskwright.inference.runtimes import Way, compiled, compiles_on

NETS: dict[str, dict[str, Any]] = {"unet": {"encoder": "resnet34"}, "mask_rcnn": {"encoder": "resnet50"}}
WARM_UP = 5
Answer = Callable[[Tensor], object]


def eager(net: nn.Module, device: torch.device, precision: str) -> Answer:
    net = copy.deepcopy(net).to(device).eval()

    @torch.inference_mode()
    def answer(image: Tensor) -> object:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return net(image)

    return answer


def ways_of(name: str, net: nn.Module, device: torch.device, image: Tensor) -> dict[str, Answer]:
    found = {f"eager {precision}": eager(net, device, precision) for precision in ("fp32", "bf16")}
    ours = detect_on if name == "mask_rcnn" else forward_on
    for precision in ("fp32", "bf16"):
        found[f"maskwright {precision}"] = ours(copy.deepcopy(net), device, precision, many=True)
    if name != "mask_rcnn" and device.type == "cuda" and compiles_on(device):
        free = (free_axes(0, 2, 3),)
        found["maskwright torch.compile bf16"] = compiled(
            copy.deepcopy(net).to(device), (image,), Way("compile", "bf16"), dynamic=free
        )
    return found


def seconds_each(ways: dict[str, Answer], image: Tensor, seconds: float) -> dict[str, float]:
    """The median of each way, in turns."""
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(WARM_UP):  # kernels are chosen, passes recorded
        for answer in ways.values():
            answer(image)
    end = time.perf_counter() + seconds * len(ways)
    while time.perf_counter() < end:
        for way, answer in ways.items():
            waited_for(image.device)
            start = time.perf_counter()
            answer(image)
            waited_for(image.device)
            spent[way].append(time.perf_counter() - start)
    return {way: statistics.median(times) for way, times in spent.items()}


def waited_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=5.0, help="of measuring a way")
    parser.add_argument("--hw", default="512,512")
    parser.add_argument("--batch", type=int, default=1, help="images in one pass of U-Net; Mask R-CNN takes one")
    given = parser.parse_args()
    device, (h, w) = torch.device(given.device), map(int, given.hw.split(","))
    rows = []
    for name, form in NETS.items():
        torch.manual_seed(0)
        net = models.build(name, channels=3, classes=2 if name == "mask_rcnn" else 12, **form).eval()
        images = 1 if name == "mask_rcnn" else given.batch
        image = torch.rand(images, 3, h, w, device=device)
        spent = seconds_each(ways_of(name, net, device, image), image, given.seconds)
        rows += [
            {
                "network": name,
                "way": way,
                "images in a pass": images,
                "images a second": f"{images / s:.1f}",
                "times eager fp32": f"{spent['eager fp32'] / s:.2f}",
                "times eager bf16": f"{spent['eager bf16'] / s:.2f}",
            }
            for way, s in spent.items()
        ]
        print(*rows[-len(spent) :], sep="\n", flush=True)
    words = f"python benchmarks/gpu.py --device {given.device} --seconds {given.seconds:g} --hw {given.hw} --batch {given.batch}"
    record(f"gpu-{h}x{w}-{given.batch}", rows, words, [f"{h} x {w} px, random weights; medians, the ways in turns"])


if __name__ == "__main__":
    main()

"""Frames a second from file to mask at 480 x 360: read the JPEG, run the network, write the palette PNG.

    python benchmarks/frames.py DATA [--seconds 6] [--only unet,bisenetv2]

DATA is camvid. Weights are random: they do not change the time. Each network runs as `predict` runs it (bf16 and channels_last
where the processor computes them) and as eager fp32, in turns, one image at a time; the numbers are medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from record import record

import maskwright
from maskwright import models
from maskwright.checkpoint import Manifest
from maskwright.inference.predictor import Predictor
from maskwright.transforms import Preprocess

CLASSES = 11
# As their papers draw them, or with the encoder that is usual for them.
PAPERS: list[tuple[str, dict[str, object]]] = [
    ("fcn32s", {}),
    ("fcn16s", {}),
    ("fcn8s", {}),
    ("fcn_googlenet", {}),
    ("segnet", {}),
    ("segnet_basic", {}),
    ("unet", {"padded": False}),
    ("unet", {"encoder": "resnet34"}),
    ("unetpp", {"width": 32}),
    ("deeplabv3", {"encoder": "resnet50"}),
    ("fcn_resnet", {"encoder": "resnet50"}),
    ("deeplabv3plus", {"encoder": "resnet50"}),
    ("fpn", {"encoder": "resnet50"}),
    ("upernet", {"encoder": "resnet50"}),
    ("eomt", {"encoder": "vit_small_patch16_224"}),
    ("bisenetv2", {}),
]
# Narrow forms for cameras on a processor, beside those of configs/camvid.
NARROW: list[tuple[str, dict[str, object]]] = [
    ("unet", {"encoder": "tf_efficientnet_lite0", "decoder": [64, 48, 32, 16, 8], "up": "bilinear"}),
    ("unet", {"encoder": "mobilenetv3_small_100", "decoder": [64, 48, 32, 16, 8], "up": "bilinear"}),
    ("fpn", {"encoder": "mobilenetv3_small_100", "width": 64, "norm": "batch"}),
    ("bisenetv2", {"width_multiplier": 0.5, "head_width": 128}),
]


def forms() -> list[tuple[str, dict[str, object]]]:
    recipes = [maskwright.Recipe.load(path) for path in sorted((Path(__file__).parents[1] / "configs" / "camvid").glob("*.yaml"))]
    found = list(PAPERS)
    for form in [*((r.model, r.model_args) for r in recipes), *NARROW]:
        if form not in found:
            found.append(form)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--seconds", type=float, default=6.0, help="of measuring a network")
    arguments.add_argument("--only", default="", help="names of the registry, with commas between them")
    given = arguments.parse_args()
    files = sorted((given.data / "val").glob("*.jpg"))[:16]
    wanted = given.only.split(",") if given.only else list(models.MODELS)
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(name, form, files, given.seconds, Path(folder)) for name, form in forms() if name in wanted]
    record(
        "frames",
        rows,
        command="python benchmarks/frames.py DATA",
        notes=[
            f"480 x 360, {CLASSES} classes, JPEG read and palette PNG written within the time",
            f"{torch.get_num_threads()} threads; medians; the two ways take turns image by image",
        ],
    )


def measured(name: str, form: dict[str, object], files: list[Path], seconds: float, folder: Path) -> dict[str, str | float]:
    torch.manual_seed(0)
    net = models.build(name, channels=3, classes=CLASSES, **form)
    parameters = sum(p.numel() for p in net.parameters())
    manifest = Manifest(
        model=name,
        model_args=dict(form),
        classes=maskwright.ClassMap(tuple(range(CLASSES)), tuple(f"class {k}" for k in range(CLASSES))).to_dict(),
        preprocess=Preprocess(3).to_dict(),
        precision="bf16",
    )
    state = {k: v.clone() for k, v in net.state_dict().items()}
    other = models.build(name, channels=3, classes=CLASSES, **form)
    other.load_state_dict(state)
    ways = {"quick": Predictor(net.eval(), manifest), "fp32": Predictor(other.eval(), manifest, exact=True)}
    times: dict[str, list[float]] = {way: [] for way in ways}
    end = time.perf_counter() + seconds
    for turn in range(10**6):
        for way, predictor in ways.items():
            began = time.perf_counter()
            predictor(files[turn % len(files)]).save(folder / way)
            times[way].append(time.perf_counter() - began)
        if time.perf_counter() > end and turn >= 3:
            break
    quick, plain = (statistics.median(times[way][1:]) for way in ("quick", "fp32"))
    row: dict[str, str | float] = {
        "network": name,
        "form": ", ".join(f"{k} {v}" for k, v in form.items()) or "the paper's",
        "million parameters": f"{parameters / 1e6:.2f}",
        "ms eager fp32": f"{plain * 1000:.0f}",
        "ms as predict runs it": f"{quick * 1000:.0f}",
        "frames a second": f"{1 / quick:.1f}",
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()

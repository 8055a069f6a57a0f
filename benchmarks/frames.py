"""Frames a second from file to mask at 480 x 360: read the JPEG, run the network, write the palette PNG.

    python benchmarks/frames.py DATA [--seconds 6] [--only unet,bisenetv2]

DATA is camvid. Weights are random: they do not change the time. Each network runs on torch and on OpenVINO as `predict` runs it
(in bf16 where the processor computes it) and as eager fp32, in turns, one image at a time; the numbers are medians. On OpenVINO
also as `predict` runs a folder: read, computed and written side by side.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path

import torch
from record import record

import maskwright
from maskwright import models
from maskwright.checkpoint import Manifest
from maskwright.errors import InputError
from maskwright.inference.files import predict_files
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
    ways = {
        "openvino": {"runtime": "openvino"},
        "torch": {"runtime": "torch"},
        "fp32": {"exact": True},
    }
    found: dict[str, Predictor] = {}
    refused = ""
    for way, wishes in ways.items():
        predictor = Predictor(copy.deepcopy(net).eval(), manifest, device="cpu", **wishes)  # type: ignore[arg-type]
        try:
            predictor(files[0]).save(folder / way)  # converts
            found[way] = predictor
        except InputError as error:
            refused = str(error)
    times: dict[str, list[float]] = {way: [] for way in found}
    end = time.perf_counter() + seconds
    for turn in range(10**6):
        for way, predictor in found.items():
            began = time.perf_counter()
            predictor(files[turn % len(files)]).save(folder / way)
            times[way].append(time.perf_counter() - began)
        if time.perf_counter() > end and turn >= 3:
            break
    ms = {way: 1000 * statistics.median(spent[1:]) for way, spent in times.items()}
    side_by_side = folder_ms(found["openvino"], files, folder) if "openvino" in found else float("nan")
    quickest = min(*ms.values(), *([side_by_side] if "openvino" in found else []))
    row: dict[str, str | float] = {
        "network": name,
        "form": ", ".join(f"{k} {v}" for k, v in form.items()) or "the paper's",
        "million parameters": f"{parameters / 1e6:.2f}",
        "ms eager fp32": f"{ms['fp32']:.0f}",
        "ms torch": f"{ms['torch']:.0f}",
        "ms openvino": f"{ms['openvino']:.0f}" if "openvino" in ms else "not converted",
        "ms openvino, folder": f"{side_by_side:.0f}",
        "frames a second": f"{1000 / quickest:.1f}",
    }
    print(row, refused, flush=True)
    return row


def folder_ms(predictor: Predictor, files: list[Path], folder: Path) -> float:
    """Milliseconds an image of a whole folder, median of three; the first time is not counted."""
    spent = []
    for _ in range(4):
        began = time.perf_counter()
        predict_files(predictor, files, folder / "side by side", overwrite=True)
        spent.append(1000 * (time.perf_counter() - began) / len(files))
    return statistics.median(spent[1:])


if __name__ == "__main__":
    main()

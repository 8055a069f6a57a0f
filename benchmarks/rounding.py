"""What kernels that keep their sums, and last sums in fp32, are worth in bf16: pixels whose class changes, and time.

    python benchmarks/rounding.py DATA RUN [RUN ...] [--images 40] [--rounds 3]

The reference is eager fp32 on torch. Graphs of OpenVINO take turns, an image at a time on all cores; numbers are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from record import record

import maskwright
from maskwright.data.dataset import open_dataset
from maskwright.inference import rewriting
from maskwright.inference.converting import to_openvino
from maskwright.inference.decode import decode
from maskwright.inference.labelling import GraphLabels, free, labels_on_torch
from maskwright.inference.probes import spread
from maskwright.inference.runtimes import Way, on_openvino
from maskwright.io.image import Image

CPU = torch.device("cpu")
Labels = Callable[[Image], NDArray[Any]]
AS_IT_IS = "OpenVINO as it rounds itself"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    arguments.add_argument("--images", type=int, default=40, help="of the split val")
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    dataset = open_dataset(given.data)
    pairs = dataset.split("val")
    images = [dataset.read(pairs[k]).image for k in spread(len(pairs), given.images)]
    rows = [row for run in given.runs for row in measured(run, images, given.rounds)]
    record(
        "rounding",
        rows,
        command=f"python benchmarks/rounding.py DATA {' '.join(run.name for run in given.runs)}",
        notes=[
            f"{len(images)} images of {given.data.name}'s split val; against eager fp32",
            "bf16 throughout; the lines of OpenVINO take turns; torch's line by autocast rounds weights in each forward",
        ],
    )


def measured(run: Path, images: list[Image], rounds: int) -> list[dict[str, str | float]]:
    model, manifest = maskwright.load_checkpoint(run)
    expected = [labels_on_torch(model, manifest, CPU, "fp32", exact=True)(image) for image in images]
    ways = {**on_graphs(run), "torch by autocast": by_autocast(run), "torch, kernels keep their sums": on_torch(run)}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    changed = {}
    for turn in range(rounds):
        for name, labels in ways.items():
            labels(images[0])
            answers = []
            for image in images:
                began = time.perf_counter()
                answers.append(labels(image))
                spent[name].append(1000 * (time.perf_counter() - began))
            if not turn:
                changed[name] = np.mean([(a != b).mean() for a, b in zip(answers, expected, strict=True)])
    described = f"{manifest.model} {manifest.model_args.get('encoder', '')}".strip()
    return [
        {"network": described, "way": name, "changed": f"{changed[name]:.3%}", "ms an image": statistics.median(spent[name])}
        for name in ways
    ]


def on_graphs(run: Path) -> dict[str, Labels]:
    steps = {
        AS_IT_IS: (),
        "kernels keep their sums": (rewriting._round_kernels,),
        "the last sums in fp32": (rewriting._keep_sums,),
        "both": (rewriting._round_kernels, rewriting._keep_sums),
    }
    return {name: on_graph(run, todo) for name, todo in steps.items()}


def on_graph(run: Path, steps: tuple[Callable[[Any], None], ...]) -> Labels:
    model, manifest = maskwright.load_checkpoint(run)
    labels = GraphLabels(model, manifest, Way("openvino", "bf16"))
    graph, example = labels.graph(True, manifest.preprocessing().channels)
    converted = to_openvino(graph, (example,), free(0, 1, 2))
    for step in steps:
        step(converted)
    compiled = on_openvino(converted, "bf16", threads=torch.get_num_threads())
    return lambda image: compiled(torch.from_numpy(labels.input_of(image)))[0][0].numpy()


def on_torch(run: Path) -> Labels:
    model, manifest = maskwright.load_checkpoint(run)
    return labels_on_torch(model, manifest, CPU, "bf16")


def by_autocast(run: Path) -> Labels:
    model, manifest = maskwright.load_checkpoint(run)
    net, preprocess, classes = model.eval().to(memory_format=torch.channels_last), manifest.preprocessing(), manifest.class_map()

    def labels(image: Image) -> NDArray[Any]:
        x, frame = preprocess(image)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits = net(x.contiguous(memory_format=torch.channels_last))
        return decode([logits.float()], frame, classes).labels

    return labels


if __name__ == "__main__":
    main()

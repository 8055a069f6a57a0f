"""Files to masks: `predict` against the plain script of a user, on the same trained weights, and what is not the network itself.

    python benchmarks/predict_speed.py DATA [--run RUN | --minutes 10] [--images 200] [--rounds 3] [--int8]

DATA is camvid. Without a run a U-Net on ResNet-34 is trained first, in the form of segmentation-models-pytorch. The plain script
builds that library's Unet, loads the run's weights into it, reads with Pillow, runs eager fp32 one image at a time and writes
with Pillow. All ways take turns, whole folders at a time; numbers are medians of the rounds and contain everything from the
loading of the weights on.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import segmentation_models_pytorch as smp
import torch
from record import record
from torch import Tensor, nn

import maskwright
from maskwright.checkpoint import Manifest
from maskwright.inference.files import predict_files
from maskwright.inference.predictor import Predictor
from maskwright.io.read import read_image

Way = Callable[[Path], str]
BASE = "plain script, segmentation-models-pytorch"
NET = {"encoder": "resnet34", "up": "nearest", "head_px": 3}
SMP_LAYERS = {"0": "conv1.0", "1": "conv1.1", "3": "conv2.0", "4": "conv2.1"}  # of a stage, by our numbers


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--run", type=Path, help="of a U-Net with model_args as NET below")
    arguments.add_argument("--minutes", type=float, default=10.0, help="to train in where no run is given")
    arguments.add_argument("--images", type=int, default=200)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--int8", action="store_true", help="prepare int8 where the run has none, and time it too")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = (
            given.run
            or maskwright.train(
                given.data, model="unet", minutes=given.minutes, out=folder / "run", settings={"model_args": NET}
            ).folder
        )
        said = prepared(run, given.data, given.int8)
        sources = gathered(given.data, folder / "images", given.images)
        rows = compared(ways(run, sources, int8=given.int8), sources, folder, given.rounds)
        share = not_the_network(run, sources)
    record(
        "predict_speed",
        rows,
        command="python benchmarks/predict_speed.py DATA" + (" --int8" if given.int8 else ""),
        notes=[
            f"{given.images} images of camvid, 480 x 360, JPEG to palette PNG; {given.rounds} rounds, the ways in turns; medians",
            f"of the time of `predict` (auto) {share:.1%} are not the network itself (the same graph on images held in memory)",
            *said,
        ],
    )


def prepared(run: Path, data: Path, int8: bool) -> list[str]:
    """Runtimes measured on this machine, and int8 where it is wanted; what was found."""
    wanted = int8 and not (run / "int8").is_dir()
    return maskwright.optimise(run, data if wanted else None, int8=wanted).lines()


def gathered(data: Path, folder: Path, count: int) -> list[Path]:
    """So many files of their own: those of the data set, again from the first where it has fewer."""
    files = sorted(data.glob("*/*.jpg"))
    folder.mkdir()
    return [Path(shutil.copy(files[k % len(files)], folder / f"{k:04}.jpg")) for k in range(count)]


def ways(run: Path, sources: Sequence[Path], *, int8: bool) -> dict[str, Way]:
    """What is compared: each writes its masks into a folder and says what it ran on."""

    def ours(**wishes: str) -> Way:
        def predict(out: Path) -> str:
            predictor = Predictor.load(run, "cpu", **wishes)  # type: ignore[arg-type]
            predict_files(predictor, list(sources), out)
            return predictor.runtime

        return predict

    def plain(out: Path) -> str:
        ours, manifest = maskwright.load_checkpoint(run)
        net = smp.Unet("resnet34", encoder_weights=None, classes=len(manifest.class_map()))
        net.load_state_dict(as_smp(ours.state_dict()))
        return script(net.eval(), manifest, sources, out)

    found = {BASE: plain, "predict": ours()}
    found["predict --runtime torch"] = ours(runtime="torch")
    found["predict --runtime openvino --precision bf16"] = ours(runtime="openvino", precision="bf16")  # agreeing or not
    if int8:
        found["predict --precision int8"] = ours(precision="int8")
    return found


def as_smp(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A run's weights under the names of segmentation-models-pytorch."""
    renamed = {}
    for key, tensor in state.items():
        key = key.replace("encoder.net.", "encoder.").replace("head.", "segmentation_head.0.")
        key = re.sub(r"^expanding\.stages\.(\d+)\.convs\.convs\.(\d)", lambda m: f"decoder.blocks.{m[1]}.{SMP_LAYERS[m[2]]}", key)
        renamed[key] = tensor
    return renamed


def script(net: nn.Module, manifest: Manifest, sources: Sequence[Path], out: Path) -> str:
    """As a user would write it: one image after the other, Pillow, eager fp32, sides filled up to multiples of 32."""
    out.mkdir()
    preprocess = manifest.preprocessing()
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (preprocess.mean, preprocess.std))
    palette = [value for colour in manifest.class_map().colours for value in colour]
    for source in sources:
        image = torch.from_numpy(np.array(PIL.Image.open(source).convert("RGB"))).permute(2, 0, 1).float() / 255
        x = ((image - mean) / std)[None]
        h, w = x.shape[2:]
        x = nn.functional.pad(x, (0, -w % 32, 0, -h % 32), mode="replicate")
        with torch.no_grad():
            labels = net(x)[0, :, :h, :w].argmax(0)
        mask = PIL.Image.fromarray(labels.numpy().astype(np.uint8), "P")
        mask.putpalette(palette)
        mask.save(out / f"{source.stem}.png")
    return "eager fp32"


def compared(todo: dict[str, Way], sources: Sequence[Path], folder: Path, rounds: int) -> list[dict[str, str | float]]:
    spent: dict[str, list[float]] = {name: [] for name in todo}
    ran: dict[str, str] = {}
    for turn in range(rounds):
        for k, (name, way) in enumerate(todo.items()):
            out = folder / f"{turn}-{k}"
            began = time.perf_counter()
            ran[name] = way(out)
            spent[name].append(time.perf_counter() - began)
            print(f"round {turn + 1}: {name} ({ran[name]}) {spent[name][-1]:.1f} s", flush=True)
    seconds = {name: statistics.median(times) for name, times in spent.items()}
    base = seconds[BASE]
    return [
        {
            "what": name,
            "runs on": ran[name],
            "ms an image": 1000 * seconds[name] / len(sources),
            "times as fast": base / seconds[name],
            "equal pixels": f"{equal(folder / '0-0', folder / f'0-{k}'):.4%}",
        }
        for k, name in enumerate(todo)
    ]


def equal(one: Path, other: Path) -> float:
    """Share of the pixels of all masks that are the same; stored values are class ids on our side, channels on the script's."""
    same = total = 0
    for path in sorted(one.glob("*.png")):
        a, b = (np.asarray(PIL.Image.open(folder / path.name)) for folder in (one, other))
        same, total = same + int((a == b).sum()), total + a.size
    return same / total


def not_the_network(run: Path, sources: Sequence[Path]) -> float:
    """Share of predict's time, once it is running, that the same graph on images held in memory does not take."""
    predictor = Predictor.load(run, "cpu").prepare()
    graph = predictor.graph()
    if graph is None:
        return float("nan")
    images = [read_image(source) for source in sources]
    with tempfile.TemporaryDirectory() as out, ThreadPoolExecutor(graph.streams) as pool:
        predict_files(predictor, list(sources[:4]), Path(out) / "first")
        list(pool.map(graph, images[:4]))
        parts = []
        for turn in range(3):
            began = time.perf_counter()
            list(pool.map(graph, images))
            network = time.perf_counter() - began
            began = time.perf_counter()
            predict_files(predictor, list(sources), Path(out) / str(turn))
            parts.append(1 - network / (time.perf_counter() - began))
    return statistics.median(parts)


if __name__ == "__main__":
    main()

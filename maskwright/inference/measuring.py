"""Which way is quickest of those that agree: measured once on a run's probes, and once on tiles of a size, and kept.

What the machine that trained measured stands in the manifest. Elsewhere, or with other versions, it is measured when a job is
long enough to be worth it, and kept in the user's cache under the weights, the versions and the processor.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from maskwright import __version__
from maskwright.checkpoint import Manifest, Network, weights_hash
from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.inference.agreement import Agreement, Comparison
from maskwright.inference.backends import forward_on
from maskwright.inference.cache import cache_folder, key_of
from maskwright.inference.labelling import GraphLabels, Labels, covered_by, labels_on_torch, objects_on
from maskwright.inference.machine import Device, as_torch, processor, thread_count
from maskwright.inference.probes import Probe
from maskwright.inference.runtimes import RUNTIMES, Way, version_of, ways_on
from maskwright.inference.tiled import WHOLE_IMAGE_PX, Forward
from maskwright.io.write import write_json
from maskwright.later import torch

if TYPE_CHECKING:
    from torch import nn

ORDER = ("bf16", "fp16", "fp32")  # in which the number types are tried
MOST_TOGETHER = 16  # images in one pass
TOGETHER_S = 3.0  # after which no larger number is tried
PASSES = 3  # that are timed for each number of images, the quickest counts
FAILED = 0.0  # milliseconds and seconds of what gave no answer
CONVERSION_S = 15.0  # what converting a network takes at most, roughly; how long it took is only known afterwards


@dataclass(frozen=True)
class Measurement:
    """What was measured on one machine.

    Attributes:
        machine: here(): processor, threads and versions; another machine measures anew
        images: probes
        reference_ms: milliseconds an image in eager fp32
        ways: each with how it agreed, quickest first
        streams: how many images the quickest one had best compute side by side, where many come
        together: how many it had best take in one pass; of torch, which has no streams
        tiles: milliseconds of a tile by its size, as "1024 x 1024", and way, where timed; FAILED of what gave no answer
    """

    machine: dict[str, str]
    images: int
    reference_ms: float
    ways: tuple[Agreement, ...]
    streams: int = 1
    together: int = 1
    tiles: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def best(self, runtimes: Collection[str] = RUNTIMES, precisions: Collection[str] = ORDER) -> Agreement | None:
        """The quickest way that agrees, of these runtimes and number types; None where none does."""
        fit = [w for w in self.ways if w.agrees and w.way.split()[0] in runtimes and w.way.split()[1] in precisions]
        return min(fit, key=lambda w: w.ms, default=None)

    def of(self, way: Way) -> Agreement | None:
        return next((w for w in self.ways if w.way == str(way)), None)

    def rivals(self, runtimes: Collection[str], precisions: Collection[str]) -> list[Agreement]:
        """The quickest way that agrees of each runtime."""
        found = [self.best([runtime], precisions) for runtime in runtimes]
        return [way for way in found if way is not None]

    def on_tiles(self, hw: tuple[int, int], rivals: Collection[Way]) -> Self | None:
        """These ways alone, with their times on tiles of this size; None where not all of them were timed."""
        known = self.tiles.get(_size(hw), {})
        names = {str(way) for way in rivals}
        if not names or not names <= known.keys():
            return None
        return replace(
            self, ways=tuple(replace(w, ms=known[w.way]) for w in self.ways if w.way in names and known[w.way] != FAILED)
        )

    def with_tiles(self, hw: tuple[int, int], ms: Mapping[str, float]) -> Self:
        """With what was timed now, beside what was before on tiles of this size."""
        return replace(self, tiles={**self.tiles, _size(hw): {**self.tiles.get(_size(hw), {}), **ms}})

    def lines(self) -> list[str]:
        """For people: a line a way."""
        rows = [f"eager fp32: {self.reference_ms:.0f} ms an image, the reference ({self.images} probes)"]
        for w in self.ways:
            if w.ms == FAILED:
                rows.append(f"{w.way}: refused: {w.refused}")
                continue
            moved = max((abs(v) for v in w.moved.values()), default=0.0)
            agrees = f"{w.changed:.3%} of the pixels change, no class moves by more than {moved:.2f} points"
            verdict = f"refused: {w.refused}" if w.refused else agrees
            rows.append(f"{w.way}: {w.ms:.0f} ms an image, {w.start_s:.1f} s to start; {verdict}")
        if self.together > 1:
            rows.append(f"many images: {self.together} of them in one pass")
        return rows

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        ways = tuple(Agreement.from_dict(way) for way in given["ways"])
        counts = int(given["streams"]), int(given.get("together", 1))
        tiles = {str(hw): {str(way): float(ms) for way, ms in of.items()} for hw, of in given.get("tiles", {}).items()}
        return cls(dict(given["machine"]), int(given["images"]), float(given["reference_ms"]), ways, *counts, tiles)


def here(device: Device) -> dict[str, str]:
    """The machine and the versions, as far as they decide how a network runs."""
    versions = {f"{name} version": version_of(name) for name in RUNTIMES}
    kind = torch.cuda.get_device_name(as_torch(device)) if device.type == "cuda" else processor()
    return {"device": device.type, "kind": kind, "threads": str(thread_count()), "maskwright": __version__, **versions}


def measure(
    model: nn.Module,
    manifest: Manifest,
    device: Device,
    probes: Sequence[Probe],
    *,
    runtimes: Collection[str] = RUNTIMES,
    progress: Callable[[str], None] | None = None,
) -> Measurement:
    """Run the probes in eager fp32 and in every way that this machine has; the model's layout changes on the way.

    fp32 on other runtimes than torch is only tried where their bf16 is refused or not to be had, and ONNX Runtime where
    OpenVINO is missing. What fails on a way is why it is refused.

    Args:
        runtimes: those that are tried, where they are installed
        progress: told which way is being measured
    """
    classes = manifest.class_map()
    progress = progress or _silent
    progress("eager fp32")
    reference = labels_on_torch(model, manifest, device, "fp32", exact=True)
    truth, reference_ms, _ = _timed(reference, probes)
    found: list[Agreement] = []
    ran: set[str] = set()
    for way in _in_order(ways_on(device), manifest):
        if way.runtime not in runtimes:
            continue
        own = [f for f in found if f.way.startswith(way.runtime)]
        if way.runtime != "torch" and way.precision == "fp32" and any(f.agrees for f in own):
            continue
        if way.runtime == "onnx" and "openvino" in ran:
            continue
        progress(str(way))
        try:
            found.append(_judged(way, model, manifest, device, probes, truth, classes))
            ran.add(way.runtime)
        except Exception as error:  # whatever a compiler or a runtime trips over, the others still serve
            if way.runtime == "torch":
                raise
            why = f"it fails on this network ({first_line(error)})"
            found.append(Agreement(str(way), FAILED, FAILED, 0.0, {}, refused=why))
    measured = Measurement(here(device), len(probes), reference_ms, tuple(sorted(found, key=lambda f: (f.ms == FAILED, f.ms))))
    best = measured.best()
    if best is None or manifest.task == "instance":
        return measured
    way = Way(*best.way.split())  # type: ignore[arg-type]
    if way.runtime == "torch":
        return replace(measured, together=_together(model, manifest, device, way.precision, probes))
    if way.runtime == "compile":
        return measured
    return replace(measured, streams=_streams(model, manifest, way, probes))


def kept_measurement(network: Network, manifest: Manifest, device: Device) -> Measurement | None:
    """What was measured of every runtime for these weights on this machine, by training or later; None if it was not."""
    there = {way.runtime for way in _in_order(ways_on(device), manifest)}
    # What was measured later, by hand or on another machine, comes first.
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # never measured, or the file is damaged
        kept = Measurement.from_dict(json.loads(_file(network, device).read_text(encoding="utf-8")))
        gone = "compile" if "compile" not in there else ""  # Triton may have been here then
        return replace(kept, ways=tuple(way for way in kept.ways if way.way.split()[0] != gone))
    known = manifest.runtimes or {}
    if known.get("machine") == here(device) and (
        there == {"torch"} or any(w["way"].split()[0] != "torch" for w in known["ways"])
    ):
        return Measurement.from_dict(known)
    return None


def keep_measurement(network: Network, device: Device, found: Measurement) -> None:
    """Into the user's cache; where that cannot be written it is measured again the next time."""
    try:
        write_json(_file(network, device), found.to_dict())
    except (InputError, OSError):
        return


def time_tile(forward: Forward, channels: int, hw: tuple[int, int]) -> float:
    """Milliseconds of a tile, the quicker of two passes after one that is not counted."""
    tile, spent = torch.rand(1, channels, *hw, generator=torch.Generator().manual_seed(0)), []
    for _ in range(3):
        began = time.perf_counter()
        forward(tile)[..., 0, 0].cpu()  # a GPU answers before it has computed
        spent.append(1000 * (time.perf_counter() - began))
    return min(spent[1:])


def cost_s(ms: float, probes: int) -> float:
    """Seconds that a measurement takes, about, where one image takes `ms` in eager fp32."""
    return CONVERSION_S + TOGETHER_S + 2 * probes * ms / 1000


def first_line(error: Exception) -> str:
    """What an error says first, without the stop behind it."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__


def _file(network: Network, device: Device) -> Path:
    return cache_folder() / "measured" / f"{key_of(weights_hash(network), *sorted(here(device).items()))}.json"


def _size(hw: tuple[int, int]) -> str:
    return f"{hw[0]} x {hw[1]}"


def _silent(_way: str) -> None:
    """Progress that nobody watches."""


def _in_order(ways: Sequence[Way], manifest: Manifest) -> list[Way]:
    """bf16 first, torch first; of models that find objects torch and OpenVINO alone."""
    known = [way for way in ways if manifest.task == "semantic" or way.runtime in ("torch", "openvino")]
    return sorted(known, key=lambda way: (RUNTIMES.index(way.runtime), ORDER.index(way.precision)))


def _judged(
    way: Way,
    model: nn.Module,
    manifest: Manifest,
    device: Device,
    probes: Sequence[Probe],
    reference: Sequence[NDArray[Any]],
    classes: ClassMap,
) -> Agreement:
    labels: Labels
    if way.runtime == "torch":
        labels = labels_on_torch(model, manifest, device, way.precision)
    elif manifest.task == "instance":
        objects_on(model, manifest, way)  # converts, and keeps what was converted
        labels = covered_by(objects_on(model, manifest, way), manifest)
    else:
        GraphLabels(model, manifest, way)(probes[0].image)  # converts, and keeps what was converted
        labels = GraphLabels(model, manifest, way)
    answers, ms, start_s = _timed(labels, probes)
    comparison = Comparison(classes)
    for probe, expected, answer in zip(probes, reference, answers, strict=True):
        comparison.update(probe.labels, expected, answer)
    return Agreement(str(way), ms, start_s, comparison.changed, comparison.moved(), comparison.objection())


def _streams(model: nn.Module, manifest: Manifest, way: Way, probes: Sequence[Probe]) -> int:
    """The number of images side by side with which all probes are done soonest."""
    spent = {}
    for streams in _counts(thread_count()):
        labels = GraphLabels(model, manifest, way, streams=streams)
        with ThreadPoolExecutor(streams) as pool:
            list(pool.map(labels, [probes[0].image] * streams))
            began = time.perf_counter()
            list(pool.map(labels, [probe.image for probe in probes]))
            spent[streams] = time.perf_counter() - began
    return min(spent, key=lambda streams: spent[streams])


def _together(model: nn.Module, manifest: Manifest, device: Device, precision: str, probes: Sequence[Probe]) -> int:
    """How many images in one pass, doubled as long as that takes 5 % less an image, fits into memory, and is found out soon."""
    x, _ = manifest.preprocessing()(probes[len(probes) // 2].image)
    most = max(1, min(MOST_TOGETHER, WHOLE_IMAGE_PX // (x.shape[2] * x.shape[3])))
    forward, best, best_s = forward_on(model, device, precision, many=True), 1, math.inf
    first = time.perf_counter()
    for count in _counts(most):
        images, times = x.repeat(count, 1, 1, 1), []
        try:
            forward(images)
            for _ in range(PASSES):
                began = time.perf_counter()
                forward(images)[..., 0, 0].cpu()  # a GPU answers before it has computed
                times.append(time.perf_counter() - began)
        except torch.OutOfMemoryError:
            break
        if min(times) / count > 0.95 * best_s:
            break
        best, best_s = count, min(times) / count
        if time.perf_counter() - first > TOGETHER_S:
            break
    return best


def _counts(most: int) -> list[int]:
    """1, 2, 4, ... up to a number: of threads, which share among the streams, or of images in one pass."""
    return [1 << k for k in range(most.bit_length())]


def _timed(labels: Labels, probes: Sequence[Probe]) -> tuple[list[NDArray[Any]], float, float]:
    """The answers, the median milliseconds of one, and the seconds until the first."""
    began = time.perf_counter()
    labels(probes[0].image)
    start_s = time.perf_counter() - began
    answers, spent = [], []
    for probe in probes:
        began = time.perf_counter()
        answers.append(np.asarray(labels(probe.image)))
        spent.append(time.perf_counter() - began)
    return answers, 1000 * median(spent), start_s

"""Mask R-CNN ResNet-50-FPN: torchvision's own against ours on each runtime, the same weights and the same image, side by side.

    python benchmarks/mask_rcnn_speed.py [--repeats 5] [--images 2] [--int8]

The weights are random and scaled until many objects of many classes are found, as tests/models/mask_rcnn has them; the image is
480 x 640 and both sides see it at 800 x 1066. Time runs from a float image in [0, 1] to masks at the image's size: pasted to
pixels by torchvision, to runs by ours. The ways take turns, image by image, so that a machine that gets slower slows all; medians
stand beside how the detections agree with torchvision's fp32, whose detections are the truth of AP.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from record import record
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from maskwright.classes import ClassMap
from maskwright.inference.object_parts import GRAPHS, detect_by, parts_of, parts_on
from maskwright.inference.objects import Detect, decode_objects, detect_on
from maskwright.inference.quantising_objects import quantised_objects
from maskwright.inference.runtimes import Way, installed, on_openvino
from maskwright.instances import Instances
from maskwright.metrics.instances import AveragePrecision
from maskwright.metrics.objects import KINDS
from maskwright.models.mask_rcnn import TORCHVISION_V1, MaskRCNN, from_torchvision, resized_for
from maskwright.ops.rle import Rle
from maskwright.transforms import Frame

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.models.mask_rcnn import test_torchvision_parity as parity

CLASSES = ClassMap(tuple(range(parity.CLASSES)), ("background", *(f"class {k}" for k in range(1, parity.CLASSES))))
HW = (480, 640)
CPU = torch.device("cpu")
Answer = Callable[[Tensor], Instances]


def pictures(count: int) -> list[Tensor]:
    """Blobs of colour with noise, in [0, 1]."""
    torch.manual_seed(4)
    coarse = [torch.rand(1, 3, 24, 32) for _ in range(count)]
    smooth = [F.interpolate(c, size=HW, mode="bilinear")[0] for c in coarse]
    return [0.8 * s + 0.2 * torch.rand_like(s) for s in smooth]


def torchvisions(images: Sequence[Tensor]) -> nn.Module:
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=5)
    model = detection.MaskRCNN(backbone, parity.CLASSES)
    overwrite_eps(model, 0.0)
    parity.images = lambda: list(images[:1])
    return parity.lived_in(model)


def by_torchvision(model: nn.Module) -> Answer:
    @torch.inference_mode()
    def answer(image: Tensor) -> Instances:
        found = model([image])[0]
        return told(found)

    def told(found: dict[str, Tensor]) -> Instances:
        masks = [Rle.from_mask(m[0].numpy() >= 0.5) for m in found["masks"]]
        there = [k for k, m in enumerate(masks) if m.area_px]
        return Instances(
            HW, CLASSES, found["labels"].numpy()[there].astype(np.int64), tuple(masks[k] for k in there),
            scores=found["scores"].numpy()[there], boxes_xyxy=found["boxes"].numpy()[there], name="image",
        )  # fmt: skip

    answer.timed = torch.inference_mode()(lambda image: model([image]))  # type: ignore[attr-defined]
    return answer


def by_ours(detect: Detect, theirs: nn.Module) -> Answer:
    mean, std = (torch.tensor(v)[:, None, None] for v in (theirs.transform.image_mean, theirs.transform.image_std))
    work_hw = resized_for(HW)

    def answer(image: Tensor) -> Instances:
        x = F.interpolate(((image - mean) / std)[None], size=work_hw, mode="bilinear", align_corners=False)
        return decode_objects(detect(x), Frame(HW, work_hw), CLASSES)

    answer.timed = answer  # type: ignore[attr-defined]
    return answer


def in_int8(net: MaskRCNN, theirs: nn.Module, images: Sequence[Tensor]) -> tuple[Detect, str]:
    """The net in guarded int8, and what that cost: mask AP with the net's own fp32 detections as the truth."""
    truths = [by_ours(detect_on(net, CPU, "fp32"), theirs)(image) for image in images]
    mean, std = (torch.tensor(v)[:, None, None] for v in (theirs.transform.image_mean, theirs.transform.image_std))
    seen = [F.interpolate(((x - mean) / std)[None], size=resized_for(HW), mode="bilinear", align_corners=False) for x in images]

    def score(detect: Detect) -> float:
        return agreement(truths, [by_ours(detect, theirs)(image) for image in images])[0]

    models, types, said = quantised_objects(net, seen, score)
    runs = (on_openvino(models[name], types[name], threads=torch.get_num_threads()) for name in GRAPHS)
    return detect_by(net, parts_of(*runs)), said.line()


def agreement(truths: Sequence[Instances], answers: Sequence[Instances]) -> tuple[float, float]:
    """Mask AP and box AP of answers with torchvision's fp32 detections as the truth."""
    scores = AveragePrecision(CLASSES)
    for truth, answer in zip(truths, answers, strict=True):
        scores.update(truth, answer)
    of = {kind: scores.compute(kind).ap for kind in KINDS}
    return of["mask"], of["box"]


@contextmanager
def clocked(spent: dict[str, float], places: Sequence[tuple[Any, str, str]]) -> Iterator[None]:
    """Adds up the seconds inside functions: owner, attribute, what it is called in the table."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]

    def wrapped(function: Callable[..., Any], called: str) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **given: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **given)
            finally:
                spent[called] += time.perf_counter() - start

        return call

    for (owner, name, called), (_, _, function) in zip(places, before, strict=True):
        setattr(owner, name, wrapped(function, called))
    try:
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def profile(name: str, answer: Answer, image: Tensor, theirs: nn.Module, repeats: int) -> str:
    """One line: milliseconds of each part."""
    import maskwright.inference.objects as decoding
    import maskwright.models.mask_rcnn.model as model

    spent: dict[str, float] = defaultdict(float)
    roi, rpn = theirs.roi_heads, theirs.rpn
    places = [
        (theirs.transform, "forward", "resize"), (theirs.backbone, "forward", "backbone and pyramid"),
        (rpn.head, "forward", "proposal head"), (rpn, "filter_proposals", "proposals"),
        (roi.box_roi_pool, "forward", "RoIAlign"), (roi.mask_roi_pool, "forward", "RoIAlign"),
        (roi.box_head, "forward", "box head"), (roi.box_predictor, "forward", "box predictor"),
        (roi, "postprocess_detections", "detections"), (roi.mask_head, "forward", "mask head"),
        (roi.mask_predictor, "forward", "mask predictor (all classes)"), (theirs.transform, "postprocess", "paste"),
    ] if name.startswith("torchvision") else [
        (model.MaskRCNN, "_first_look", "backbone, pyramid, proposal head"), (model, "propose", "proposals"),
        (model, "pooled", "RoIAlign"), (model, "detected", "detections"), (decoding, "pasted", "paste into runs"),
    ]  # fmt: skip
    with clocked(spent, places):
        start = time.perf_counter()
        for _ in range(repeats):
            answer.timed(image)  # type: ignore[attr-defined]
        total = time.perf_counter() - start
    rest = "heads and rest" if not name.startswith("torchvision") else "rest"
    told = ", ".join(f"{part} {1000 * s / repeats:.0f}" for part, s in spent.items())
    return f"{name}, ms by part: {told}, {rest} {1000 * (total - sum(spent.values())) / repeats:.0f}"


def ways_of(net: MaskRCNN, theirs: nn.Module, images: Sequence[Tensor], int8: bool) -> dict[str, Answer]:
    found = {"torchvision eager fp32": by_torchvision(theirs)}
    for precision in ("fp32", "bf16"):
        found[f"ours, torch {precision}"] = by_ours(detect_on(net, CPU, precision), theirs)
    if installed("openvino"):
        found["ours, OpenVINO bf16"] = by_ours(detect_by(net, parts_on(net, Way("openvino", "bf16"))), theirs)
    if int8:
        detect, told = in_int8(net, theirs, images)
        found["ours, OpenVINO int8, guarded"] = by_ours(detect, theirs)
        print(told)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--images", type=int, default=2)
    arguments.add_argument("--int8", action="store_true")
    asked = arguments.parse_args()
    images = pictures(asked.images)
    theirs = torchvisions(images)
    net = MaskRCNN(3, parity.CLASSES, **TORCHVISION_V1)
    net.load_state_dict(from_torchvision(theirs.state_dict()), strict=True)
    ways = ways_of(net.eval(), theirs, images, asked.int8)
    answers = {name: [answer(image) for image in images] for name, answer in ways.items()}  # prepares the kernels too
    spent: dict[str, list[float]] = defaultdict(list)
    for _ in range(asked.repeats):
        for image in images:
            for name, answer in ways.items():
                start = time.perf_counter()
                answer.timed(image)  # type: ignore[attr-defined]
                spent[name].append(time.perf_counter() - start)
    truths = answers["torchvision eager fp32"]
    slowest = statistics.median(spent["torchvision eager fp32"])
    rows = []
    for name in ways:
        mask_ap, box_ap = agreement(truths, answers[name])
        median = statistics.median(spent[name])
        rows.append({
            "way": name, "ms an image": f"{1000 * median:.0f}", "times as fast": f"{slowest / median:.2f}",
            "objects": " ".join(str(len(a)) for a in answers[name]), "mask AP": f"{mask_ap:.4f}", "box AP": f"{box_ap:.4f}",
        })  # fmt: skip
    notes = [profile(name, answer, images[0], theirs, asked.repeats) for name, answer in ways.items()]
    notes.append(f"{torch.get_num_threads()} threads; medians of {asked.repeats} x {len(images)} images, the ways in turns")
    notes.append("AP against torchvision fp32 detections; with random weights the last bits decide which class wins")
    record("mask_rcnn_speed", rows, f"python benchmarks/mask_rcnn_speed.py {' '.join(sys.argv[1:])}".strip(), notes)


if __name__ == "__main__":
    main()

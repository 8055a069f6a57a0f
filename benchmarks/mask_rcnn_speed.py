"""Mask R-CNN ResNet-50-FPN: torchvision's own against ours on each runtime, one trained net and one image, side by side.

    python benchmarks/mask_rcnn_speed.py DATA [--run RUN | --minutes 30] [--repeats 3] [--timed 3] [--int8]

DATA is nuclei-dsb2018. Half of its images of at least 480 x 640 px, cut to that size, are kept apart; without a run the net is
trained on all others first, from random weights, and both sides get what it learned. Both see the image at 800 x 1066 and give
100 objects at most. Time runs from a float image in [0, 1] to masks at the image's size: pasted to pixels by torchvision, to runs
by ours. The ways take turns, image by image, so that a machine that gets slower slows all. AP is against the true nuclei.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from record import record
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

import maskwright
from maskwright.checkpoint import load_checkpoint
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, Pair
from maskwright.inference.object_parts import GRAPHS, detect_by, parts_of, parts_on
from maskwright.inference.objects import Detect, decode_objects, detect_on
from maskwright.inference.quantising_objects import quantised_objects
from maskwright.inference.runtimes import Way, installed, on_openvino
from maskwright.instances import Instances
from maskwright.metrics.instances import AveragePrecision
from maskwright.metrics.objects import KINDS
from maskwright.models.mask_rcnn.model import MaskRCNN
from maskwright.models.mask_rcnn.scaling import resized_for
from maskwright.models.mask_rcnn.weights import from_torchvision
from maskwright.ops.rle import Rle
from maskwright.transforms import Frame

HW = (480, 640)
CPU = torch.device("cpu")
CALIBRATED_ON = 32
# torchvision's net, seen at 5/3 of the size; but for that what a short training on two cores wants.
SETTINGS: dict[str, Any] = {
    "model_args": {"encoder": "resnet50", "sampled_proposals": 128, "train_proposals": 600},
    "zoom": 5 / 3,
    "patch_hw": [256, 256],
    "batch": 2,
    "precision": "bf16",
}
Answer = Callable[[Tensor], Instances]


def with_splits(data: Dataset) -> Dataset:
    """Every second of the large images, by the hash of its name, is val; everything else is train."""
    names = sorted((p.name for p in data.pairs if large(p)), key=lambda n: hashlib.sha256(n.encode()).hexdigest())
    return data.with_splits({p.name: "val" if p.name in names[::2] else "train" for p in data.pairs})


def large(pair: Pair) -> bool:
    assert isinstance(pair.image, Path)
    w, h = PIL.Image.open(pair.image).size
    return h >= HW[0] and w >= HW[1]


def cut_out(data: Dataset, pair: Pair) -> tuple[Tensor, Instances]:
    """The upper left 480 x 640 px in [0, 1] and what lies there."""
    sample = data.read(pair)
    assert sample.instances is not None
    masks = [Rle.from_mask(mask.to_mask()[: HW[0], : HW[1]]) for mask in sample.instances.masks]
    there = [k for k, mask in enumerate(masks) if mask.area_px]
    truth = Instances(HW, data.classes, sample.instances.class_ids[there], tuple(masks[k] for k in there), name=pair.name)
    return torch.tensor(sample.image.pixels[: HW[0], : HW[1], :3]).permute(2, 0, 1) / 255, truth


def torchvisions(net: MaskRCNN, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """torchvision's own with the same weights."""
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=5, norm_layer=nn.BatchNorm2d)
    theirs = detection.MaskRCNN(backbone, net.classes, image_mean=list(mean), image_std=list(std)).eval()
    ours = net.state_dict()
    named = from_torchvision(theirs.state_dict())  # the very tensors, under our names
    assert named.keys() == ours.keys()
    with torch.no_grad():
        for name, tensor in named.items():
            tensor.copy_(ours[name])
    return theirs


def prepared(image: Tensor, theirs: nn.Module) -> Tensor:
    """(3, 480, 640) in [0, 1] to (1, 3, 800, 1066), as torchvision prepares it."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (theirs.transform.image_mean, theirs.transform.image_std))
    return F.interpolate(((image - mean) / std)[None], size=resized_for(HW), mode="bilinear", align_corners=False)


def by_torchvision(model: nn.Module, classes: ClassMap) -> Answer:
    @torch.inference_mode()
    def answer(image: Tensor) -> Instances:
        found = model([image])[0]
        return told(found)

    def told(found: dict[str, Tensor]) -> Instances:
        masks = [Rle.from_mask(m[0].numpy() >= 0.5) for m in found["masks"]]
        there = [k for k, m in enumerate(masks) if m.area_px]
        return Instances(
            HW, classes, found["labels"].numpy()[there].astype(np.int64), tuple(masks[k] for k in there),
            scores=found["scores"].numpy()[there], boxes_xyxy=found["boxes"].numpy()[there], name="image",
        )  # fmt: skip

    answer.timed = torch.inference_mode()(lambda image: model([image]))  # type: ignore[attr-defined]
    return answer


def by_ours(detect: Detect, theirs: nn.Module, classes: ClassMap) -> Answer:
    def answer(image: Tensor) -> Instances:
        return decode_objects(detect(prepared(image, theirs)), Frame(HW, resized_for(HW)), classes)

    answer.timed = answer  # type: ignore[attr-defined]
    return answer


def in_int8(
    net: MaskRCNN, theirs: nn.Module, images: Sequence[Tensor], seen: Sequence[Tensor], truths: Sequence[Instances]
) -> tuple[Detect, str]:
    """The net in guarded int8, calibrated on `images`, as far as the mask AP on what is `seen` allows; and what that cost."""

    def score(detect: Detect) -> float:
        answer = by_ours(detect, theirs, truths[0].classes)
        return precision(truths, [answer(image) for image in seen])[0]

    models, types, said = quantised_objects(net, [prepared(image, theirs) for image in images], score)
    runs = (on_openvino(models[name], types[name], threads=torch.get_num_threads()) for name in GRAPHS)
    return detect_by(net, parts_of(*runs)), said.line()


def precision(truths: Sequence[Instances], answers: Sequence[Instances]) -> tuple[float, float]:
    """Mask AP and box AP."""
    scores = AveragePrecision(truths[0].classes)
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


def ways_of(net: MaskRCNN, theirs: nn.Module, classes: ClassMap) -> dict[str, Answer]:
    found = {"torchvision eager fp32": by_torchvision(theirs, classes)}
    for kind in ("fp32", "bf16"):
        found[f"ours, torch {kind}"] = by_ours(detect_on(net, CPU, kind, many=True), theirs, classes)
    if installed("openvino"):
        found["ours, OpenVINO bf16"] = by_ours(detect_by(net, parts_on(net, Way("openvino", "bf16"))), theirs, classes)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--run", type=Path, help="of a net that was trained by this script")
    arguments.add_argument("--minutes", type=float, default=30.0, help="to train in where no run is given")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--timed", type=int, default=3, help="images that times are taken on, the most crowded ones")
    arguments.add_argument("--int8", action="store_true")
    asked = arguments.parse_args()
    data = with_splits(maskwright.open_dataset(asked.data, objects=True))
    with tempfile.TemporaryDirectory() as folder:
        run = (
            asked.run
            or maskwright.train(
                data, model="mask_rcnn", settings=SETTINGS, minutes=asked.minutes, holdout=0.1, out=Path(folder) / "run"
            ).folder
        )
        net, manifest = load_checkpoint(run)
    assert isinstance(net, MaskRCNN)
    theirs = torchvisions(net.eval(), manifest.preprocessing().mean, manifest.preprocessing().std)
    crowded = sorted((cut_out(data, pair) for pair in data.split("val")), key=lambda shown: len(shown[1]), reverse=True)
    images, truths = zip(*crowded, strict=True)
    ways, notes = ways_of(net, theirs, data.classes), []
    if asked.int8:
        fitted = [p for p in data.split("train") if large(p)]
        detect, told = in_int8(net, theirs, [cut_out(data, p)[0] for p in fitted[:CALIBRATED_ON]], images, truths)
        ways["ours, OpenVINO int8, guarded"] = by_ours(detect, theirs, data.classes)
        notes.append(f"{told}; calibrated on {len(fitted[:CALIBRATED_ON])} training images")
    answers = {name: [answer(image) for image in images] for name, answer in ways.items()}  # prepares the kernels too
    spent: dict[str, list[float]] = defaultdict(list)
    for _ in range(asked.repeats):
        for image in images[: asked.timed]:
            for name, answer in ways.items():
                start = time.perf_counter()
                answer.timed(image)  # type: ignore[attr-defined]
                spent[name].append(time.perf_counter() - start)
    slowest = statistics.median(spent["torchvision eager fp32"])
    rows = []
    for name in ways:
        mask_ap, box_ap = precision(truths, answers[name])
        median = statistics.median(spent[name])
        rows.append({
            "way": name, "ms an image": f"{1000 * median:.0f}", "times as fast": f"{slowest / median:.2f}",
            "objects": " ".join(str(len(a)) for a in answers[name][: asked.timed]),
            "mask AP": f"{mask_ap:.4f}", "box AP": f"{box_ap:.4f}",
        })  # fmt: skip
    notes += [profile(name, answer, images[0], theirs, asked.repeats) for name, answer in ways.items()]
    notes.append(f"{torch.get_num_threads()} threads; medians of {asked.repeats} x {asked.timed} images, the ways in turns")
    notes.append(f"AP against the {sum(map(len, truths))} true nuclei of {len(images)} images that the net was not trained on")
    settings = vars(asked) | {"run": "RUN" if asked.run else None}
    given = [
        f"--{name} {value}"
        for name, value in settings.items()
        if name not in ("data", "int8") and value != arguments.get_default(name)
    ]
    words = ["python benchmarks/mask_rcnn_speed.py DATA", *given, *(["--int8"] if asked.int8 else [])]
    record("mask_rcnn_speed", rows, " ".join(words), notes)


if __name__ == "__main__":
    main()

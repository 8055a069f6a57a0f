"""torchvision's Mask R-CNN, number for number: maskrcnn_resnet50_fpn and its second version, in evaluation and in training.

No published weights are at hand, so theirs are drawn: norms see the images once and take their statistics, and the last layers are
scaled so that many boxes of many classes are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision.models import detection
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from maskwright.models.mask_rcnn.model import MaskRCNN
from maskwright.models.mask_rcnn.paste import pasted
from maskwright.models.mask_rcnn.scaling import batch_of, resized_for
from maskwright.models.mask_rcnn.truth import truth_of
from maskwright.models.mask_rcnn.weights import TORCHVISION_V1, TORCHVISION_V2, from_torchvision
from maskwright.models.sizes import resized
from maskwright.ops.rle import Rle

CLASSES = 91
SHORT_PX, LONG_PX = 128, 200
LIMITS = {"proposals": 120, "train_proposals": 150}
VERSIONS = ("v1", "v2")


def images() -> list[Tensor]:
    """Two pictures of different sizes, in [0, 1]: coarse blobs of colour and noise."""
    torch.manual_seed(4)
    blobs = [torch.rand(1, 3, *hw) for hw in ((10, 13), (15, 9))]
    sized = [
        nn.functional.interpolate(b, size=hw, mode="bilinear")[0] for b, hw in zip(blobs, ((140, 190), (230, 150)), strict=True)
    ]
    return [(0.8 * s + 0.2 * torch.rand_like(s)) for s in sized]


def torchvisions(version: str) -> nn.Module:
    limits = {
        "min_size": SHORT_PX,
        "max_size": LONG_PX,
        "rpn_pre_nms_top_n_test": LIMITS["proposals"],
        "rpn_post_nms_top_n_test": LIMITS["proposals"],
        "rpn_pre_nms_top_n_train": LIMITS["train_proposals"],
        "rpn_post_nms_top_n_train": LIMITS["train_proposals"],
    }
    if version == "v2":
        return detection.maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=CLASSES, **limits)
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=5)  # its norms are frozen
    model = detection.MaskRCNN(backbone, CLASSES, **limits)
    overwrite_eps(model, 0.0)  # as torchvision does for its published weights
    return model


@torch.no_grad()
def lived_in(model: nn.Module) -> nn.Module:
    """Norms that have seen the images, and last layers whose outputs are spread as given, measured at their first call."""

    def take_statistics(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        norm.running_mean.copy_(args[0].mean((0, 2, 3)))
        norm.running_var.copy_(args[0].var((0, 2, 3)) + 1e-3)

    def spread_to(std: float) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]:
        def scale(layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
            if layer in scaled:
                return None
            scaled.add(layer)
            dims = [d for d in range(out.ndim) if d != 1]
            mean, factor = out.mean(dims), std / out.std(dims).clamp(min=1e-6)
            per_output = [-1, *[1] * (layer.weight.ndim - 1)]
            layer.weight.mul_(factor.view(per_output))
            layer.bias.copy_((layer.bias - mean) * factor)
            return (out - mean.view(1, -1, *[1] * (out.ndim - 2))) * factor.view(1, -1, *[1] * (out.ndim - 2))

        return scale

    scaled: set[nn.Module] = set()
    head, roi = model.rpn.head, model.roi_heads
    spreads = (
        (head.cls_logits, 2.0),
        (head.bbox_pred, 0.3),
        (roi.box_predictor.cls_score, 2.0),
        (roi.box_predictor.bbox_pred, 1.0),
        (roi.mask_predictor.mask_fcn_logits, 2.0),
    )
    hooks = [layer.register_forward_hook(spread_to(std)) for layer, std in spreads]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.7, 1.1)
        nn.init.normal_(norm.bias, std=0.1)
    hooks += [norm.register_forward_pre_hook(take_statistics) for norm in norms]
    model.eval()(images())
    for hook in hooks:
        hook.remove()
    return model


@pytest.fixture(scope="module", params=VERSIONS)
def pair(request) -> tuple[nn.Module, MaskRCNN]:
    """torchvision's model with random weights, and ours with the same."""
    torch.manual_seed(0)
    theirs = lived_in(torchvisions(request.param))
    ours = MaskRCNN(3, CLASSES, **{"v1": TORCHVISION_V1, "v2": TORCHVISION_V2}[request.param], **LIMITS)
    ours.load_state_dict(from_torchvision(theirs.state_dict()), strict=True)
    return theirs, ours


def seen_by_ours(theirs: nn.Module) -> tuple[Tensor, list[tuple[int, int]]]:
    """The images normalised, resized by the rule for published weights and batched, by our own functions."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (theirs.transform.image_mean, theirs.transform.image_std))
    sizes = [resized_for(i.shape[-2:], short_px=SHORT_PX, long_px=LONG_PX) for i in images()]
    return batch_of([resized(((i - mean) / std)[None], hw)[0] for i, hw in zip(images(), sizes, strict=True)])


@pytest.mark.slow
@torch.no_grad()
def test_what_is_found(pair):
    theirs, ours = (m.eval() for m in pair)
    before_pasting: list[dict[str, Tensor]] = []
    hook = theirs.roi_heads.register_forward_hook(lambda _m, _a, out: before_pasting.extend(deepcopy(out[0])))
    expected = theirs(images())
    hook.remove()
    batch, hws = seen_by_ours(theirs)
    found = ours(batch, hws)
    for image, hw, small, large, one in zip(images(), hws, before_pasting, expected, found, strict=True):
        assert len(small["boxes"]) >= 50
        assert len(small["labels"].unique()) >= 5
        assert len(small["scores"].unique()) == len(small["scores"])
        assert one.classes.tolist() == small["labels"].tolist()
        assert_close(one.scores, small["scores"], atol=1e-4, rtol=0)
        assert_close(one.boxes, small["boxes"], atol=1e-4, rtol=0)
        assert_close(one.masks, small["masks"], atol=1e-4, rtol=0)
        assert 0.2 < (one.masks > 0.5).float().mean() < 0.8
        original = one.scaled(hw, tuple(image.shape[-2:]))
        assert_close(original.boxes, large["boxes"], atol=1e-4, rtol=0)
        masks = np.stack([m.to_mask() for m in pasted(original.masks, original.boxes, tuple(image.shape[-2:]))])
        soft = large["masks"][:, 0].numpy()
        differing = masks != (soft >= 0.5)
        assert np.abs(soft[differing] - 0.5).max(initial=0) < 1e-4
        assert differing.sum() < 20


def targets() -> list[dict[str, Tensor]]:
    """Ellipses of several classes on both images: some overlap, one touches the border."""
    found = []
    for image, objects in zip(
        images(),
        ([(40, 50, 30, 20, 7), (90, 80, 50, 25, 33), (150, 30, 60, 40, 7)], [(60, 120, 40, 70, 90), (20, 20, 12, 9, 1)]),
        strict=True,
    ):
        y, x = torch.meshgrid(*(torch.arange(n) for n in image.shape[-2:]), indexing="ij")
        masks = torch.stack([((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1 for cx, cy, a, b, _ in objects])
        boxes = torch.tensor([Rle.from_mask(m.numpy()).box_xyxy for m in masks], dtype=torch.float32)
        found.append({"boxes": boxes, "labels": torch.tensor([o[-1] for o in objects]), "masks": masks.to(torch.uint8)})
    return found


class Recorded:
    """torchvision's sampler, which remembers what it took of each image, and where the random numbers stood before."""

    def __init__(self, sampler: Callable[[list[Tensor]], tuple[list[Tensor], list[Tensor]]], taken: list[Tensor]) -> None:
        self.sampler, self.taken, self.before = sampler, taken, torch.get_rng_state()

    def __call__(self, labels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        self.before = torch.get_rng_state()
        positive, negative = self.sampler(labels)
        self.taken += [torch.where(p | n)[0] for p, n in zip(positive, negative, strict=True)]
        return positive, negative


def replayed(taken: list[Tensor]) -> Callable[[Tensor, int, float], Tensor]:
    again: Iterator[Tensor] = iter(taken)
    return lambda labels, count, share: next(again)


@pytest.mark.slow
def test_the_five_losses(pair):
    theirs, ours = (deepcopy(m).train() for m in pair)  # batch norms keep counting
    taken: list[Tensor] = []
    theirs.rpn.fg_bg_sampler = Recorded(theirs.rpn.fg_bg_sampler, taken)
    theirs.roi_heads.fg_bg_sampler = Recorded(theirs.roi_heads.fg_bg_sampler, taken)
    expected = theirs(images(), targets())
    batch, scaled = theirs.transform(images(), targets())
    truths = [
        truth_of([Rle.from_mask(m.numpy()) for m in t["masks"]], t["labels"].tolist(), boxes_xyxy=t["boxes"].tolist())
        for t in scaled
    ]
    found = ours(batch.tensors, batch.image_sizes, truths, sample=replayed(taken))
    names = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask")
    for name, loss in zip(names, found, strict=True):
        assert expected[name] > 1e-3
        assert_close(loss, expected[name], atol=1e-4, rtol=1e-4)
    # From the same random numbers our own sampler takes the same.
    torch.set_rng_state(theirs.rpn.fg_bg_sampler.before)
    again = deepcopy(pair[1]).train()(batch.tensors, batch.image_sizes, truths)
    assert_close(torch.stack(list(again)), torch.stack(list(found)), atol=1e-5, rtol=1e-5)
    sum(expected.values()).backward()
    found.total.backward()
    gradients = from_torchvision({n: p.grad for n, p in theirs.named_parameters()})
    for name in (
        "encoder.net.conv1.weight",
        "pyramid.lateral.3.0.weight",
        "rpn.deltas.weight",
        "box_head.layers.0.bias",
        "mask_head.up.weight",
    ):
        size = gradients[name].abs().max()
        assert size > 0
        assert_close(ours.get_parameter(name).grad / size, gradients[name] / size, atol=2e-3, rtol=0)


def test_every_weight_has_a_name_of_ours(pair):
    theirs, ours = pair
    # Published: 44,401,393 and 46,359,409 parameters of 91 classes; torchvision's frozen norms have none.
    renamed = from_torchvision(theirs.state_dict())
    assert not any(k.startswith(("backbone.", "roi_heads.", "rpn.head.")) for k in renamed)
    assert set(renamed) - {k for k in renamed if k.endswith("num_batches_tracked")} == {
        k for k in ours.state_dict() if not k.endswith("num_batches_tracked")
    }
    norms = sum(m.weight.numel() + m.bias.numel() for m in ours.modules() if isinstance(m, FrozenBatchNorm2d))
    count = sum(p.numel() for p in ours.parameters())
    assert count + norms == (44_401_393 + 53_120 if norms else 46_359_409)


def test_names_in_the_first_published_file():
    old = {
        "backbone.fpn.inner_blocks.2.weight": "pyramid.lateral.2.0.weight",
        "backbone.fpn.layer_blocks.0.bias": "pyramid.smooth.0.0.bias",
        "rpn.head.conv.weight": "rpn.convs.0.0.weight",
        "roi_heads.mask_head.mask_fcn4.bias": "mask_head.convs.3.0.bias",
    }
    assert list(from_torchvision(dict.fromkeys(old, torch.zeros(1)))) == list(old.values())

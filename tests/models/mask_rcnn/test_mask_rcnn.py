"""Mask R-CNN on a tiny encoder: sizes, gradients, images without objects, crowds, many objects, fixed graphs, arguments."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.models.mask_rcnn.anchors import anchors_of
from maskwright.models.mask_rcnn.heads import BOX_PX
from maskwright.models.mask_rcnn.model import TINY, MaskRCNN
from maskwright.models.mask_rcnn.paste import pasted
from maskwright.models.mask_rcnn.proposals import fixed, propose
from maskwright.models.mask_rcnn.roi import pooled, rois_of
from maskwright.models.mask_rcnn.scaling import batch_of
from maskwright.models.mask_rcnn.truth import Truth, truth_of
from maskwright.models.outputs import InstanceLosses
from maskwright.ops.rle import Rle

HW = (64, 96)


def tiny(classes: int = 3, **given: object) -> MaskRCNN:
    torch.manual_seed(0)
    return MaskRCNN(3, classes, **{**TINY, **given})


def eager(model: MaskRCNN) -> MaskRCNN:
    """With weights so large that an untrained net finds something."""
    torch.manual_seed(1)
    for layer, std in ((model.rpn.objectness, 1.0), (model.box_head.classes, 2.0), (model.mask_head.logits, 1.0)):
        nn.init.normal_(layer.weight, std=std)
    return model.eval()


def awake(model: MaskRCNN) -> MaskRCNN:
    """timm starts the last norm of every block at 0, which keeps the gradient from the layers before it until the first step."""
    for m in model.encoder.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.ones_(m.weight)
    return model.train()


def square(x: int, y: int, px: int, hw: tuple[int, int] = HW) -> Rle:
    mask = np.zeros(hw, bool)
    mask[y : y + px, x : x + px] = True
    return Rle.from_mask(mask)


def squares(*corners_and_sides: tuple[int, int, int], classes: list[int] | None = None) -> Truth:
    return truth_of([square(*c) for c in corners_and_sides], classes or [1] * len(corners_and_sides))


@torch.no_grad()
def test_what_is_found():
    model = eager(tiny())
    torch.manual_seed(2)
    images, hws = batch_of([torch.randn(3, 64, 96), torch.randn(3, 50, 71)])
    start = time.perf_counter()
    found = model(images, hws)
    assert time.perf_counter() - start < 5  # with busy neighbours
    assert len(found) == 2
    for one, (h, w) in zip(found, hws, strict=True):
        n = len(one.boxes)
        assert 0 < n <= 100
        assert (one.boxes.shape, one.scores.shape, one.classes.shape, one.masks.shape) == ((n, 4), (n,), (n,), (n, 1, 28, 28))
        assert one.boxes.min() >= 0
        assert (one.boxes[:, 2:] <= torch.tensor([w, h])).all()
        assert one.scores.min() > 0.05
        assert one.scores.tolist() == sorted(one.scores.tolist(), reverse=True)
        assert set(one.classes.tolist()) <= {1, 2}
        assert [rle.hw for rle in pasted(one.masks, one.boxes, (h, w))] == [(h, w)] * n


@torch.no_grad()
def test_scaled_to_the_original():
    found = eager(tiny())(torch.randn(1, 3, *HW))[0]
    other = found.scaled(HW, (128, 48))
    assert_close(other.boxes, found.boxes * torch.tensor([0.5, 2, 0.5, 2]))
    assert other.masks is found.masks


def test_gradient_reaches_every_weight():
    model = awake(tiny(norm="group", box_convs=True, proposal_convs=2))
    losses = model(torch.randn(2, 3, *HW), truths=[squares((8, 8, 20)), squares((40, 10, 30), (5, 30, 12), classes=[1, 2])])
    assert isinstance(losses, InstanceLosses)
    assert list(losses._asdict()) == ["objectness", "proposal_boxes", "classes", "boxes", "masks"]
    assert all(loss.isfinite() and loss > 0 for loss in losses)
    losses.total.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("part", range(5))
def test_each_loss_reaches_its_own_part(part):
    model = awake(tiny())
    loss = model(torch.randn(1, 3, *HW), truths=[squares((8, 8, 20), (40, 20, 30))])[part]
    loss.backward()
    reached = {n.rpartition(".")[0] for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    last = ("rpn.objectness", "rpn.deltas", "box_head.classes", "box_head.deltas", "mask_head.logits")
    assert [layer in reached for layer in last] == [k == part for k in range(5)]
    assert "encoder.net.layer1.0.conv1" in reached


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_an_image_without_objects(norm):
    model = tiny(norm=norm, box_convs=norm == "batch").train()
    losses = model(torch.randn(1, 3, *HW), truths=[truth_of([], [])])
    assert losses.objectness > 0
    assert losses.classes > 0
    assert losses.proposal_boxes == losses.boxes == losses.masks == 0
    losses.total.backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())
    assert model.mask_head.logits.weight.grad is not None  # zeros, so that several processes wait for no one


def test_nothing_but_a_crowd_teaches_nothing():
    crowd = truth_of([square(0, 0, 64, (64, 64))], [1], crowd=[True])
    shifted = Truth(
        crowd.boxes, crowd.classes, crowd.windows, crowd.starts, crowd.pixels, torch.tensor([[-500.0, -500, 600, 600]])
    )
    losses = tiny().train()(torch.randn(1, 3, 64, 64), truths=[shifted])
    assert list(losses) == [0, 0, 0, 0, 0]
    losses.total.backward()


def test_tiny_touching_and_empty_objects():
    truth = squares((0, 0, 1), (10, 10, 20), (30, 10, 20), (95, 63, 1), classes=[1, 2, 2, 1])
    boxes = torch.cat([truth.boxes, torch.tensor([[5.0, 5, 5, 9]])])
    with_empty = Truth(
        boxes, *(torch.cat([c, c[:1]]) for c in (truth.classes, truth.windows, truth.starts)), truth.pixels, truth.crowds
    )
    image = torch.randn(1, 3, *HW)
    torch.manual_seed(5)
    expected = tiny().train()(image, truths=[truth])
    torch.manual_seed(5)
    found = tiny().train()(image, truths=[with_empty])
    assert all(loss.isfinite() for loss in found)
    assert_close(torch.stack(list(found)), torch.stack(list(expected)))


def test_hundreds_of_objects():
    hw = (256, 256)
    places = [(x, y) for x in range(2, 250, 12) for y in range(2, 250, 12)]
    truth = truth_of([square(x, y, 10, hw) for x, y in places], [1 + k % 2 for k in range(len(places))])
    assert len(truth) == 441
    losses = tiny().train()(torch.randn(1, 3, *hw), truths=[truth])
    losses.total.backward()
    assert all(loss.isfinite() and loss > 0 for loss in losses)


def test_what_takes_part_is_the_callers_choice():
    asked = []

    def first(labels: torch.Tensor, count: int, share: float) -> torch.Tensor:
        asked.append((len(labels), count, share))
        return (labels >= 0).nonzero()[:7, 0]

    model, images = tiny(sampled_anchors=99, sampled_proposals=88).train(), torch.randn(2, 3, *HW)
    truths = [squares((8, 8, 20)), squares((40, 10, 30))]
    found = [model(images, truths=truths, sample=first) for _ in range(2)]
    assert_close(torch.stack(list(found[0])), torch.stack(list(found[1])))
    anchors = 3 * (16 * 24 + 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2)
    assert [a[1:] for a in asked[:4]] == [(99, 0.5), (99, 0.5), (88, 0.25), (88, 0.25)]
    assert [a[0] for a in asked[:2]] == [anchors, anchors]


def test_a_few_steps_learn_a_square():
    torch.manual_seed(3)
    model = tiny(2).train()
    image, truth = torch.zeros(2, 3, *HW), squares((30, 20, 28))
    image[:, :, 20:48, 30:58] = 2.0
    image += 0.1 * torch.randn_like(image)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(120):
        losses = model(image, truths=[truth, truth])
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    with torch.no_grad():
        best = model.eval()(image[:1])[0]
    assert best.scores[0] > 0.5
    assert_close(best.boxes[0], truth.boxes[0], atol=5, rtol=0)
    mask = pasted(best.masks[:1], best.boxes[:1], HW)[0].to_mask()
    true = square(30, 20, 28).to_mask()
    assert (mask & true).sum() / (mask | true).sum() > 0.7


@torch.no_grad()
def test_a_fixed_number_of_proposals_changes_nothing():
    model = eager(tiny())
    image = torch.randn(2, 3, *HW)
    maps = model.features(image)
    anchors = anchors_of([tuple(m.shape[-2:]) for m in maps], HW, model.cells)
    objectness, deltas = model.rpn(maps)
    per_level = [3 * m.shape[-2] * m.shape[-1] for m in maps]
    boxes = propose(objectness, deltas, anchors, per_level, [HW, (40, 50)], most=60, most_per_level=60)
    filled, real = fixed(boxes, 80)
    crops, all_crops = (pooled(maps[:-1], rois_of(b), BOX_PX, model.pyramid.strides) for b in (boxes, list(filled)))
    assert len(all_crops) == 160
    for few, many in zip(model.box_head(crops), model.box_head(all_crops), strict=True):
        assert_close(many[real.flatten()], few, atol=1e-5, rtol=1e-5)


class Dense(nn.Module):
    """Image and boxes in, everything that depends on no value out: what a fixed graph holds."""

    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor, rois: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps = self.model.features(image)
        crops = [pooled(maps[:-1], rois, px, self.model.pyramid.strides) for px in (7, 14)]
        return *self.model.rpn(maps), *self.model.box_head(crops[0]), self.model.mask_head(crops[1])


def boxes_in(hw: tuple[int, int], count: int, images: int) -> torch.Tensor:
    """Boxes of 5 px and more inside each image, with its number in front."""
    far = torch.tensor([hw[1], hw[0]])
    corners = torch.rand(count, 2) * (far - 10)
    sides = 5 + torch.rand(count, 2) * (far - corners - 5)
    return torch.cat([torch.arange(count)[:, None] % images, corners, corners + sides], dim=1)


@torch.no_grad()
def test_the_dense_parts_are_one_graph_for_all_sizes():
    # From 65 px on: below, the coarsest level has a single row or column, for which torch.export wants a graph of its own.
    dense = Dense(eager(tiny(norm="batch")))
    free = {
        i: torch.export.Dim(n, min=low, max=high) for i, n, low, high in ((0, "b", 1, 64), (2, "h", 65, 512), (3, "w", 65, 512))
    }
    graph = torch.export.export(
        dense,
        (torch.randn(2, 3, 160, 224), boxes_in(HW, 9, 2)),
        dynamic_shapes=(free, {0: torch.export.Dim("n", min=1, max=5000)}),
        strict=False,
        prefer_deferred_runtime_asserts_over_guards=True,
    ).module()
    for b, h, w, n in ((2, 160, 224, 9), (3, 71, 65, 30), (1, 95, 200, 1)):
        image, rois = torch.randn(b, 3, h, w), boxes_in((h, w), n, b)
        for found, expected in zip(graph(image, rois), dense(image, rois), strict=True):
            assert_close(found, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_dense_parts_are_compiled_in_one_piece():
    dense, image, rois = Dense(eager(tiny())), torch.randn(1, 3, 45, 70), boxes_in((45, 70), 5, 1)
    torch._dynamo.reset()
    compiled = torch.compile(dense, fullgraph=True, backend="eager")
    for found, expected in zip(compiled(image, rois), dense(image, rois), strict=True):
        assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_on_the_meta_device():
    with torch.device("meta"):
        model = MaskRCNN(3, 4, encoder_norm="frozen", encoder_eps=0.0)
    # The class layers alone know the number of classes: 4 logits and 16 deltas on 1024, 4 masks on 256.
    more = sum(p.numel() for p in model.parameters())
    with torch.device("meta"):
        fewer = sum(p.numel() for p in MaskRCNN(3, 3, encoder_norm="frozen").parameters())
    assert more - fewer == 5 * 1025 + 257


@torch.no_grad()
def test_half_precision_keeps_coordinates():
    model = eager(tiny())
    image = torch.randn(1, 3, *HW)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(image)[0]
    assert {found.boxes.dtype, found.scores.dtype, found.masks.dtype} == {torch.float32}
    assert len(found.boxes) > 0


def test_frozen_norms_have_no_weights():
    own, frozen = (sum(p.numel() for p in tiny(encoder_norm=n).encoder.parameters()) for n in ("own", "frozen"))
    norms = sum(2 * m.num_features for m in tiny().encoder.modules() if isinstance(m, nn.BatchNorm2d))
    assert own - frozen == norms > 0
    assert not any(isinstance(m, nn.BatchNorm2d) for m in tiny(encoder_norm="frozen").modules())


def test_one_small_image_trains():
    losses = tiny(norm="batch").train()(torch.randn(1, 3, 9, 3), truths=[truth_of([square(0, 0, 3, (9, 3))], [1])])
    assert all(loss.isfinite() for loss in losses)


@torch.no_grad()
def test_other_channels_and_encoders():
    assert MaskRCNN(5, 2, **{**TINY, "encoder": "test_efficientnet"}).eval()(torch.randn(1, 5, 33, 40))[0].masks.shape[1:] == (
        1,
        28,
        28,
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"classes": 1}, "classes=1 is not usable; expected at least 2: background and one class of objects"),
        ({"norm": "layer"}, "norm='layer' is not known; expected one of none, batch, group"),
        ({"encoder_norm": "batch"}, "encoder_norm='batch' is not known; expected one of own, frozen"),
        ({"anchor_sizes": [8, 16]}, r"anchor_sizes=\[8, 16\] is not usable; encoder 'test_resnet' makes 5 levels"),
        ({"anchor_ratios": [0]}, r"anchor_ratios=\[0\] is not usable; expected a list of numbers above 0"),
        ({"encoder": "resnet43"}, "no encoder named 'resnet43'"),
        ({"detections": 0}, "detections=0 is not usable; expected a whole number of 1 or more"),
        ({"encoder_eps": -1e-5}, "encoder_eps=-1e-05 is not usable; expected a share"),
        ({"least_score": 1}, "least_score=1 is not usable; expected a share"),
    ],
)
def test_arguments_that_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        tiny(**given)


def test_what_training_refuses():
    model, image = tiny().train(), torch.randn(1, 3, *HW)
    with pytest.raises(InputError, match="learns from the truths of its images; give them, or call eval"):
        model(image)
    with pytest.raises(InputError, match="0 truths for 1 images; give one each"):
        model(image, truths=[])
    with pytest.raises(InputError, match=r"the truth holds classes \[3\], but objects are of classes 1 to 2; background is 0"):
        model(image, truths=[squares((1, 1, 5), (9, 9, 9), classes=[3, 1])])
    with pytest.raises(InputError, match=r"sizes \[\(65, 10\)\] do not fit a batch of 1 images of 64 x 96"):
        model(image, hws=[(65, 10)], truths=[squares((1, 1, 5))])
    with pytest.raises(InputError, match=r"the model takes \(B, 3, H, W\), found \(1, 4, 64, 96\)"):
        model.eval()(torch.randn(1, 4, *HW))

"""Mask R-CNN: every object its own box, class, score and mask.

Source: He, Gkioxari, Dollar, Girshick 2017, arXiv:1703.06870, with feature pyramids, Lin et al. 2017, arXiv:1612.03144, and the
proposals of Faster R-CNN, Ren et al. 2015, arXiv:1506.01497; defaults as in torchvision.
Differs: any timm encoder, any number of channels; widths and norms are free; boxes in crowds teach nothing.
Weights: torchvision's (BSD-3, trained on COCO) through from_torchvision; a timm encoder may start from a file
(loading.load_weights).
The dense parts (features, rpn, box_head, mask_head) are fixed graphs. What depends on the values stands between them as
functions: propose, pooled, detected in evaluation; matched, a sampler and the losses in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.models.arguments import check_choice, check_counts, check_flag, check_share, check_whole
from maskwright.models.encoders import TimmEncoder
from maskwright.models.mask_rcnn.anchors import anchors_of, cells
from maskwright.models.mask_rcnn.detections import detected
from maskwright.models.mask_rcnn.heads import BOX_PX, MASK_PX, BoxHead, MaskHead, ProposalHead
from maskwright.models.mask_rcnn.losses import box_losses, choose, mask_loss, proposal_losses
from maskwright.models.mask_rcnn.matching import Sampler, balanced
from maskwright.models.mask_rcnn.parts import Look, Looked, Parts
from maskwright.models.mask_rcnn.proposals import propose
from maskwright.models.mask_rcnn.pyramid import DetectionPyramid
from maskwright.models.mask_rcnn.roi import CANONICAL_PX, pooled, rois_of
from maskwright.models.mask_rcnn.scaling import zero_filled
from maskwright.models.mask_rcnn.truth import Truth
from maskwright.models.outputs import Detections, InstanceLosses
from maskwright.models.sizes import check_image

NORMS = ("none", "batch", "group")
ENCODER_NORMS = ("own", "frozen")

# A net for tests and first tries, for objects of about 5 to 100 px.
TINY: dict[str, object] = {
    "encoder": "test_resnet",
    "width": 16,
    "box_width": 32,
    "mask_width": 16,
    "anchor_sizes": [8, 16, 32, 64, 128],
    "proposals": 100,
    "train_proposals": 200,
}


class MaskRCNN(nn.Module):
    """Instance segmentation of images of any size.

    Arguments:
        channels: of the image
        classes: channels of the logits, background (0) included
        encoder: name of a timm model with maps at strides 4, 8, ...
        encoder_norm: "own", or "frozen": its batch norms are constants, as is usual with pretrained weights and small batches
        encoder_eps: of those norms; None: the encoder's own. torchvision's first published weights want 0
        width: channels of the pyramid
        norm: in the pyramid, the box head's convolutions and the mask head: "none" (the papers'), "batch" or "group"
        proposal_convs: convolutions of the proposal head
        box_convs: four convolutions and a layer in the box head instead of two layers
        box_width, mask_width: of the heads
        anchor_sizes: side in pixels of the anchors of each level, one more than the encoder has maps from stride 4 on
        anchor_ratios: height / width
        canonical_px: side of the boxes that are cut from the level of stride 16; smaller boxes from finer ones
        sampled_anchors, sampled_proposals: of each image, those that a training step learns from
        proposals, train_proposals: boxes of an image that the box head sees at most, also of each level before doubles go
        detections: objects of an image at most
        least_score: detections at or below it go
        overlap: IoU above which the less likely of two detections of a class goes

    Raises:
        InputError: an argument is out of range, or the encoder cannot serve; the message names it.
    """

    cells: Tensor

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        encoder: str = "resnet50",
        encoder_norm: str = "own",
        encoder_eps: float | None = None,
        width: int = 256,
        norm: str = "none",
        proposal_convs: int = 1,
        box_convs: bool = False,
        box_width: int = 1024,
        mask_width: int = 256,
        anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512),
        anchor_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        canonical_px: int = CANONICAL_PX,
        sampled_anchors: int = 256,
        sampled_proposals: int = 512,
        proposals: int = 1000,
        train_proposals: int = 2000,
        detections: int = 100,
        least_score: float = 0.05,
        overlap: float = 0.5,
    ) -> None:
        super().__init__()
        check_whole(channels=channels, classes=classes, width=width, box_width=box_width, mask_width=mask_width)
        check_whole(proposal_convs=proposal_convs, canonical_px=canonical_px)
        check_whole(sampled_anchors=sampled_anchors, sampled_proposals=sampled_proposals)
        check_whole(proposals=proposals, train_proposals=train_proposals, detections=detections)
        check_choice("norm", norm, NORMS)
        check_choice("encoder_norm", encoder_norm, ENCODER_NORMS)
        check_counts(anchor_sizes=anchor_sizes)
        check_flag(box_convs=box_convs)
        check_share(least_score=least_score, overlap=overlap, **({} if encoder_eps is None else {"encoder_eps": encoder_eps}))
        _check_ratios(anchor_ratios)
        if classes < 2:
            raise InputError(f"classes={classes} is not usable; expected at least 2: background and one class of objects.")
        self.channels, self.classes, self.canonical_px = channels, classes, canonical_px
        self.sampled_anchors, self.sampled_proposals = sampled_anchors, sampled_proposals
        self.proposals, self.train_proposals, self.detections = proposals, train_proposals, detections
        self.least_score, self.overlap = least_score, overlap
        self.encoder = TimmEncoder(encoder, channels)
        _set_norms(self.encoder, frozen=encoder_norm == "frozen", eps=encoder_eps)
        self.pyramid = DetectionPyramid(self.encoder, width, norm)
        if len(anchor_sizes) != len(self.pyramid.strides) + 1:
            raise InputError(
                f"anchor_sizes={list(anchor_sizes)} is not usable; encoder {encoder!r} makes {len(self.pyramid.strides) + 1} "
                "levels, and each takes one size."
            )
        self.register_buffer("cells", torch.stack([cells(s, anchor_ratios) for s in anchor_sizes]), persistent=False)
        self.rpn = ProposalHead(width, len(anchor_ratios), convs=proposal_convs)
        self.box_head = BoxHead(width, classes, convs=box_convs, hidden=box_width, norm=norm)
        self.mask_head = MaskHead(width, classes, hidden=mask_width, norm=norm)

    def forward(
        self,
        image: Tensor,
        hws: Sequence[tuple[int, int]] | None = None,
        truths: Sequence[Truth] | None = None,
        *,
        sample: Sampler = balanced,
    ) -> list[Detections] | InstanceLosses:
        """With truths the losses, without them what is found; see `losses` and `detect`.

        Raises:
            InputError: in training mode without truths.
        """
        if truths is not None:
            return self.losses(image, truths, hws, sample=sample)
        if self.training:
            raise InputError("Mask R-CNN learns from the truths of its images; give them, or call eval() first.")
        return self.detect(image, hws)

    def features(self, image: Tensor) -> list[Tensor]:
        """The pyramid of a batch, (B, C, H, W) to (B, width, h_i, w_i) for each level, finest first.

        Edge cases: the image is filled up with zeros to whole cells of the deepest map; in training to two each way, for norms.
        """
        grid = self.encoder.strides[-1]
        maps: list[Tensor] = self.pyramid(self.encoder(zero_filled(image, grid, least=2 if self.training else 1)))
        return maps

    def detect(self, image: Tensor, hws: Sequence[tuple[int, int]] | None = None, parts: Parts | None = None) -> list[Detections]:
        """The objects of each image, best first.

        Arguments:
            parts: what computes the dense parts; default: the network's own

        Shapes:
            image: (B, C, H, W) float, normalised, zeros beyond each image's own size (scaling.batch_of)
            hws: that size for each image; default: all of (H, W)
            returns: B Detections, in pixels of the batch; Detections.scaled brings them to the original's
        """
        hws = self._sizes(image, hws)
        parts = parts or Parts(self.look, self.box_head, self.mask_head.of_classes)
        maps, anchors, objectness, deltas = self._first_look(image, parts.look)
        boxes = self._propose(objectness, deltas, anchors, maps, hws, self.proposals)
        logits, deltas = (_wide(t) for t in parts.boxes(self._cut(maps, boxes, BOX_PX)))
        lengths = [len(b) for b in boxes]
        found = [
            detected(*columns, least_score=self.least_score, overlap=self.overlap, most=self.detections)
            for columns in zip(torch.split(logits, lengths), torch.split(deltas, lengths), boxes, hws, strict=True)
        ]
        crops = self._cut(maps, [f.boxes for f in found], MASK_PX)
        masks = _wide(parts.masks(crops, torch.cat([f.classes for f in found]))).sigmoid()
        each = torch.split(masks, [len(f.boxes) for f in found])
        return [Detections(*f, m) for f, m in zip(found, each, strict=True)]

    def losses(
        self,
        image: Tensor,
        truths: Sequence[Truth],
        hws: Sequence[tuple[int, int]] | None = None,
        *,
        sample: Sampler = balanced,
    ) -> InstanceLosses:
        """The five losses of a batch.

        Arguments:
            truths: one an image, in the batch's pixels; objects with an empty box are passed over
            sample: which anchors and proposals take part; called for the anchors of each image, then for the proposals of each

        Shapes: see `detect`

        Raises:
            InputError: not one truth an image, or classes beyond the network's.
        """
        hws = self._sizes(image, hws)
        self._check(truths, len(image))
        truths = [t.usable() for t in truths]
        maps, anchors, objectness, deltas = self._first_look(image, self.look)
        of_proposals = proposal_losses(objectness, deltas, anchors, truths, sample, self.sampled_anchors)
        boxes = self._propose(objectness, deltas, anchors, maps, hws, self.train_proposals)
        chosen = [choose(b, t, sample, self.sampled_proposals) for b, t in zip(boxes, truths, strict=True)]
        logits, deltas = (_wide(t) for t in self.box_head(self._cut(maps, [c.boxes for c in chosen], BOX_PX)))
        hits = [c.hits() for c in chosen]
        masks = _wide(self.mask_head(self._cut(maps, [h.boxes for h in hits], MASK_PX)))
        return InstanceLosses(*of_proposals, *box_losses(logits, deltas, chosen, truths), mask_loss(masks, hits, truths))

    def look(self, image: Tensor) -> Looked:
        """The pyramid, and the proposal head's word on every anchor: objectness (B, N) and deltas (B, N, 4)."""
        maps = self.features(image)
        return maps, *self.rpn(maps)

    def _first_look(self, image: Tensor, look: Look) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """Maps, anchors (N, 4), objectness (B, N) and deltas (B, N, 4), all at least float32."""
        maps, *of_anchors = look(image)
        objectness, deltas = (_wide(t) for t in of_anchors)
        hws = _sides(maps)
        whole_hw = (hws[0][0] * self.pyramid.strides[0], hws[0][1] * self.pyramid.strides[0])
        return [_wide(m) for m in maps], anchors_of(hws, whole_hw, self.cells).to(objectness), objectness, deltas

    def _propose(
        self,
        objectness: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        maps: Sequence[Tensor],
        hws: Sequence[tuple[int, int]],
        most: int,
    ) -> list[Tensor]:
        per_level = [h * w * self.cells.shape[1] for h, w in _sides(maps)]
        return propose(objectness, deltas, anchors, per_level, hws, most=most, most_per_level=most)

    def _cut(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], px: int) -> Tensor:
        """(R, width, px, px): the boxes of all images, cut from all levels but the coarsest."""
        return pooled(maps[:-1], rois_of(boxes), px, self.pyramid.strides, canonical_px=self.canonical_px)

    def _sizes(self, image: Tensor, hws: Sequence[tuple[int, int]] | None) -> list[tuple[int, int]]:
        check_image(image, self.channels)
        h, w = int(image.shape[-2]), int(image.shape[-1])
        sizes = [(h, w)] * len(image) if hws is None else [(int(a), int(b)) for a, b in hws]
        if len(sizes) != len(image) or any(not (0 < a <= h and 0 < b <= w) for a, b in sizes):
            raise InputError(f"sizes {sizes} do not fit a batch of {len(image)} images of {h} x {w}; give (h, w) of each.")
        return sizes

    def _check(self, truths: Sequence[Truth], images: int) -> None:
        if len(truths) != images:
            raise InputError(f"{len(truths)} truths for {images} images; give one each.")
        for truth in truths:
            known = (truth.classes >= 1) & (truth.classes < self.classes)
            if not bool(known.all()):
                raise InputError(
                    f"the truth holds classes {sorted(set(truth.classes[~known].tolist()))}, but objects are of classes "
                    f"1 to {self.classes - 1}; background is 0."
                )


def _set_norms(encoder: TimmEncoder, *, frozen: bool, eps: float | None) -> None:
    for layer in encoder.net.modules():
        if eps is not None and isinstance(layer, nn.BatchNorm2d):
            layer.eps = eps
    if frozen:
        freeze_batch_norm_2d(encoder.net)  # type: ignore[no-untyped-call]


def _check_ratios(ratios: object) -> None:
    if not isinstance(ratios, list | tuple) or not ratios or not all(isinstance(r, int | float) and r > 0 for r in ratios):
        raise InputError(f"anchor_ratios={ratios!r} is not usable; expected a list of numbers above 0, height / width.")


def _sides(maps: Sequence[Tensor]) -> list[tuple[int, int]]:
    return [(m.shape[-2], m.shape[-1]) for m in maps]


def _wide(x: Tensor) -> Tensor:
    """In float32 where it came in less: half precision has no place for coordinates."""
    return x.to(torch.promote_types(x.dtype, torch.float32))

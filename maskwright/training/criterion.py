"""What a training step minimises: the recipe's losses on whatever the network gives back in training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from maskwright import losses
from maskwright.errors import InputError
from maskwright.losses.mask_classification import mask_classification
from maskwright.models.mask_rcnn.truth import Truth
from maskwright.models.outputs import InstanceLosses, Output, Queries, WithAuxiliary
from maskwright.recipe import Recipe

BY_QUERIES = "mask_classification"
BY_OBJECTS = InstanceLosses._fields  # terms of networks of objects, which count them themselves


class Criterion(nn.Module):
    """One number from a network's output and the target.

    Logits take the weighted sum of the recipe's losses; auxiliary heads take the same sum each, times their weight. Queries
    take the loss of mask classification, each of their blocks alike. Networks of objects give their losses themselves.

    Arguments:
        pixels: the losses on logits; None where the network is trained by mask classification or by its objects
        objects: factor of each loss of a network of objects, by name
    """

    def __init__(self, pixels: losses.Combined | None, objects: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.pixels, self.objects = pixels, objects

    def forward(self, output: Output, target: Tensor | list[Truth]) -> Tensor:
        """Scalar loss.

        Shapes:
            output: what the network gives in training, see models.outputs
            target: (B, H, W) int64 channel numbers, 255 ignored, or the objects of each image

        Raises:
            InputError: the network's output and the recipe's losses do not go together.
        """
        if isinstance(output, InstanceLosses) or isinstance(target, list) or self.objects is not None:
            return self._of_objects(output)
        if isinstance(output, Queries) != (self.pixels is None):
            found = "queries and other losses" if isinstance(output, Queries) else f"logits and losses {BY_QUERIES}"
            raise InputError(
                f"losses {BY_QUERIES} and a network trained by queries, as eomt, go together; found {found}; "
                "leave `losses` out of the recipe."
            )
        if isinstance(output, Queries):
            return mask_classification(output.masks, output.classes, target, earlier=output.earlier)
        assert self.pixels is not None
        if isinstance(output, WithAuxiliary):
            total: Tensor = self.pixels(output.logits, target)
            for logits in output.auxiliary:
                total = total + output.weight * self.pixels(logits, target)
            return total
        value: Tensor = self.pixels(output, target)
        return value

    def _of_objects(self, output: Output) -> Tensor:
        if not isinstance(output, InstanceLosses) or self.objects is None:
            raise InputError(
                f"losses {', '.join(BY_OBJECTS)} and a network of objects, as mask_rcnn, go together; leave `losses` out."
            )
        terms = output._asdict()
        return torch.stack([factor * terms[name] for name, factor in self.objects.items()]).sum()


def criterion_of(recipe: Recipe, class_weights: Tensor | None = None) -> Criterion:
    """The criterion that the recipe's losses and class weights describe.

    Raises:
        InputError: see losses.combine; or mask classification is added to other losses.
    """
    if set(recipe.losses) & set(BY_OBJECTS):
        unknown = sorted(set(recipe.losses) - set(BY_OBJECTS))
        if unknown or class_weights is not None:
            raise InputError(
                f"losses: {', '.join(BY_OBJECTS)} stand without others and without class weights; found {dict(recipe.losses)}, "
                f"class_weights {recipe.class_weights}."
            )
        return Criterion(None, dict(recipe.losses))
    if BY_QUERIES in recipe.losses:
        if len(recipe.losses) > 1 or class_weights is not None:
            raise InputError(
                f"losses: {BY_QUERIES} stands alone, without other losses or class weights; found {dict(recipe.losses)}, "
                f"class_weights {recipe.class_weights}."
            )
        return Criterion(None)
    return Criterion(losses.combine(recipe.losses, weights=class_weights, settings=recipe.loss_settings))

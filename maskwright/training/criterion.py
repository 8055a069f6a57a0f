"""What a training step minimises: the recipe's losses on whatever the network gives back in training."""

from __future__ import annotations

from torch import Tensor, nn

from maskwright import losses
from maskwright.errors import InputError
from maskwright.losses.mask_classification import mask_classification
from maskwright.models.outputs import Output, Queries, WithAuxiliary
from maskwright.recipe import Recipe

BY_QUERIES = "mask_classification"


class Criterion(nn.Module):
    """One number from a network's output and the target.

    Logits take the weighted sum of the recipe's losses; auxiliary heads take the same sum each, times their weight. Queries
    take the loss of mask classification, each of their blocks alike.

    Arguments:
        pixels: the losses on logits; None where the network is trained by mask classification
    """

    def __init__(self, pixels: losses.Combined | None) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Scalar loss.

        Shapes:
            output: what the network gives in training, see models.outputs
            target: (B, H, W) int64 channel numbers, 255 ignored

        Raises:
            InputError: the network's output and the recipe's losses do not go together.
        """
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


def criterion_of(recipe: Recipe, class_weights: Tensor | None = None) -> Criterion:
    """The criterion that the recipe's losses and class weights describe.

    Raises:
        InputError: see losses.combine; or mask classification is added to other losses.
    """
    if BY_QUERIES in recipe.losses:
        if len(recipe.losses) > 1 or class_weights is not None:
            raise InputError(
                f"losses: {BY_QUERIES} stands alone, without other losses or class weights; found {dict(recipe.losses)}, "
                f"class_weights {recipe.class_weights}."
            )
        return Criterion(None)
    return Criterion(losses.combine(recipe.losses, weights=class_weights, settings=recipe.loss_settings))

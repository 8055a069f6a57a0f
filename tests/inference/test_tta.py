"""Flips: agreeing flips change nothing, each flip counts the same."""

from __future__ import annotations

import torch

from maskwright.inference.tta import LEFT_RIGHT, UP_DOWN, flipped

ALL_FOUR = (LEFT_RIGHT, UP_DOWN, (2, 3))


def test_a_forward_of_single_pixels_gives_the_same_to_the_bit():
    image = torch.randn(2, 3, 17, 23, generator=torch.Generator().manual_seed(0))
    assert torch.equal(flipped(lambda x: x, ALL_FOUR)(image), image)


def test_flips_are_averaged():
    ramp = torch.tensor([0.0, 1.0, 2.0, 6.0]).view(1, 1, 1, 4)
    # The forward answers with the column number, whatever it is shown: 0 1 2 3 and, turned back, 3 2 1 0.
    found = flipped(lambda x: torch.arange(4.0).expand_as(x))(ramp)
    assert found.flatten().tolist() == [1.5, 1.5, 1.5, 1.5]


def test_the_answer_of_a_mirror_image_is_the_mirror_image_of_the_answer():
    torch.manual_seed(3)
    net = torch.nn.Conv2d(1, 2, 3, padding=1)
    image = torch.randn(1, 1, 9, 11)
    both = flipped(net)
    assert torch.allclose(both(image.flip(3)), both(image).flip(3), atol=1e-6)
    assert not torch.allclose(net(image.flip(3)), net(image).flip(3), atol=1e-3)


def test_every_flip_counts_the_same():
    corner = torch.tensor([[8.0, 0.0], [0.0, 0.0]]).view(1, 1, 2, 2)
    # Whatever it is shown, the forward marks the upper left corner; turned back, each of the four marks another one.
    found = flipped(lambda _: corner, ALL_FOUR)(torch.zeros(1, 1, 2, 2))
    assert torch.allclose(found, torch.full((1, 1, 2, 2), 2.0))

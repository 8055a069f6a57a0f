"""Networks without random numbers: the same names, shapes and other values, and the generator untouched."""

from __future__ import annotations

import torch

from maskwright import models
from maskwright.models.outline import Undrawn, outlined


def test_an_outline_has_names_and_shapes_and_no_memory():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    with outlined():
        outline = models.build("unet", channels=2, classes=3, width=4, depth=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    real = models.build("unet", channels=2, classes=3, width=4, depth=2)
    assert {k: t.shape for k, t in outline.state_dict().items()} == {k: t.shape for k, t in real.state_dict().items()}
    assert all(p.is_meta and p.requires_grad for p in outline.parameters())


def test_only_what_is_drawn_stays_undrawn():
    torch.manual_seed(3)
    weight = torch.empty(4, 4)
    with Undrawn():
        net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
        filled = torch.empty(2, 3).fill_(7)
        for draw in (torch.nn.init.trunc_normal_, torch.nn.init.xavier_uniform_, torch.nn.init.kaiming_normal_):
            assert draw(tensor=weight) is weight
    assert torch.equal(net[1].weight, torch.ones(2))
    assert torch.equal(net[1].running_mean, torch.zeros(2))
    assert torch.equal(filled, torch.full((2, 3), 7.0))
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert drawn == torch.rand(1)  # nothing was drawn before

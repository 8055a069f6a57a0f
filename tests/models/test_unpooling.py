"""Our pooling with positions and its counterpart against torch's, and by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from maskwright.models.unpooling import max_pool_with_positions, unpool

# Batch, channels, height, width: odd channels, odd sides, a single window.
SHAPES = [(2, 3, 8, 6), (1, 5, 7, 9), (3, 1, 2, 3), (1, 7, 2, 2)]


def with_ties(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Values of 0, 1 and 2 only: most windows hold their maximum more than once."""
    return torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def test_positions_by_hand():
    x = torch.tensor([[1.0, 2, 0, 0, 9], [3, 0, 0, 5, 9], [9, 9, 9, 9, 9]])[None, None]
    # The third row and the fifth column belong to no window. 3 stands at row 1, column 0 of 5 columns, 5 at row 1, column 3.
    values, positions = max_pool_with_positions(x)
    assert (values.tolist(), positions.tolist()) == ([[[[3.0, 5.0]]]], [[[[5, 8]]]])
    assert positions.dtype == torch.int64
    back = unpool(values, positions, (3, 5))
    assert back[0, 0].tolist() == [[0, 0, 0, 0, 0], [3, 0, 0, 5, 0], [0, 0, 0, 0, 0]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("draw", [torch.randn, with_ties])
def test_equal_to_torchs(shape, dtype, layout, draw):
    x = draw(shape).to(dtype).contiguous(memory_format=layout)
    values, positions = max_pool_with_positions(x)
    expected, places = F.max_pool2d(x, 2, return_indices=True)
    assert_close(values, expected, atol=0, rtol=0)
    assert_close(positions, places, atol=0, rtol=0)
    hw = (x.shape[2], x.shape[3])
    assert_close(unpool(values, positions, hw), F.max_unpool2d(expected, places, 2, output_size=hw), atol=0, rtol=0)


def test_nan_wins_its_window_as_in_torch():
    x = torch.tensor([[1.0, float("nan"), 5, 6], [7, 2, float("nan"), 8]])[None, None]
    values, positions = max_pool_with_positions(x)
    assert values.isnan().all()
    assert positions.flatten().tolist() == F.max_pool2d(x, 2, return_indices=True)[1].flatten().tolist() == [1, 6]


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (2, 1, 2, 4)])
def test_gradients(shape):
    n = torch.Size(shape).numel()
    # All values at least 1 apart: a numeric gradient steps over no maximum.
    x = torch.randperm(n, generator=torch.Generator().manual_seed(0)).double().view(shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: max_pool_with_positions(x)[0], x)
    positions = max_pool_with_positions(x)[1]
    y = torch.randn_like(positions, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: unpool(y, positions, shape[2:]), y)


def test_of_equal_values_only_the_first_learns():
    x = torch.ones(1, 2, 2, 2, requires_grad=True)
    max_pool_with_positions(x)[0].sum().backward()
    assert x.grad.tolist() == [[[[1, 0], [0, 0]]] * 2]


class DownAndUp(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return unpool(*max_pool_with_positions(x), (x.shape[-2], x.shape[-1]))


@torch.no_grad()
def test_exported_with_free_sizes_it_is_the_same():
    free = {2: torch.export.Dim("h", min=4, max=64), 3: torch.export.Dim("w", min=4, max=64)}
    exported = torch.export.export(DownAndUp(), (torch.randn(1, 3, 8, 6),), dynamic_shapes=(free,), strict=False).module()
    for shape in ((1, 3, 8, 6), (1, 3, 11, 17)):
        x = torch.randn(shape)
        assert_close(exported(x), DownAndUp()(x), atol=0, rtol=0)


@torch.no_grad()
def test_compiled_in_one_piece_it_is_the_same():
    x = torch.randn(2, 3, 7, 6)
    assert_close(torch.compile(DownAndUp(), fullgraph=True, backend="eager")(x), DownAndUp()(x), atol=0, rtol=0)

"""Lean copies answer as the network does, whatever it is wired like, and share what is to be shared."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from maskwright import models
from maskwright.checkpoint import weights_hash
from maskwright.inference.backends import forward_on
from maskwright.inference.lean import lean
from maskwright.inference.objects import detect_on
from maskwright.inference.rounding import diffused, diffused_transposed
from maskwright.inference.uncertainty import monte_carlo
from maskwright.models.segnet import SegNetBasic
from tests.contracts.test_models import SMALL
from tests.models.mask_rcnn.test_mask_rcnn import eager, tiny

CPU = torch.device("cpu")
IMAGE = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(5))
FORMS = [(name, form) for name, forms in SMALL.items() for form in forms if name != "mask_rcnn"]


def trained(net: nn.Module) -> nn.Module:
    """With batch norms that do something."""
    draw = torch.Generator().manual_seed(3)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor, low in ((layer.running_mean, -0.2), (layer.running_var, 0.5), (layer.weight, 0.5), (layer.bias, -0.2)):
                if tensor is not None:
                    tensor.data.uniform_(low, low + 1, generator=draw)
    return net.eval()


def norms(net: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())


class Wired(nn.Module):
    """A convolution and a batch norm, wired as a subclass says; three channels all the way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.norm, self.other = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        trained(self)


class Plain(Wired):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()


class TakenTwice(Wired):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class ChangedInPlace(Wired):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.relu_(self.conv(x)))


class CalledTwice(Wired):
    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.conv(self.norm(self.conv(x))))


class OfTheBatch(Wired):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class BesideALoudOne(Wired):
    def __init__(self) -> None:
        super().__init__()
        self.loud = nn.Conv2d(3, 3, 1)
        nn.init.constant_(self.loud.bias, 3e4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return torch.cat([self.loud(x), self.norm(y) + y], dim=1)


class InGroups(Wired):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(3, 3, 2, stride=2, groups=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class ByName(Wired):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(input=self.conv(x))


class ReadsItsNorm(Wired):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) / self.norm.num_features


class OnlyInSevens(Wired):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x.unflatten(3, (7, -1)).flatten(3)))


class WithoutAutocast(Wired):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return self.conv(x.float())


def test_what_cannot_be_copied_runs_itself():
    net = Plain().eval()
    net.lock = Lock()
    assert lean(net, IMAGE, torch.float32) is net


@torch.no_grad()
@pytest.mark.parametrize(("name", "form"), FORMS, ids=[f"{name}-{k}" for k, (name, _) in enumerate(FORMS)])
def test_every_network_answers_the_same(name, form):
    torch.manual_seed(0)
    net = trained(models.build(name, channels=3, classes=4, **form)).to(memory_format=torch.channels_last)
    before, hashed = net(IMAGE), weights_hash(net)
    found = lean(net, IMAGE, torch.float32)
    if name in ("segnet", "segnet_basic"):  # rounding would decide which of two equal values a pooling takes
        assert norms(found) == norms(net)
    else:
        assert norms(found) < norms(net) or not norms(net)
    assert_close(found(IMAGE), before, atol=1e-4 * float(before.abs().max()), rtol=0)
    assert torch.equal(net(IMAGE), before)
    assert weights_hash(net) == hashed


@torch.no_grad()
@pytest.mark.parametrize(
    ("net", "left"),
    [(Plain(), 1), *((wired(), 2) for wired in (TakenTwice, ChangedInPlace, CalledTwice, OfTheBatch, BesideALoudOne))]
    + [(wired(), 2) for wired in (InGroups, ByName, ReadsItsNorm)],
    ids=lambda given: type(given).__name__,
)
def test_what_is_wired_otherwise_is_left(net, left):
    found = lean(net, IMAGE, torch.float32)
    assert norms(found) == left
    assert_close(found(IMAGE), net(IMAGE), atol=1e-5, rtol=0)


@torch.no_grad()
def test_what_cannot_be_tried_is_a_plain_copy():
    wide = torch.randn(1, 3, 70, 77)
    assert_close(lean(OnlyInSevens().eval(), wide, torch.float32)(wide), OnlyInSevens().eval()(wide))
    found = lean(WithoutAutocast(), IMAGE, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(found(IMAGE), WithoutAutocast()(IMAGE))


def test_it_is_made_while_another_thread_runs_the_network():
    net = trained(models.build("unet", channels=3, classes=4, width=8, depth=3))
    run, stop = forward_on(net, CPU, "fp32"), Event()

    def running() -> int:
        count = 0
        while not stop.is_set():
            run(IMAGE)
            count += 1
        return count

    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(running)
        try:
            left = [norms(lean(net, IMAGE, torch.float32)) for _ in range(10)]
        finally:
            stop.set()
        assert others.result() > 0
    assert left == [0] * 10


@torch.no_grad()
def test_weights_are_converted_once_and_answer_as_autocast_converts_them():
    net = trained(models.build("unet", channels=3, classes=4, width=4, depth=2, norm="group"))
    found = lean(net, IMAGE, torch.bfloat16)
    assert {p.dtype for layer in found.modules() if type(layer) is nn.Conv2d for p in layer.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    rounded = copy.deepcopy(net)
    for layer in rounded.modules():
        if type(layer) is nn.Conv2d:
            layer.weight.copy_(diffused(layer.weight, torch.bfloat16))
        elif type(layer) is nn.ConvTranspose2d:
            layer.weight.copy_(diffused_transposed(layer.weight, layer.stride, torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(found(IMAGE), rounded(IMAGE))
        assert not torch.equal(found(IMAGE), net(IMAGE))


@torch.no_grad()
@pytest.mark.parametrize("many", [False, True])
def test_few_images_and_many_take_the_same_weights(many):
    net = trained(models.build("unet", channels=3, classes=4, width=4, depth=2, norm="group"))
    net, image = net.to(memory_format=torch.channels_last), IMAGE.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        expected = lean(net, image, torch.bfloat16)(image).float()
    assert torch.equal(forward_on(net, CPU, "bf16", many=many)(IMAGE), expected)
    assert {p.dtype for p in net.parameters()} == {torch.float32}


@torch.no_grad()
def test_batch_norms_stay_where_they_are_when_few_images_come():
    net = trained(models.build("unet", channels=3, classes=4, width=4, depth=2))
    found = lean(net, IMAGE, torch.bfloat16, fold=False)
    assert norms(found) == norms(net) > 0
    assert found.get_parameter("head.weight").dtype == torch.bfloat16


def test_tensors_that_stay_are_shared():
    net = trained(models.build("unet", channels=3, classes=4, width=4, depth=2))
    found = lean(net, IMAGE, torch.float32)
    assert found.get_parameter("head.weight") is net.get_parameter("head.weight")


def test_passes_with_dropout_are_those_of_the_network():
    torch.manual_seed(0)
    net = trained(SegNetBasic(3, 4, width=4, dropout=0.5))
    plain = monte_carlo(net, IMAGE, passes=4, seed=2, forward=forward_on(net, CPU, "fp32"))
    run = forward_on(net, CPU, "fp32", many=True)
    first, again = (monte_carlo(net, IMAGE, passes=4, seed=2, forward=run) for _ in range(2))
    assert_close(first.probs, plain.probs, atol=1e-4, rtol=0)
    assert torch.equal(first.probs, again.probs)
    assert first.uncertainty.max() > 0


def test_objects_are_found_as_before():
    net = trained(eager(tiny()))
    assert norms(net.encoder) > 0
    plain, found = (detect_on(net, CPU, "fp32", many=many)(IMAGE[:1]) for many in (False, True))
    assert len(plain.scores) > 0
    for one, other in zip(plain, found, strict=True):
        assert_close(other, one, atol=1e-3, rtol=1e-3)
    assert norms(lean(net, IMAGE, torch.float32, part="encoder").encoder) == 0


def test_it_is_made_within_inference_mode_too():
    net = Plain()
    with torch.inference_mode():
        found = forward_on(copy.deepcopy(net), CPU, "fp32", many=True)(IMAGE)
    assert_close(found, net(IMAGE), atol=1e-5, rtol=0)

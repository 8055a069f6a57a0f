"""Many passes with dropout: what is averaged, what is measured, and that nothing else changes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.inference.backends import forward_on
from maskwright.inference.uncertainty import dropout_on, monte_carlo
from maskwright.models.segnet import SegNetBasic
from maskwright.transforms import Preprocess


class Coin(nn.Module):
    """Two classes; the first one's logit is the image's only channel after dropout, the second one's is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        dropped = self.dropout(image)
        return torch.cat([dropped, torch.zeros_like(dropped)], dim=1)


def test_mean_and_variance_by_hand():
    # A pixel of 1 is 2 or 0 after dropout: the first class has p = sigmoid(2) in some k of 10 passes and 1/2 in the others.
    found = monte_carlo(Coin(), torch.ones(1, 1, 2, 3), passes=10, seed=3)
    p = 1 / (1 + math.exp(-2))
    share = (found.probs[:, 0] - 0.5) / (p - 0.5)  # (1, 2, 3) k / 10
    assert_close(share * 10, (share * 10).round(), atol=1e-4, rtol=0)
    assert 0.1 < share.mean() < 0.9
    # Both classes vary alike: k/10 (1 - k/10) (p - 1/2)^2.
    assert_close(found.uncertainty, share * (1 - share) * (p - 0.5) ** 2, atol=1e-6, rtol=0)
    assert_close(found.probs.sum(dim=1), torch.ones(1, 2, 3))


def test_a_class_map_and_a_map_of_where_it_is_unsure():
    # Where the image is 0 dropout changes nothing; where it is 4, the first class wins if the value stays.
    image = torch.tensor([[0.0, 4, 4], [-4, 0, 0]])[None, None]
    found = monte_carlo(Coin(), image, passes=40)
    assert found.probs.shape == (1, 2, 2, 3)
    assert (found.uncertainty[0] > 0).tolist() == [[False, True, True], [True, False, False]]
    assert found.probs.argmax(dim=1)[0].tolist() == [[0, 0, 0], [1, 0, 0]]
    assert found.uncertainty.max() <= 0.25


@pytest.fixture
def model() -> SegNetBasic:
    torch.manual_seed(0)
    model = SegNetBasic(3, 4, width=4, dropout=0.5)
    with torch.no_grad():
        model(torch.rand(2, 3, 32, 32))
    return model.eval()


def test_bayesian_segnet(model):
    found = monte_carlo(model, torch.rand(2, 3, 20, 37), passes=4)
    assert (found.probs.shape, found.uncertainty.shape) == ((2, 4, 20, 37), (2, 20, 37))
    assert found.uncertainty.min() >= 0
    assert found.uncertainty.mean() > 1e-5
    assert not found.probs.requires_grad


def test_the_seed_decides_and_other_random_numbers_go_on(model):
    image = torch.rand(1, 3, 32, 32)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = monte_carlo(model, image, passes=3, seed=1)
    assert torch.equal(torch.rand(3), expected)
    again, other = (monte_carlo(model, image, passes=3, seed=seed) for seed in (1, 2))
    assert torch.equal(first.probs, again.probs)
    assert torch.equal(first.uncertainty, again.uncertainty)
    assert not torch.equal(first.probs, other.probs)


@pytest.mark.parametrize("training", [True, False])
def test_only_dropout_is_switched_on_and_every_mode_comes_back(model, training):
    model.train(training)
    model.encoder[0].train(not training)
    modes = {name: m.training for name, m in model.named_modules()}
    before = {key: t.clone() for key, t in model.state_dict().items()}
    with dropout_on(model):
        assert [name for name, m in model.named_modules() if m.training] == ["dropout"]
    monte_carlo(model, torch.rand(1, 3, 16, 16), passes=2)
    assert {name: m.training for name, m in model.named_modules()} == modes
    assert all(torch.equal(t, before[key]) for key, t in model.state_dict().items())  # norms have learnt nothing


def test_modes_come_back_after_an_error(model):
    with pytest.raises(InputError, match=r"the model takes \(B, 3, H, W\)"):
        monte_carlo(model.train(), torch.rand(1, 2, 16, 16), passes=2)
    assert all(m.training for m in model.modules())


def test_any_way_to_run_the_model_will_do(model):
    image = torch.rand(1, 3, 24, 24)
    plain = monte_carlo(model, image, passes=3)
    run = monte_carlo(model, image, passes=3, forward=forward_on(model, torch.device("cpu"), "fp32", exact=True))
    assert_close(run.probs, plain.probs, atol=1e-6, rtol=0)
    assert_close(run.uncertainty, plain.uncertainty, atol=1e-6, rtol=0)


@pytest.mark.parametrize("passes", [1, 0, 2.0, True])
def test_too_few_passes(model, passes):
    with pytest.raises(InputError, match="a variance needs a whole number of 2 or more"):
        monte_carlo(model, torch.rand(1, 3, 16, 16), passes=passes)


@pytest.mark.parametrize("net", [nn.Conv2d(1, 2, 1), nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout(0.0))])
def test_a_model_that_drops_nothing(net):
    with pytest.raises(InputError, match="the model drops no values, so that all its passes would agree; train one with dropout"):
        monte_carlo(net, torch.rand(1, 1, 4, 4))


def test_dropout_is_drawn_on_torch_whatever_else_is_there(tmp_path, monkeypatch):
    from maskwright import models
    from maskwright.checkpoint import Manifest
    from maskwright.inference.predictor import Predictor

    args = {"width": 4, "depth": 2, "dropout": 0.5}
    classes = {"classes": [{"id": 0, "name": "ground"}, {"id": 1, "name": "thing"}]}
    manifest = Manifest(
        model="unet", model_args=args, classes=classes, preprocess=Preprocess(1, mean=(0.5,), std=(0.25,)).to_dict()
    )
    model = models.build("unet", channels=1, classes=2, **args)
    with pytest.raises(InputError, match="uncertainty draws dropout anew for each pass, which the runtime 'openvino' cannot"):
        Predictor(model, manifest, device="cpu", passes=3, runtime="openvino")
    predictor = Predictor(model, manifest, device="cpu", passes=3).prepare()
    assert predictor.runtime.startswith("cpu")
    assert "openvino" not in predictor.runtime

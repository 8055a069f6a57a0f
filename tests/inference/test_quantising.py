"""Guarded int8: nearly the same answers, layers taken back until the score holds, and a refusal where it cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.inference import runtimes
from maskwright.inference.converting import free_axes, to_openvino
from maskwright.inference.quantising import Quantisation, layers_of, quantised, ranked
from maskwright.inference.quantising import _distance as distance

pytestmark = [
    pytest.mark.skipif(not runtimes.installed("openvino"), reason="openvino is not installed"),
    pytest.mark.skipif(runtimes.find_spec("nncf") is None, reason="nncf is not installed"),
]

LARGE = 300.0


class Small(nn.Module):
    """Three convolutions; one channel of the second one's input dwarfs the others, which one step of rounding for all then blots out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first, self.second, self.last = (nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 8), (8, 8), (8, 3)))
        with torch.no_grad():
            self.second.weight[:, 0] /= LARGE
        self.register_buffer("large", torch.tensor([LARGE, *[1.0] * 7]).view(1, 8, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        x = image.permute(0, 3, 1, 2).float() / 255
        return self.last(torch.relu(self.second(torch.relu(self.first(x)) * self.large)))


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (1, 32, 40, 3), dtype=np.uint8) for _ in range(6)]


@pytest.fixture(scope="module")
def model(images):
    return to_openvino(Small(), (torch.from_numpy(images[0]).repeat(2, 1, 1, 1),), (free_axes(0, 1, 2),))


@pytest.fixture(scope="module")
def score(images):
    net = Small().eval()
    with torch.no_grad():
        expected = [net(torch.from_numpy(x)).argmax(1) for x in images]

    def validate(run) -> float:
        found = [run(torch.from_numpy(x))[0].argmax(1) for x in images]
        return float(np.mean([(a == b).float().mean() for a, b in zip(expected, found, strict=True)]))

    return validate


def test_a_loose_bound_takes_all_layers(model, images, score):
    found, said = quantised(model, images, score, 1.0)
    assert said == Quantisation(pytest.approx(1.0, abs=1e-3), said.after, 1.0, 6, 3, ())
    assert sum(op.get_type_name() == "FakeQuantize" for op in found.get_ops()) >= 3
    assert sum(op.get_type_name() == "FakeQuantize" for op in model.get_ops()) == 0  # the model itself is as it was
    assert "none of 3 layers went back" in said.line()


def test_layers_go_back_until_the_score_holds(model, images, score):
    _, loose = quantised(model, images, score, 1.0)
    drop = loose.before - loose.after
    assert drop > 0.002
    told: list[tuple[str, int, int]] = []
    _, said = quantised(model, images, score, 0.7 * drop, progress=lambda *step: told.append(step))
    calibrating = [("calibrating int8", k, 6) for k in range(1, 7)]
    comparing = [("comparing the layers in int8", k, 3) for k in range(1, 4)]
    # One layer or two go back, and which comes first, follows from how a processor rounds.
    assert told == [*calibrating, *comparing, *(calibrating * len(said.kept))]
    assert 1 <= len(said.kept) <= 2
    assert set(said.kept) < set(layers_of(model))
    assert said.before - said.after <= 0.7 * drop
    assert said.to_dict()["layers"] == 3


def test_the_layer_that_suffers_comes_first(model, images, score):
    found, _ = quantised(model, images, score, 1.0)
    order = ranked(model, found, images[:2], 1)
    assert set(order) == set(layers_of(model))
    assert order[0] == layers_of(model)[1]


def test_a_score_that_cannot_be_held_is_refused(model, images):
    scores = iter([1.0, *[0.5] * 9])
    with pytest.raises(InputError, match=r"int8 costs 50\.00 points with all layers but one in higher precision, at most 0\.5"):
        quantised(model, images, lambda _: next(scores))


def test_no_images_is_refused(model, score):
    with pytest.raises(InputError, match="calibrated on images, there are none"):
        quantised(model, [], score)


def test_an_answer_of_fewer_objects_is_filled_up_with_zeros():
    scores, boxes, classes = torch.tensor([0.9, 0.5]), torch.tensor([[0.0, 4.0], [4.0, 8.0]]), torch.tensor([2, 1])
    whole, fewer = (scores, boxes, classes), (scores[:1], boxes[:1], classes[:1])
    lost = [(0.5**2 / 2) / ((0.9**2 + 0.5**2) / 2 / 4), 1.0, 0.5]  # boxes: more than their variance
    assert distance([whole], [whole]) == 0
    assert distance([whole], [fewer]) == pytest.approx(float(np.mean(lost)))
    assert distance([fewer], [whole]) > 0
    assert distance([(scores[:0],)], [(scores[:0],)]) == 0
    assert distance([(scores[:1],)], [(scores[:1] - 0.01,)]) < 0.01  # one object has no variance

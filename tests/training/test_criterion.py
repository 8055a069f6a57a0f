"""What is minimised: logits, auxiliary heads, queries; and how parts of a network learn at their own rates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from maskwright import losses, models
from maskwright.checkpoint import Manifest
from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.losses.mask_classification import mask_classification
from maskwright.models.encoders import TimmEncoder
from maskwright.models.outputs import Queries, WithAuxiliary
from maskwright.recipe import Recipe
from maskwright.training import train
from maskwright.training.criterion import criterion_of
from maskwright.training.loop import set_learning_rate
from maskwright.training.networks import PLANNED
from maskwright.training.setup import Parent, check_buildable, make_learner
from maskwright.transforms import Preprocess

TARGET = torch.tensor([[[0, 1], [1, 255]]])


def logits(seed: int) -> torch.Tensor:
    return torch.randn(1, 2, 2, 2, generator=torch.Generator().manual_seed(seed))


def test_auxiliary_heads_take_the_same_loss_times_their_weight():
    criterion = criterion_of(Recipe())
    first, second, third = (criterion(logits(seed), TARGET) for seed in range(3))
    together = criterion(WithAuxiliary(logits(0), (logits(1), logits(2)), 0.5), TARGET)
    assert_close(together, first + 0.5 * (second + third))


def test_settings_of_a_loss_come_from_the_recipe():
    smoothed = criterion_of(Recipe(losses={"cross_entropy": 1.0}, loss_settings={"cross_entropy": {"label_smoothing": 0.2}}))
    assert_close(smoothed(logits(0), TARGET), losses.cross_entropy(logits(0), TARGET, label_smoothing=0.2))
    with pytest.raises(InputError, match="takes no setting 'smoothign'; did you mean label_smoothing"):
        criterion_of(Recipe(loss_settings={"cross_entropy": {"smoothign": 0.2}}))


def test_queries_take_the_loss_of_mask_classification():
    output = Queries(torch.randn(1, 3, 2, 2), torch.randn(1, 3, 3), (2, 2))
    found = criterion_of(Recipe(losses={"mask_classification": 1.0}))
    torch.manual_seed(0)
    value = found(output, TARGET)
    torch.manual_seed(0)
    assert_close(value, mask_classification(output.masks, output.classes, TARGET))


@pytest.mark.parametrize(
    ("terms", "output"),
    [({"dice": 1.0}, Queries(logits(0), torch.zeros(1, 2, 3), (2, 2))), ({"mask_classification": 1.0}, logits(0))],
)
def test_queries_and_other_losses_do_not_go_together(terms, output):
    with pytest.raises(
        InputError, match="losses mask_classification and a network trained by queries, as eomt, go together; found"
    ):
        criterion_of(Recipe(losses=terms))(output, TARGET)


def test_mask_classification_stands_alone():
    with pytest.raises(InputError, match="mask_classification stands alone"):
        criterion_of(Recipe(losses={"mask_classification": 1.0, "dice": 1.0}))


def test_the_encoder_learns_at_its_own_rate():
    recipe = Recipe(
        model_args={"encoder": "test_resnet", "decoder": [8, 8, 8, 8, 8]}, encoder_rate=0.25, learning_rate=0.1, warmup_steps=1
    )
    learner = make_learner(recipe, ClassMap((0, 1), ("a", "b")), torch.device("cpu"))
    set_learning_rate(learner.optimizer, recipe, 0)
    rate_of = {p: group["lr"] for group in learner.optimizer.param_groups for p in group["params"]}
    rates = {name: rate_of[p] for name, p in learner.net.named_parameters()}
    assert {rate for name, rate in rates.items() if name.startswith("encoder.")} == {0.025}
    assert {rate for name, rate in rates.items() if not name.startswith("encoder.")} == {0.1}


def test_frozen_stages_keep_their_weights_and_what_follows_learns(tmp_path):
    args = {"encoder": "test_resnet", "decoder": [8, 8, 8, 8, 8]}
    classes, cpu = ClassMap((0, 1), ("a", "b")), torch.device("cpu")
    encoder = make_learner(Recipe(model_args=args), classes, cpu).net.encoder
    assert isinstance(encoder, TimmEncoder)
    save_file(encoder.net.state_dict(), tmp_path / "trained.safetensors")
    recipe = Recipe(model_args=args, weights=str(tmp_path / "trained.safetensors"), frozen_stages=2)
    learner = make_learner(recipe, classes, cpu)
    learns = {name: p.requires_grad for name, p in learner.net.named_parameters()}
    assert not any(flag for name, flag in learns.items() if name.startswith(("encoder.net.conv1", "encoder.net.layer1")))
    assert all(flag for name, flag in learns.items() if not name.startswith("encoder."))
    assert all(flag for name, flag in learns.items() if name.startswith(("encoder.net.layer3", "encoder.net.layer4")))
    taken = {p for group in learner.optimizer.param_groups for p in group["params"]}
    assert taken == {p for p in learner.net.parameters() if p.requires_grad}
    assert learner.net.training


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"model_args": {"encoder": "test_resnet"}},
            "frozen_stages=2 would keep random weights; give --weights or --from with it",
        ),
        ({"weights": "FILE"}, "frozen_stages=2 is for networks on a timm encoder"),
        ({"model_args": {"encoder": "test_resnet"}, "weights": "FILE", "frozen_stages": 9}, "gives 5 maps; frozen_stages=9"),
    ],
)
def test_stages_that_cannot_be_frozen(settings, says):
    recipe = Recipe(**{"model_args": {"depth": 2, "width": 4}, "frozen_stages": 2} | settings)
    with pytest.raises(InputError, match=says):
        check_buildable(recipe, 2, trained=recipe.weights is not None)


def test_stages_of_another_encoder_are_not_frozen(tmp_path):
    classes, cpu, args = ClassMap((0, 1), ("a", "b")), torch.device("cpu"), {"decoder": [8, 8, 8, 8, 8]}
    first = Recipe(model_args={"encoder": "test_resnet", **args})
    manifest = Manifest(
        model="unet", model_args=first.model_args, task="semantic", classes=classes.to_dict(), preprocess=Preprocess(3).to_dict()
    )
    parent = Parent(tmp_path, manifest, make_learner(first, classes, cpu).net.state_dict())
    same = make_learner(first.model_copy(update={"frozen_stages": 2}), classes, cpu, parent=parent)
    assert not all(p.requires_grad for p in same.net.encoder.parameters())
    other = Recipe(model_args={"encoder": "resnet18", **args}, frozen_stages=2)
    with pytest.raises(InputError, match=r"frozen_stages=2 would keep .* random weights .*another encoder"):
        make_learner(other, classes, cpu, parent=parent)


def test_a_run_with_frozen_stages_is_resumed(squares, quick, tmp_path):
    args = {"encoder": "test_resnet", "decoder": [8, 8, 8, 8, 8]}
    encoder = make_learner(Recipe(model_args=args), ClassMap((0, 1), ("a", "b")), torch.device("cpu")).net.encoder
    save_file(encoder.net.state_dict(), tmp_path / "w.safetensors")
    settings = quick | {"model_args": args, "weights": str(tmp_path / "w.safetensors"), "frozen_stages": 2, "steps": 4}
    options = {"model": "unet", "checked": True, "workers": 0, "show_progress": False}
    whole = train(squares, out=tmp_path / "run", settings=settings, **options)
    (tmp_path / "w.safetensors").unlink()  # resuming needs no weights but its own
    again = train(squares, out=tmp_path / "run", resume=True, workers=0, show_progress=False)
    assert (whole.steps, again.steps) == (4, 4)


def test_the_planner_knows_only_networks_and_arguments_that_exist():
    assert set(PLANNED) <= set(models.MODELS)
    for name, planned in PLANNED.items():
        assert set(planned.processor) | set(planned.gpu) <= set(models.MODELS[name].arguments)


@pytest.mark.parametrize(
    ("model", "args"),
    [
        ("eomt", {"encoder": "test_vit", "queries": 4, "query_blocks": 1}),
        ("bisenetv2", {"width_multiplier": 0.125, "head_width": 8, "booster_width": 8}),
    ],
)
def test_networks_that_train_in_their_own_way_train(squares, quick, tmp_path, model, args):
    """Whatever a network gives back in training, a run comes out whose checkpoint answers."""
    settings = quick | {"model_args": args, "steps": 3, "validate_every": 3, "learning_rate": 1e-3}
    run = train(squares, model=model, out=tmp_path / "run", settings=settings, checked=True, workers=0, show_progress=False)
    assert run.steps == 3


def test_a_finer_fcn_starts_from_the_coarser_one(squares, quick, tmp_path):
    settings = quick | {"model_args": {"width": 4, "fc_width": 8}, "steps": 1, "learning_rate": 1e-4}
    coarse = train(squares, model="fcn32s", out=tmp_path / "32", settings=settings, checked=True, workers=0, show_progress=False)
    rest = {key: value for key, value in settings.items() if key != "model_args"}
    fine = train(
        squares, model="fcn16s", from_run=coarse.folder, out=tmp_path / "16", settings=rest, checked=True, workers=0,
        show_progress=False,
    )  # fmt: skip
    before, after = Parent.load(coarse.folder), Parent.load(fine.folder)
    assert after.manifest.model == "fcn16s"
    assert after.manifest.model_args == before.manifest.model_args
    # One step of 1e-4 from the same weights stays near them; drawn anew they would be far.
    name = next(n for n, w in before.weights.items() if w.ndim == 4)
    assert_close(after.weights[name], before.weights[name], atol=1e-3, rtol=0)


def handed_over(recipe: Recipe, old: ClassMap, new: ClassMap) -> tuple[dict, dict, list[str]]:
    """Random weights of a net for `old`, what a net for `new` makes of them, and the names of those that start anew."""
    torch.manual_seed(0)
    source = make_learner(recipe, old, torch.device("cpu")).net.state_dict()
    weights = {name: torch.randn_like(w) if w.is_floating_point() else w for name, w in source.items()}
    manifest = Manifest(
        model=recipe.model, model_args=recipe.model_args, classes=old.to_dict(), preprocess=Preprocess(3).to_dict()
    )
    net = make_learner(recipe, new, torch.device("cpu")).net
    axes = models.class_axes(recipe.model, channels=3, classes=len(new), **recipe.model_args)
    with torch.no_grad():
        fresh = Parent(Path("run"), manifest, weights).give_weights(net, new, axes)
    return weights, net.state_dict(), fresh


OLD, NEW = ClassMap((0, 1), ("sky", "road")), ClassMap((0, 1, 2), ("car", "road", "sky"))


def test_rows_and_columns_of_classes_move_together():
    """The layers that enlarge class scores have a row and a column a class; one class more must not twist them."""
    weights, found, _ = handed_over(Recipe(model="fcn16s", model_args={"width": 4, "fc_width": 8}), OLD, NEW)
    square = [name for name, w in weights.items() if w.ndim == 4 and tuple(w.shape[:2]) == (2, 2)]
    assert square
    for name in square:
        # sky is 0 of old and 2 of new; road is 1 of both.
        assert_close(found[name][2, 1], weights[name][0, 1])
        assert_close(found[name][1, 2], weights[name][1, 0])


def test_the_row_of_nothing_stays_behind_the_classes():
    args = {"encoder": "test_vit", "queries": 4, "query_blocks": 1}
    recipe = Recipe(model="eomt", model_args=args, losses={"mask_classification": 1.0})
    weights, found, fresh = handed_over(recipe, OLD, NEW)
    old, new = weights["class_head.weight"], found["class_head.weight"]
    assert_close(new[[2, 1, 3]], old[[0, 1, 2]])  # sky, road, nothing
    assert sorted(fresh) == ["class_head.bias", "class_head.weight"]


def test_layers_as_wide_as_there_are_classes_are_not_taken_for_theirs():
    names = tuple(f"class {k}" for k in range(4))
    recipe = Recipe(model_args={"width": 4, "depth": 1})
    weights, found, fresh = handed_over(recipe, ClassMap(range(4), names), ClassMap(range(4), names[::-1]))
    assert fresh == []
    moved = [name for name, w in weights.items() if not torch.equal(found[name], w)]
    assert moved == ["head.weight", "head.bias"]
    assert_close(found["head.bias"], weights["head.bias"].flip(0))


@pytest.mark.parametrize(
    ("model", "losses_", "message"),
    [
        ("eomt", {"dice": 1.0}, "eomt is trained by queries, with the loss mask_classification; found losses"),
        ("segnet", {"mask_classification": 1.0}, "segnet is trained by its logits, without the loss mask_classification"),
    ],
)
def test_losses_that_do_not_go_with_the_network_are_refused_before_any_work(squares, tmp_path, model, losses_, message):
    with pytest.raises(InputError, match=message):
        train(squares, model=model, out=tmp_path / "run", settings={"losses": losses_}, checked=True, show_progress=False)
    assert not (tmp_path / "run").exists()


def test_a_run_that_starts_from_another_keeps_its_networks_losses_and_rate(squares, quick, tmp_path):
    args = {"encoder": "test_vit", "queries": 4, "query_blocks": 1}
    given = {"batch": 4, "steps": 1, "precision": "fp32", "channels_last": False, "patch_hw": [32, 32]}
    options = {"checked": True, "workers": 0, "show_progress": False}
    first = train(squares, model="eomt", out=tmp_path / "1", settings=given | {"model_args": args}, **options)
    second = train(squares, from_run=first.folder, out=tmp_path / "2", settings=given, **options)
    recipe = Recipe.load(second.folder / "recipe.yaml")
    assert (recipe.losses, recipe.learning_rate) == ({"mask_classification": 1.0}, 2e-4)
    assert recipe.model_args == args

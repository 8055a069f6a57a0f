"""Comparing models: who takes part, going on after an interruption, paired intervals derived by hand, the table, the picture."""

from __future__ import annotations

import json
import math
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from torch import Tensor, nn

import maskwright
from maskwright import Comparison, compare
from maskwright.classes import ClassMap
from maskwright.comparison import assembling, scoring_all, training_all
from maskwright.comparison.contestants import Contestant, contestants_of, pieces, specs_in
from maskwright.comparison.ledger import Ledger, Terms
from maskwright.comparison.page import write_page
from maskwright.comparison.picture import Column, Row, chosen, comparison_picture
from maskwright.comparison.result import Entrant, ranked, verdicts
from maskwright.comparison.scoring_all import differences, timed_sources, with_differences
from maskwright.data.dataset import Dataset
from maskwright.errors import InputError, Interrupted
from maskwright.evaluation import Evaluation, score
from maskwright.io.image import Image
from maskwright.models import MODELS, Entry
from maskwright.recipe import Recipe
from maskwright.sample import Sample

TWO = ClassMap((0, 1), ("background", "square"))
TINY: dict[str, Any] = {
    "model_args": {"width": 4, "depth": 1},
    "batch": 2,
    "steps": 2,
    "validate_every": 2,
    "precision": "fp32",
    "channels_last": False,
}


class Plain(nn.Module):
    """One convolution: a network that takes no encoder."""

    def __init__(self, channels: int, classes: int, *, width: int = 3, depth: int = 1) -> None:
        super().__init__()
        self.layers = nn.Conv2d(channels, classes, width // 2 * 2 + 1, padding=width // 2)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image)
        return logits


class Broken(Plain):
    """A network whose loss is never finite."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image) * math.nan


@pytest.fixture(autouse=True)
def more_models(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, net in (("plain", Plain), ("broken", Broken)):
        monkeypatch.setitem(MODELS, name, Entry(f"{__name__}:{net.__name__}", task="semantic", paper="0000.00000", summary=name))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bright square that moves: 4 images to fit, 2 to choose by, 5 to score; 24 x 32 px."""
    root = tmp_path_factory.mktemp("data") / "scenes"
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2), ("test", 5)):
        for number in range(count):
            labels = np.zeros((24, 32), np.uint8)
            labels[4:16, 3 * number : 3 * number + 12] = 1
            image = (rng.normal(60, 8, labels.shape) + 120 * labels).clip(0, 255).astype(np.uint8)
            for kind, array in (("images", image), ("masks", labels)):
                path = root / split / kind / f"{split}{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Picture.fromarray(array).save(path)
    (root / "classes.yaml").write_text("classes: [background, square]\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def compared(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two tiny U-Nets, trained for two steps each."""
    out = tmp_path_factory.mktemp("compared") / "out"
    return compare(scenes, "unet,unet:width=8", settings=TINY, out=out, show_progress=False, resamples=50)


# Who takes part


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("unet,segnet", ["unet", "segnet"]),
        ("unet:width=8,depth=2,segnet", ["unet:width=8,depth=2", "segnet"]),
        ("unet:decoder=[64,32],padded=true, unet", ["unet:decoder=[64,32],padded=true", "unet"]),
        ("unet:encoder=a:b,unet:width=2", ["unet:encoder=a:b", "unet:width=2"]),
        ("", []),
    ],
)
def test_a_setting_belongs_to_the_model_before_it(text: str, specs: list[str]) -> None:
    assert specs_in(text) == specs


def test_commas_in_brackets_divide_nothing() -> None:
    assert pieces("a=[1,2],b={x: (1,2), y: 3}, c") == ["a=[1,2]", "b={x: (1,2), y: 3}", "c"]


def test_arguments_of_the_model_and_settings_of_the_recipe() -> None:
    (one,), said = contestants_of("unet:encoder=resnet18,dropout=0.1,learning_rate=0.01,losses.dice=0.5", ())
    assert (one.model, one.encoder, said) == ("unet", "resnet18", ())
    assert one.settings == {"model_args.dropout": "0.1", "learning_rate": "0.01", "losses.dice": "0.5"}
    assert one.folder_name == "unet_encoder=resnet18_dropout=0.1_learning_rate=0.01_losses.dice=0.5"


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("", r"nothing to compare; name models .* or finished runs"),
        ("unte", r"no model named 'unte'; did you mean unet"),
        ("unet:widht=3", r"unet:widht=3: no argument or setting named 'widht'; did you mean width"),
        ("unet:width", r"unet:width: 'width' is not key=value"),
        ("unet:steps=3", r"unet:steps=3: steps is the same for all models"),
        ("unet:model=plain", r"unet:model=plain: model is the same for all models"),
        ("unet,plain,unet", r"unet stands twice in the comparison"),
    ],
)
def test_what_cannot_take_part(models: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        contestants_of(models, ())


def test_an_encoder_goes_to_those_that_take_one_and_this_is_said() -> None:
    (first, own, plain), said = contestants_of("unet,unet:encoder=resnet34,plain", (), "resnet18")
    assert (first.encoder, own.encoder, plain.encoder) == ("resnet18", "resnet34", None)
    assert said == ("The encoder resnet18 was given to the models that take one; without it: plain.",)
    with pytest.raises(InputError, match=r"--encoder resnet18: none of the models takes an encoder \(plain\)"):
        contestants_of("plain", (), "resnet18")


def test_runs_of_one_folder_name_are_told_apart_by_their_path() -> None:
    found, _ = contestants_of("unet", "a/unet,b/other,c/other")
    assert [one.name for one in found] == ["unet", "a/unet", "b/other", "c/other"]


# Going on


def trained(ledger: Ledger, one: Contestant) -> None:
    """As a finished training leaves the folder, as far as the ledger looks at it."""
    ledger.ask([one])
    ledger.note(one.name, steps=7)
    (one.run_in(ledger.folder)).mkdir(parents=True)
    (one.run_in(ledger.folder) / "model.safetensors").touch()


def test_the_same_terms_find_their_folder_again(tmp_path: Path) -> None:
    default = tmp_path / "comparisons" / "scenes"
    first = Ledger.open(None, default, Terms(minutes=5, settings={"batch": 4}))
    first.of_data("abc")
    first.note("unet", steps=7, minutes=4.9)
    again = Ledger.open(None, default, Terms(minutes=5, settings={"batch": 4}))
    assert (again.folder, again.trained) == (default, {"unet": {"steps": 7, "minutes": 4.9}})
    other = Ledger.open(None, default, Terms(minutes=6, settings={"batch": 4}))
    assert (other.folder, other.trained) == (default.with_name("scenes-2"), {})


def test_a_folder_with_other_terms_other_data_or_other_things_is_refused(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "out", tmp_path, Terms(seed=1))
    ledger.of_data("abc")
    trained(ledger, Contestant("unet", "unet"))
    with pytest.raises(InputError, match=r"out: holds a comparison with seed=1, this one has seed=2; .* another --out"):
        Ledger.open(tmp_path / "out", tmp_path, Terms(seed=2))
    with pytest.raises(InputError, match="the data has changed since unet were trained on it"):
        ledger.of_data("abd")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("")
    with pytest.raises(InputError, match="thesis: is not empty and holds no comparison"):
        Ledger.open(tmp_path / "thesis", tmp_path, Terms())


def test_another_encoder_is_another_model(tmp_path: Path) -> None:
    plain, resnet = (contestants_of("unet", (), encoder)[0] for encoder in (None, "resnet18"))
    default = tmp_path / "scenes"
    first = Ledger.open(None, default, Terms(minutes=5), resnet)
    trained(first, resnet[0])
    assert Ledger.open(None, default, Terms(minutes=5), resnet).folder == default
    assert Ledger.open(None, default, Terms(minutes=5), plain).folder == tmp_path / "scenes-2"
    with pytest.raises(InputError, match="holds unet with encoder=resnet18, this one has encoder=None; choose another --out"):
        Ledger.open(default, default, Terms(minutes=5), plain)
    own = "encoder=resnet34; write unet:encoder=resnet34 to have both, or choose another --out"
    with pytest.raises(InputError, match=own):
        Ledger.open(default, default, Terms(minutes=5), contestants_of("unet", (), "resnet34")[0])
    both = contestants_of("unet,unet:encoder=resnet34", (), "resnet18")[0]
    assert Ledger.open(default, default, Terms(minutes=5), both).kept(besides=both) == ()


def test_a_network_is_not_shown_as_another(compared: Comparison, scenes: Path) -> None:
    with pytest.raises(
        InputError, match="holds unet with encoder=None, this one has encoder=resnet18; write unet:encoder=resnet18"
    ):
        compare(scenes, "unet", encoder="resnet18", settings=TINY, out=compared.folder, show_progress=False)


def test_an_unfinished_training_is_not_gone_on_with_by_another_model(tmp_path: Path) -> None:
    (begun,), (other,) = (contestants_of("unet", (), encoder)[0] for encoder in ("resnet18", "resnet34"))
    ledger = Ledger.open(tmp_path / "out", tmp_path, Terms())
    ledger.ask([begun])
    Ledger.open(tmp_path / "out", tmp_path, Terms(), [other])  # nothing of it is there yet
    state = begun.run_in(tmp_path / "out") / "state" / "last.safetensors"
    state.parent.mkdir(parents=True)
    state.touch()
    with pytest.raises(InputError, match="holds unet with encoder=resnet18, this one has encoder=resnet34"):
        Ledger.open(tmp_path / "out", tmp_path, Terms(), [other])


def test_of_several_folders_the_one_that_knows_the_models_goes_on(tmp_path: Path) -> None:
    for folder, name in (("scenes", "unet"), ("scenes-2", "segnet")):
        trained(Ledger.open(tmp_path / folder, tmp_path, Terms()), Contestant(name, name))
    found = Ledger.open(None, tmp_path / "scenes", Terms(), [Contestant("segnet", "segnet")])
    assert found.folder == tmp_path / "scenes-2"


def test_text_of_the_command_line_and_numbers_are_the_same_terms(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "out", tmp_path, Terms(settings={"steps": "3", "learning_rate": "1e-3", "losses.dice": "1"}))
    ledger.of_data("abc")
    same = Terms(settings={"steps": 3, "learning_rate": 0.001, "losses.dice": 1.0})
    assert Ledger.open(tmp_path / "out", tmp_path, same).data == "abc"
    assert Contestant("unet", settings={"batch": "4"}).to_json() == Contestant("unet", settings={"batch": 4}).to_json()


def test_more_models_extend_the_table(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    real, begun = training_all.train, []
    monkeypatch.setattr(training_all, "train", lambda *a, **k: begun.append(k["model"]) or real(*a, **k))
    own = real(scenes, model="plain", settings=TINY, out=tmp_path / "own", show_progress=False).folder
    wanted: dict[str, Any] = {"settings": TINY, "show_progress": False, "resamples": 10}
    first = compare(scenes, "plain:width=5", runs=[own], **wanted)
    second = compare(scenes, "unet", against="plain:width=5", **wanted)
    assert begun == ["plain", "unet"]
    assert second.folder == first.folder
    assert {one.name for one in second.entrants} == {"plain:width=5", "own", "unet"}
    assert second.reference == "plain:width=5"
    assert (
        "Kept from earlier comparisons in this folder: plain:width=5, own; another --out makes a table without." in second.notes
    )
    scores = {one.name: one.score() for one in second.entrants}
    assert {one.name: one.score() for one in first.entrants}.items() <= scores.items()
    shutil.rmtree(own)
    third = compare(scenes, "unet", **wanted)  # what is deleted is in no table
    assert {one.name for one in third.entrants} == {"plain:width=5", "unet"}


@pytest.mark.parametrize("deleted", ["", "model.safetensors"])
def test_a_run_that_was_deleted_is_trained_again(scenes: Path, tmp_path: Path, deleted: str) -> None:
    # Exact: which number type is quicker is measured after each training, and may differ.
    wanted: dict[str, Any] = {"settings": TINY, "out": tmp_path / "out", "show_progress": False, "resamples": 10, "exact": True}
    first = compare(scenes, "plain", **wanted)
    gone = first.entrants[0].run / deleted
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    again = compare(scenes, "plain", **wanted)
    assert again.ok
    assert again.entrants[0].steps == 2
    assert again.entrants[0].score() == first.entrants[0].score()  # the same seed


def test_a_training_anew_that_is_interrupted_is_not_taken_for_finished(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: dict[str, Any] = {"settings": TINY, "out": tmp_path / "out", "show_progress": False, "resamples": 10}
    weights = compare(scenes, "plain", **wanted).entrants[0].run / "model.safetensors"
    weights.unlink()

    def train(*data: Any, **options: Any) -> Any:
        options["out"].mkdir()
        weights.touch()  # of its first validation
        raise Interrupted("step 1; go on with --resume")

    monkeypatch.setattr(training_all, "train", train)
    for _ in range(2):  # the second finds weights, which nobody has finished
        with pytest.raises(Interrupted, match="0 of 1 models are trained"):
            compare(scenes, "plain", **wanted)


def test_a_recipe_of_python_counts_for_what_it_names(scenes: Path, tmp_path: Path) -> None:
    recipe = Recipe(**{**TINY, "steps": 1})
    found = compare(scenes, "plain", recipe=recipe, out=tmp_path / "out", show_progress=False, resamples=10)
    assert found.ok
    frozen = Recipe.load(found.entrants[0].run / "recipe.yaml")
    assert (frozen.model, frozen.steps, frozen.batch) == ("plain", 1, 2)
    assert frozen.mean  # planned from the data: the recipe's own default, which it does not name, is empty


def test_all_models_are_fitted_to_the_splits_asked_for(scenes: Path, tmp_path: Path) -> None:
    found = compare(scenes, "plain", settings=TINY, fit=["train", "val"], out=tmp_path / "out", show_progress=False, resamples=10)
    options = json.loads((found.entrants[0].run / "state" / "options.json").read_text(encoding="utf-8"))
    assert (options["fit"], found.split, found.images) == (["train", "val"], "test", 5)
    with pytest.raises(InputError, match=r"fit=\['train', 'val'\], this one has fit=\[\]"):
        compare(scenes, "plain", settings=TINY, out=tmp_path / "out", show_progress=False)


@pytest.mark.parametrize(
    ("room", "what", "said"),
    [
        (scoring_all, "evaluate", "interrupted while scoring plain; all runs are kept in"),
        (assembling, "milliseconds", "interrupted while timing plain; all runs are kept in"),
        (assembling, "comparison_picture", "interrupted; all that is trained is kept. Give the same command"),
    ],
)
def test_sigterm_says_how_to_go_on(
    scenes: Path, compared: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: Any, what: str, said: str
) -> None:
    monkeypatch.setattr(room, what, lambda *a, **k: signal.raise_signal(signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # so that nobody ends the tests
    try:
        run = tmp_path / "plain"
        shutil.copytree(compared.entrants[0].run, run)
        with pytest.raises(Interrupted, match=said):
            compare(scenes, runs=[run], out=tmp_path / "out", show_progress=False, resamples=10)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_interrupted_comparison_goes_on_with_the_rest(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, begun = training_all.train, []

    def train(*data: Any, **options: Any) -> Any:
        begun.append(Path(options["out"]).name)
        if stop and len(begun) == 2:
            raise Interrupted("step 1; go on with --resume")
        return real(*data, **options)

    monkeypatch.setattr(training_all, "train", train)
    monkeypatch.chdir(tmp_path)
    stop = True
    with pytest.raises(Interrupted, match=r"while training unet; 1 of 2 models are trained, .* Give the same command to go on"):
        compare(scenes, "plain,unet", settings=TINY, show_progress=False, resamples=10)
    stop = False
    found = compare(scenes, "plain,unet", settings=TINY, show_progress=False, resamples=10)
    assert begun == ["plain", "unet", "unet"]
    assert found.ok
    assert found.folder == Path("comparisons") / "scenes"


def test_a_run_that_has_a_state_is_resumed(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process died after the training and before it was noted: the weights stay what they are."""
    first = compare(scenes, "plain", settings=TINY, out=tmp_path / "out", show_progress=False, resamples=10, exact=True)
    before = maskwright.load_checkpoint(first.entrants[0].run)[0].state_dict()
    state = json.loads((tmp_path / "out" / "state.json").read_text())
    (tmp_path / "out" / "state.json").write_text(json.dumps({**state, "trained": {}}))
    resumed = []
    real = training_all.train
    monkeypatch.setattr(training_all, "train", lambda *a, **k: resumed.append(k.get("resume")) or real(*a, **k))
    again = compare(scenes, "plain", settings=TINY, out=tmp_path / "out", show_progress=False, resamples=10, exact=True)
    assert resumed == [True]
    assert again.entrants[0].score() == first.entrants[0].score()
    after = maskwright.load_checkpoint(again.entrants[0].run)[0].state_dict()
    assert [name for name in before if not before[name].equal(after[name])] == []


# Paired intervals


def evaluated(found: Callable[[int], NDArray[np.uint8]], truths: list[NDArray[np.uint8]]) -> Evaluation:
    """What answers found(k) to the truths score."""
    names = [f"{k:02d}" for k in range(len(truths))]
    dataset = Dataset.in_memory([255 * t for t in truths], truths, classes=TWO, names=names)
    return score(lambda sample: found(int(sample.name)), dataset, dataset.pairs)


def test_a_constant_lead_has_an_interval_of_no_width() -> None:
    # 4 x 4 px, half of them square. The second finds 4 of its 8 px: IoU 4/8 of the square, 8/12 of the background.
    truth = np.repeat([[0, 0, 1, 1]], 4, axis=0).astype(np.uint8)
    half = np.repeat([[0, 0, 0, 1]], 4, axis=0).astype(np.uint8)
    first, second = evaluated(lambda k: truth, [truth] * 12), evaluated(lambda k: half, [truth] * 12)
    found = differences(first, second, 100)["mean_iou"]
    for value in (found.value, found.low, found.high):
        assert value == pytest.approx((4 / 8 + 8 / 12) / 2 - 1)
    assert differences(first, second, 100)["pixel_accuracy"].value == pytest.approx(-4 / 16)


def test_images_that_are_hard_for_both_do_not_widen_the_difference() -> None:
    truth = np.repeat([[0, 0, 1, 1]], 4, axis=0).astype(np.uint8)
    missed = np.zeros_like(truth)

    def answer(k: int) -> NDArray[np.uint8]:
        return truth if k % 2 else missed

    first, second = evaluated(answer, [truth] * 12), evaluated(answer, [truth] * 12)
    own, paired = first.intervals["mean_iou"], differences(first, second, 200)["mean_iou"]
    assert own.high - own.low > 0.2
    assert (paired.value, paired.low, paired.high) == (0.0, 0.0, 0.0)


def test_differences_are_taken_to_the_reference_alone() -> None:
    truth = np.repeat([[0, 0, 1, 1]], 4, axis=0).astype(np.uint8)
    good, bad = evaluated(lambda k: truth, [truth] * 12), evaluated(lambda k: 1 - truth, [truth] * 12)
    entrants = [
        Entrant("a", Path("a"), evaluation=bad),
        Entrant("b", Path("b"), evaluation=good),
        Entrant("c", Path("c"), failure="x"),
    ]
    a, b, c = with_differences(entrants, "b", 20)
    assert (a.differences["mean_iou"].value, b.differences, c.differences) == (-1.0, {}, {})
    table = Comparison("scenes", "test", 12, ranked([a, b, c]), "b", Path("out"))
    assert [one.name for one in table.entrants] == ["b", "a", "c"]
    assert list(verdicts(table)) == ["a minus b: -1.0000 [-1.0000, -1.0000]: worse."]


# The table


def test_each_model_is_scored_as_evaluate_scores_it(compared: Comparison, scenes: Path) -> None:
    assert compared.ok
    assert (compared.dataset, compared.split, compared.images) == ("scenes", "test", 5)
    for one in compared.entrants:
        alone = maskwright.evaluate(one.run, scenes, resamples=50)
        assert one.evaluation is not None
        assert one.evaluation.intervals == alone.intervals  # the same seed draws the same resamples
        assert one.parameters == sum(p.numel() for p in maskwright.load_checkpoint(one.run)[0].parameters())
        assert one.milliseconds > 0
        assert one.steps == 2
    best, other = compared.entrants
    assert best.score() >= other.score()
    assert compared.reference == best.name
    assert other.differences["mean_iou"].value == pytest.approx(other.score() - best.score())


def test_the_table_and_its_notes(compared: Comparison) -> None:
    assert compared.columns[:3] == ("model", "mean IoU", "95 % interval")
    assert compared.columns[3:5] == ("minus the best", "95 % paired")
    assert {"class accuracy", "global accuracy", "boundary F1", "parameters", "ms an image"} <= set(compared.columns)
    assert all(len(row) == len(compared.columns) for row in compared.rows())
    assert compared.rows()[0][3:5] == ("", "")
    text = "\n".join(compared.lines())
    assert "the same data, splits and budget: 2 steps each, seed 0" in text
    assert "Scored: 5 images, split test." in text
    assert text.count("Scored:") == 1
    assert f"{torch.get_num_threads()} thread" in next(line for line in compared.notes if line.startswith("Milliseconds"))
    assert "percentile bootstrap over 5 images, 50 resamples; rough: only 5 images." in text


def test_the_files_hold_the_same(compared: Comparison) -> None:
    found = json.loads((compared.folder / "comparison.json").read_text(encoding="utf-8"))
    assert [m["name"] for m in found["models"]] == [one.name for one in compared.entrants]
    assert found["models"][0]["scores"]["mean_iou"]["value"] == pytest.approx(compared.entrants[0].score())
    assert set(found["models"][1]["iou"]) == {"background", "square"}
    assert found == json.loads(json.dumps(compared.to_json(), default=str))
    assert np.array_equal(np.array(Picture.open(compared.folder / "comparison.png")), compared.picture)


def test_the_page_needs_nothing_else(compared: Comparison) -> None:
    page = (compared.folder / "comparison.html").read_text(encoding="utf-8")
    for part in ("unet:width=8", "mean IoU", 'src="data:image/jpeg;base64,', "IoU of each class", "percentile bootstrap"):
        assert part in page
    assert "://" not in page
    assert "<script" not in page


def test_one_failing_model_takes_no_other_down(scenes: Path, tmp_path: Path) -> None:
    found = compare(scenes, "broken,plain", settings=TINY, out=tmp_path / "out", show_progress=False, resamples=10)
    assert not found.ok
    assert [one.name for one in found.entrants] == ["plain", "broken"]
    assert "the loss became nan at step 0" in found.failed[0].failure
    assert found.lines()[0].startswith("broken failed: the loss became nan")
    assert found.rows()[1] == ("broken", *["-"] * (len(found.columns) - 1))
    assert "the loss became nan" in (found.folder / "comparison.html").read_text(encoding="utf-8")
    assert "Traceback" in (found.failed[0].run / "failure.txt").read_text(encoding="utf-8")


def test_without_any_score_there_is_still_a_table(scenes: Path, tmp_path: Path) -> None:
    found = compare(scenes, "broken", settings=TINY, out=tmp_path / "out", show_progress=False)
    assert (found.picture, found.reference, found.scored) == (None, "", ())
    assert found.rows()[0][0] == "broken"
    assert (tmp_path / "out" / "comparison.html").is_file()
    assert not (tmp_path / "out" / "comparison.png").exists()


def test_finished_runs_are_compared_without_training(
    compared: Comparison, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_all, "train", lambda *a, **k: pytest.fail("trained"))
    runs = [one.run for one in compared.entrants]
    found = compare(scenes, runs=runs, out=tmp_path / "out", against="first", show_progress=False, resamples=50)
    assert [one.score() for one in found.entrants] == [one.score() for one in compared.entrants]
    assert found.entrants[1].differences == compared.entrants[1].differences
    assert not any("budget" in line for line in found.lines())
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_runs_that_drew_their_own_split_make_no_pairs(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = tmp_path / "flat"
    for kind in ("images", "masks"):
        (flat / kind).mkdir(parents=True)
        for file in sorted(scenes.glob(f"*/{kind}/*.png")):
            (flat / kind / file.name).write_bytes(file.read_bytes())
    (flat / "classes.yaml").write_bytes((scenes / "classes.yaml").read_bytes())
    quick = {**TINY, "steps": 1}
    other = maskwright.train(flat, model="plain", settings=quick, seed=5, out=tmp_path / "other", show_progress=False)
    monkeypatch.setattr(training_all, "train", lambda *a, **k: pytest.fail("trained"))
    with pytest.raises(InputError, match=r"other: would be scored on \d+ images that are not the \d+ of the others"):
        compare(flat, "plain", runs=[other.folder], settings=quick, out=tmp_path / "out", show_progress=False)


def test_groups_that_are_held_out_are_what_is_scored(scenes: Path, tmp_path: Path) -> None:
    # The last digit names the group: train0..3, val0..1; held out are 1 (train1, val1) and 3 (train3); test stays apart.
    found = compare(
        scenes, "plain", settings=TINY, group=r"(\d)$", holdout_groups=["1", "3"], out=tmp_path / "out", show_progress=False
    )
    scored = found.entrants[0].evaluation
    assert scored is not None
    assert (found.split, [s.name for s in scored.per_image]) == ("held-out", ["train1", "train3", "val1"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": "unet"}, r"every model is trained on one budget: .*; found neither, give one"),
        ({"models": "unet", "minutes": 1, "settings": TINY}, r"one budget: .*; found both, give one"),
        ({"models": "unet", "minutes": math.nan}, r"minutes=nan is no time to train in"),
        ({"models": "unet", "settings": {**TINY, "model": "plain"}}, r"the settings name the network \(model: plain\)"),
        ({"models": "unet", "settings": TINY, "against": "unte"}, r"no 'unte' to compare against; did you mean unet"),
        ({"models": "unet,unet:depth=20", "settings": TINY}, r"^unet:depth=20: "),
        ({"models": "unet:batch=x", "settings": TINY}, r"^unet:batch=x: recipe: batch is 'x'"),
        ({"models": "unet", "recipe": Recipe(model="plain", steps=2)}, r"the settings name the network \(model: plain\)"),
        ({"models": "unet", "settings": TINY, "fit": ["train", "vla"]}, r"vla"),
        ({"models": "unet", "settings": {**TINY, "bacth": 3}}, r"^recipe: no setting named 'bacth'; did you mean batch"),
        ({"models": "unet", "settings": TINY, "split": "exam"}, r"no split 'exam'; there are: "),
        ({"runs": ["nowhere"]}, r"nowhere: no such run folder"),
    ],
)
def test_wrong_wishes_end_before_anything_is_trained_or_written(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(training_all, "train", lambda *a, **k: pytest.fail("trained"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(maskwright.MaskwrightError, match=message):
        compare(scenes, show_progress=False, **options)
    assert list(tmp_path.iterdir()) == []


# The picture


def test_which_images_tell_most() -> None:
    # Spreads 0, 0.6, 0.1, 0, 0.2 and means 0.1, 0.5, 0.75, 0.9, 0.6: the middle mean is 0.6.
    scores = np.array([[0.1, 0.8, 0.7, 0.9, 0.7, np.nan], [0.1, 0.2, 0.8, 0.9, 0.5, np.nan]])
    assert chosen(scores) == {"models differ most": 1, "worst": 0, "median": 4, "best": 3}


def test_no_image_is_shown_twice_and_one_model_differs_from_none() -> None:
    assert chosen(np.array([[0.1, 0.2], [0.3, 0.2]])) == {"models differ most": 0, "worst": 1}
    assert chosen(np.array([[0.4, 0.2, 0.3]])) == {"worst": 1, "median": 2, "best": 0}
    assert chosen(np.array([[np.nan], [np.nan]])) == {}


@pytest.mark.parametrize("hw", [(1, 1), (16, 16), (40, 700), (700, 40)])
def test_a_picture_of_any_size(hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    sample = Sample(Image.from_array(rng.integers(0, 255, hw).astype(np.uint8)), rng.choice([0, 1, 255], hw), TWO, "x" * 99)
    columns = [Column(f"model {k}" * 9, "mean IoU 0.5", [rng.choice([0, 1], hw)] * 2, [0.5, math.nan]) for k in range(3)]
    picture = comparison_picture([Row("worst", sample), Row("best", sample)], columns)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert max(picture.shape) < 2600


def test_the_answers_stand_right_of_the_truth() -> None:
    truth = np.zeros((10, 10), np.uint8)
    truth[:, 5:] = 1
    sample = Sample(Image.from_array(np.full((10, 10, 3), 128, np.uint8)), truth, TWO, "x")
    right, none = Column("right", "", [truth], [1.0]), Column("none", "", [np.zeros_like(truth)], [0.3])
    picture = comparison_picture([Row("best", sample)], [right, none], panel_px=200)
    edge = (picture == TWO.colours[1]).all(axis=2)  # the outline of the square is drawn in its colour alone
    columns = np.flatnonzero(edge[60:200].any(axis=0))
    # Panels of 200 px behind gaps of 8: the square's left edge lies in the middle of the second (truth) and third (right).
    assert {8 + 208 + 100, 8 + 2 * 208 + 100} <= set(columns.tolist())
    assert columns.max() < 8 + 3 * 208


def test_timed_images_are_spread_evenly() -> None:
    arrays = [np.full((2, 2), k, np.uint8) for k in range(41)]
    dataset = Dataset.in_memory(arrays, [a * 0 for a in arrays], classes=TWO)
    timed = [int(np.asarray(source)[0, 0]) for source in timed_sources(dataset.pairs)]
    assert (len(timed), timed[0], timed[-1]) == (20, 0, 40)


def test_the_page_of_a_failure_hides_no_markup(tmp_path: Path) -> None:
    failed = Entrant("<b>", tmp_path, failure="1 < 2")
    write_page(tmp_path / "x.html", replace(Comparison("d", "", 0, (failed,), "", tmp_path), notes=("a & b",)))
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "&lt;b&gt; failed: 1 &lt; 2" in page
    assert "a &amp; b" in page

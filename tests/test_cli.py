"""The commands: exit codes, one sentence instead of a traceback, results on stdout and notes on stderr, JSON."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import maskwright
from maskwright.cli import app, listing
from maskwright.cli.options import settings
from maskwright.cli.output import folder_for, print_json, print_table
from maskwright.errors import InputError, Interrupted
from maskwright.models.mask_rcnn.model import TINY as TINY_OBJECTS
from maskwright.training.run import train

TINY = ("--set", "batch=2", "--set", "model_args={width: 4, depth: 2}")


def draw(folder, count, seed=0):
    """images/0.png .. and masks/0.png .. of 24 x 32 px with a square that moves; another seed, other pictures."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        labels = np.zeros((24, 32), np.uint8)
        labels[4:16, number : number + 12] = 1
        image = (rng.normal(60, 8, labels.shape) + 120 * (labels > 0)).astype(np.uint8)
        for kind, array in (("images", image), ("masks", labels)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"{number}.png")


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "squares"
    for seed, (split, count) in enumerate((("train", 4), ("val", 2), ("test", 3))):
        draw(folder / split, count, seed)
    (folder / "classes.yaml").write_text("classes: [background, square]\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(squares, tmp_path_factory):
    """A run folder that one step of training left."""
    out = tmp_path_factory.mktemp("runs") / "squares"
    with pytest.raises(SystemExit) as ended:
        app(["train", str(squares), "--out", str(out), "--set", "steps=1", *TINY])
    assert ended.value.code in (0, None)
    return out


# How a command ends


def test_without_a_command_the_help_is_shown(run):
    code, out, err = run()
    assert code in (0, 2)  # what no arguments mean differs between versions of typer
    assert "Usage: maskwright" in out + err


def test_version(run):
    assert run("--version") == (0, f"maskwright {maskwright.__version__}\n", "")


def test_a_wrong_option_is_wrong_use(run):
    code, out, err = run("check", "data", "--snpa")
    assert (code, out) == (2, "")
    assert "--snpa" in err


def test_bad_input_is_one_sentence_and_exit_code_2(run, tmp_path):
    code, out, err = run("train", tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert f"{tmp_path / 'nowhere'}: no such folder" in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def ends_with(monkeypatch, error):
    """Make `models` end with an error of our choice."""

    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(listing, "progress", fail)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("x.png: is green."), 2, "maskwright: x.png: is green."),
        (Interrupted("step 3; go on with --resume"), 130, "maskwright: step 3; go on with --resume"),
        (KeyboardInterrupt(), 130, "maskwright: interrupted; every file written so far is whole."),
        (PermissionError(13, "Permission denied", "/x/y.png"), 2, "maskwright: /x/y.png: Permission denied."),
    ],
    ids=["input", "interrupted", "ctrl-c", "permission"],
)
def test_exit_codes_of_errors(run, monkeypatch, error, code, said):
    ends_with(monkeypatch, error)
    assert run("models") == (code, "", said + "\n")


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch):
    ends_with(monkeypatch, ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError, match="ours"):
        app(["models"])


# check


def test_check_of_sound_data(run, squares, tmp_path):
    code, out, err = run("check", squares)
    assert code == 0
    assert "Training may start" in out
    assert "checks/squares" in err
    assert json.loads((tmp_path / "checks" / "squares" / "check.json").read_text())["ok"] is True
    assert (tmp_path / "checks" / "squares" / "contact_sheet.png").is_file()


def test_check_of_data_with_an_error_ends_with_1(run, tmp_path):
    draw(tmp_path / "bad", 6)
    (tmp_path / "bad" / "masks" / "3.png").unlink()
    code, out, _ = run("check", tmp_path / "bad", "--out", tmp_path / "report", "--json")
    assert code == 1
    found = json.loads(out)
    assert [(f["severity"], f["code"]) for f in found["findings"] if f["severity"] == "error"] == [("error", "missing-mask")]


def test_check_of_nothing_leaves_no_folder(run, tmp_path):
    code, _, err = run("check", tmp_path / "nowhere")
    assert code == 2
    assert "no such folder" in err
    assert list(tmp_path.iterdir()) == []


# train


def test_train_says_where_the_run_is_and_what_comes_next(run, squares, tmp_path):
    code, out, err = run("train", squares, "--out", tmp_path / "run", "--set", "steps=1", *TINY)
    assert code == 0
    assert out.startswith(f"{tmp_path / 'run'}: validation Dice ")
    assert f"maskwright evaluate {tmp_path / 'run'} {squares}" in err
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_train_with_a_setting_that_is_none(run, squares, tmp_path):
    code, out, err = run("train", squares, "--out", tmp_path / "run", "--set", "learning-rate=1")
    assert (code, out) == (2, "")
    assert "learning-rate" in err
    assert "learning_rate" in err  # the near name


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_while_training_ends_with_130_and_can_be_resumed(run, squares, tmp_path):
    out = tmp_path / "run"
    words = ["train", str(squares), "--out", str(out), "--set", "steps=100000", "--set", "validate_every=100000", *TINY]
    with subprocess.Popen([sys.executable, "-m", "maskwright", *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = next((line for line in process.stderr if "100000 steps" in line), "")  # said when the training begins
        process.send_signal(signal.SIGINT)
        err = said + process.stderr.read()
    assert process.returncode == 130, err
    assert "--resume" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("text", ["steps", "=3", " =3"])
def test_settings_need_a_key_and_an_equals_sign(text):
    with pytest.raises(InputError, match="expected key=value"):
        settings([text])


def test_settings_keep_their_text():
    assert settings(["a=1", "b.c= x=y"]) == {"a": "1", "b.c": " x=y"}


# evaluate


def test_evaluate_prints_scores_and_conventions(run, squares, trained):
    code, out, err = run("evaluate", trained, squares)
    assert code == 0
    assert "split test: 3 images" in out
    assert "mean IoU" in out
    assert "- One confusion matrix" in out
    assert f"report.html: {trained / 'evaluation'}" in err
    assert (trained / "evaluation" / "report.html").is_file()


def test_evaluate_writes_json(run, squares, trained, tmp_path):
    file = tmp_path / "scores.json"
    code, _, _ = run("evaluate", trained, squares, "--split", "val", "--json", file)
    assert code == 0
    assert json.loads(file.read_text())["split"] == "val"
    code, _, err = run("evaluate", trained, squares, "--json", file)
    assert code == 2
    assert "--overwrite" in err


def test_evaluate_prints_json_alone(run, squares, trained):
    code, out, _ = run("evaluate", trained, squares, "--json", "-")
    assert code == 0
    assert json.loads(out)["images"] == 3


def test_evaluate_scores_a_folder_of_masks(run, squares):
    code, out, _ = run("evaluate", squares / "test" / "masks", squares, "--json", "-")
    assert code == 0
    assert json.loads(out)["scores"]["mean_iou"] == 1.0  # the truth against itself


# compare


def test_compare_prints_one_table_and_says_where_the_files_are(run, squares, trained, tmp_path):
    code, out, err = run("compare", squares, "--models", "unet:width=6", "--runs", trained, "--set", "steps=1", *TINY)
    assert code == 0
    assert "split test: 3 images" in out
    assert "unet:width=6" in out
    assert "mean IoU" in out
    assert "- Intervals: 95%" in out
    assert "1 of 1: unet:width=6" in err
    assert "comparisons/squares" in err
    assert {p.name for p in (tmp_path / "comparisons" / "squares").glob("comparison.*")} == {
        "comparison.html", "comparison.json", "comparison.png",
    }  # fmt: skip


def test_compare_in_words_and_in_python_goes_on_in_one_folder(run, squares, tmp_path):
    words = ("--models", "unet:width=6", "--fit", "train,val", "--set", "steps=1", *TINY)
    code, _, err = run("compare", squares, *words)
    assert code == 0, err
    settings = {"steps": 1, "batch": 2, "model_args": {"width": 4, "depth": 2}}
    found = maskwright.compare(squares, "unet:width=6", fit=["train", "val"], settings=settings, show_progress=False)
    assert found.folder == Path("comparisons") / "squares"


def test_compare_as_json(run, squares, trained, tmp_path):
    code, out, _ = run("compare", squares, "--runs", trained, "--out", tmp_path / "out", "--json")
    assert code == 0
    assert [m["name"] for m in json.loads(out)["models"]] == ["squares"]


def test_compare_with_a_model_that_fails_ends_with_1(run, squares, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("maskwright.comparison.training_all.train", fail)
    code, out, err = run("compare", squares, "--models", "unet", "--set", "steps=1", *TINY)
    assert code == 1
    assert "- unet failed: out of memory" in out
    assert "failed: unet: out of memory" in err


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_while_comparing_ends_with_130_and_says_how_to_go_on(squares, tmp_path):
    words = ["compare", str(squares), "--models", "unet", "--out", str(tmp_path / "out"), "--set", "steps=100000", *TINY]
    words += ["--set", "validate_every=100000"]
    with subprocess.Popen([sys.executable, "-m", "maskwright", *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = next((line for line in process.stderr if "100000 steps" in line), "")  # said when the training begins
        process.send_signal(signal.SIGINT)
        err = said + process.stderr.read()
    assert process.returncode == 130, err
    assert "interrupted while training unet; 0 of 1 models are trained" in err
    assert "Give the same command to go on." in err
    assert (tmp_path / "out" / "runs" / "unet" / "state" / "last.safetensors").is_file()


def test_compare_with_an_unknown_model_leaves_no_folder(run, squares, tmp_path):
    code, out, err = run("compare", squares, "--models", "unte", "--minutes", 1)
    assert (code, out) == (2, "")
    assert "did you mean unet" in err
    assert list(tmp_path.iterdir()) == []


# predict


def test_predict_writes_masks(run, squares, trained, tmp_path):
    code, out, err = run("predict", trained, squares / "test" / "images", "--overlay")
    assert (code, err) == (0, "")
    assert out.startswith("predictions/images: masks of 3 of 3 images (")
    assert np.array(Image.open(tmp_path / "predictions" / "images" / "0.png")).shape == (24, 32)
    assert (tmp_path / "predictions" / "images" / "0_overlay.png").is_file()


def test_predict_goes_on_after_a_bad_file_and_ends_with_1(run, squares, trained, tmp_path):
    (tmp_path / "cut.png").write_bytes((squares / "test" / "images" / "0.png").read_bytes()[:60])
    good = squares / "test" / "images" / "1.png"
    code, out, err = run("predict", trained, tmp_path / "cut.png", good, "--out", tmp_path / "masks")
    assert code == 1
    assert "masks of 1 of 2 images" in out
    assert "failed: " in err
    assert "cut.png" in err
    assert (tmp_path / "masks" / "1.png").is_file()


@pytest.mark.parametrize("name", ["nothere.png", "nothere.mp4", "nothere"])
def test_predict_of_a_single_input_that_is_not_there_is_bad_input(run, trained, tmp_path, name):
    code, out, err = run("predict", trained, tmp_path / name)
    assert (code, out) == (2, "")
    assert f"{tmp_path / name}: no such file or folder" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_predict_of_several_inputs_goes_on_without_those_that_are_not_there(run, squares, trained, tmp_path):
    good = squares / "test" / "images" / "1.png"
    code, out, err = run("predict", trained, tmp_path / "nothere.png", good, "--out", tmp_path / "masks")
    assert code == 1
    assert "masks of 1 of 2 images" in out
    assert "nothere.png" in err


def test_predict_as_json(run, squares, trained, tmp_path):
    code, out, _ = run("predict", trained, squares / "test" / "images", "--out", tmp_path / "masks", "--json")
    assert code == 0
    assert len(json.loads(out)["done"]) == 3


def test_predict_with_no_model_leaves_no_folder(run, squares, tmp_path):
    code, _, err = run("predict", tmp_path / "no-run", squares)
    assert code == 2
    assert "no-run" in err
    assert list(tmp_path.iterdir()) == []


# demo


@pytest.mark.parametrize("name", ["lungs", "streets", "tankers"])
def test_the_demo_does_the_whole_job_and_says_where_everything_is(run, tmp_path, monkeypatch, name):
    def one_step(*data, **options):
        args = {**TINY_OBJECTS, "least_score": 0.0} if name == "tankers" else {"width": 4, "depth": 2}
        tiny = {"steps": 1, "precision": "fp32", "model_args": args}
        return train(*data, **{**options, "minutes": None, "settings": tiny})

    monkeypatch.setattr("maskwright.training.train", one_step)
    out = tmp_path / "demo"
    code, said, _ = run("demo", name, "--out", out, "--count", 3)
    assert code == 0
    places = re.findall(rf"^  ({re.escape(str(out))}\S*): ", said, flags=re.MULTILINE)
    assert places == [str(out / name) for name in ("report.html", "masks", "evaluation", "run", "check", "data")]
    assert [name for name in places if not Path(name).exists()] == []
    assert json.loads((out / "evaluation" / "evaluation.json").read_text())["split"] == "test"
    assert len(list((out / "masks").glob("*_overlay.png"))) == 1  # 3 scenes: one a split


def test_the_demo_refuses_other_depths(run, tmp_path):
    code, _, err = run("demo", "lungs", "--out", tmp_path / "demo", "--bits", 12)
    assert code == 2
    assert "bits=12" in err
    assert not (tmp_path / "demo").exists()


# What is printed


def test_a_table_keeps_brackets_and_long_names(capsys):
    print_table(("file", "pixels"), [("[red]lake [2].png" + "x" * 100, "12")])
    out = capsys.readouterr().out
    assert "[red]lake [2].png" + "x" * 100 in out
    assert "12" in out


def test_json_holds_paths_as_text(capsys, tmp_path):
    print_json({"out": tmp_path})
    assert json.loads(capsys.readouterr().out) == {"out": str(tmp_path)}


def test_a_default_folder_vanishes_only_if_it_is_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with folder_for(None, tmp_path / "predictions" / "x") as folder:
        assert folder.is_dir()
    assert not (tmp_path / "predictions").exists()
    with folder_for(None, tmp_path / "predictions" / "x") as folder:
        (folder / "a.png").touch()
    assert (tmp_path / "predictions" / "x" / "a.png").is_file()

"""The README is true: its Python runs, its commands and options exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from maskwright.classes import ClassMap
from maskwright.cli import app
from maskwright.data.dataset import open_dataset

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TIME = "minutes=30"
# As much as a test can wait for: one step of a tiny net.
QUICK = 'settings={"steps": 1, "batch": 2, "model_args": {"width": 4, "depth": 2}}'


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def scans(tmp_path):
    """A data set such as the quick start speaks of: bright squares, 3 images a split, one of them test/images/scene.png."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for number in range(3):
            labels = np.zeros((24, 32), np.uint8)
            labels[6:18, 8 + number : 20 + number] = 1
            image = (rng.normal(60, 10, labels.shape) + 120 * labels).clip(0, 255).astype(np.uint8)
            name = "scene.png" if (split, number) == ("test", 0) else f"{split}{number}.png"
            for kind, array in (("images", image), ("masks", labels)):
                path = tmp_path / "scans" / split / kind / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (tmp_path / "scans" / "classes.yaml").write_text("classes: [background, lung]\n", encoding="utf-8")
    return tmp_path


def test_the_python_quick_start_runs(scans, monkeypatch, capsys):
    (code,) = blocks("python")
    assert TIME in code
    monkeypatch.chdir(scans)
    exec(compile(code.replace(TIME, QUICK), "README.md", "exec"), {})
    assert "Training may start" in capsys.readouterr().out
    assert np.array(Image.open(scans / "masks" / "scene.png")).shape == (24, 32)
    assert (scans / "masks" / "scene_overlay.png").is_file()


def test_the_class_map_in_the_readme_is_valid(tmp_path):
    (text,) = blocks("yaml")
    path = tmp_path / "classes.yaml"
    path.write_text(text, encoding="utf-8")
    classes = ClassMap.load(path)
    assert classes.names == ("background", "lung")
    assert classes.values == ((0,), (255,))
    assert classes.ignore_values == (128,)


LAYOUT_ROWS = [
    re.findall(r"`([^`]+)`", row)
    for row in re.findall(r"^\| [\w', -]+ \| (`[^|]*/[^|]*|`1[^|]*) \|$", README, flags=re.MULTILINE)
]


@pytest.mark.parametrize("paths", LAYOUT_ROWS, ids=" ".join)
def test_every_layout_in_the_table_is_recognised(paths, tmp_path):
    for path in paths:
        for file in (tmp_path / path, tmp_path / path.replace("1", "2")):
            if "..." not in path:
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.zeros((8, 9), np.uint8)).save(file)
    found = open_dataset(tmp_path, classes=ClassMap((0, 1), ("background", "lung")))
    assert [(Path(pair.image).name[0], pair.mask and Path(pair.mask).name[0]) for pair in found.pairs] == [("1", "1"), ("2", "2")]


def test_the_table_of_layouts_is_found():
    assert len(LAYOUT_ROWS) == 6


def shell_commands() -> list[list[str]]:
    """Every `maskwright ...` of the shell blocks and of the tables, split into words."""
    lines = [line.partition("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    lines += re.findall(r"^\| `(maskwright [^`]+)` \|", README, flags=re.MULTILINE)
    return [shlex.split(line) for line in lines if line.startswith("maskwright ")]


def command_of(words: list[str]) -> tuple[str, list[str]]:
    """The command that these words call and the options it knows."""
    command = typer.main.get_command(app)
    called = []
    for word in words[1:]:
        if word not in getattr(command, "commands", {}):
            break
        command = command.commands[word]
        called.append(word)
    return " ".join(called), [name for parameter in command.params for name in parameter.opts]


@pytest.mark.parametrize("words", shell_commands(), ids=" ".join)
def test_every_command_in_the_readme_exists(words):
    called, options = command_of(words)
    assert called
    assert [word for word in words if word.startswith("--") and word not in options] == []


def test_the_readme_names_every_command():
    group = typer.main.get_command(app)
    named = {command_of(words)[0].split()[0] for words in shell_commands()}
    assert named == set(group.commands)


OPTION_ROWS = re.findall(r"^\| (`--[^|]+) \| ([\w, ]+) \|", README, flags=re.MULTILINE)


@pytest.mark.parametrize(("options", "commands"), OPTION_ROWS, ids=[row[0] for row in OPTION_ROWS])
def test_every_option_in_the_table_exists(options, commands):
    for command in commands.split(", "):
        _, known = command_of(["maskwright", command])
        assert [name for name in re.findall(r"--[\w-]+", options) if name not in known] == []


def test_the_table_of_options_is_found():
    assert len(OPTION_ROWS) > 10


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_links_lead_to_files(document):
    path = ROOT / document
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_paths_in_the_map_exist():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:maskwright/)?((?:[a-z_]+/)*[a-z_]+\.py)\b", text))
    assert len(named) > 10
    assert sorted(name for name in named if not ((ROOT / name).exists() or (ROOT / "maskwright" / name).exists())) == []

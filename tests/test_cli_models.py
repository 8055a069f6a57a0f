"""`maskwright models`: the table, its JSON, its page, and that docs/models.md says what the code says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskwright.cli import app
from maskwright.cli.listing import COLUMNS, PUBLISHED_COLUMNS, table
from maskwright.models import MODELS
from maskwright.models.describe import describe
from maskwright.published import PUBLISHED

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"
UNET = "unet"


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command where the registry holds the U-Net alone: (standard output, standard error)."""
    for name in [name for name in MODELS if name != UNET]:
        monkeypatch.delitem(MODELS, name)

    def command(*words: str) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            app([*words], prog_name="maskwright")
        assert ended.value.code in (0, None)
        captured = capsys.readouterr()
        return captured.out, captured.err

    return command


def rows_of(text: str) -> dict[str, list[str]]:
    """Cells of every row of the tables in a page, by the first cell."""
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| ")]
    return {line[0]: line for line in lines}


def test_the_table_has_every_column(run):
    out, err = run("models")
    assert err == ""
    for said in (*COLUMNS, *PUBLISHED_COLUMNS, "arXiv:1505.04597", "timm:NAME (as published)", *PUBLISHED, "BSD-3-Clause"):
        assert said in out
    assert "ms fp32" not in out


def test_single_networks_can_be_named(run):
    assert set(json.loads(run("models", UNET, "--json")[0])["models"]) == {UNET}


def test_an_unknown_network_shows_near_ones(capsys):
    with pytest.raises(SystemExit) as ended:
        app(["models", "u-net"])
    assert ended.value.code == 2
    assert "no model named 'u-net'; did you mean unet" in capsys.readouterr().err


def test_json_has_the_same_and_the_arguments(run):
    found = json.loads(run("models", "--json")[0])
    row = found["models"][UNET]
    assert (row["paper"], row["milliseconds"]) == ("1505.04597", None)
    assert "encoder" in row["arguments"]
    assert row["multiply_adds"] > 1e10
    assert found["published"]["voc-fcn-resnet50"]["licence"] == "BSD-3-Clause"


def test_milliseconds_are_measured_where_they_are_asked_for(run, monkeypatch):
    asked = []
    monkeypatch.setattr("maskwright.inference.timing.milliseconds", lambda *a: asked.append(a[-1]) or 12.4)
    out, _ = run("models", "--time", "--device", "cpu")
    assert asked == ["fp32", "bf16"]
    assert "ms fp32" in out
    assert " 12" in out


def test_the_page_is_the_same_table(run):
    text, _ = run("models", "--page")
    columns, rows = table([describe(UNET)], {})
    found = rows_of(text)
    assert found["model"] == list(columns)
    assert found[UNET] == list(rows[0])
    assert set(PUBLISHED) <= set(found)


# docs/models.md


@pytest.mark.parametrize("name", MODELS)
def test_the_documented_row_is_what_the_code_says(name):
    _, (row,) = table([describe(name)], {})
    found = rows_of(PAGE.read_text(encoding="utf-8"))
    assert found.get(name, ["missing; write the page again: maskwright models --page > docs/models.md"])[: len(row)] == list(row)


def test_the_page_has_no_other_rows():
    found = set(rows_of(PAGE.read_text(encoding="utf-8"))) - {"model", "name", "---"}
    assert found == {*MODELS, *PUBLISHED}

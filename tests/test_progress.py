"""Progress without a terminal: plain lines now and then, with the time left."""

from __future__ import annotations

import pytest

from maskwright.progress import duration, of_stage, plain_lines, progress, stages


def test_plain_progress_comes_now_and_then(capsys):
    seconds = iter([0.0, 1.0, 20.0, 21.0, 40.0])
    report = plain_lines("scoring", clock=lambda: next(seconds), every_s=10.0)
    for done in (1, 4, 5, 8):
        report(done, 12)
    # 4 of 12 after 20 s: 8 more take 40 s; 8 of 12 after 40 s: 4 more take 20 s.
    assert capsys.readouterr().err == "scoring: 4 of 12, 40 s left\nscoring: 8 of 12, 20 s left\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(45.2, "45 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (0, "0 s"), (59.6, "1 min 0 s")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_nothing_is_shown_on_request(capsys):
    with progress("scoring", show=False) as report:
        report(1, 2)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_a_bar_with_the_time_left_is_drawn(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("scoring") as report:
        report(3, 12)
    out, err = capsys.readouterr()
    assert out == ""
    assert "scoring" in err
    assert "3/12" in err


def test_each_stage_is_named_and_estimated_by_itself(capsys, monkeypatch):
    monkeypatch.setattr("maskwright.progress.plain_lines", lambda title: lambda done, total: print(title, done, total))
    with stages() as report:
        of_stage(report, "calibrating")(1, 2)
        of_stage(report, "scoring")(1, 3)
        of_stage(report, "scoring")(2, 3)
        of_stage(report, "scoring")(1, 3)  # once more from the start
    out, err = capsys.readouterr()
    assert out == "calibrating 1 2\nscoring 1 3\nscoring 2 3\nscoring 1 3\n"
    assert err == "calibrating\nscoring\nscoring\n"


def test_stages_are_bars_on_a_terminal_and_nothing_on_request(capsys, monkeypatch):
    of_stage(None, "scoring")(1, 2)
    with stages(show=False) as report:
        report("scoring", 1, 2)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with stages() as report:
        report("calibrating", 3, 12)
        report("scoring", 2, 5)
    err = capsys.readouterr().err
    assert all(text in err for text in ("calibrating", "3/12", "scoring", "2/5"))

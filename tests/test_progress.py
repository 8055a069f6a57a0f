"""Progress without a terminal: plain lines now and then, with the time left."""

from __future__ import annotations

import pytest

from maskwright.progress import duration, plain_lines, progress


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

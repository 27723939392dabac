"""What one sees of a deployment: a table, lines, or JSON."""

from __future__ import annotations

import json

import pytest

from gitops.cli import watching
from gitops.cli.watching import Show
from gitops.deploy.run import Standing
from gitops.deploy.traffic import Progress

VERDICT = {
    "why": "go on after 320 units; about 900 more",
    "seen": 320,
    "needs": 900,
    "metric": "brier",
    "margin": 0.01,
    "differences": [
        {"kind": "pairs", "estimate": None, "lower": None, "upper": None},
        {"kind": "split", "estimate": 0.0021, "lower": -0.0212, "upper": None},
    ],
    "guardrails": [
        {"name": "errors", "count": 1, "of": 80},
        {"name": "slow", "count": 0, "of": 80},
    ],
}
PROGRESS = Progress(
    "late@v1.3.0", "late@v1.2.0", "stepping", 1, ("shadow", 5, 25), 200, 20000, "t", VERDICT
)
ROLLING = Standing("late", "rolling_out", "late@v1.2.0", "a" * 64, "", PROGRESS)
RUNNING = Standing("fare", "running", "fare@v2.0.0", "b" * 64)


def test_a_rollout_shows_its_step_units_difference_and_guardrails() -> None:
    assert watching.row_of(ROLLING) == [
        "late",
        "late@v1.2.0",
        "rolling out",
        "late@v1.3.0",
        "2/3 5 %",
        "320 of at most 20000 (each step 200, about 900 more)",
        "brier +0.002 [-0.021, ?], margin 0.01",
        "errors 1/80, slow 0/80",
    ]
    assert watching.row_of(RUNNING)[2:] == ["running", "-", "-", "-", "-", "-"]


@pytest.mark.parametrize(
    ("watch", "follow", "as_json", "mode"),
    [
        (False, False, False, "quiet"),
        (False, True, False, "quiet"),
        (True, False, False, "lines"),  # no terminal here
        (False, False, True, "quiet"),
        (False, True, True, "json"),
        (True, False, True, "json"),
    ],
)
def test_how_it_is_shown(watch: bool, follow: bool, as_json: bool, mode: str) -> None:
    assert watching.mode_of(watch, follow, as_json) == mode


def test_lines_come_when_something_changes(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show("production", "lines")
    show([ROLLING])
    show([ROLLING])
    assert capsys.readouterr().out.count("late@v1.3.0") == 1
    show([RUNNING])
    assert capsys.readouterr().out == "fare  fare@v2.0.0  running\n"


def test_programs_get_a_document_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show("production", "json")
    show([ROLLING])
    show([ROLLING])
    show([RUNNING])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["models"][0]["state"] for line in lines] == ["rolling_out", "running"]
    assert lines[0]["models"][0]["progress"]["verdict"]["needs"] == 900


def test_the_table_keeps_the_last_messages(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show("production", "live")
    for number in range(12):
        show.say(f"message {number}")
    show([ROLLING, RUNNING])
    out = capsys.readouterr().out
    assert "message 11" in out
    assert "message 3" not in out
    assert "about 900 more" in out

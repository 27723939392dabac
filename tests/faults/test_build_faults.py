"""A build that is killed, interrupted, run twice, fails, or writes what nobody should use."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional


def wait(condition: Callable[[], object], what: str) -> None:
    """Until `condition` holds; a minute without it fails the test."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.1)


def change(light: Repository, git: Command, **settings: object) -> None:
    """Change the settings of the light repository, and commit."""
    path = light.root / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}) + "\n")
    git(light.root, "commit", "--quiet", "--all", "-m", "Change the settings")


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie doesn't)."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@dataclass
class Paused:
    """A build that waits in the middle of its stage `package`."""

    process: subprocess.Popen[str]
    pause: Path

    @property
    def stages(self) -> list[int]:
        """Process ids of the stages that came to the pause."""
        reached = self.pause / "reached"
        return [int(line) for line in reached.read_text().split()] if reached.exists() else []

    def let_go(self) -> None:
        (self.pause / "go").touch()

    def end(self) -> tuple[int, str]:
        """Exit code, and what it said."""
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture
def paused(
    light: Repository, git: Command, installed: Path, git_identity: dict[str, str], tmp_path: Path
) -> Iterator[Paused]:
    """`gitops build`, with half of the package written."""
    change(light, git, note="second")
    pause = tmp_path / "pause"
    pause.mkdir()
    process = subprocess.Popen(
        [installed / "gitops", "build", "--json"],
        cwd=light.root,
        env={**git_identity, "PAUSE": str(pause)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    build = Paused(process, pause)
    wait(lambda: build.stages, "the stage package runs")
    yield build
    build.let_go()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.communicate()


def undisturbed(
    light: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> tuple[bytes, str]:
    """dvc.lock and the tree of an undisturbed build of the same commit, in a clone."""
    git(tmp_path, "clone", "--quiet", str(light.root), "undisturbed")
    done = gitops(tmp_path / "undisturbed", "build", "--no-push")
    assert done.code == 0, done.err
    root = tmp_path / "undisturbed"
    return (root / "dvc.lock").read_bytes(), git(root, "rev-parse", "HEAD^{tree}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_stops_its_stages_and_the_next_build_completes(
    paused: Paused,
    number: signal.Signals,
    light: Repository,
    gitops: Gitops,
    git: Command,
    tmp_path: Path,
) -> None:
    (stage,) = paused.stages
    paused.process.send_signal(number)
    code, said = paused.end()
    assert code == 130
    assert "Traceback" not in said
    wait(lambda: not alive(stage), "the stage is gone")
    done = gitops(light.root, "build", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["commit"] == git(light.root, "rev-parse", "HEAD")
    assert not (light.root / "models" / "package" / "half").exists()
    same = (light.root / "dvc.lock").read_bytes(), git(light.root, "rev-parse", "HEAD^{tree}")
    git(light.root, "reset", "--quiet", "--hard", "HEAD~1")
    assert same == undisturbed(light, gitops, git, tmp_path)


def test_interrupted_in_the_second_model_too(
    light: Repository, git: Command, installed: Path, git_identity: dict[str, str], tmp_path: Path
) -> None:
    (light.root / "second").mkdir()
    (light.root / "second" / "dvc.yaml").write_text(
        'stages: {wait: {cmd: "echo $$ > \\"$REACHED\\"; sleep 300", outs: [never]}}\n'
    )
    with (light.root / "gitops.yaml").open("a") as file:
        file.write("  second: {path: second, task: binary, framework: custom}\n")
    change(light, git, note="second")
    reached = tmp_path / "reached"
    process = subprocess.Popen(
        [installed / "gitops", "build"],
        cwd=light.root,
        env={**git_identity, "REACHED": str(reached)},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait(lambda: reached.exists() and reached.read_text(), "the second model's stage runs")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "left: checking package and evaluation" in said
    wait(lambda: not alive(int(reached.read_text())), "the stage is gone")


def test_killed_the_next_build_completes(
    paused: Paused, light: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    paused.process.kill()
    assert paused.end()[0] == -signal.SIGKILL
    (stage,) = paused.stages
    assert alive(stage)  # the lock is still held by it: the next build waits
    paused.let_go()
    done = gitops(light.root, "build", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["commit"] == git(light.root, "rev-parse", "HEAD")
    same = (light.root / "dvc.lock").read_bytes(), git(light.root, "rev-parse", "HEAD^{tree}")
    git(light.root, "reset", "--quiet", "--hard", "HEAD~1")
    assert same == undisturbed(light, gitops, git, tmp_path)


def test_killed_with_all_that_it_started_the_next_build_completes(
    paused: Paused, light: Repository, gitops: Gitops, git: Command
) -> None:
    (stage,) = paused.stages
    paused.process.kill()
    paused.end()
    for pid in [stage, *ancestors(stage)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait(lambda: not alive(stage), "the stage is gone")
    assert (light.root / "models" / "package" / "half").exists()
    done = gitops(light.root, "build", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["models"][0]["stages"]["package"] == "ran"
    assert answer["commit"] == git(light.root, "rev-parse", "HEAD")
    assert not (light.root / "models" / "package" / "half").exists()


def ancestors(pid: int) -> list[int]:
    """The processes between `pid` and init, nearest first, as far as they are DVC's or a shell."""
    found: list[int] = []
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(status.partition("\nPPid:\t")[2].partition("\n")[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
        if "dvc" not in command and "stages.py" not in command:
            return found
        found.append(pid)


def test_two_builds_at_once_take_turns(
    paused: Paused, light: Repository, installed: Path, git_identity: dict[str, str]
) -> None:
    second = subprocess.Popen(
        [installed / "gitops", "build", "--json"],
        cwd=light.root,
        env={**git_identity, "PAUSE": str(paused.pause)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert second.stderr is not None
    assert "another build is running here" in second.stderr.readline()
    assert len(paused.stages) == 1
    paused.let_go()
    first_out, first_said = paused.process.communicate(timeout=60)
    out, said = second.communicate(timeout=60)
    assert (paused.process.returncode, second.returncode) == (0, 0), first_said + said
    assert json.loads(first_out)["models"][0]["state"] == "built"
    assert json.loads(out)["models"][0]["state"] == "unchanged"
    assert len(paused.stages) == 1


def test_a_failing_stage_is_named_and_what_finished_is_kept(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    stages = (light.root / "stages.py").read_text()
    (light.root / "stages.py").write_text(stages + "# every stage runs\n")
    change(light, git, note="fail")
    done = gitops(light.root, "build")
    assert done.code == 4
    assert "stage package failed" in done.err
    assert "no such luck" in done.err
    assert "failed to reproduce" not in done.err  # the stage's own words are enough
    change(light, git, note="second")
    done = gitops(light.root, "build", "--json")
    assert done.code == 0, done.err
    (model,) = json.loads(done.out)["models"]
    assert model["stages"] == {"prepare": "unchanged", "package": "ran", "evaluate": "ran"}


def tampered(light: Repository, git: Command, **changes: Any) -> None:
    path = light.root / "kept" / "package" / "signature.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    git(light.root, "commit", "--quiet", "--all", "-m", "Tamper")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"tresholdd": 0.5}, "tresholdd"),
        ({"task": "regression"}, "signature.json"),
        ({"threshold": 1.5}, "threshold"),
    ],
)
def test_a_package_against_its_contract_is_refused_again_and_again(
    light: Repository, gitops: Gitops, git: Command, changes: dict[str, Any], found: str
) -> None:
    tampered(light, git, **changes)
    before = git(light.root, "rev-parse", "HEAD")
    for _ in range(2):
        done = gitops(light.root, "build")
        assert done.code == 3, done.err
        assert found in done.err
    assert git(light.root, "rev-parse", "HEAD") == before


def test_a_stage_that_writes_a_nan_score_is_refused(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    import polars as pl

    path = light.root / "kept" / "evaluation" / "predictions.parquet"
    table = pl.read_parquet(path)
    scores = table["score"].to_list()
    scores[3] = float("nan")
    table.with_columns(pl.Series("score", scores)).write_parquet(path)
    git(light.root, "commit", "--quiet", "--all", "-m", "A score is lost")
    done = gitops(light.root, "build")
    assert done.code == 3
    assert "predictions.parquet" in done.err
    assert "score" in done.err


def test_scores_that_the_package_does_not_give_are_refused(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    import polars as pl

    path = light.root / "kept" / "evaluation" / "predictions.parquet"
    table = pl.read_parquet(path)
    table.with_columns(
        pl.lit(0.75).alias("score"), pl.lit("yes").alias("prediction")
    ).write_parquet(path)
    git(light.root, "commit", "--quiet", "--all", "-m", "Better scores")
    done = gitops(light.root, "build")
    assert done.code == 3
    assert "score" in done.err


def held(light: Repository, pid: int) -> None:
    """DVC's lock file, as a run with the id `pid` leaves it when it is killed."""
    path = light.root / "data" / "prepared.csv"
    entry = {"pid": pid, "cmd": "dvc repro dvc.yaml"}
    (light.root / ".dvc" / "tmp" / "rwlock").write_text(
        json.dumps({"write": {str(path): entry}, "read": {}})
    )


def test_what_a_killed_run_held_is_free_even_if_its_process_id_is_in_use_again(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    change(light, git, note="second")
    with subprocess.Popen(["sleep", "300"]) as other:
        held(light, other.pid)
        done = gitops(light.root, "build")
        other.kill()
    assert done.code == 0, done.err


def test_what_a_living_dvc_holds_is_respected(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    change(light, git, note="second")
    with subprocess.Popen(["sh", "-c", "sleep 300; : dvc"]) as other:
        held(light, other.pid)
        done = gitops(light.root, "build")
        other.kill()
    assert done.code == 4
    assert "is busy" in done.err


def test_half_of_dvcs_lock_file_stops_nobody(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    change(light, git, note="second")
    (light.root / ".dvc" / "tmp" / "rwlock").write_text('{"write": {"/some')
    assert gitops(light.root, "build").code == 0

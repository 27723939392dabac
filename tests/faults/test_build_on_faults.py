"""Builds on other machines: forged results, damaged storage, killed submitters and killed jobs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitops import daemon, dvc, mailbox, proc, sha256
from gitops.errors import AnswerNo, EvidenceError, GitopsError, ToolError
from gitops.reproduce.compute import job, proof, submit
from gitops.reproduce.compute.proof import Refused
from gitops.reproduce.compute.waiting import Patience
from gitops.reproduce.compute.waiting import wait as wait_for
from tests import elsewhere
from tests.conftest import copied, isolated, once
from tests.elsewhere import QUICK, Elsewhere, fresh, git, rewritten, wait

if TYPE_CHECKING:
    pass

__all__ = ["fresh"]

pytestmark = pytest.mark.functional


@pytest.fixture(scope="session")
def finished(shared: Path, made_light: Path, uv_cache: str) -> Elsewhere:
    """A repository whose job is done; nobody has taken its result yet."""
    top = shared / "finished"
    place = Elsewhere(top / "churn", top / "churn-storage")
    with once(shared, "finished") as first:
        if first:
            env = isolated(shared / "finished-home", uv_cache)
            top.mkdir()
            with pytest.MonkeyPatch.context() as patch:
                elsewhere.environment(patch, env)
                copied(made_light, top, env)
                elsewhere.declared(place.root)
                place.change(note="second")
                before = git(place.root, "rev-parse", "HEAD")
                place.build()
                (top / "dvc.lock").write_bytes((place.root / "dvc.lock").read_bytes())
                git(place.root, "reset", "--quiet", "--hard", before)
                shutil.rmtree(place.root / ".git" / "gitops")
    return place


@pytest.fixture
def done(
    finished: Elsewhere,
    tmp_path: Path,
    git_identity: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Elsewhere:
    """A copy of it, with an empty cache: what it takes comes from the storage."""
    elsewhere.environment(monkeypatch, git_identity)
    place = elsewhere.moved(finished, tmp_path)
    shutil.rmtree(place.root / ".dvc" / "cache")
    return place


def test_a_finished_job_is_not_built_twice(done: Elsewhere, finished: Elsewhere) -> None:
    outcome = done.build()
    assert outcome.commit == git(done.root, "rev-parse", "HEAD")
    assert (done.root / "dvc.lock").read_bytes() == (finished.root.parent / "dvc.lock").read_bytes()
    assert not [line for line in done.said if line.startswith("submitting")]
    assert "second" in (done.root / "models" / "package" / "MODEL_CARD.md").read_text()


def out_of(place: Elsewhere, path: str) -> str:
    """The hash of an output in the lock that the job has delivered."""
    (box,) = place.boxes
    lock = dvc.read_yaml(box / "files" / "dvc.lock")
    outs = {out["path"]: out["md5"] for one in lock["stages"].values() for out in one["outs"]}
    return str(outs[path])


def stored(place: Elsewhere, md5: str) -> Path:
    return place.storage / "files" / "md5" / md5[:2] / md5[2:]


def member(place: Elsewhere, name: str) -> Path:
    """The stored object of a file in the package."""
    listing = json.loads(stored(place, out_of(place, "models/package")).read_text())
    return stored(place, next(one["md5"] for one in listing if one["relpath"] == name))


def spoil(path: Path) -> None:
    path.chmod(0o644)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


Tamper = Callable[[Elsewhere, Path], None]


def lock(change: Callable[[str], str]) -> Tamper:
    return lambda place, box: rewritten(box, "files/dvc.lock", change)


def result(change: Callable[[Any], Any]) -> Tamper:
    return lambda place, box: rewritten(box, "result.json", change)


def recorded(change: Callable[[Any], Any]) -> Tamper:
    return lambda place, box: rewritten(box, "records/left.json", change)


def another_settings(text: str) -> str:
    """A lock that says it read other settings."""
    before, _, after = text.partition("path: settings.json")
    head, md5, tail = after.partition("md5: ")
    return f"{before}path: settings.json{head}{md5}{'0' * 32}{tail[32:]}"


def foreign(place: Elsewhere, box: Path) -> None:
    (box / "files" / "stages.py").write_text("print('mine')\n")
    digest = sha256.of(b"print('mine')\n")
    rewritten(box, "result.json", lambda one: one["files"].update({"stages.py": digest}))


def half(_: Elsewhere, box: Path) -> None:
    (box / "result.json").write_text('{"version": 1,')


def another_lock(_: Elsewhere, box: Path) -> None:
    (box / "files" / "dvc.lock").write_text("stages: {}\n")


FORGED: dict[str, tuple[Tamper, str]] = {
    "half a result": (half, "JSON"),
    "another job's": (result(lambda one: one.update(job="0" * 64)), "another job"),
    "a state that isn't so": (result(lambda one: one.update(state="failed")), "state is failed"),
    "no record": (result(lambda one: one.update(records={})), "no build record"),
    "no lock": (result(lambda one: one["files"].pop("dvc.lock") and None), "dvc.lock isn't there"),
    "another lock": (another_lock, "not what the result names"),
    "a lock that is gone": (lambda _, box: (box / "files" / "dvc.lock").unlink(), "missing"),
    "a lock of nothing": (lock(lambda _: "schema: '2.0'\nstages: {}\n"), "isn't of this commit"),
    "a source file": (foreign, "stages.py is nothing that a build writes"),
    "a path outside": (
        result(lambda one: one["files"].update({"../dvc.lock": "0" * 64})),
        "../dvc.lock is missing",
    ),
    "another dependency": (lock(another_settings), "settings.json"),
    "another command": (
        lock(lambda text: text.replace("stages.py package", "stages.py evil")),
        "its command changed",
    ),
    "other metrics": (
        lambda _, box: rewritten(box, "files/metrics.json", lambda one: one.update(accuracy=0.99)),
        "metrics.json",
    ),
    "a record of another commit": (
        recorded(lambda one: one["revision"].update(commit="0" * 40)),
        "revision",
    ),
    "a record with other metrics": (
        recorded(lambda one: one["metrics"].update(accuracy=0.99)),
        "metrics",
    ),
    "a record of another package": (
        recorded(lambda one: one["outputs"][0].update(md5="0" * 32)),
        "other outputs than its dvc.lock",
    ),
    "a package that was altered": (
        lambda place, _: spoil(member(place, "MODEL_CARD.md")),
        "is corrupt in the remote",
    ),
    "a package that is gone": (lambda place, _: member(place, "model.onnx").unlink(), "missing"),
    "a listing that is gone": (
        lambda place, _: stored(place, out_of(place, "evaluation")).unlink(),
        "evaluation",
    ),
    "data in between that was altered": (
        lambda place, _: spoil(stored(place, out_of(place, "data/prepared.csv"))),
        "prepared.csv",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_result_that_does_not_hold_is_refused_and_changes_nothing(
    name: str, done: Elsewhere
) -> None:
    tamper, found = FORGED[name]
    (box,) = done.boxes
    tamper(done, box)
    before = done.state
    with pytest.raises(Refused) as caught:
        done.build()
    assert found in caught.value.message
    assert done.state == before
    assert (box / "settled.json").exists()  # the next one is built anew


def test_a_work_tree_that_moved_on_is_left_alone(done: Elsewhere) -> None:
    one = done.submit()
    raw = one.box.read("result.json")
    assert raw is not None
    answer = proof.read_result(raw, one.job, one.order.ticket.digest)
    proven = proof.prove(done.root, one.box, one.job, answer, done.said.append)
    request = done.request
    done.change(note="third")
    before = done.state
    with pytest.raises(AnswerNo, match="isn't commit"):
        proof.accept(
            done.root, request.config, request.models, one.job, proven, commit=True, say=print
        )
    assert done.state == before


def test_changes_that_are_not_committed_are_refused(done: Elsewhere) -> None:
    (done.root / "settings.json").write_text('{"seed": 2, "note": "mine"}\n')
    with pytest.raises(AnswerNo, match=r"settings\.json"):
        done.build()


# ---------------------------------------------------------------- the job's side


@pytest.fixture
def claimed(fresh: Elsewhere) -> Iterator[submit.Submitted]:
    """A mailbox with a job in it, which nobody runs yet."""
    with mailbox.opened(fresh.root) as files:
        yield submit._claim(fresh.request, files, fresh.said.append)


def test_a_job_refuses_what_is_not_as_submitted(
    claimed: submit.Submitted, fresh: Elsewhere
) -> None:
    (box,) = fresh.boxes
    ticket = claimed.order.ticket
    with pytest.raises(EvidenceError, match="another job"):
        job.run(replace(ticket, digest="0" * 64), print)
    (pack,) = box.glob("*.pack")
    spoil(pack)
    with pytest.raises(EvidenceError, match="pack"):
        job.run(ticket, print)
    told = json.loads((box / "result.json").read_text())
    assert (told["state"], told["error"]["code"]) == ("failed", 3)
    said: list[str] = []
    job.run(ticket, said.append)  # a second one leaves it alone
    assert "taken by another process" in said[-1]
    with pytest.raises(EvidenceError, match="pack"):
        fresh.build()
    assert fresh.submit().job.id.endswith("-2")
    assert submit.cancel(fresh.request) is not None


@pytest.mark.parametrize(
    ("change", "found"),
    [({"tool": "0.0.1"}, "for gitops 0.0.1"), ({"tree": "0" * 40}, "another tree")],
)
def test_a_job_of_another_tool_or_tree_is_refused(
    claimed: submit.Submitted, fresh: Elsewhere, change: dict[str, str], found: str
) -> None:
    (box,) = fresh.boxes
    raw = replace(claimed.job, **change).document()  # type: ignore[arg-type]
    (box / "job.json").write_bytes(raw)
    with pytest.raises(EvidenceError, match=found):
        job.run(replace(claimed.order.ticket, digest=sha256.of(raw)), print)
    assert json.loads((box / "result.json").read_text())["error"]["code"] == 3


def test_a_mailbox_with_something_else_in_it_is_refused(
    claimed: submit.Submitted, fresh: Elsewhere
) -> None:
    (box,) = fresh.boxes
    (box / "job.json").write_bytes(replace(claimed.job, commit="0" * 40).document())
    with pytest.raises(EvidenceError, match="something else"):
        fresh.build()


def test_a_job_gives_up_by_itself_and_ends_what_it_started() -> None:
    with pytest.raises(ToolError, match="took longer"), job._limited(0.005):
        proc.stream(["sleep", "301.25"], print)
    assert not daemon.find("sleep", "301.25")
    with job._limited(60):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_who_claimed_a_job_gets_some_time_to_hand_it_over(
    claimed: submit.Submitted, fresh: Elsewhere
) -> None:
    (box,) = fresh.boxes
    another = replace(claimed.job, by="Ada <ada@example.org>")
    (box / "job.json").write_bytes(another.document())
    handed = threading.Timer(0.5, lambda: (box / "platform.json").write_text('{"host": "far"}'))
    handed.start()
    assert fresh.submit().job == another
    assert "Ada <ada@example.org> is submitting it" in fresh.said
    assert not [line for line in fresh.said if line.startswith("submitting")]
    (box / "platform.json").unlink()
    gone = replace(another, created=another.created - timedelta(hours=1))
    (box / "job.json").write_bytes(gone.document())
    assert fresh.submit().job == gone  # who claimed it didn't come back: handed over by us
    assert [line for line in fresh.said if line.startswith("submitting")]
    assert submit.cancel(fresh.request) == gone.id


# ---------------------------------------------------------------- while it runs


@pytest.fixture
def paused(
    fresh: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Elsewhere, Path]]:
    """A repository whose job waits in the middle of its stage `package`, once it is submitted."""
    pause = tmp_path / "pause"
    pause.mkdir()
    monkeypatch.setenv("PAUSE", str(pause))
    yield fresh, pause
    (pause / "go").touch()
    submit.cancel(fresh.request)


def reached(pause: Path) -> list[str]:
    path = pause / "reached"
    return path.read_text().split() if path.exists() else []


def test_the_submitter_is_killed_another_waits_on_and_nothing_runs_twice(
    paused: tuple[Elsewhere, Path],
) -> None:
    place, pause = paused
    command = [sys.executable, "-m", "gitops", "build", "--on", "here"]
    first = subprocess.Popen(command, cwd=place.root, stderr=subprocess.PIPE, text=True)
    wait(lambda: reached(pause), "the job runs")
    first.kill()
    first.communicate()
    second = subprocess.Popen(command, cwd=place.root, stderr=subprocess.PIPE, text=True)
    assert second.stderr is not None
    said = ""
    while "process " not in said:
        said += second.stderr.readline()
    second.send_signal(signal.SIGINT)
    said += second.communicate()[1]
    assert second.returncode == 130
    assert "goes on; wait for it again: gitops build --on here" in said
    assert "Traceback" not in said
    (pause / "go").touch()
    outcome = place.build()
    assert outcome.commit == git(place.root, "rev-parse", "HEAD")
    assert len(reached(pause)) == 1
    assert len(place.boxes) == 1


def test_a_job_that_is_killed_is_told_and_can_be_submitted_anew(
    paused: tuple[Elsewhere, Path],
) -> None:
    place, pause = paused
    one = place.submit()
    wait(lambda: reached(pause), "the job runs")
    (process,) = daemon.find("--job", one.order.ticket.text())
    os.kill(process.pid, signal.SIGKILL)
    before = place.state
    with pytest.raises(ToolError, match="without a result: its process has ended") as caught:
        place.build()
    assert "left: package" in caught.value.message
    assert place.state == before
    assert place.submit().job.id == f"{one.job.id.partition('-')[0]}-2"


def test_a_job_that_takes_too_long_is_ended(paused: tuple[Elsewhere, Path]) -> None:
    place, pause = paused
    one = place.submit()
    wait(lambda: reached(pause), "the job runs")
    late = replace(one.job, created=one.job.created - timedelta(minutes=one.job.timeout))
    with (
        place.box(one.job.id) as box,
        pytest.raises(ToolError, match="longer than 240 minutes"),
    ):
        wait_for(box, late, one.platform, place.said.append, QUICK)
    assert not daemon.find("--job", one.order.ticket.text())
    assert submit.cancel(place.request) is None


def test_a_storage_that_goes_away_changes_nothing(paused: tuple[Elsewhere, Path]) -> None:
    place, pause = paused
    one = place.submit()
    wait(lambda: reached(pause), "the job runs")
    away = place.storage.with_name("away")
    place.storage.rename(away)
    before = place.state
    impatient = Patience(poll=0.05, look=0.1, silence=0.5)
    with pytest.raises(ToolError, match="no answer for") as caught:
        wait_for(one.box, one.job, one.platform, place.said.append, impatient)
    assert "goes on" in caught.value.fix
    (pause / "go").touch()
    wait(lambda: not daemon.find("--job", one.order.ticket.text()), "the job has ended")
    assert not place.storage.exists()  # nobody made another one in its place
    away.rename(place.storage)
    with pytest.raises(ToolError, match="without a result"):
        place.build()
    assert place.state == before


def test_a_stage_that_fails_is_told_with_its_last_words_and_exit_code(fresh: Elsewhere) -> None:
    fresh.change(note="fail")
    before = fresh.state
    with pytest.raises(GitopsError) as caught:
        fresh.build()
    assert caught.value.code == 4
    assert "stage package failed" in caught.value.message
    assert "no such luck" in caught.value.message
    log = Path(caught.value.fix.rpartition("its log: ")[2])
    assert "no such luck" in log.read_text()
    assert fresh.state == before


def test_two_who_submit_at_once_have_one_job(paused: tuple[Elsewhere, Path]) -> None:
    place, pause = paused
    ids: list[str] = []
    both = [threading.Thread(target=lambda: ids.append(place.submit().job.id)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(set(ids)) == 1
    wait(lambda: reached(pause), "the job runs")
    (pause / "go").touch()
    place.build()
    assert len(reached(pause)) == 1

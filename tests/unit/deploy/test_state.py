"""The state folder: atomic writes, one reconciler, nothing kept that nobody needs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gitops import signature
from gitops.deploy import decide, state, stock
from gitops.deploy.state import State
from gitops.errors import AnswerNo, EvidenceError, ToolError
from tests.unit.deploy.releases import NAMES, SPLIT, UNDER


@pytest.fixture
def here(tmp_path: Path) -> State:
    return State(tmp_path / "state")


def test_the_folder_is_named_by_project_remote_and_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITOPS_STATE", str(tmp_path))
    one = state.of("flights", "https://example.org/flights", "production").folder
    assert one.parent.parent == tmp_path
    assert one.name == "production"
    assert one.parent.name.startswith("flights-")
    assert state.of("flights", "https://example.org/other", "production").folder != one


def test_without_gitops_state_it_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITOPS_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/var/tmp/xdg")
    assert state.home() == Path("/var/tmp/xdg/gitops")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert state.home() == Path("/home/someone/.local/state/gitops")


def test_plan_and_rollouts_survive(here: State) -> None:
    assert here.plan() is None
    assert here.under_way() == {}
    plan = decide.with_model(None, "late", SPLIT, NAMES)
    here.put_plan(plan)
    here.put_under_way("late", UNDER)
    here.put_under_way("early", replace(UNDER, step=2))
    assert State(here.folder).plan() == plan
    assert State(here.folder).under_way() == {"late": UNDER, "early": replace(UNDER, step=2)}
    here.put_under_way("late", None)
    assert list(here.under_way()) == ["early"]
    assert sorted(one.name for one in here.folder.iterdir()) == ["rollout.json", "serving.json"]


def test_a_file_that_isn_t_ours_is_named(here: State) -> None:
    here.folder.mkdir()
    here.plan_file.write_text("{")
    with pytest.raises(EvidenceError, match=r"serving\.json"):
        here.plan()


def test_a_folder_that_can_t_be_written_leaves_the_old_file(
    here: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write("serving.json", {"a": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ToolError, match="No space left"):
        here.write("serving.json", {"a": 2})
    assert here.read("serving.json") == {"a": 1}
    assert [one.name for one in here.folder.iterdir()] == ["serving.json"]


def test_a_full_disk_takes_the_reserve(here: State, monkeypatch: pytest.MonkeyPatch) -> None:
    with here.alone():
        reserve = here.folder / ".reserve"
        assert reserve.stat().st_size == 65536
        sync = os.fsync

        def full(descriptor: int) -> None:
            if reserve.exists():
                raise OSError(28, "No space left on device")
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", full)
        here.write("serving.json", {"a": 2})
        assert here.read("serving.json") == {"a": 2}
        assert not reserve.exists()
    with here.alone():  # and there is one again
        assert reserve.exists()


def test_only_one_reconciler_is_at_work(here: State) -> None:
    assert not here.taken()
    assert not here.folder.exists()  # asking leaves nothing
    code = (
        "import sys; from pathlib import Path; from gitops.deploy.state import State\n"
        "with State(Path(sys.argv[1])).alone(): print('in', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(here.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    with pytest.raises(AnswerNo, match=f"process {other.pid}"), here.alone():
        pass
    assert here.taken()
    other.kill()
    other.communicate()
    assert not here.taken()
    with here.alone():  # the kernel let go of it
        pass


def test_tidying_keeps_what_is_needed_and_removes_what_a_kill_left(here: State) -> None:
    for name in ("a" * 64, "b" * 64, ".half"):
        (here.folder / "packages" / name).mkdir(parents=True)
    here.checkout("c" * 40).mkdir(parents=True)
    (here.folder / ".serving.json.0123").write_text("half")
    here.tidy({"a" * 64}, set())
    assert [one.name for one in (here.folder / "packages").iterdir()] == ["a" * 64]
    assert list((here.folder / "checkouts").iterdir()) == []
    assert not (here.folder / ".serving.json.0123").exists()


def test_the_digest_is_that_of_the_bytes_on_disk(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    assert stock.digest_of(folder) == ""
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a").write_bytes(b"1")
    one = stock.digest_of(folder)
    sha = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert one == signature.package_digest({"deep/a": sha})
    (folder / "deep" / "a").write_bytes(b"2")
    assert stock.digest_of(folder) != one
    stock.remove(folder)
    assert list(tmp_path.iterdir()) == []

"""Promotion, rollback, hotfix: what the remote has afterwards, asked of git alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gitops.errors import AnswerNo, EvidenceError, UsageError
from gitops.promote import audit, finish, overview, proof
from gitops.validate import verdict
from tests.unit.promote.line import Line, remote_git
from tests.unit.validate.gate_repo import Made


def test_a_model_goes_from_main_to_production(line: Line, good: Made) -> None:
    commit = line.build(good)
    first = line.promote("dev", "staging")
    assert first.versions == {"demo": "v1.0.0"}
    assert set(first.tags) == {"demo@v1.0.0", "demo#staging#1"}
    second = line.promote("staging", "production")
    assert second.tags == ("demo#production#2",)
    refs = line.refs()
    assert refs["refs/heads/release/staging"] == refs["refs/heads/release/production"] == commit
    for tag in ("demo@v1.0.0", "demo#staging#1", "demo#production#2"):
        assert remote_git(line.origin, "rev-parse", f"{tag}^{{commit}}") == commit
        assert remote_git(line.origin, "cat-file", "-t", tag) == "tag"
    assert line.git("tag", "--list").split() == [
        "demo#production#2",
        "demo#staging#1",
        "demo@v1.0.0",
    ]
    assert line.git("status", "--porcelain") == ""


def test_what_the_target_has_is_not_promoted_again(running: Line) -> None:
    before = running.refs()
    assert running.plan("dev", "staging").empty
    assert running.refs() == before


def test_a_worse_model_is_stopped_at_the_gate_of_the_target(running: Line, worse: Made) -> None:
    running.build(worse, depth=4)
    before = running.refs()
    with pytest.raises(AnswerNo, match="the gate of staging says no"):
        running.promote("dev", "staging")
    assert running.refs() == before
    assert running.git("tag", "--list", "demo@v1.1.0") == ""


def test_environments_are_promoted_in_their_order(running: Line) -> None:
    with pytest.raises(UsageError, match="promoted from staging, not from dev"):
        running.plan("dev", "production")
    with pytest.raises(UsageError, match="dev is the first environment"):
        running.plan("staging", "dev")


def test_rollback_brings_the_exact_tree_back_and_holds(running: Line, better: Made) -> None:
    old = running.tree("release/production")
    running.build(better, depth=4)
    running.promote("dev", "staging")
    running.promote("staging", "production")
    tip = running.refs()["refs/heads/release/production"]
    done = running.rollback("production")
    assert done.versions == {"demo": "v1.0.0"}
    assert running.runs("production") == "v1.0.0"
    assert running.tree("release/production") == old
    assert remote_git(running.origin, "rev-parse", "release/production^") == tip
    with pytest.raises(AnswerNo, match=r"production is held since .* rolled back: a test"):
        running.promote("staging", "production")
    assert running.release_hold("production") == "hold/production/2"
    with pytest.raises(AnswerNo, match="production is not held"):
        running.release_hold("production")
    again = running.promote("staging", "production")
    assert running.tree("release/production") == running.tree("release/staging")
    parents = remote_git(running.origin, "log", "-1", "--format=%P", "release/production").split()
    assert len(parents) == 2
    assert again.versions == {"demo": "v1.1.0"}


def test_a_rollback_goes_back_to_another_model_past_moves_of_code(
    running: Line, better: Made
) -> None:
    running.build(better, depth=4)
    running.promote("dev", "staging")
    running.repo.write("notes.md", "more\n")
    running.repo.commit("Notes")
    running.git("push", "-q", "origin", "main")
    assert running.promote("dev", "staging").versions == {}
    assert running.rollback("staging").versions == {"demo": "v1.0.0"}


def test_rolling_back_twice_goes_further_back(running: Line, good: Made, better: Made) -> None:
    trees = [running.tree("release/production")]
    for made, depth in ((better, 4), (good, 5)):
        running.build(made, depth=depth)
        running.promote("dev", "staging")
        running.promote("staging", "production")
        trees.append(running.tree("release/production"))
    running.rollback("production")
    assert running.tree("release/production") == trees[1]
    running.rollback("production")
    assert running.tree("release/production") == trees[0]
    with pytest.raises(AnswerNo, match="no earlier promotion"):
        running.rollback("production")
    running.rollback("production", to="v1.2.0")
    assert running.tree("release/production") == trees[2]
    with pytest.raises(UsageError, match="never was that version there"):
        running.rollback("production", to="v9.9.9")


def test_tags_from_before_and_on_no_commit_stop_nothing(line: Line, good: Made) -> None:
    empty = line.git("mktree")
    old = line.git("commit-tree", "-m", "Before gitops", empty)
    blob = line.git("rev-parse", "HEAD:gitops.yaml")
    for name, there in (
        ("demo@v0.9.0", old),
        ("demo#production#1", old),
        ("demo@v1.1.0", blob),
        ("demo#staging#2", blob),
    ):
        line.git("tag", "-a", name, "-m", "by another tool", there)
        line.git("push", "-q", "origin", name)
    line.build(good)
    assert line.promote("dev", "staging").versions == {"demo": "v1.2.0"}
    assert line.promote("staging", "production").tags == ("demo#production#4",)
    assert line.runs("production") == "v1.2.0"


def test_a_merge_cannot_choose_the_rules_that_it_is_judged_by(running: Line, better: Made) -> None:
    old = remote_git(running.origin, "rev-parse", "release/staging")
    running.build(better, depth=4)
    now = running.promote("dev", "staging").tip.commit
    tree = running.tree("main")
    merge = running.git("commit-tree", "-m", "Merge", "-p", f"{old}~1", "-p", now, tree)
    running.git("push", "-q", "origin", f"{merge}:release/staging")
    found = finish.plan(running.world(), running.config, "staging", promoter="Test")
    assert found.base.commit == now


def found_wrong(line: Line) -> list[proof.Fault]:
    there = line.world()
    events = audit.events(there, line.config)
    return [one for one in proof.prove(there, line.config, events, verdict.prove) if one.wrong]


def test_a_dry_run_of_a_release_lifts_no_hold(running: Line, better: Made) -> None:
    running.build(better, depth=4)
    running.promote("dev", "staging")
    running.rollback("staging")
    before = running.refs()

    def release(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gitops", "rollback", "staging", "--release-hold", *words]
        return subprocess.run(command, cwd=running.root, capture_output=True, text=True)

    done = release("--dry-run")
    assert (done.returncode, running.refs()) == (0, before)
    assert "would release hold/staging/1: rolled back: a test" in done.stdout
    assert json.loads(release("--dry-run", "--json").stdout)["hold"] == "hold/staging/1"
    done = release()
    assert done.returncode == 2
    assert 'gitops rollback staging --release-hold --reason "..."' in done.stderr
    assert release("--to", "v1.0.0", "--reason", "x").returncode == 2
    assert running.refs() == before


def test_a_hotfix_is_named_recorded_and_brought_forward(
    running: Line, good: Made, better: Made
) -> None:
    running.at("release/production")
    fix = running.build(better, depth=7, push=False)
    running.git("push", "-q", "origin", "HEAD:release/production")
    running.git("switch", "-q", "main")
    running.repo.write("notes.md", "more\n")
    running.repo.commit("Notes")
    running.git("push", "-q", "origin", "main")
    running.promote("dev", "staging")
    for _ in ("before it is on record", "and after"):
        with pytest.raises(AnswerNo, match=f"would be lost: {fix[:10]} Build"):
            running.promote("staging", "production")
        if running.runs("production") == "v1.0.0":
            assert running.finish("production").versions == {"demo": "v1.1.0"}
            seen = overview.of(running.world(), running.config)
            assert [one.recorded for one in seen.places] == [None, True, True]
            assert not [one for one in found_wrong(running) if one.kind == "branch"]
    found = running.bring_forward("production")
    assert [one.id for one in found.hotfixes] == [fix]
    main = remote_git(running.origin, "show", "main:params.yaml")
    assert main == "train: {depth: 7}"
    assert remote_git(running.origin, "show", "main:notes.md") == "more"
    running.git("pull", "-q", "origin", "main")
    running.build(good, depth=5)
    running.promote("dev", "staging")
    assert running.promote("staging", "production").versions == {"demo": "v1.2.0"}
    assert running.tree("release/production") == running.tree("main")
    with pytest.raises(AnswerNo, match="no hotfix"):
        running.bring_forward("production")
    # What ran before was the hotfix, though main has it by a merge only.
    assert running.rollback("production").versions == {"demo": "v1.1.0"}
    assert running.tree("release/production") == running.tree(fix)


def test_a_hotfix_in_conflict_names_the_files_and_changes_nothing(
    running: Line, good: Made, better: Made
) -> None:
    running.at("release/production")
    running.build(better, depth=7, push=False)
    running.git("push", "-q", "origin", "HEAD:release/production")
    running.git("switch", "-q", "main")
    running.build(good, depth=8)
    before = running.refs()
    with pytest.raises(AnswerNo, match=r"conflicts with main in .*params\.yaml"):
        running.bring_forward("production")
    assert running.refs() == before
    assert running.git("worktree", "list").count("\n") == 0


def test_what_was_never_promoted_to_staging_does_not_reach_production(
    running: Line, better: Made
) -> None:
    running.at("release/staging")
    running.build(better, depth=7, push=False)
    running.git("push", "-q", "origin", "HEAD:release/staging")
    with pytest.raises(AnswerNo, match="was never promoted to staging"):
        running.promote("staging", "production")


def test_a_clone_without_the_build_record_says_how_to_get_one(line: Line, good: Made) -> None:
    line.build(good)
    for file in (line.root / ".git" / "gitops" / "records").rglob("*.json"):
        file.unlink()
    with pytest.raises(EvidenceError, match="no record of its build") as caught:
        line.promote("dev", "staging")
    assert "gitops build demo here" in caught.value.fix


def test_a_missing_branch_is_named(line: Line, good: Made) -> None:
    line.build(good)
    line.git("push", "-q", "origin", ":release/staging")
    with pytest.raises(EvidenceError, match="no branch release/staging") as caught:
        line.plan("dev", "staging")
    assert "git push origin" in caught.value.fix


def test_a_forged_record_makes_no_commit_judged(running: Line, worse: Made) -> None:
    """Whoever may write records can neither mark a tip as judged nor choose its rules."""
    from gitops.promote import finish, records

    running.at("release/production")
    running.build(worse, depth=7, push=False)
    running.git("push", "-q", "origin", "HEAD:release/production")
    tip = running.git("rev-parse", "HEAD")
    for kind in ("promotion", "hotfix"):
        there = running.world()
        path = records.move_path(kind, running.tree("release/production"), "production", tip)
        update = there.records.appended({path: {"tip": {"commit": tip}}}, "Trust me")
        assert update is not None
        running.git("push", "-q", "origin", f"{update.new}:{update.ref}")
    assert not finish.read(running.world(), running.config.environment("production")).recorded
    with pytest.raises(AnswerNo, match="the gate of production says no"):
        running.finish("production")

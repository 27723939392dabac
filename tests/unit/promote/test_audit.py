"""The audit trail: what it tells, in which order, and that its proof finds every lie."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from gitops.errors import UsageError
from gitops.promote import audit, proof
from gitops.promote.proof import Fault
from gitops.validate import verdict
from tests.programs import ssh_key
from tests.unit.promote.line import Line, remote_git

STORY = [
    ("hold", "hold/production/1"),
    ("rollback", "demo#production#5"),
    ("promotion", "demo#production#4"),
    ("promotion", "demo#staging#3"),
    ("version", "demo@v1.1.0"),
    ("promotion", "demo#production#2"),
    ("promotion", "demo#staging#1"),
    ("version", "demo@v1.0.0"),
]


def told(line: Line, about: str | None = None) -> list[tuple[str, str]]:
    return [(one.kind, one.tag) for one in audit.events(line.world(), line.config, about)]


def faults(line: Line, about: str | None = None) -> list[Fault]:
    world = line.world()
    found = audit.events(world, line.config, about)
    return list(proof.prove(world, line.config, found, verdict.prove))


def wrong(line: Line, about: str | None = None) -> list[tuple[str, str, str]]:
    return [(one.about, one.kind, one.text) for one in faults(line, about) if one.wrong]


def tag(
    line: Line, name: str, target: str, message: str, *, when: str = "", sign: bool = False
) -> None:
    """An annotated tag that the remote has, made by git alone."""
    options = ["-s"] if sign else ["-a", "--no-sign"]
    env = {**os.environ, **({"GIT_COMMITTER_DATE": when} if when else {})}
    command = ["git", "tag", *options, "-m", message, name, target]
    subprocess.run(command, cwd=line.root, env=env, check=True, capture_output=True)
    line.git("push", "-q", "origin", f"refs/tags/{name}")


def pushed(line: Line, text: str) -> str:
    """An empty commit on main; its id."""
    commit = line.repo.commit(text)
    line.git("push", "-q", "origin", "HEAD:main")
    return commit


def message(line: Line, name: str) -> str:
    text = remote_git(line.origin, "cat-file", "tag", name).split("\n\n", 1)[1]
    return text.split("-----BEGIN")[0]


def test_the_trail_has_everything_the_newest_first(past: Line) -> None:
    assert told(past) == STORY
    events = audit.events(past.world(), past.config)
    by = {one.tag: one for one in events}
    rollback = by["demo#production#5"]
    assert (rollback.version, rollback.why, rollback.environment) == (
        "v1.0.0",
        "a test",
        "production",
    )
    assert rollback.tip == past.refs()["refs/heads/release/production"]
    assert rollback.commit == by["demo@v1.0.0"].commit != rollback.tip
    assert by["demo@v1.1.0"].why.startswith("minor: ")
    assert by["demo@v1.1.0"].builder == "laptop"
    assert by["demo#staging#3"].source == "dev"
    assert len(by["demo#staging#3"].verdict) == 64
    assert by["hold/production/1"].why == "rolled back: a test"
    assert all(one.ours and one.who == "Test <test@example.org>" for one in events)
    assert told(past, "demo") == [one for one in STORY if one[0] != "hold"]
    assert [one for _, one in told(past, "staging")] == ["demo#staging#3", "demo#staging#1"]
    assert told(past, "production")[0] == STORY[0]
    with pytest.raises(UsageError, match="no model or environment 'prod'"):
        told(past, "prod")


@pytest.mark.parametrize("when", ["2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z"])
def test_clocks_change_nothing(past: Line, when: str) -> None:
    """Tags of another tool, all dated the same: only counters and ancestry tell."""
    commit = remote_git(past.origin, "rev-parse", "demo@v1.0.0^{commit}")
    for name in ("demo@v1.2.0", "demo#staging#6", "demo#staging#7", "demo#production#8"):
        target = commit if name.endswith(("6", "8")) else "HEAD"
        tag(past, name, target, "by another tool", when=when)
    assert [name for _, name in told(past, "demo")][:3] == [
        "demo#production#8",
        "demo#staging#7",
        "demo#staging#6",
    ]
    foreign = {one.tag: one for one in audit.events(past.world(), past.config)}["demo#staging#7"]
    assert (foreign.kind, foreign.ours, foreign.why) == ("assigned", False, "by another tool")
    assert foreign.who == "Test <test@example.org>"
    assert foreign.at.startswith(when[:19])


def test_nothing_is_wrong_with_an_honest_trail(past: Line) -> None:
    assert wrong(past) == []
    notes = [(one.about, one.kind) for one in faults(past)]
    assert notes == [("demo#production#5", "kind")]


def test_a_shallow_clone_of_one_branch_sees_it_all(past: Line, tmp_path: Path) -> None:
    url = past.origin.as_uri()
    clone = ["git", "clone", "-q", "--depth", "1", "--single-branch", "-b", "release/staging", url]
    subprocess.run([*clone, str(tmp_path / "shallow")], check=True)
    shallow = Line(dataclasses.replace(past.repo, root=tmp_path / "shallow"))
    assert told(shallow) == STORY
    assert wrong(shallow) == []


def test_lightweight_tags_count_for_nothing(past: Line) -> None:
    past.git("tag", "demo@v9.0.0", "HEAD")
    past.git("push", "-q", "origin", "refs/tags/demo@v9.0.0")
    assert told(past) == STORY
    assert ("demo@v9.0.0", "lightweight") in [(one.about, one.kind) for one in faults(past)]
    assert wrong(past) == []


def test_tags_of_another_tool_are_named(past: Line) -> None:
    tag(past, "demo@v1.2.0", "HEAD", "Registering artifact demo version v1.2.0")
    tag(past, "demo#staging#6", "HEAD", "Assigning stage staging to artifact demo version v1.2.0")
    found = wrong(past, "staging")
    assert ("demo#staging#6", "signature") in [one[:2] for one in found]
    assert ("demo#staging#6", "statement", "it has no statement: another tool made it") in found


@pytest.mark.parametrize(
    "text", ["{", '{"predicate": 3}', "\0\1 {]", '{"predicate": {"gitops": []}}']
)
def test_a_tag_with_garbage_is_listed_and_found(past: Line, text: str) -> None:
    plain = text.replace("\0", "x")
    tag(past, "demo#staging#6", "HEAD", f"subject\n\n{plain}", sign=True)
    tag(past, "hold/staging/1", "HEAD", f"subject\n\n{plain}", sign=True)
    assert {"demo#staging#6", "hold/staging/1"} <= {name for _, name in told(past)}
    found = [(one[0], one[1]) for one in wrong(past)]
    assert ("demo#staging#6", "statement") in found
    assert ("hold/staging/1", "statement") in found


def test_an_unsigned_tag_where_signatures_are_required(past: Line) -> None:
    commit = remote_git(past.origin, "rev-parse", "demo#staging#3^{commit}")
    text = message(past, "demo#staging#3").replace('"counter":3', '"counter":6')
    tag(past, "demo#staging#6", commit, text)
    assert [one[:2] for one in wrong(past)] == [("demo#staging#6", "signature")]


def test_a_tag_signed_by_somebody_else(past: Line, tmp_path: Path) -> None:
    key = tmp_path / "other"
    ssh_key(key)
    past.git("config", "user.signingKey", str(key))
    commit = remote_git(past.origin, "rev-parse", "demo#staging#3^{commit}")
    text = message(past, "demo#staging#3").replace('"counter":3', '"counter":6')
    tag(past, "demo#staging#6", commit, text, sign=True)
    assert [one[:2] for one in wrong(past)] == [("demo#staging#6", "signature")]


def test_a_statement_about_another_commit(past: Line) -> None:
    text = message(past, "demo#staging#3").replace('"counter":3', '"counter":6')
    tag(past, "demo#staging#6", "demo@v1.0.0^{commit}", text, sign=True)
    found = [one for one in wrong(past) if one[0] == "demo#staging#6"]
    assert {one[1] for one in found} == {"commit"}
    assert "its statement names" in found[0][2]


def test_a_copied_statement(past: Line) -> None:
    commit = remote_git(past.origin, "rev-parse", "demo#staging#3^{commit}")
    tag(past, "demo#production#6", commit, message(past, "demo#staging#3"), sign=True)
    found = [one[1:] for one in wrong(past) if one[0] == "demo#production#6"]
    assert ("statement", "its statement is about staging #3") in found


def test_a_promotion_that_staging_never_had(past: Line) -> None:
    commit = pushed(past, "Another")
    version = message(past, "demo@v1.1.0")
    for old, new in swapped(past, "demo@v1.1.0", commit, "v1.1.0", "v1.2.0").items():
        version = version.replace(old, new)
    tag(past, "demo@v1.2.0", commit, version, sign=True)
    text = message(past, "demo#production#4")
    for old, new in swapped(past, "demo#production#4", commit, "v1.1.0", "v1.2.0").items():
        text = text.replace(old, new)
    tag(past, "demo#production#6", commit, text.replace('"counter":4', '"counter":6'), sign=True)
    found = [one[1:] for one in wrong(past) if one[0] == "demo#production#6"]
    assert ("chain", "demo v1.2.0 was never promoted to staging before") in found


def swapped(line: Line, name: str, commit: str, old: str, new: str) -> dict[str, str]:
    before = remote_git(line.origin, "rev-parse", f"{name}^{{commit}}")
    trees = [line.git("rev-parse", f"{one}^{{tree}}") for one in (before, commit)]
    return {before: commit, trees[0]: trees[1], old: new}


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        ("verdicts", ('"passed": true', '"passed": false'), "the verdict was changed"),
        ("verdicts", None, "isn't on record"),
        ("builds", ('"model.onnx": "', '"other.onnx": "'), "has another package"),
        ("builds", None, "there's no build record"),
        ("promotions", None, "is on no record"),
    ],
)
def test_altered_and_missing_records(
    past: Line, kind: str, change: tuple[str, str] | None, expected: str
) -> None:
    past.git("fetch", "-q", "origin", "gitops/records")
    past.git("switch", "-q", "--detach", "FETCH_HEAD")
    for file in sorted((past.root / kind).rglob("*.json")):
        if change is None:
            file.unlink()
        else:
            file.write_text(file.read_text().replace(*change))
    past.repo.commit("Alter the records")
    past.git("push", "-q", "origin", "HEAD:gitops/records")
    past.git("switch", "-q", "main")
    assert any(expected in one[2] for one in wrong(past)), wrong(past)


def test_a_branch_that_was_moved_by_hand(past: Line) -> None:
    commit = pushed(past, "By hand")
    remote_git(past.origin, "update-ref", "refs/heads/release/staging", commit)
    found = wrong(past, "staging")
    assert [one[:2] for one in found] == [("release/staging", "branch")]
    remote_git(past.origin, "update-ref", "-d", "refs/heads/release/staging")
    assert any("has no branch of staging" in one[2] for one in wrong(past))


def test_history_that_was_rewritten(past: Line) -> None:
    first = past.git("rev-list", "--max-parents=0", "HEAD")
    for branch in ("main", "release/staging", "release/production"):
        remote_git(past.origin, "update-ref", f"refs/heads/{branch}", first)
    found = [one[2] for one in wrong(past, "demo") if one[0] == "demo@v1.0.0"]
    assert any("is in no environment's history" in text for text in found)

"""What `gitops gc` may take, and what it never does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitops import git
from gitops.cli.hands import hands
from gitops.errors import EvidenceError
from gitops.promote import gc, keep
from tests.unit.promote.line import Line
from tests.unit.validate.gate_repo import Made


def found(line: Line, days: int = 90) -> set[str]:
    return {one.md5 for one in unneeded(line, days)}


def unneeded(line: Line, days: int = 90) -> tuple[gc.Stored, ...]:
    """Without the days of grace that what was just pushed has."""
    kept = keep.commits(line.world(), line.config, days)
    return gc.unneeded(line.root, kept, lambda text: None, grace=timedelta(0))


@pytest.fixture
def idea(running: Line, better: Made) -> Line:
    """Somebody's branch with a model of its own, pushed, and gone from this clone."""
    running.git("switch", "-q", "-c", "idea")
    running.build(better, depth=9)
    running.git("switch", "-q", "main")
    running.git("branch", "-q", "-D", "idea")
    return running


def test_a_recent_branch_keeps_its_objects(idea: Line) -> None:
    assert found(idea) == set()


def test_what_a_deleted_branch_had_goes_and_nothing_else(idea: Line, better: Made) -> None:
    idea.git("push", "-q", "origin", ":idea")
    gone = found(idea)
    assert gone
    assert idea.repo.store(better.folder / "package") in gone
    gc.delete(idea.root, unneeded(idea), lambda text: None)
    there = idea.world()
    for branch in ("main", "release/staging", "release/production"):
        at = git.snapshot(idea.root, there.refs.heads[branch])
        hands(idea.root).prove(at, ["demo"])
    assert not gone & found(idea)


def test_what_a_rollback_would_need_is_kept(idea: Line, good: Made, better: Made) -> None:
    idea.git("push", "-q", "origin", ":idea")
    idea.build(better, depth=4)
    idea.promote("dev", "staging")
    for tag in ("demo@v1.0.0", "demo#staging#1", "demo#production#2"):
        idea.git("push", "-q", "origin", f":refs/tags/{tag}")
        idea.git("tag", "-d", tag)
    assert idea.repo.store(good.folder / "package") not in found(idea, days=1)


def test_a_listing_that_is_gone_stops_it(idea: Line, good: Made) -> None:
    md5 = idea.repo.store(good.folder / "package")
    for store in (idea.repo.storage / "files" / "md5", idea.repo.cache):
        (store / md5[:2] / md5[2:]).unlink()
    with pytest.raises(EvidenceError, match="nobody can tell what is needed"):
        found(idea)

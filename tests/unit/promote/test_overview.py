"""What runs where, by the remote."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from gitops.git.graph import Graph
from gitops.promote import overview
from gitops.promote.overview import Overview, Standing
from tests.unit.promote.line import Line, remote_git
from tests.unit.promote.test_audit import pushed, tag


def seen(line: Line) -> Overview:
    return overview.of(line.world(), line.config)


def standing(found: Overview, environment: str) -> tuple[str, int | None, int | None]:
    one: Standing = found.standings["demo", environment]
    return str(one.version), one.commits, one.versions


def test_versions_and_how_far_behind(past: Line) -> None:
    found = seen(past)
    assert standing(found, "dev") == ("v1.1.0", None, None)
    assert standing(found, "staging") == ("v1.1.0", 0, 0)
    # Rolled back: the branch has the commit, and yet not what it did.
    assert standing(found, "production") == ("v1.0.0", 1, 1)
    assert found.standings["demo", "production"].tag == "demo#production#5"
    pushed(past, "Empty")
    past.repo.write("README.md", "more\n")
    pushed(past, "More")
    assert standing(seen(past), "staging") == ("v1.1.0", 1, 0)


def test_holds_freezes_and_records(past: Line) -> None:
    dev, staging, production = seen(past).places
    assert (dev.recorded, staging.recorded, production.recorded) == (None, True, True)
    assert (dev.source, staging.source, production.source) == (None, "dev", "staging")
    assert production.hold is not None
    assert production.hold.who == "Test <test@example.org>"
    assert production.hold.why == "rolled back: a test"
    assert staging.hold is None
    assert production.freezes is not None and production.freezes.strftime("%a %H:%M") == "Sun 00:00"
    assert staging.freezes is None
    past.release_hold("production")
    assert seen(past).places[2].hold is None


def test_a_window_that_is_open_now(past: Line) -> None:
    text = (past.root / "gitops.yaml").read_text()
    always = text.replace("Sun 00:00 - Sun 00:01 UTC", "Mon 00:00 - Sun 23:59 UTC")
    past.repo.write("gitops.yaml", always)
    past.repo.commit("Freeze")
    assert seen(past).places[2].frozen == ""  # the branch's own settings rule
    past.git("push", "-q", "--force", "origin", "HEAD:release/production")
    assert seen(past).places[2].frozen == "Mon 00:00 - Sun 23:59 UTC"


def test_a_hotfix_is_named_until_it_is_brought_forward(past: Line) -> None:
    past.at("release/production")
    past.repo.write("src/train.py", "# mended\n")
    past.repo.commit("Mend it")
    past.git("push", "-q", "origin", "HEAD:release/production")
    past.git("switch", "-q", "main")
    place = seen(past).places[2]
    assert [text.split(" ", 1)[1] for text in place.hotfixes] == ["Mend it"]
    assert place.recorded is False
    past.bring_forward("production")
    assert seen(past).places[2].hotfixes == ()


def test_a_branch_that_is_gone(past: Line) -> None:
    remote_git(past.origin, "update-ref", "-d", "refs/heads/release/staging")
    found = seen(past)
    assert found.places[1].tip is None
    assert standing(found, "staging") == ("v1.1.0", 0, 0)
    assert standing(found, "production") == ("v1.0.0", None, None)


def test_settings_that_cannot_be_read(past: Line) -> None:
    past.at("release/staging")
    past.repo.write("gitops.yaml", "version: 7\n")
    past.repo.commit("Break it")
    past.git("push", "-q", "origin", "HEAD:release/staging")
    past.git("switch", "-q", "main")
    assert "gitops.yaml" in seen(past).places[1].unusable


@pytest.mark.parametrize("when", ["2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z"])
def test_neither_clocks_nor_lightweight_tags_count(past: Line, when: str) -> None:
    first = remote_git(past.origin, "rev-parse", "demo@v1.0.0^{commit}")
    for name in ("demo#staging#6", "demo#staging#7"):
        tag(past, name, first if name.endswith("7") else "HEAD", "another tool", when=when)
    past.git("tag", "demo#staging#8", "HEAD")
    past.git("push", "-q", "origin", "refs/tags/demo#staging#8")
    assert standing(seen(past), "staging") == ("v1.0.0", 1, 1)


def test_a_shallow_clone_of_one_branch_sees_the_same(past: Line, tmp_path: Path) -> None:
    url = past.origin.as_uri()
    clone = ["git", "clone", "-q", "--depth", "1", "--single-branch", "-b", "release/staging", url]
    subprocess.run([*clone, str(tmp_path / "shallow")], check=True)
    shallow = Line(dataclasses.replace(past.repo, root=tmp_path / "shallow"))
    assert seen(shallow).standings == seen(past).standings


def test_what_a_tip_has_and_others_lack() -> None:
    graph = Graph({"d": ("b", "c"), "e": ("b",), "b": ("a",), "c": ("a",), "a": ()})
    pairs = [("d", ("b",)), ("d", ("e",)), ("e", ("d",)), ("a", ("d",)), ("d", ("b", "c"))]
    assert [sorted(one) for one in graph.lacking(pairs)] == [
        ["c", "d"],
        ["c", "d"],
        ["e"],
        [],
        ["d"],
    ]
    assert graph.history("d") == frozenset("abcd")
    assert graph.history("unknown") == frozenset()

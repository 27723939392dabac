"""Pins of actions, moved by what real repositories say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gitops.errors import ConfigError, ToolError
from gitops.pipelines import definition, pinning

WORKFLOW = ".github/workflows/mine.yml"


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def tagged(folder: Path, *tags: str, annotated: bool = True) -> str:
    """A new commit of an action's repository, and tags on it."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "x")
    for tag in tags:
        git(folder, "tag", "--force", *(["-m", tag, "-a"] if annotated else []), tag)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def forge(tmp_path: Path) -> Path:
    """Repositories of all shipped actions, each with its pinned tag; checkout has newer ones."""
    for pin in definition.pins().actions:
        tagged(tmp_path / "forge" / pin.action, pin.tag)
    return tmp_path / "forge"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    return folder.resolve()


def workflow(root: Path, *uses: str) -> Path:
    path = root / WORKFLOW
    path.parent.mkdir(parents=True, exist_ok=True)
    steps = "".join(f"      - uses: {one}\n" for one in uses)
    path.write_text(f"on: [push]\njobs:\n  a:\n    runs-on: x\n    steps:\n{steps}")
    return path


def own(root: Path, action: str, tag: str, commit: str, more: str = "") -> None:
    path = root / definition.OWN_PINS
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"# mine\n{more}actions:\n  {action}: {{tag: {tag}, commit: {commit}}}  # why\n"
    path.write_text(text)


def test_pins_and_who_uses_them(root: Path) -> None:
    checkout = next(p for p in definition.pins().actions if p.action == "actions/checkout")
    workflow(root, f"actions/checkout@{checkout.commit}  # {checkout.tag}", "o/r/sub@v1")
    found = {one.action: one for one in pinning.survey(root)}
    (use,) = found["actions/checkout"].uses
    assert (use.path, use.line, use.ref, use.comment) == (
        WORKFLOW, 6, checkout.commit, checkout.tag,
    )  # fmt: skip
    assert not found["actions/checkout"].own
    assert (found["o/r"].tag, found["o/r"].uses[0].ref) == ("", "v1")
    assert found["azure/login"].uses == ()


def test_newer_tags_are_found_and_annotated_ones_peeled(root: Path, tmp_path: Path) -> None:
    old = tagged(tmp_path / "f/o/r", "v1.2.0")
    plain = tagged(tmp_path / "f/o/r", "v1.10.0", annotated=False)
    new = tagged(tmp_path / "f/o/r", "v2.0.0", "v2", "v3.0.0-rc1")
    pinned = pinning.Pinned("o/r", "v1.2.0", old, False, ())
    found = pinning.moves([pinned], pinning.tags_of(str(tmp_path / "f")))
    assert [(one.new, one.commit, one.major) for one in found] == [
        ("v1.10.0", plain, False), ("v2.0.0", new, True),
    ]  # fmt: skip
    assert [one.new for one in pinning.chosen(found, major=False)] == ["v1.10.0"]
    assert [one.new for one in pinning.chosen(found, major=True)] == ["v2.0.0"]


def test_a_moved_tag_is_told_and_never_taken(tmp_path: Path) -> None:
    old = tagged(tmp_path / "f/o/r", "v1.0.0")
    now = tagged(tmp_path / "f/o/r", "v1.0.0")
    pinned = pinning.Pinned("o/r", "v1.0.0", old, False, ())
    (one,) = pinning.moves([pinned], pinning.tags_of(str(tmp_path / "f")))
    assert (one.moved, one.commit) == (now, old)
    assert pinning.chosen([one], major=True) == ()


def test_the_newest_pins_are_written_where_they_go_before_the_shipped(
    root: Path, tmp_path: Path
) -> None:
    checkout = next(p for p in definition.pins().actions if p.action == "actions/checkout")
    path = workflow(
        root,
        f"'actions/checkout@{checkout.commit}'  # {checkout.tag}, which is vetted",
        "actions/checkout@v4",
    )
    move = pinning.Move("actions/checkout", checkout.tag, "v7.9.0", "a" * 40, major=False)
    assert pinning.apply(root, [move], []) == (".gitops/pins.yaml", WORKFLOW)
    text = path.read_text()
    assert f"      - uses: 'actions/checkout@{'a' * 40}'  # v7.9.0, which is vetted\n" in text
    assert "uses: actions/checkout@v4\n" in text
    now = {pin.action: (pin.tag, pin.commit) for pin in definition.pins(root=root).actions}
    assert now["actions/checkout"] == ("v7.9.0", "a" * 40)
    assert now["azure/login"][0] == definition.pins().actions[-1].tag
    assert {one.action for one in pinning.survey(root) if one.own} == {"actions/checkout"}


def test_generated_workflows_are_left_to_sync(root: Path) -> None:
    checkout = next(p for p in definition.pins().actions if p.action == "actions/checkout")
    path = workflow(root, f"actions/checkout@{checkout.commit}  # {checkout.tag}")
    before = path.read_text()
    move = pinning.Move("actions/checkout", checkout.tag, "v7.9.0", "a" * 40, major=False)
    assert pinning.apply(root, [move], [WORKFLOW]) == (".gitops/pins.yaml",)
    assert path.read_text() == before
    assert pinning.apply(root, [], []) == ()


def test_own_pins_keep_what_a_person_wrote_beside_them(root: Path) -> None:
    own(root, "actions/checkout", "v1.0.0", "b" * 40, more="runner: ubuntu-26.04\n")
    move = pinning.Move("actions/checkout", "v1.0.0", "v1.1.0", "a" * 40, major=False)
    pinning.apply(root, [move], [])
    text = (root / definition.OWN_PINS).read_text()
    assert text.startswith("# mine\nrunner: ubuntu-26.04\n")
    assert f"{{tag: v1.1.0, commit: {'a' * 40}}}  # why" in text
    assert definition.pins(root=root).runner == "ubuntu-26.04"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("actions:\n  o/r: {tag: v1.0.0, commit: abc}\n", 2),
        ("actions:\n  o/r: {tag: v1.0.0}\n", 2),
        ("uv: 1.0.0\n", 1),
        ("acts: {}\n", 1),
    ],
)
def test_own_pins_that_break_the_rules_are_refused(text: str, line: int, root: Path) -> None:
    (root / ".gitops").mkdir()
    (root / definition.OWN_PINS).write_text(text)
    with pytest.raises(ConfigError) as caught:
        definition.pins(root=root)
    assert caught.value.where is not None and caught.value.where.line == line


def test_a_repository_out_of_reach_is_an_error(tmp_path: Path) -> None:
    pinned = pinning.Pinned("o/r", "v1.0.0", "a" * 40, False, ())
    with pytest.raises(ToolError):
        pinning.moves([pinned], pinning.tags_of(str(tmp_path)))


def test_all_shipped_pins_can_be_asked_for(root: Path, forge: Path) -> None:
    """Every tag was made anew here, so each is one that moved."""
    found = pinning.moves(pinning.survey(root), pinning.tags_of(str(forge)))
    assert {one.action for one in found if one.moved} == {
        pin.action for pin in definition.pins().actions
    }


def test_a_workflow_that_cannot_be_read_is_no_reason_to_leave_its_pins_out(root: Path) -> None:
    workflow(root).write_text("on: {a: 1, a: 2}\n")
    with pytest.raises(ConfigError) as caught:
        pinning.survey(root)
    assert str(caught.value.where) == f"{WORKFLOW}:1:12"

"""What writing new files would do: nothing that is there is ever replaced."""

import json
from pathlib import Path, PurePosixPath

import pytest

from gitops.errors import ConfigError
from gitops.scaffold.generator import Owner
from gitops.scaffold.lock import blob
from gitops.scaffold.plan import Entry, Plan, plan
from gitops.scaffold.render import Rendered


def file(owner: Owner, content: bytes = b"new", path: str = "a/x.txt") -> Rendered:
    return Rendered(PurePosixPath(path), content, False, owner, "core")


def entry(target: Path, made: Rendered) -> Entry:
    (found,) = plan([made], target).entries
    return found


def put(target: Path, content: bytes) -> Path:
    at = target / "a" / "x.txt"
    at.parent.mkdir(exist_ok=True)
    at.write_bytes(content)
    return at


def test_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert entry(tmp_path / "no", file("user")).state == "create"


@pytest.mark.parametrize("owner", ["tool", "user"])
def test_a_file_that_nobody_generated_is_in_the_way(tmp_path: Path, owner: Owner) -> None:
    put(tmp_path, b"mine")
    found = entry(tmp_path, file(owner))
    assert (found.state, found.before) == ("conflict", None)
    assert "not generated" in found.why


@pytest.mark.parametrize("owner", ["tool", "user"])
def test_the_same_content_is_fine_whoever_wrote_it(tmp_path: Path, owner: Owner) -> None:
    put(tmp_path, b"new")
    assert entry(tmp_path, file(owner)).state == "unchanged"


def test_what_is_no_file_is_in_the_way(tmp_path: Path) -> None:
    at = tmp_path / "a" / "x.txt"
    at.mkdir(parents=True)
    assert entry(tmp_path, file("user")).state == "conflict"
    at.rmdir()
    at.symlink_to("elsewhere")
    assert entry(tmp_path, file("user")).state == "conflict"
    at.unlink()
    at.parent.rmdir()
    at.parent.write_text("")
    found = entry(tmp_path, file("user"))
    assert (found.state, found.why) == ("conflict", "a folder on the way to it is a file")


def test_a_path_that_leads_outside_is_refused_at_once(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "a").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="leads outside"):
        plan([file("user")], target)


def test_it_is_told_to_people_and_programs(tmp_path: Path) -> None:
    put(tmp_path, b"mine")
    (tmp_path / "c").write_bytes(b"new")
    made = [file("user"), file("tool", path="b"), file("user", path="c")]
    found = plan(made, tmp_path)
    assert found.text() == (
        "conflict  a/x.txt  it is there, and was not generated\n"
        "create    b        by core\n"
        "1 create, 1 conflict, 1 unchanged"
    )
    shown = json.loads(json.dumps(found.as_json()))
    assert {state: n for state, n in shown["counts"].items() if n} == {
        "create": 1,
        "conflict": 1,
        "unchanged": 1,
    }
    assert shown["files"][1] == {
        "path": "b",
        "state": "create",
        "why": "by core",
        "owner": "tool",
        "generator": "core",
    }
    assert [str(e.file.path) for e in found.changes] == ["b"]
    assert [str(e.file.path) for e in found.conflicts] == ["a/x.txt"]


def test_a_marked_conflict_is_written_and_a_conflict(tmp_path: Path) -> None:
    gone = Entry("delete", "no more", file("tool", path="b"), blob(b"b"))
    found = Plan((Entry("marked", "both", file("user"), blob(b"old")), gone))
    assert found.counts()["conflict"] == 1
    assert [change.state for change in found.changes] == ["marked", "delete"]
    assert [(one.change.content, one.change.before) for one in found.changes] == [
        (b"new", blob(b"old")),
        (None, blob(b"b")),
    ]
    assert found.text().startswith("conflict  a/x.txt  both")
    assert found.conflicts == found.entries[:1]

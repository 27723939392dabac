"""What would be written: a person's work is never replaced, ours only if nobody touched it."""

import json
from pathlib import Path, PurePosixPath

import pytest

from gitops.errors import ConfigError
from gitops.scaffold import lock
from gitops.scaffold.generator import Owner
from gitops.scaffold.plan import Entry, plan
from gitops.scaffold.render import Rendered, tool_file


def file(owner: Owner, content: bytes = b"new", path: str = "a/x.txt") -> Rendered:
    return Rendered(PurePosixPath(path), content, False, owner, "core")


def locked(made: Rendered) -> lock.Lock:
    return lock.of([], {}, [made])


def entry(target: Path, made: Rendered, before: lock.Lock | None) -> Entry:
    (found,) = plan([made], target, before).entries
    return found


def put(target: Path, content: bytes) -> Path:
    at = target / "a" / "x.txt"
    at.parent.mkdir(exist_ok=True)
    at.write_bytes(content)
    return at


def test_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert entry(tmp_path / "no", file("user"), None).state == "create"


@pytest.mark.parametrize("owner", ["tool", "user"])
def test_a_file_that_nobody_generated_is_in_the_way(tmp_path: Path, owner: Owner) -> None:
    put(tmp_path, b"mine")
    found = entry(tmp_path, file(owner), None)
    assert (found.state, found.before) == ("conflict", None)
    assert "not generated" in found.why


@pytest.mark.parametrize("owner", ["tool", "user"])
def test_the_same_content_is_fine_whoever_wrote_it(tmp_path: Path, owner: Owner) -> None:
    put(tmp_path, b"new")
    assert entry(tmp_path, file(owner), None).state == "unchanged"


@pytest.mark.parametrize(
    ("owner", "generated", "there", "state"),
    [
        ("tool", b"old", b"old", "update"),
        ("user", b"old", b"old", "update"),
        ("tool", b"old", b"edited", "conflict"),
        ("user", b"old", b"edited", "conflict"),
        ("tool", b"new", b"edited", "conflict"),
        ("user", b"new", b"edited", "unchanged"),
        ("tool", b"old", b"new", "unchanged"),
        ("user", b"new", None, "unchanged"),
        ("user", b"old", None, "unchanged"),
        ("tool", b"new", None, "create"),
    ],
)
def test_with_a_lock(
    tmp_path: Path, owner: Owner, generated: bytes, there: bytes | None, state: str
) -> None:
    if there is not None:
        put(tmp_path, there)
    found = entry(tmp_path, file(owner), locked(file(owner, generated)))
    assert found.state == state
    assert found.why
    expected = lock.blob(there) if there is not None and state == "update" else None
    assert found.before == expected


def test_the_executable_bit_of_a_tools_file_is_the_tools(tmp_path: Path) -> None:
    at = put(tmp_path, b"new")
    at.chmod(0o755)
    assert entry(tmp_path, file("tool"), locked(file("tool"))).state == "update"
    assert entry(tmp_path, file("user"), locked(file("user"))).state == "unchanged"
    assert entry(tmp_path, file("tool"), None).state == "unchanged"


def test_the_lock_replaces_itself(tmp_path: Path) -> None:
    made = tool_file(str(lock.PATH), b"new lock")
    at = tmp_path / lock.PATH
    at.parent.mkdir()
    at.write_bytes(b"old lock")
    assert entry(tmp_path, made, locked(file("user"))).state == "update"
    assert entry(tmp_path, made, None).state == "conflict"


def test_what_is_no_file_is_in_the_way(tmp_path: Path) -> None:
    at = tmp_path / "a" / "x.txt"
    at.mkdir(parents=True)
    assert entry(tmp_path, file("user"), None).why == "it is a folder"
    at.rmdir()
    at.symlink_to("elsewhere")
    assert entry(tmp_path, file("user"), locked(file("user"))).why == "it is a symlink"
    at.unlink()
    at.parent.rmdir()
    at.parent.write_text("")
    found = entry(tmp_path, file("user"), None)
    assert (found.state, found.why) == ("conflict", "a folder on the way to it is a file")


def test_a_path_that_leads_outside_is_refused_at_once(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "a").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="leads outside"):
        plan([file("user")], target, None)


def test_it_is_told_to_people_and_programs(tmp_path: Path) -> None:
    put(tmp_path, b"mine")
    made = [
        file("user"),
        file("tool", path="b"),
        file("user", path="c/d"),
    ]
    found = plan(made, tmp_path, locked(file("user", path="c/d")))
    assert found.text() == (
        "conflict  a/x.txt  it is there, and was not generated\n"
        "create    b        by core\n"
        "1 create, 0 update, 1 conflict, 1 unchanged"
    )
    shown = json.loads(json.dumps(found.as_json()))
    assert shown["counts"] == {"create": 1, "update": 0, "conflict": 1, "unchanged": 1}
    assert shown["files"][1] == {
        "path": "b",
        "state": "create",
        "why": "by core",
        "owner": "tool",
        "generator": "core",
    }
    assert [str(e.file.path) for e in found.changes] == ["b"]
    assert [str(e.file.path) for e in found.conflicts] == ["a/x.txt"]

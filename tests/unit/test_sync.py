"""What becomes of each file: the table of docs/guides/sync.md, on real repositories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from gitops.errors import AnswerNo, ConfigError
from gitops.scaffold import journal, lock, sync
from gitops.scaffold.plan import State
from tests.unit.scaffolds import ANSWERS, CONFIG, WHEEL, Scaffold, git, scaffold

LINES = b"".join(b"line %d\n" % number for number in range(9))
TOP, END = LINES.replace(b"line 0", b"first"), LINES.replace(b"line 8", b"last")
BOTH = TOP.replace(b"line 8", b"last")
TOOLS = LINES + b"tool\n"
RIVAL = LINES.replace(b"line 0", b"mine")


@pytest.fixture
def one(tmp_path: Path) -> Scaffold:
    """A file of the user's, one of the tool's, and a small one."""
    return scaffold(tmp_path, {"a/x.txt": LINES, "t/y.txt": TOOLS, "z.txt": b"z\n"})


def run(made: Scaffold) -> tuple[dict[str, State], sync.Synced]:
    """Sync; the states of what isn't unchanged, the lock and the copies of bases left out."""
    done = sync.sync(made.root)
    own: dict[str, State] = {
        str(entry.file.path): entry.state
        for entry in done.plan.entries
        if entry.state != "unchanged" and entry.file.path.parts[0] != ".gitops"
    }
    return own, done


def why(done: sync.Synced, path: str) -> str:
    return next(e.why for e in done.plan.entries if str(e.file.path) == path)


def settled(made: Scaffold) -> None:
    """After the commit there's nothing to do, here and in a fresh clone."""
    made.commit()
    for each in (made, made.clone()):
        plan = sync.survey(each.root)
        assert not plan.changes, plan.text()
        assert not plan.conflicts, plan.text()


# ---------------------------------------------------------------- the user's files


def test_nothing_to_do(one: Scaffold) -> None:
    before = one.files()
    assert run(one)[0] == {}
    assert one.files() == before
    assert not (one.root / ".git" / "gitops" / "sync").exists()
    settled(one)


def test_a_template_change_arrives(one: Scaffold) -> None:
    one.template("a/x.txt", TOP)
    assert run(one)[0] == {"a/x.txt": "update"}
    assert one.read("a/x.txt") == TOP
    assert one.lock().files[PurePosixPath("a/x.txt")].blob == lock.blob(TOP)
    settled(one)


def test_an_edit_stays(one: Scaffold) -> None:
    one.put("a/x.txt", END)
    before = one.files()
    assert run(one)[0] == {}
    assert one.files() == before


def test_both_on_other_lines_are_merged(one: Scaffold) -> None:
    one.put("a/x.txt", END)
    one.commit()
    one.template("a/x.txt", TOP)
    assert run(one)[0] == {"a/x.txt": "update"}
    assert one.read("a/x.txt") == BOTH
    assert one.read(f".gitops/base/{lock.blob(TOP)}") == TOP
    settled(one)


def test_the_next_merge_needs_no_history(one: Scaffold) -> None:
    """What was merged was never committed as it was generated: the copy of the base is."""
    one.put("a/x.txt", END)
    one.commit()
    one.template("a/x.txt", TOP)
    run(one)
    one.commit()
    newer = TOP.replace(b"line 4", b"middle")
    one.template("a/x.txt", newer)
    shallow = one.clone("--depth=1")
    assert run(shallow)[0] == {"a/x.txt": "update"}
    assert shallow.read("a/x.txt") == BOTH.replace(b"line 4", b"middle")
    assert [path.name for path in (shallow.root / ".gitops/base").iterdir()] == [lock.blob(newer)]


def test_an_edit_before_the_commit_can_be_merged_later(one: Scaffold) -> None:
    one.template("a/x.txt", TOP)
    run(one)
    one.put("a/x.txt", BOTH)
    one.commit()
    one.template("a/x.txt", TOP.replace(b"line 4", b"middle"))
    assert run(one)[0] == {"a/x.txt": "update"}
    assert one.read("a/x.txt") == BOTH.replace(b"line 4", b"middle")


def test_both_on_the_same_line_is_a_conflict(one: Scaffold) -> None:
    one.put("a/x.txt", RIVAL)
    one.commit()
    one.template("a/x.txt", TOP)
    before = one.files()
    states, done = run(one)
    assert states == {"a/x.txt": "marked"}
    assert [str(entry.file.path) for entry in done.plan.conflicts] == ["a/x.txt"]
    assert one.read("a/x.txt").startswith(
        b"<<<<<<< yours\nmine\n=======\nfirst\n>>>>>>> gitops\nline 1\n"
    )
    with pytest.raises(AnswerNo, match=r"a/x\.txt: <<<<<<< yours") as caught:
        sync.sync(one.root)
    assert "--abort" in caught.value.fix
    (conflict,) = sync.survey(one.root).conflicts
    assert "markers are still in it" in conflict.why
    sync.abort(one.root)
    assert one.files() == before
    run(one)
    one.put("a/x.txt", TOP.replace(b"first", b"mine, first"))
    assert run(one)[0] == {}
    settled(one)


def test_markers_that_were_committed_are_still_told(one: Scaffold) -> None:
    one.put("a/x.txt", RIVAL)
    one.commit()
    one.template("a/x.txt", TOP)
    run(one)
    one.commit()
    with pytest.raises(AnswerNo, match="aren't resolved"):
        sync.sync(one.clone().root)


def test_both_made_the_same_change(one: Scaffold) -> None:
    one.put("a/x.txt", TOP)
    one.commit()
    one.template("a/x.txt", TOP)
    assert run(one)[0] == {}
    settled(one)


def test_a_deleted_file_stays_deleted_and_is_told(one: Scaffold) -> None:
    (one.root / "z.txt").unlink()
    one.commit()
    states, done = run(one)
    assert states == {"z.txt": "kept"}
    assert why(done, "z.txt") == "you deleted it, so it stays away"
    one.template("z.txt", b"other\n")
    states, done = run(one)
    assert states == {"z.txt": "kept"}
    assert "its template has changed" in why(done, "z.txt")
    assert not (one.root / "z.txt").exists()
    settled(one)
    one.put("z.txt", b"z\n")
    one.commit()
    assert run(one)[0] == {"z.txt": "update"}, "brought back, it takes part again"
    assert one.read("z.txt") == b"other\n"


def test_what_is_generated_no_more(one: Scaffold) -> None:
    one.template("a/x.txt", None)
    one.template("z.txt", None)
    one.template("t/y.txt", None)
    one.put("z.txt", b"mine\n")
    one.put("t/y.txt", b"mine\n")
    one.commit()
    states, done = run(one)
    assert states == {"a/x.txt": "delete", "t/y.txt": "delete", "z.txt": "kept"}
    assert "yours now" in why(done, "z.txt")
    assert not (one.root / "a").exists()
    assert one.read("z.txt") == b"mine\n"
    assert not {PurePosixPath("z.txt"), PurePosixPath("a/x.txt")} & one.lock().files.keys()
    settled(one)


def test_a_new_file(one: Scaffold) -> None:
    one.template("a/new.txt", b"new\n")
    one.template("a/same.txt", b"same\n")
    one.template("a/other.txt", b"other\n")
    one.put("a/same.txt", b"same\n")
    one.put("a/other.txt", b"mine\n")
    one.commit()
    states, done = run(one)
    assert states == {"a/new.txt": "create", "a/other.txt": "kept"}
    assert "yours is kept" in why(done, "a/other.txt")
    assert one.read("a/other.txt") == b"mine\n"
    assert one.lock().files[PurePosixPath("a/other.txt")].kept
    settled(one)
    one.template("a/other.txt", b"again\n")
    states, done = run(one)
    assert states == {"a/other.txt": "kept"}
    assert "template has changed" in why(done, "a/other.txt")
    assert one.read("a/other.txt") == b"mine\n"
    settled(one)


def test_the_tools_file_comes_when_what_was_kept_in_its_place_has_gone(one: Scaffold) -> None:
    file = PurePosixPath("t/y.txt")
    before = one.lock()
    mine = replace(before.files[file], kept=True)
    one.put(".gitops/lock.yaml", lock.dump(replace(before, files={**before.files, file: mine})))
    one.put("t/y.txt", b"mine\n")
    one.commit()
    assert run(one)[0] == {}
    (one.root / "t/y.txt").rename(one.root / "t/mine.txt")
    states, done = run(one)
    assert states == {"t/y.txt": "create"}
    assert why(done, "t/y.txt") == "by gen"
    assert one.read("t/y.txt") == TOOLS
    assert not one.lock().files[file].kept
    settled(one)


def test_a_name_that_differs_by_case_only_is_kept(one: Scaffold) -> None:
    one.put("Readme.md", b"mine\n")
    one.commit()
    one.template("README.md", b"theirs\n")
    states, done = run(one)
    assert states == {"README.md": "kept"}
    assert "case" in why(done, "README.md")
    assert not (one.root / "README.md").exists()
    settled(one)


def test_a_file_where_a_folder_is_needed(one: Scaffold) -> None:
    one.put("b", b"mine\n")
    one.commit()
    one.template("b/c.txt", b"new\n")
    states, done = run(one)
    assert states == {"b/c.txt": "conflict"}
    assert "is a file" in why(done, "b/c.txt")
    assert done.theirs is not None
    assert (done.theirs / "b" / "c.txt").read_bytes() == b"new\n"
    assert PurePosixPath("b/c.txt") not in one.lock().files


# ---------------------------------------------------------------- the tool's files


def test_the_tools_file_is_restored(one: Scaffold) -> None:
    for change, words in (
        (lambda at: at.write_bytes(b"mine\n"), "restored: it was edited"),
        (lambda at: at.chmod(0o755), "restored: its executable bit was changed"),
        (lambda at: at.unlink(), "restored: it was deleted"),
        (lambda at: (at.unlink(), at.symlink_to("../z.txt")), "replaced by a symlink"),
    ):
        before = one.files()
        change(one.root / "t" / "y.txt")
        spoilt = one.files()
        states, done = run(one)
        assert set(states.values()) <= {"update", "create"}
        assert words in why(done, "t/y.txt")
        assert one.files() == before
        if (done.saved or one.root) != one.root:
            assert "edited" in words or "symlink" in words
        sync.abort(one.root)
        assert one.files() == spoilt
        git(one.root, "checkout", "--", ".")
    assert one.read("z.txt") == b"z\n"


def test_an_edit_of_the_tools_file_that_no_commit_has_is_saved(one: Scaffold) -> None:
    one.put("t/y.txt", b"mine\n")
    _, done = run(one)
    assert done.saved is not None
    assert (done.saved / "t" / "y.txt").read_bytes() == b"mine\n"
    one.put("t/y.txt", b"mine again\n")
    one.commit()
    assert run(one)[1].saved is None, "git has it"


def test_a_change_of_the_tools_template(one: Scaffold) -> None:
    one.template("t/y.txt", TOP)
    states, done = run(one)
    assert (states, why(done, "t/y.txt")) == ({"t/y.txt": "update"}, "gen changed it")
    settled(one)


def test_something_of_the_users_where_the_tools_is_to_be(one: Scaffold) -> None:
    one.put("t/new.txt", b"mine\n")
    (one.root / "t" / "y.txt").unlink()
    one.put("t/y.txt/deep", b"mine\n")
    one.commit()
    one.template("t/new.txt", b"new\n")
    states, done = run(one)
    assert states == {"t/new.txt": "conflict", "t/y.txt": "conflict"}
    assert one.read("t/new.txt") == b"mine\n"
    assert one.read("t/y.txt/deep") == b"mine\n"
    assert done.theirs is not None
    assert (done.theirs / "t" / "new.txt").read_bytes() == b"new\n"
    assert PurePosixPath("t/new.txt") not in one.lock().files
    one.commit()
    (one.root / "t" / "new.txt").unlink()
    (one.root / "t" / "y.txt" / "deep").unlink()
    (one.root / "t" / "y.txt").rmdir()
    assert run(one)[0] == {"t/new.txt": "create", "t/y.txt": "create"}


def test_the_tools_file_may_be_put_in_place_by_hand(one: Scaffold) -> None:
    (one.root / "t" / "y.txt").unlink()
    one.put("t/y.txt/deep", b"mine\n")
    one.commit()
    one.template("t/y.txt", TOP)
    states, done = run(one)
    assert states == {"t/y.txt": "conflict"}
    assert done.theirs is not None
    (one.root / "t" / "y.txt").rename(one.root / "elsewhere")
    one.put("t/y.txt", (done.theirs / "t" / "y.txt").read_bytes())
    assert run(one)[0] == {}, "before the commit"
    settled(one)


def test_a_file_that_changes_hands(one: Scaffold) -> None:
    rules = [{"path": "t/**", "owner": "user"}, {"path": "**", "owner": "tool"}]
    one.put("t/y.txt", END + b"tool\n")
    one.put("z.txt", b"mine\n")
    one.commit()
    one.settings(files=rules)
    one.template("t/y.txt", TOP + b"tool\n")
    states, done = run(one)
    assert states == {"t/y.txt": "update", "z.txt": "conflict"}
    assert one.read("t/y.txt") == BOTH + b"tool\n"
    assert "has become the tool's" in why(done, "z.txt")
    assert one.read("z.txt") == b"mine\n"
    assert one.lock().files[PurePosixPath("a/x.txt")].owner == "tool"


def test_the_tool_itself_is_restored_from_history(one: Scaffold) -> None:
    one.put(str(WHEEL), b"tampered")
    one.commit()
    sync.sync(one.root)
    assert one.read(str(WHEEL)) == b"PK\0 the tool"


# ---------------------------------------------------------------- line ends, modes, kinds


def test_crlf_is_no_edit(one: Scaffold) -> None:
    one.put("a/x.txt", LINES.replace(b"\n", b"\r\n"))
    one.commit()
    assert run(one)[0] == {}
    one.template("a/x.txt", TOP)
    assert run(one)[0] == {"a/x.txt": "update"}
    assert one.read("a/x.txt") == TOP.replace(b"\n", b"\r\n")
    settled(one)


def test_edits_in_crlf_are_merged(one: Scaffold) -> None:
    one.put("a/x.txt", END.replace(b"\n", b"\r\n"))
    one.commit()
    one.template("a/x.txt", TOP)
    assert run(one)[0] == {"a/x.txt": "update"}
    assert one.read("a/x.txt") == BOTH.replace(b"\n", b"\r\n")
    settled(one)
    one.template("a/x.txt", TOP.replace(b"line 8", b"rival"))
    assert run(one)[0] == {"a/x.txt": "marked"}
    assert b"<<<<<<< yours\r\nlast\r\n=======\r\nrival\r\n>>>>>>> gitops\r\n" in one.read("a/x.txt")


def test_no_final_newline(one: Scaffold) -> None:
    one.put("a/x.txt", LINES.rstrip(b"\n"))
    one.commit()
    one.template("a/x.txt", TOP)
    assert run(one)[0] == {"a/x.txt": "update"}
    assert one.read("a/x.txt") == TOP.rstrip(b"\n")


def test_the_executable_bit_is_merged_like_content(one: Scaffold) -> None:
    one.put("a/x.txt", END, executable=True)
    one.commit()
    one.template("a/x.txt", TOP)
    one.template("z.txt", b"z\n", executable=True)
    assert run(one)[0] == {"a/x.txt": "update", "z.txt": "update"}
    assert one.files()["a/x.txt"] == (BOTH, True)
    assert one.files()["z.txt"] == (b"z\n", True)
    settled(one)
    (one.root / "z.txt").chmod(0o644)
    one.commit()
    assert run(one)[0] == {}, "the user may take it back"


def test_a_binary_file(one: Scaffold) -> None:
    one.put("z.txt", b"z\0mine")
    one.commit()
    assert run(one)[0] == {}
    one.template("z.txt", b"z\0theirs")
    states, done = run(one)
    assert states == {"z.txt": "conflict"}
    assert "binary" in why(done, "z.txt")
    assert one.read("z.txt") == b"z\0mine"
    assert done.theirs is not None
    assert (done.theirs / "z.txt").read_bytes() == b"z\0theirs"
    settled(one)


def test_a_symlink_of_the_users_is_not_followed(one: Scaffold) -> None:
    (one.root / "a" / "x.txt").unlink()
    (one.root / "a" / "x.txt").symlink_to("../z.txt")
    one.commit()
    assert run(one)[0] == {}
    one.template("a/x.txt", TOP)
    states, done = run(one)
    assert states == {"a/x.txt": "conflict"}
    assert "symlink" in why(done, "a/x.txt")
    assert one.read("z.txt") == b"z\n"
    assert (one.root / "a" / "x.txt").is_symlink()


def test_a_folder_that_leads_outside(one: Scaffold, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (one.root / "a" / "x.txt").rename(tmp_path / "outside" / "x.txt")
    (one.root / "a").rmdir()
    (one.root / "a").symlink_to(tmp_path / "outside")
    one.commit()
    one.template("a/x.txt", TOP)
    with pytest.raises(ConfigError, match="leads outside"):
        sync.sync(one.root)
    assert (tmp_path / "outside" / "x.txt").read_bytes() == LINES


# ---------------------------------------------------------------- moves


def test_a_template_that_moved_takes_the_edits_along(one: Scaffold) -> None:
    one.put("a/x.txt", END)
    one.commit()
    before = one.files()
    one.template("a/x.txt", None)
    one.template("b/w.txt", TOP)
    states, done = run(one)
    assert states == {"a/x.txt": "delete", "b/w.txt": "create"}
    assert "from a/x.txt" in why(done, "b/w.txt")
    assert one.read("b/w.txt") == BOTH
    assert not (one.root / "a").exists()
    settled(one)
    git(one.root, "reset", "--quiet", "--hard", "HEAD~1")
    run(one)
    sync.abort(one.root)
    assert one.files() == before


def test_a_declared_move_needs_no_likeness(one: Scaffold) -> None:
    one.put("a/x.txt", b"own\n" + LINES)
    one.commit()
    one.template("a/x.txt", None)
    one.template("src/churn/w.txt", b"all new\n" * 9)
    one.settings(
        revision=2, migrations=[{"to": 2, "move": [{"from": "a/", "to": "src/@{ package }@/"}]}]
    )
    one.template("src/churn/w.txt", None)
    one.template("src/churn/x.txt", b"new\n" + LINES[7:])
    states, _ = run(one)
    assert states == {"a/x.txt": "delete", "src/churn/x.txt": "marked"}
    assert one.lock().generators[0].revision == 2
    assert not (one.root / "a").exists()


def test_a_migration_can_say_that_a_file_is_gone(one: Scaffold) -> None:
    one.template("a/x.txt", None)
    one.template("b/w.txt", TOP)
    one.settings(revision=2, migrations=[{"to": 2, "delete": ["a/x.txt"]}])
    assert run(one)[0] == {"a/x.txt": "delete", "b/w.txt": "create"}
    assert one.read("b/w.txt") == TOP


def test_migrations_rename_and_set_answers(tmp_path: Path) -> None:
    made = scaffold(
        tmp_path, {"x.txt.j2": b"@{ colour }@\n"}, {**ANSWERS, "colour": "red", "kept": 1}
    )
    made.template("x.txt.j2", b"@{ color }@ @{ size }@ @{ kept }@\n")
    first = {"to": 2, "answers": {"rename": {"colour": "tint"}, "set": {"size": "big"}}}
    second = {"to": 3, "answers": {"rename": {"tint": "color"}, "set": {"kept": 2}}}
    made.settings(revision=3, migrations=[first, second])
    run(made)
    assert made.read("x.txt") == b"red big 1\n"
    assert "colour" not in made.lock().answers
    settled(made)


def test_a_declared_move_that_the_user_has_made_already(one: Scaffold) -> None:
    git(one.root, "mv", "a", "b")
    one.put("b/x.txt", END)
    one.commit()
    one.template("a/x.txt", None)
    one.template("b/x.txt", TOP)
    one.settings(revision=2, migrations=[{"to": 2, "move": [{"from": "a/", "to": "b/"}]}])
    assert run(one)[0] == {"b/x.txt": "update"}
    assert one.read("b/x.txt") == BOTH
    settled(one)


def test_the_place_of_a_moved_template_is_taken(one: Scaffold) -> None:
    one.put("a/x.txt", END)
    one.put("b/w.txt", b"mine\n")
    one.commit()
    one.template("a/x.txt", None)
    one.template("b/w.txt", TOP)
    states, done = run(one)
    assert states == {"a/x.txt": "conflict"}
    assert "moved to b/w.txt, but something is there" in why(done, "a/x.txt")
    assert (one.read("a/x.txt"), one.read("b/w.txt")) == (END, b"mine\n")
    one.commit()
    assert run(one)[0] == {"a/x.txt": "update"}, "it is merged where it is"
    assert one.read("a/x.txt") == BOTH


def test_a_file_that_the_user_moved_is_followed(one: Scaffold) -> None:
    git(one.root, "mv", "a/x.txt", "mine.txt")
    one.put("mine.txt", END)
    one.commit()
    states, _ = run(one)
    assert states == {"a/x.txt": "kept"}
    one.template("a/x.txt", TOP)
    assert run(one)[0] == {"mine.txt": "update"}
    assert one.read("mine.txt") == BOTH
    assert one.lock().files[PurePosixPath("a/x.txt")].at == PurePosixPath("mine.txt")
    settled(one)
    one.template("a/x.txt", TOP.replace(b"line 4", b"middle"))
    assert run(one)[0] == {"mine.txt": "update"}
    assert not (one.root / "a" / "x.txt").exists()
    one.commit()
    (one.root / "mine.txt").rename(one.root / "a" / "x.txt")
    one.commit()
    before = one.files()
    assert run(one)[0] == {}
    assert one.files() == before, "that it's back is no difference"
    one.template("a/x.txt", TOP.replace(b"line 4", b"centre"))
    assert run(one)[0] == {"a/x.txt": "update"}
    assert one.lock().files[PurePosixPath("a/x.txt")].at is None


def test_a_conflict_in_a_moved_file_may_be_resolved_at_its_old_place(one: Scaffold) -> None:
    git(one.root, "mv", "a/x.txt", "mine.txt")
    one.put("mine.txt", RIVAL)
    one.commit()
    one.template("a/x.txt", TOP)
    assert run(one)[0] == {"mine.txt": "marked"}
    (one.root / "mine.txt").unlink()
    one.put("a/x.txt", RIVAL)
    assert run(one)[0] == {}, "before the commit"
    settled(one)


def test_a_move_that_is_in_doubt_is_a_deletion(one: Scaffold) -> None:
    (one.root / "a" / "x.txt").unlink()
    one.put("b.txt", END)
    one.put("c.txt", END)
    one.put("d.md", LINES)
    one.commit()
    one.template("a/x.txt", TOP)
    assert run(one)[0] == {"a/x.txt": "kept"}


# ---------------------------------------------------------------- bases


def test_a_base_that_a_shallow_clone_lacks_is_fetched(one: Scaffold) -> None:
    one.put("a/x.txt", END)
    one.commit()
    one.template("a/x.txt", TOP)
    shallow = one.clone("--depth=1")
    (conflict,) = sync.survey(shallow.root).conflicts
    assert "isn't here" in conflict.why
    assert run(shallow)[0] == {"a/x.txt": "update"}
    assert shallow.read("a/x.txt") == BOTH


def test_a_base_that_cannot_be_had_is_a_named_conflict(one: Scaffold) -> None:
    one.put("a/x.txt", END)
    one.commit()
    one.template("a/x.txt", TOP)
    one.template("z.txt", b"new\n")
    shallow = one.clone("--depth=1")
    git(shallow.root, "remote", "set-url", "origin", "/nowhere")
    states, done = run(shallow)
    assert states == {"a/x.txt": "conflict", "z.txt": "update"}
    assert lock.blob(LINES)[:12] in why(done, "a/x.txt")
    assert shallow.read("a/x.txt") == END
    assert shallow.lock().files[PurePosixPath("a/x.txt")].blob == lock.blob(LINES)
    shallow.commit()
    git(shallow.root, "remote", "set-url", "origin", one.root.as_uri())
    assert run(shallow)[0] == {"a/x.txt": "update"}, "as soon as it can be had"


def test_a_tampered_copy_of_a_base_is_not_used(one: Scaffold) -> None:
    one.put("a/x.txt", END)
    one.commit()
    one.template("a/x.txt", TOP)
    run(one)
    one.put(f".gitops/base/{lock.blob(TOP)}", b"lies\n")
    one.put(".gitops/base/other", b"x\n")
    one.commit()
    one.template("a/x.txt", TOP.replace(b"line 4", b"middle"))
    run(one)
    assert one.read("a/x.txt").count(b"<<<<<<<") == 0
    assert not (one.root / ".gitops" / "base" / "other").exists()


# ---------------------------------------------------------------- gitops.yaml, lock, git


def test_gitops_yaml_is_an_answer(tmp_path: Path) -> None:
    templates = {"x.txt.j2": b"@{ project }@ @{ storage }@ @{ storage_url }@\n"}
    config = CONFIG.replace("churn", "@{ project }@").encode()
    made = scaffold(tmp_path, {**templates, "gitops.yaml.j2": config})
    assert made.read("x.txt") == b"churn ../storage /storage\n"
    made.put("gitops.yaml", made.read("gitops.yaml").replace(b"churn", b"leave"))
    states, _ = run(made)
    assert states == {"x.txt": "update"}, "gitops.yaml itself is no template's change"
    assert made.read("x.txt") == b"leave ../storage /storage\n"
    settled(made)
    made.put("gitops.yaml", made.read("gitops.yaml").replace(b"../storage", b"s3://bucket/b"))
    run(made)
    assert made.read("x.txt") == b"leave s3://bucket/b s3://bucket/b\n"
    assert made.lock().answers["project"] == "churn"


def test_a_dirty_file_that_would_change_is_refused(one: Scaffold) -> None:
    one.template("a/x.txt", TOP)
    one.put("z.txt", b"dirty\n")
    one.put("untracked", b"x\n")
    assert run(one)[0] == {"a/x.txt": "update"}, "others may be dirty"
    sync.abort(one.root)
    one.put("a/x.txt", END)
    before = one.files()
    with pytest.raises(AnswerNo, match=r"(?s)uncommitted changes.*a/x\.txt") as caught:
        sync.sync(one.root)
    assert "commit" in caught.value.fix
    assert one.files() == before
    git(one.root, "rm", "-q", "--cached", "a/x.txt")
    one.put(".gitignore", b"a/\n")
    with pytest.raises(AnswerNo, match=r"a/x\.txt"):
        sync.sync(one.root)
    assert one.read("a/x.txt") == END


def test_a_repository_without_commits(one: Scaffold) -> None:
    git(one.root, "update-ref", "-d", "HEAD")
    one.template("a/x.txt", TOP)
    with pytest.raises(AnswerNo, match=r"a/x\.txt"):
        sync.sync(one.root)
    one.template("a/x.txt", LINES)
    one.template("new.txt", b"new\n")
    with pytest.raises(AnswerNo, match=r"lock\.yaml"):
        sync.sync(one.root)


def test_a_second_sync_waits_for_the_commit_of_the_first(one: Scaffold) -> None:
    one.template("a/x.txt", TOP)
    run(one)
    assert run(one)[0] == {}
    one.template("z.txt", b"new\n")
    with pytest.raises(AnswerNo, match="isn't committed yet"):
        sync.sync(one.root)
    one.commit()
    assert run(one)[0] == {"z.txt": "update"}


def test_abort_keeps_what_was_edited_since(one: Scaffold) -> None:
    before = one.files()
    one.template("a/x.txt", TOP)
    one.template("b/c/new.txt", b"new\n")
    run(one)
    one.put("a/x.txt", b"edited\n")
    done = sync.abort(one.root)
    assert one.files() == before
    assert not (one.root / "b").exists()
    assert done.edited == ("a/x.txt",)
    assert done.saved is not None
    assert (done.saved / "a" / "x.txt").read_bytes() == b"edited\n"
    with pytest.raises(AnswerNo, match="no sync to take back"):
        sync.abort(one.root)
    one.template("a/x.txt", TOP)
    run(one)
    one.commit()
    with pytest.raises(AnswerNo, match="committed"):
        sync.abort(one.root)


def test_in_a_linked_work_tree(one: Scaffold) -> None:
    git(one.root, "worktree", "add", "--quiet", "-b", "side", "../side")
    side = Scaffold(one.root.with_name("side"), one.gen)
    before = {name: what for name, what in side.files().items() if name != ".git"}
    one.template("a/x.txt", TOP)
    assert run(side)[0] == {"a/x.txt": "update"}
    assert one.read("a/x.txt") == LINES
    with pytest.raises(AnswerNo, match="no sync to take back"):
        sync.abort(one.root)
    sync.abort(side.root)
    assert {name: what for name, what in side.files().items() if name != ".git"} == before


def test_a_killed_sync_is_told_by_check(one: Scaffold) -> None:
    work = one.root / ".git" / "gitops" / "apply"
    work.mkdir(parents=True)
    (work / "journal").write_text('{"steps": [], "folders": []}')
    with pytest.raises(AnswerNo, match="was killed"):
        sync.survey(one.root)
    assert journal.unfinished(work)
    run(one)
    assert not journal.unfinished(work)


def test_a_lock_of_a_newer_generator(one: Scaffold) -> None:
    one.settings(revision=3)
    run(one)
    one.commit()
    one.settings(revision=2)
    with pytest.raises(ConfigError, match=r"at revision 2, but .* by revision 3"):
        sync.sync(one.root)


def test_a_lost_answer_is_named(tmp_path: Path) -> None:
    made = scaffold(tmp_path, {"x.txt.j2": b"@{ colour }@\n"}, {**ANSWERS, "colour": "red"})
    text = made.read(".gitops/lock.yaml")
    made.put(".gitops/lock.yaml", text.replace(b'  "colour": "red"\n', b""))
    with pytest.raises(ConfigError, match="`colour` is undefined") as caught:
        sync.survey(made.root)
    assert "git log -p .gitops/lock.yaml" in caught.value.fix


def test_files_of_an_unknown_generator_are_left_alone(one: Scaffold) -> None:
    text = one.read(".gitops/lock.yaml").decode()
    line = next(line for line in text.splitlines() if line.startswith('  "z.txt"'))
    strange = line.replace('"gen"', '"other"').replace("z.txt", "stray.txt")
    one.put(".gitops/lock.yaml", text.replace(line, f"{strange}\n{line}").encode())
    one.put("stray.txt", b"z\n")
    one.commit()
    assert run(one)[0] == {}
    assert one.read("stray.txt") == b"z\n"
    assert PurePosixPath("stray.txt") in one.lock().files


def test_diffs_show_what_would_change(one: Scaffold) -> None:
    one.put("a/x.txt", RIVAL)
    one.put("mine.txt", b"mine")
    one.commit()
    one.template("a/x.txt", TOP)
    one.template("mine.txt", b"theirs\n")
    one.template("t/y.txt", b"\0binary")
    one.template("z.txt", None)
    plan = sync.survey(one.root)
    found = {str(path): text for path, text in sync.diffs(one.root, plan).items()}
    assert "+<<<<<<< yours\n mine\n+=======\n+first\n+>>>>>>> gitops\n" in found["a/x.txt"]
    assert found["z.txt"].startswith("--- a/z.txt\n+++ /dev/null\n")
    assert "-mine\n\\ No newline at end of file\n+theirs\n" in found["mine.txt"]
    assert found["t/y.txt"] == "Binary files a/t/y.txt and b/t/y.txt differ\n"
    assert one.read("a/x.txt") == RIVAL

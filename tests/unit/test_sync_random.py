"""Thousands of random files: template change x user's edit x deletion x move x mode x line ends.

The oracle below knows the table of docs/guides/sync.md and nothing of the code: where both sides
changed a text, it asks `git merge-file` itself. Many files share a repository, for speed; for more
of them, set SYNC_SEEDS.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitops.scaffold import disk, sync
from tests.unit.scaffolds import Scaffold, git, scaffold

SEEDS = range(int(os.environ.get("SYNC_SEEDS", "5")))
CASES = 400

File = tuple[bytes, bool]  # content and executable bit; a symlink is (b"-> target", False)
LINK: File = (b"-> ../elsewhere", False)


@dataclass(frozen=True)
class Case:
    """One generated file: as it was, as it is rendered today (where), as the user's is (where)."""

    path: str
    base: File
    new: File | None
    to: str
    ours: File | None
    at: str


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel has, SIGKILL doesn't take: waiting for the disk proves nothing here."""
    monkeypatch.setattr(disk, "sync", lambda places: None)


def draw(dice: random.Random, number: int) -> Case:
    path = f"{dice.choice(['t', 'a', 'b/c'])}/f{number:04}.txt"
    plain = dice.random() < 0.75  # long enough to be known again after a move
    lines = [b"%d of %d %d\n" % (at, number, dice.randrange(9)) for at in range(14 if plain else 2)]
    base = b"".join(lines)
    if not plain:
        base = dice.choice([b"", base, base.rstrip(b"\n"), b"\0" + base, b"x\n" * 3])
    elif dice.random() < 0.2:
        base = base.rstrip(b"\n")
    was = (base, dice.random() < 0.2)
    new: File | None = edited(dice, was)
    to = path
    if dice.random() < 0.15:
        new = None
    elif plain and new is not None and b"\0" not in new[0] and dice.random() < 0.15:
        to = path.replace("f", "moved-f")
    ours: File | None = edited(dice, was)
    at = path
    roll = dice.random()
    if roll < 0.1:
        ours = None
    elif roll < 0.15:
        ours = LINK
    elif roll < 0.25 and plain and ours and b"\0" not in ours[0] and not path.startswith("t/"):
        at = f"mine/{number:04}.txt"
    if ours not in (None, LINK) and ours is not None and dice.random() < 0.2 and base:
        ours = (ours[0].replace(b"\n", b"\r\n"), ours[1])
    return Case(path, was, new, to, ours, at)


def edited(dice: random.Random, was: File) -> File:
    """The same, or with up to three changes, seldom binary; perhaps the other mode."""
    content, executable = was
    lines = content.splitlines(keepends=True)
    for _ in range(dice.choice([0, 0, 1, 1, 2, 3])):
        at = dice.randrange(len(lines) + 1)
        kind = dice.randrange(4)
        if kind == 0 and at < len(lines):
            lines[at] = b"changed %d\n" % dice.randrange(3)
        elif kind == 1 and at < len(lines):
            del lines[at]
        elif kind == 2:
            lines.insert(at, b"added %d\n" % dice.randrange(3))
        elif lines:
            lines[-1] = lines[-1].rstrip(b"\n") + dice.choice([b"", b"\n"])
    content = b"".join(lines)
    if dice.random() < 0.04:
        content += b"\0"
    return content, executable != (dice.random() < 0.15)


def expected(case: Case, folder: Path) -> tuple[dict[str, File], bool]:
    """The files that are to be there, and whether there is a conflict."""
    base, new, ours = case.base, case.new, case.ours
    if case.path.startswith("t/"):
        if new is None:
            return {}, False
        # What git on Windows does to line ends isn't worth a change.
        same = ours is not None and in_lf(ours[0]) == new[0]
        stays = same and case.to == case.path and ours is not None and ours[1] == new[1]
        return {case.to: ours if stays and ours else new}, False
    if ours is None:
        return {}, False
    if ours == LINK:
        if new is None or new[0] == base[0]:
            return {case.at: LINK}, False
        return {case.at: LINK}, True
    text = in_lf(ours[0])
    if new is None:
        return ({} if text == base[0] and case.at == case.path else {case.at: ours}), False
    moved_by_user = case.at != case.path
    if moved_by_user and new[0] == base[0]:
        return {case.at: ours}, False  # nothing to bring: it isn't even looked for
    place = case.at if moved_by_user else case.to
    mode = new[1] if new[1] != base[1] else ours[1]
    if new[0] in (base[0], text):
        return {place: (ours[0], mode)}, False
    if text == base[0]:
        merged, conflict = new[0], False
    elif any(b"\0" in side for side in (text, base[0], new[0])):
        return {case.at: ours}, True
    else:
        merged, conflict = merged_by_git(folder, text, base[0], new[0])
    if text != ours[0] and b"\0" not in merged:
        merged = merged.replace(b"\n", b"\r\n")
    return {place: (merged, mode)}, conflict


def in_lf(content: bytes) -> bytes:
    return content if b"\0" in content else content.replace(b"\r\n", b"\n")


def merged_by_git(folder: Path, ours: bytes, base: bytes, new: bytes) -> tuple[bytes, bool]:
    for name, content in (("ours", ours), ("base", base), ("new", new)):
        (folder / name).write_bytes(content)
    labels = ["-L", "yours", "-L", "x", "-L", "gitops"]
    done = subprocess.run(
        ["git", "merge-file", "-p", *labels, "ours", "base", "new"], cwd=folder, capture_output=True
    )
    assert 0 <= done.returncode < 128, done.stderr
    return done.stdout, done.returncode > 0


def prepare(top: Path, cases: list[Case]) -> Scaffold:
    """Generate all files, commit; then the user's edits, commit; then the template's changes."""
    made = scaffold(top, {"only.txt": b""})
    made.template("only.txt", None)
    for case in cases:
        made.template(case.path, case.base[0], executable=case.base[1])
    sync.sync(made.root)
    made.commit()
    for case in cases:
        at = made.root / case.path
        if case.ours is None or case.ours == LINK or case.at != case.path:
            at.unlink()
        if case.ours == LINK:
            at.symlink_to("../elsewhere")
        elif case.ours is not None:
            made.put(case.at, case.ours[0], executable=case.ours[1])
        made.template(case.path, None)
    made.commit()
    for case in cases:
        if case.new is not None:
            made.template(case.to, case.new[0], executable=case.new[1])
    return made


@pytest.mark.parametrize("seed", SEEDS)
def test_any_file_becomes_what_the_table_says(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    cases = [draw(dice, number) for number in range(CASES)]
    made = prepare(tmp_path, cases)
    before = made.files()
    oracle = tmp_path / "oracle"
    oracle.mkdir()
    wanted: dict[str, object] = {}
    conflicts = set()
    for case in cases:
        files, conflict = expected(case, oracle)
        for path, (content, executable) in files.items():
            link = content == LINK[0]
            wanted[path] = Path("../elsewhere") if link else (content, executable)
            if conflict:
                conflicts.add(path)
    predicted = sync.survey(made.root)
    assert made.files() == before, "a survey writes nothing"
    done = sync.sync(made.root)
    found = {name: what for name, what in made.files().items() if is_generated(name)}
    for case in cases:
        there = {path: found.get(path) for path in places(case)}
        assert there == {path: wanted.get(path) for path in places(case)}, case
    assert found == wanted
    told = {str(entry.file.path) for entry in done.plan.conflicts}
    assert told == conflicts
    assert {str(entry.file.path) for entry in predicted.conflicts} == conflicts
    after = made.files()
    sync.abort(made.root)
    assert made.files() == before, "taken back, byte for byte"
    assert not git(made.root, "status", "--porcelain")
    sync.sync(made.root)
    assert made.files() == after, "and done again, the same"
    made.commit()
    left = sync.survey(made.root)
    assert not left.changes, left.text()
    assert {str(e.file.path) for e in left.conflicts} == {
        path for path in conflicts if b"<<<<<<<" in content_of(after[path])
    }
    homes = {path: case.path for case in cases for path in places(case)}
    for path in sorted(conflicts):
        resolve(dice, made, path, homes[path])
    made.commit()
    left = sync.survey(made.root)
    assert not (left.changes or left.conflicts), left.text()
    shutil.rmtree(made.root)


def resolve(dice: random.Random, made: Scaffold, path: str, home: str) -> None:
    """Settle a conflict by hand, in one of the ways in which people do."""
    at = made.root / path
    content, executable = b"anew\n", dice.random() < 0.5
    if not at.is_symlink():
        content = unmarked(at.read_bytes())
    at.unlink()
    way = dice.choice(["here", "home", "elsewhere", "away", "folder", "link", "crlf"])
    if way == "link":
        at.symlink_to("../elsewhere")
    elif way == "crlf":
        made.put(path, in_lf(content).replace(b"\n", b"\r\n"), executable=executable)
    elif way != "away":
        to = {"home": home, "elsewhere": f"other/{path}", "folder": f"{path}/in"}.get(way, path)
        made.put(to, content, executable=executable)


def unmarked(content: bytes) -> bytes:
    return re.sub(rb"(?m)^(<{7}|={7}|>{7}).*\n?", b"", content)


def is_generated(name: str) -> bool:
    return not name.startswith(".gitops/") and name != "gitops.yaml"


def places(case: Case) -> set[str]:
    return {case.path, case.to, case.at}


def content_of(what: object) -> bytes:
    return what[0] if isinstance(what, tuple) else b""


@dataclass
class Life:
    """A file over several rounds: what the lock knows as generated, and whether it's let be."""

    path: str
    template: File | None
    base: File | None
    ours: File | None
    kept: bool = False


def edit(dice: random.Random, life: Life, made: Scaffold) -> None:
    """Both sides change the file, or don't."""
    at = made.root / life.path
    if life.ours is not None and dice.random() < 0.5:
        life.ours = None if dice.random() < 0.1 else without_nul(edited(dice, life.ours))
        if life.ours is None:
            at.unlink()
        else:
            made.put(life.path, life.ours[0], executable=life.ours[1])
    if life.template is not None and dice.random() < 0.1:
        life.template = None
        made.template(life.path, None)
    elif dice.random() < 0.7:
        life.template = without_nul(edited(dice, life.template or (b"new\n", False)))
        made.template(life.path, life.template[0], executable=life.template[1])


def settle(life: Life, folder: Path) -> bool:
    """What sync is to make of it; whether there's a conflict."""
    if life.kept or (life.template is None and life.base is None):
        life.kept = life.kept and life.template is not None
        return False
    if life.base is None:  # rendered anew, over whatever is there
        assert life.template is not None
        life.ours = life.ours or life.template
        life.kept = life.ours[0] != life.template[0]
        life.base = None if life.kept else life.template
        return False
    case = Case(life.path, life.base, life.template, life.path, life.ours, life.path)
    files, conflict = expected(case, folder)
    if life.template is None or life.ours is not None:
        life.base = life.template
    life.ours = files.get(life.path)
    return conflict


def without_nul(file: File) -> File:
    return file[0].replace(b"\0", b""), file[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_many_rounds_of_edits_and_syncs(tmp_path: Path, seed: int) -> None:
    dice = random.Random(-1 - seed)
    made = scaffold(tmp_path, {"only.txt": b""})
    lives = []
    for number in range(60):
        first = (b"".join(b"%d of %d\n" % (at, number) for at in range(8)), False)
        lives.append(Life(f"d/f{number:03}.txt", first, None, None))
        made.template(lives[-1].path, first[0])
    sync.sync(made.root)
    for life in lives:
        life.base = life.ours = life.template
    made.commit()
    seen = 0
    for _ in range(4):
        for life in lives:
            edit(dice, life, made)
        made.commit()
        conflicts = {life.path for life in lives if settle(life, tmp_path)}
        told = sync.sync(made.root).plan.conflicts
        assert {str(entry.file.path) for entry in told} == conflicts
        for life in lives:
            at = made.root / life.path
            there = (at.read_bytes(), bool(at.stat().st_mode & 0o100)) if at.exists() else None
            assert there == life.ours, life
            if there and life.path in conflicts:  # resolved, for the next round
                life.ours = (unmarked(there[0]), there[1])
                made.put(life.path, life.ours[0], executable=there[1])
        seen += len(conflicts)
        made.commit()
        assert not sync.survey(made.root).changes
    assert seen > 3


def test_the_oracle_meets_all_that_it_is_about() -> None:
    dice = random.Random(0)
    cases = [draw(dice, number) for number in range(5 * CASES)]
    for kind in (
        [case for case in cases if case.new is None],
        [case for case in cases if case.ours is None],
        [case for case in cases if case.ours == LINK],
        [case for case in cases if case.to != case.path],
        [case for case in cases if case.at != case.path],
        [case for case in cases if case.ours and b"\r\n" in case.ours[0]],
        [case for case in cases if case.new and case.new[1] != case.base[1]],
        [case for case in cases if case.new and b"\0" in case.new[0]],
        [c for c in cases if c.new and c.ours and c.base[0] not in (c.new[0], c.ours[0])],
    ):
        assert len(kind) > 30

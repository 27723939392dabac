"""Promotion under faults, on real remotes: nothing is half promoted, and nothing is lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gitops import proc
from gitops.cli.hands import hands
from gitops.errors import AnswerNo, ConfigError, EvidenceError, GitopsError, ToolError
from gitops.promote import marks, plan, records, run, statement, world
from gitops.promote.run import Promoted
from tests.forge_simulator import Simulator
from tests.unit.promote.line import Line, remote_git
from tests.unit.validate.gate_repo import GateRepo, Made

PROMOTER = "Test <test@example.org>"
RACERS = 20


@pytest.fixture
def forge(tmp_path: Path) -> Simulator:
    return Simulator(tmp_path / "forge")


@pytest.fixture
def ahead(running: Line, better: Made, forge: Simulator) -> Line:
    """Behind a forge; main has a model that staging lacks."""
    line = running.behind(forge.path)
    line.build(better, depth=4)
    return line


def command(line: Line, *words: str) -> subprocess.Popen[bytes]:
    """`gitops` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "gitops", *words],
        cwd=line.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def untouched(line: Line, before: dict[str, str], tags: str) -> None:
    """The remote as before, and no tag here that isn't there."""
    assert line.refs() == before
    assert line.git("tag", "--list") == tags
    assert line.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"protected": ("release/staging",)}, "GH006"),
        ({"ruled": ("release/staging",)}, "GH013"),
        ({"refused": ("refs/tags/demo#staging#3",)}, "hook refuses refs/tags/demo#staging#3"),
        ({"refused": ("refs/heads/gitops/records",)}, "hook refuses refs/heads/gitops/records"),
    ],
)
def test_what_the_server_refuses_moves_nothing(
    ahead: Line, forge: Simulator, rules: dict[str, tuple[str, ...]], said: str
) -> None:
    before, tags = ahead.refs(), ahead.git("tag", "--list")
    forge.rules(**rules)  # type: ignore[arg-type]
    with pytest.raises(ToolError, match=said) as caught:
        ahead.promote("dev", "staging")
    assert "--pr" in caught.value.fix
    untouched(ahead, before, tags)
    forge.rules()
    assert ahead.promote("dev", "staging").versions == {"demo": "v1.1.0"}


@pytest.mark.parametrize("how", ["merge", "squash", "rebase"])
def test_however_the_forge_merges_it_is_the_source_that_is_promoted(
    ahead: Line, forge: Simulator, good: Made, how: str
) -> None:
    forge.rules(protected=("release/staging",))
    asked = ahead.request("dev", "staging")
    assert asked.versions == ("demo@v1.1.0",)
    assert ahead.request("dev", "staging").commit == asked.commit  # asked again, it is the same
    forge.merge(asked.branch, "release/staging", how)  # type: ignore[arg-type]
    tip = forge.tip("release/staging")
    done = ahead.finish("staging")
    assert (done.kind, done.versions) == ("promotion", {"demo": "v1.1.0"})
    assert done.tip.commit == tip
    assert ahead.tree("release/staging") == ahead.tree("main")
    forge.rules()
    ahead.build(good, depth=5)
    assert ahead.promote("dev", "staging").versions == {"demo": "v1.2.0"}


def test_killed_before_the_server_has_decided(ahead: Line, forge: Simulator) -> None:
    before, tags = ahead.refs(), ahead.git("tag", "--list")
    with forge.held("pre-receive") as held:
        child = command(ahead, "promote", "dev", "staging")
        held.wait()
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        untouched(ahead, before, tags)
    done = again(ahead)
    assert done.versions == {"demo": "v1.1.0"}


def test_killed_when_all_is_done_but_nobody_was_told(ahead: Line, forge: Simulator) -> None:
    with forge.held("post-receive") as held:
        child = command(ahead, "promote", "dev", "staging")
        held.wait()
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert ahead.runs("staging") == "v1.1.0"
    assert ahead.tree("release/staging") == ahead.tree("main")
    assert ahead.plan("dev", "staging").empty


def test_the_connection_breaks_after_the_server_has_done_it(
    ahead: Line, forge: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push that reports failure is believed only if the remote says so too."""
    real = proc.run

    def broken(words: list[str], **rest: object) -> proc.Done:
        done = real(words, **rest)  # type: ignore[arg-type]
        return proc.Done(128, "", "fatal: the remote end hung up") if "push" in words else done

    monkeypatch.setattr(proc, "run", broken)
    assert ahead.promote("dev", "staging").versions == {"demo": "v1.1.0"}


def again(line: Line) -> Promoted:
    """The same promotion once more; what a killed push left running may still be at it."""
    for _ in range(20):
        try:
            return line.promote("dev", "staging")
        except (AnswerNo, ToolError):
            continue
    raise AssertionError("it never got through")


def test_of_twenty_promoters_exactly_one_wins(ahead: Line) -> None:
    clones = [ahead.clone(f"clone-{number}") for number in range(RACERS)]
    ready = []
    for clone in clones:
        there = world.read(clone.root)
        found = plan.promotion(there, clone.config, "dev", "staging", promoter=PROMOTER)
        ready.append((there, found))
    judged = run.judged(ready[0][1], hands(clones[0].root))
    releases = [
        run.prepared(*one, hands(clone.root)) for one, clone in zip(ready, clones, strict=True)
    ]

    def race(number: int) -> Promoted | GitopsError:
        there, found = ready[number]
        try:
            tip = run.new_tip(there, found)
            return run.carry_out(there, found, judged, releases[number], tip, why=f"{number}")
        except GitopsError as error:
            return error

    with ThreadPoolExecutor(RACERS) as pool:
        outcomes = list(pool.map(race, range(RACERS)))
    (winner,) = [at for at, one in enumerate(outcomes) if isinstance(one, Promoted)]
    assert {type(one) for one in outcomes} == {Promoted, AnswerNo}
    for number, clone in enumerate(clones):
        stray = {"demo#staging#3", "demo@v1.1.0"} & set(clone.git("tag", "--list").split())
        assert bool(stray) == (number == winner)
    refs = ahead.refs()
    assert [ref for ref in refs if "demo@v1.1.0" in ref or "#staging#3" in ref] == [
        "refs/tags/demo#staging#3",
        "refs/tags/demo@v1.1.0",
    ]
    assert (
        remote_git(ahead.origin, "cat-file", "-p", "demo#staging#3").count(f'"why":"{winner}"') == 1
    )


def test_two_environments_at_once_both_get_on_record(ahead: Line, better: Made) -> None:
    """Only the records branch is shared: the second writes its record on top of the first's."""
    stale = ahead.world()
    found = plan.promotion(stale, ahead.config, "dev", "staging", promoter=PROMOTER)
    held = ahead.world()
    document = statement.mark("hold", "production", ahead.root, "meanwhile")
    update = marks.next_mark(held, "hold", "production", held.refs.heads["main"], document)
    records.push(held.root, held.refs, {"promotions/x/y-z.json": {"x": 1}}, "Meanwhile", [update])
    run.run(stale, found, hands(ahead.root), why="a test")
    names = records.of(ahead.root, ahead.world().refs).names("promotions")
    assert "promotions/x/y-z.json" in names
    assert len([name for name in names if "/staging-" in name]) == 2


def test_the_remote_is_gone(ahead: Line, forge: Simulator) -> None:
    there = ahead.world()
    found = plan.promotion(there, ahead.config, "dev", "staging", promoter=PROMOTER)
    forge.path.rename(forge.path.with_name("gone"))
    with pytest.raises(ToolError, match="can't be read"):
        ahead.world()
    with pytest.raises(ToolError, match="can't be read"):
        run.run(there, found, hands(ahead.root), why="a test")


@pytest.mark.parametrize("damage", ["missing", "truncated", "corrupt"])
def test_a_damaged_object_stops_it(ahead: Line, damage: str) -> None:
    package = next(one["md5"] for one in lock_outs(ahead.root) if one["path"] == "models/package")
    store = ahead.repo.storage / "files" / "md5"
    listing = store / package[:2] / package[2:]
    before, tags = ahead.refs(), ahead.git("tag", "--list")
    text = listing.read_text()
    start = text.index('"md5": "') + 8
    victim = store / text[start : start + 2] / text[start + 2 : start + 32]
    victim.chmod(0o644)
    raw = victim.read_bytes()
    if damage == "missing":
        listing.unlink()
    else:
        spoiled = bytes([raw[0] ^ 1]) + raw[1:]
        victim.write_bytes(raw[: len(raw) // 2] if damage == "truncated" else spoiled)
    with pytest.raises(EvidenceError, match=r"corrupt|missing|truncated"):
        ahead.promote("dev", "staging")
    untouched(ahead, before, tags)


def lock_outs(root: Path) -> list[dict[str, str]]:
    stages = json.loads((root / "dvc.lock").read_text())["stages"]
    return [out for stage in stages.values() for out in stage["outs"]]


def test_a_shallow_single_branch_clone_sees_everything(ahead: Line, tmp_path: Path) -> None:
    ahead.promote("dev", "staging")
    folder = tmp_path / "shallow"
    words = ["clone", "-q", "--depth", "1", "--single-branch", f"file://{ahead.origin}"]
    remote_git(ahead.origin, *words, str(folder))
    shallow = Line(GateRepo(folder), ahead.origin)
    assert shallow.runs("staging") == "v1.1.0"
    done = shallow.promote("staging", "production")
    assert done.versions == {"demo": "v1.1.0"}


def test_a_detached_head_and_a_dirty_tree_stay_as_they_are(ahead: Line) -> None:
    ahead.git("switch", "-q", "--detach", "HEAD~1")
    ahead.repo.write("params.yaml", "train: {depth: 99}\n")
    ahead.repo.write("new.txt", "mine\n")
    ahead.git("add", "new.txt")
    state = (ahead.git("status", "--porcelain"), ahead.git("rev-parse", "HEAD"))
    ahead.promote("dev", "staging")
    assert (ahead.git("status", "--porcelain"), ahead.git("rev-parse", "HEAD")) == state
    assert (ahead.root / "params.yaml").read_text() == "train: {depth: 99}\n"


def test_nobody_is_known_to_git(
    ahead: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before, tags = ahead.refs(), ahead.git("tag", "--list")
    for role in ("AUTHOR", "COMMITTER"):
        for key in ("NAME", "EMAIL"):
            monkeypatch.delenv(f"GIT_{role}_{key}")
    (tmp_path / "home" / ".gitconfig").write_text("")
    with pytest.raises(ConfigError, match="git doesn't know your name") as caught:
        ahead.promote("dev", "staging")
    assert "git config --global user.name" in caught.value.fix
    untouched(ahead, before, tags)


@pytest.mark.parametrize("year", [2020, 2040])
def test_a_wrong_clock_orders_nothing(
    ahead: Line, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.setenv(name, f"{year}-01-01T00:00:00Z")
    ahead.promote("dev", "staging")
    assert ahead.runs("staging") == "v1.1.0"
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.delenv(name)
    ahead.rollback("staging")
    assert ahead.runs("staging") == "v1.0.0"


def test_names_that_other_tags_have_taken_are_passed_over(ahead: Line) -> None:
    for name in ("demo@v1.1.0", "demo#staging#3"):
        remote_git(ahead.origin, "tag", name, "main")  # lightweight: no version and no assignment
    done = ahead.promote("dev", "staging")
    assert done.versions == {"demo": "v1.2.0"}
    assert "demo#staging#4" in done.tags


def test_rewritten_history_is_noticed(ahead: Line, better: Made) -> None:
    ahead.promote("dev", "staging")
    ahead.git("reset", "-q", "--hard", "HEAD~2")
    ahead.repo.write("notes.md", "another past\n")
    ahead.repo.commit("Another past")
    ahead.build(better, depth=6, push=False)
    ahead.git("push", "-q", "--force", "origin", "main")
    before, tags = ahead.refs(), ahead.git("tag", "--list")
    with pytest.raises(AnswerNo, match="commits that would be lost"):
        ahead.promote("dev", "staging")
    untouched(ahead, before, tags)


def test_submodules_and_lfs_pointers_travel_as_they_are(ahead: Line, forge: Simulator) -> None:
    ahead.repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    ahead.repo.write("weights.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    commit = ahead.git("rev-parse", "HEAD")
    ahead.git("update-index", "--add", "--cacheinfo", f"160000,{commit},vendor/lib")
    ahead.repo.write(".gitmodules", '[submodule "lib"]\n\tpath = vendor/lib\n\turl = ../lib\n')
    ahead.git("add", ".gitattributes", "weights.bin", ".gitmodules")
    ahead.git("commit", "-q", "-m", "A submodule, and a pointer")
    ahead.git("push", "-q", "origin", "main")
    ahead.promote("dev", "staging")
    listed = remote_git(ahead.origin, "ls-tree", "release/staging", "vendor/lib", "weights.bin")
    assert f"160000 commit {commit}" in listed


def no_room() -> None:
    """No file may grow: what a full disk does to whoever writes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_full_disk(ahead: Line) -> None:
    before, tags = ahead.refs(), ahead.git("tag", "--list")
    found = subprocess.run(
        [sys.executable, "-m", "gitops", "promote", "dev", "staging"],
        cwd=ahead.root,
        capture_output=True,
        text=True,
        preexec_fn=no_room,
    )
    assert found.returncode == 4, found.stderr
    assert "bug:" not in found.stderr
    untouched(ahead, before, tags)

"""Workflows on this machine: real clones, real processes, a real remote that nothing may reach."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command, Gitops, Ran, Repository

CHECKOUT = "{name: Check out, use: checkout}"


@pytest.fixture
def root(light: Repository, git: Command) -> Path:
    """A repository that is pushed to a bare one beside it."""
    git(light.root.parent, "init", "--quiet", "--bare", "origin.git")
    git(light.root, "remote", "add", "origin", "../origin.git")
    git(light.root, "push", "--quiet", "--all", "origin")
    return light.root


def workflow(
    root: Path,
    git: Command,
    jobs: str,
    *,
    triggers: str = "push: {branches: [main]}",
    cancel: str = "false",
    more: str = "",
) -> None:
    """Commit a workflow `try` of the repository's own."""
    file = root / ".gitops" / "workflows" / "try.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f"version: 1\nabout: Try it.\ntriggers:\n  {triggers}\n"
        f"concurrency: {{by: branch, cancel: {cancel}}}\n{more}jobs:\n{jobs}"
    )
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "Try")


def job(
    name: str, *steps: str, contents: str = "read", more: str = "", checkout: bool = True
) -> str:
    """A job; a step that is plain text is a command."""
    lines = [f"  {name}:", "    timeout: 5"]
    lines += [f"    {line}" for line in more.splitlines()]
    lines += [f"    permissions: [{{scope: contents, level: {contents}, reason: it must}}]"]
    lines += ["    steps:"]
    for number, step in enumerate([CHECKOUT, *steps] if checkout else steps):
        given = step if step.startswith("{") else f"{{name: S{number}, run: {json.dumps(step)}}}"
        lines.append(f"      - {given}")
    return "\n".join(lines) + "\n"


def document(done: Ran) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.out)
    return found


def said(found: Mapping[str, Any], name: str) -> str:
    """The log of a job."""
    (one,) = [each for each in found["jobs"] if each["name"] == name]
    return Path(found["logs"], one["log"]).read_text()


def states(found: Mapping[str, Any]) -> dict[str, str]:
    return {one["name"]: one["state"] for one in found["jobs"]}


# ---------------------------------------------------------------- a job's place


def test_a_job_has_a_clean_clone_and_nothing_of_the_users(
    gitops: Gitops, git: Command, root: Path
) -> None:
    secrets = {
        "GITHUB_TOKEN": "hush",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "UV_PUBLISH_TOKEN": "hush",
        "MY_SECRET": "hush",
        "GIT_AUTHOR_NAME": "Hush",
    }
    look = job(
        "look",
        "test ! -e uncommitted && test -z \"$(git status --porcelain)\"",
        "env",
        "gitops --version && exit 1 || true",
        "{name: Set up uv, use: uv}",
        "{name: Install gitops, use: tool}",
        "uv --version && gitops --version && command -v gitops",
    )  # fmt: skip
    workflow(root, git, look)
    (root / "uncommitted").write_text("x")
    done = gitops(root, "ci", "try", "--json", env=secrets)
    found = document(done)
    assert (done.code, found["passed"]) == (0, True), done.err
    assert "aren't committed: they are not in this run" in done.err
    log = said(found, "look")
    assert "hush" not in log.lower()
    assert "this job has no gitops: add the step" in log
    assert "CI=true" in log
    assert f"HOME={root.parent}" not in log
    where = log.split("HOME=")[1].splitlines()[0]
    assert not Path(where).exists()


def test_a_declared_secret_is_seen_by_its_step_alone(
    gitops: Gitops, git: Command, root: Path
) -> None:
    declared = "{name: With, run: 'test \"$KEY\" = hush', env: {KEY: {secret: MY_SECRET}}}"
    undeclared = 'test "$KEY$MY_SECRET" = hush'
    workflow(root, git, job("look", declared, undeclared, more="environment: production"))
    done = gitops(root, "ci", "try", "--json", env={"MY_SECRET": "hush"})
    steps = {one["name"]: one["state"] for one in document(done)["jobs"][0]["steps"]}
    assert done.code == 1
    assert steps == {"Check out": "passed", "With": "passed", "S2": "failed"}


PUSH = "git commit -q --allow-empty -m More && git push -q origin HEAD:main"


@pytest.mark.parametrize(
    ("contents", "token", "passes"),
    [("read", "", False), ("write", "", False), ("write", ", token: true", True)],
)
def test_only_a_job_that_may_write_pushes_and_never_to_the_true_remote(
    gitops: Gitops, git: Command, root: Path, contents: str, token: str, passes: bool
) -> None:
    push = f"{{name: Push, run: {PUSH}{token}}}"
    look = "git fetch -q && test $(git rev-list --count origin/main) -gt $(cat count)"
    workflow(
        root, git, job("push", "git rev-list --count HEAD > count", push, look, contents=contents)
    )
    before = git(root, "ls-remote", "origin")
    done = gitops(root, "ci", "try", "--json")
    assert done.code == (0 if passes else 1), done.err
    if not passes:
        assert "this step may not push" in done.err
    assert git(root, "ls-remote", "origin") == before


def test_for_real_the_true_remote_is_pushed_to(gitops: Gitops, git: Command, root: Path) -> None:
    push = f"{{name: Push, run: {PUSH}, token: true}}"
    reads = job("reads", PUSH)
    workflow(root, git, job("writes", push, contents="write") + reads)
    ahead = gitops(root, "ci", "try", "--for-real")
    assert ahead.code == 1
    assert "git push first" in ahead.err
    git(root, "push", "--quiet", "origin", "main")
    before = git(root, "rev-parse", "main")
    found = document(gitops(root, "ci", "try", "--for-real", "--json"))
    assert states(found) == {"writes": "passed", "reads": "failed"}
    git(root, "fetch", "--quiet")
    assert git(root, "rev-parse", "origin/main^") == before


def test_what_is_stored_in_a_rehearsal_is_not_stored(
    gitops: Gitops, git: Command, root: Path, light: Repository
) -> None:
    url = "$(sed -n 's/^ *url = //p' .dvc/config.local)"
    look = job("store", f"test -d {url}/files/md5", f"echo x > {url}/files/md5/new")
    workflow(root, git, look)
    done = gitops(root, "ci", "try")
    assert done.code == 0, done.err
    assert (light.storage / "files" / "md5").is_dir()
    assert not (light.storage / "files" / "md5" / "new").exists()


# ---------------------------------------------------------------- jobs and steps


def test_what_fails_is_said_first_and_stops_what_needs_it(
    gitops: Gitops, git: Command, root: Path
) -> None:
    fails = job(
        "fails",
        "echo 'error: it is worse' >&2; exit 3",
        "touch never",
        "{name: Always, run: test ! -e never, when: [always]}",
        "{name: Then, run: echo then, when: [failed]}",
    )
    after = job("after", "true", more="needs: [fails]")
    apart = job("apart", "true")
    anyway = job("anyway", "true", more="needs: [fails]\nwhen: [{finished: fails}]")
    workflow(root, git, fails + after + apart + anyway, more="required: [fails, apart]\n")
    done = gitops(root, "ci", "try")
    assert done.code == 1
    assert done.out.splitlines()[0] == "try failed: fails: it is worse (exit code 3)"
    found = document(gitops(root, "ci", "try", "--json"))
    assert states(found) == {
        "fails": "failed",
        "after": "skipped",
        "apart": "passed",
        "anyway": "passed",
        "required": "failed",
    }
    steps = {one["name"]: one["state"] for one in found["jobs"][0]["steps"]}
    assert steps == {
        "Check out": "passed",
        "S1": "failed",
        "S2": "skipped",
        "Always": "passed",
        "Then": "passed",
    }
    assert found["jobs"][1]["why"] == "fails failed"


GROUPS = json.dumps([{"name": "a", "models": ["a"]}, {"name": "b", "models": ["b", "c"]}])


@pytest.mark.parametrize("groups", [GROUPS, "[]"])
def test_a_matrix_of_what_a_job_puts_out(
    gitops: Gitops, git: Command, root: Path, groups: str
) -> None:
    put = 'printf "groups<<E\\n%s\\nE\\n" "$G" >> "$GITHUB_OUTPUT"'
    out = f"{{name: Find, run: '{put}', output: groups, env: {{G: '{groups}'}}}}"
    each = "{name: Each, run: 'echo \"got $M\"', env: {M: {matrix: models}}}"
    more = "needs: [find]\nmatrix: find.groups"
    workflow(
        root, git, job("find", out) + job("each", each, more=more), more="required: [find, each]\n"
    )
    done = gitops(root, "ci", "try", "--json")
    found = document(done)
    assert done.code == 0, done.err
    if groups == "[]":
        assert states(found) == {"find": "passed", "each": "skipped", "required": "passed"}
        return
    assert states(found) == {
        "find": "passed",
        "each a": "passed",
        "each b": "passed",
        "required": "passed",
    }
    assert "got b c" in said(found, "each b")


def test_a_matrix_of_values(gitops: Gitops, git: Command, root: Path) -> None:
    step = "{name: Each, run: 'test \"$V\" != 2', env: {V: {matrix: number}}}"
    workflow(root, git, job("each", step, more="matrix: {number: ['1', '2', '3']}"))
    found = document(gitops(root, "ci", "try", "--json"))
    assert states(found) == {"each 1": "passed", "each 2": "failed", "each 3": "passed"}


def test_artifacts_go_to_the_jobs_that_need_them(gitops: Gitops, git: Command, root: Path) -> None:
    up = "{name: Up, use: upload, artifact: kit, path: made, days: 1}"
    down = "{name: Down, use: download, artifact: kit, path: got}"
    jobs = job("makes", "mkdir made && echo x > made/one", up)
    jobs += job("takes", "test ! -e made", down, "test -f got/one", more="needs: [makes]")
    jobs += job("lacks", up.replace("kit", "nothing"))
    workflow(root, git, jobs)
    found = document(gitops(root, "ci", "try", "--json"))
    assert states(found) == {"makes": "passed", "takes": "passed", "lacks": "failed"}
    assert found["headline"] == "try failed: lacks: made isn't there"


def test_a_cache_is_restored_and_saved_only_by_who_may(
    gitops: Gitops, git: Command, root: Path
) -> None:
    cache = "{name: Restore, use: cache}"
    add = "mkdir -p .dvc/cache/files && ls .dvc/cache/files && touch .dvc/cache/files/%s"
    jobs = job("reads", cache, add % "reads") + job(
        "saves", cache, add % "saves", more="saves-cache: true"
    )
    workflow(root, git, jobs)
    gitops(root, "ci", "try", "--json")
    found = document(gitops(root, "ci", "try", "--json"))
    assert "saves" in said(found, "reads").splitlines()
    assert "reads" not in said(found, "saves").splitlines()


def test_one_job_runs_with_what_it_needs(gitops: Gitops, git: Command, root: Path) -> None:
    jobs = job("one", "true") + job("two", "true", more="needs: [one]") + job("three", "false")
    workflow(root, git, jobs)
    found = document(gitops(root, "ci", "try", "--job", "two", "--json"))
    assert states(found) == {"one": "passed", "two": "passed"}
    wrong = gitops(root, "ci", "try", "--job", "tow")
    assert wrong.code == 2
    assert "did you mean two?" in wrong.err
    assert gitops(root, "ci", "tri").code == 2


def test_summaries_are_collected(gitops: Gitops, git: Command, root: Path) -> None:
    workflow(root, git, job("tells", 'echo "**well**" >> "$GITHUB_STEP_SUMMARY"'))
    found = document(gitops(root, "ci", "try", "--json"))
    text = Path(found["logs"], "summary.md").read_text()
    assert text.startswith("# try passed\n")
    assert "## tells\n\n**well**" in text
    assert json.loads(Path(found["logs"], "summary.json").read_text()) == found


def test_only_the_logs_of_the_last_runs_are_kept(gitops: Gitops, git: Command, root: Path) -> None:
    workflow(root, git, job("quick", "true", checkout=False))
    runs = root / ".git" / "gitops" / "ci" / "runs"
    for number in range(12):
        (runs / f"2000010{number:02}T000000-try").mkdir(parents=True)
    found = document(gitops(root, "ci", "try", "--json"))
    kept = sorted(one.name for one in runs.iterdir())
    assert len(kept) == 10
    assert kept[-1] == Path(found["logs"]).name


# ---------------------------------------------------------------- events


MANUAL = """manual:
    inputs:
      reason: {type: text, about: Why}
      loud: {type: boolean, about: Louder, default: false}"""


def test_inputs(gitops: Gitops, git: Command, root: Path) -> None:
    run = 'test "$REASON" = "$(echo a; echo b)"'
    says = f"{{name: Says, run: '{run}', env: {{REASON: {{input: reason}}}}}}"
    loud = "{name: Loud, run: echo LOUD, when: [{input: loud}]}"
    soft = "{name: Soft, run: echo soft, when: [{no-input: loud}]}"
    workflow(root, git, job("says", says, loud, soft), triggers=MANUAL)
    reason = "reason=a\nb"
    done = gitops(root, "ci", "try", "--input", reason, "--json")
    assert done.code == 0, done.err
    log = said(document(done), "says")
    assert "soft" in log.splitlines()
    assert "LOUD" not in log.splitlines()
    done = gitops(root, "ci", "try", "--input", reason, "--input", "loud=true", "--json")
    assert "LOUD" in said(document(done), "says").splitlines()
    for given, text in [
        ([], "the input reason is missing: Why"),
        (["reason=x", "loud=maybe"], "write one of true, false"),
        (["reasom=x"], "did you mean reason?"),
        (["reason"], "is not KEY=VALUE"),
    ]:
        words = [word for one in given for word in ("--input", one)]
        wrong = gitops(root, "ci", "try", *words)
        assert wrong.code == 2
        assert text in wrong.err


def test_a_pull_request_is_its_merge_result(gitops: Gitops, git: Command, root: Path) -> None:
    workflow(
        root,
        git,
        job("look", "test -f mine && test -f theirs && git rev-parse HEAD^1 HEAD^2"),
        triggers="pull-request: {branches: [main]}",
    )
    git(root, "push", "--quiet", "origin", "main")
    git(root, "switch", "--quiet", "-c", "feature")
    (root / "mine").write_text("x\n")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "Mine")
    git(root, "switch", "--quiet", "main")
    (root / "theirs").write_text("x\n")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "Theirs")
    git(root, "push", "--quiet", "origin", "main")
    git(root, "switch", "--quiet", "feature")
    git(root, "branch", "--force", "main", "main~1")  # what the remote has counts
    done = gitops(root, "ci", "try", "--json")
    assert done.code == 0, done.err
    log = said(document(done), "look").splitlines()
    assert [git(root, "rev-parse", one) for one in ("origin/main", "HEAD")] == log[-2:]
    (root / "theirs").write_text("y\n")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "Mine too")
    conflict = gitops(root, "ci", "try")
    assert conflict.code == 1
    assert "HEAD conflicts with main in theirs" in conflict.err


def test_a_fork_gets_no_job_that_needs_credentials(
    gitops: Gitops, git: Command, root: Path
) -> None:
    jobs = job("open", "test $GITHUB_EVENT_NAME = pull_request")
    jobs += job("ours", "true", more="when: [same-repository]")
    jobs += job("late", "true", more="when: [{branch: main}]")
    workflow(root, git, jobs, triggers="pull-request: {branches: [main]}")
    event = root.parent / "event.json"
    sides: dict[str, Any] = {
        side: {"repo": {"full_name": f"{side}/churn"}} for side in ("base", "head")
    }
    event.write_text(json.dumps({"pull_request": sides, "number": 7}))
    found = document(gitops(root, "ci", "try", "--event", str(event), "--json"))
    assert states(found) == {"open": "passed", "ours": "skipped", "late": "skipped"}
    assert found["jobs"][1]["why"] == "the change comes from a fork"
    sides["head"] = {"repo": None}  # which is gone
    event.write_text(json.dumps({"pull_request": sides, "number": 7}))
    found = document(gitops(root, "ci", "try", "--event", str(event), "--json"))
    assert states(found)["ours"] == "skipped"
    found = document(gitops(root, "ci", "try", "--json"))
    assert states(found)["ours"] == "passed"


def test_a_push_knows_what_was_before(gitops: Gitops, git: Command, root: Path) -> None:
    before = git(root, "rev-parse", "HEAD")
    step = "{name: Look, run: 'test \"$B\" = %s', env: {B: {before: true}}}".replace("%s", before)
    workflow(root, git, job("look", step))
    assert gitops(root, "ci", "try").code == 0
    event = root.parent / "event.json"
    push = {"ref": "refs/heads/main", "before": "0" * 40, "after": git(root, "rev-parse", "HEAD")}
    event.write_text(json.dumps(push))
    assert gitops(root, "ci", "try", "--event", str(event)).code == 1


def test_a_push_of_a_release_branch(gitops: Gitops, git: Command, root: Path) -> None:
    jobs = job("staging", "true", more="when: [{branch: release/staging}]")
    jobs += job("production", "true", more="when: [{branch: release/production}]")
    workflow(root, git, jobs, triggers="push: {branches: releases}")
    for branch in ("release/staging", "release/production"):
        git(root, "push", "--quiet", "origin", f"HEAD:{branch}")
    unsaid = gitops(root, "ci", "try")
    assert unsaid.code == 2
    assert "--branch release/staging or release/production" in unsaid.err
    found = document(gitops(root, "ci", "try", "--branch", "release/staging", "--json"))
    assert states(found) == {"staging": "passed", "production": "skipped"}
    for words in (["--branch", "nowhere"], ["--event", "schedule"], ["--event", "no-file"]):
        assert gitops(root, "ci", "try", *words).code == 2


# ---------------------------------------------------------------- what goes wrong


def test_a_remote_that_is_gone(gitops: Gitops, git: Command, root: Path) -> None:
    workflow(root, git, job("look", "true"))
    git(root, "remote", "set-url", "origin", "../gone.git")
    done = gitops(root, "ci", "try")
    assert done.code == 4
    assert "can't be read" in done.err
    git(root, "remote", "remove", "origin")
    assert gitops(root, "ci", "try").code == 0


@pytest.fixture
def start(installed: Path, git_identity: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """`start(root, *arguments)`: an installed `gitops` that is under way."""

    def call(root: Path, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [installed / "gitops", *arguments],
            cwd=root,
            env=git_identity,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return call


def until(what: Callable[[], object]) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def ended(pid: int) -> bool:
    """Whether there's no such process any more, but for its name."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def waiting(folder: Path) -> str:
    """A step that says who it is and where, leaves a process behind, and waits to be let go."""
    return (
        f'sleep 300 & echo $! $$ > {folder}/half; echo "$HOME" > {folder}/place;'
        f" mv {folder}/half {folder}/pids; while test ! -e {folder}/go; do sleep 0.05; done;"
        f" rm {folder}/pids"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_everything(
    git: Command,
    root: Path,
    tmp_path: Path,
    start: Callable[..., subprocess.Popen[str]],
    number: signal.Signals,
) -> None:
    workflow(root, git, job("waits", waiting(tmp_path)))
    with start(root, "ci", "try") as process:
        until((tmp_path / "pids").exists)
        process.send_signal(number)
        process.communicate()
    assert process.returncode == 130
    for pid in (tmp_path / "pids").read_text().split():
        until(partial(ended, int(pid)))
    assert not Path((tmp_path / "place").read_text().strip()).parent.exists()
    assert "S1" in next(root.glob(".git/gitops/ci/runs/*/waits.log")).read_text()


def test_what_a_step_leaves_running_ends_with_it(
    gitops: Gitops, git: Command, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    keep = waiting(tmp_path).replace(f"rm {tmp_path}/pids", "true")
    workflow(root, git, job("waits", keep))
    assert gitops(root, "ci", "try").code == 0
    left, _ = (tmp_path / "pids").read_text().split()
    until(partial(ended, int(left)))


def test_a_killed_run_is_waited_for_and_cleaned_up(
    git: Command, root: Path, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    workflow(root, git, job("waits", waiting(tmp_path)))
    with start(root, "ci", "try") as killed:
        until((tmp_path / "pids").exists)
        killed.kill()
        killed.communicate()
    left = Path((tmp_path / "place").read_text().strip()).parent
    sleeper, shell = (int(pid) for pid in (tmp_path / "pids").read_text().split())
    assert left.exists()
    with start(root, "ci", "try") as second:
        assert second.stderr is not None
        lines = iter(second.stderr.readline, "")
        assert any("waiting for the run before this one" in line for line in lines)
        assert not ended(shell)
        (tmp_path / "go").touch()  # its step still ran: the lock was its, too
        os.kill(sleeper, signal.SIGTERM)
        second.communicate()
    assert second.returncode == 0
    assert not left.exists()


def test_a_newer_run_ends_the_older_where_the_workflow_says_so(
    git: Command, root: Path, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    workflow(root, git, job("waits", waiting(tmp_path)), cancel="true")
    with start(root, "ci", "try") as older:
        until((tmp_path / "pids").exists)
        with start(root, "ci", "try") as newer:
            older.communicate()
            assert older.returncode == 130
            (tmp_path / "go").touch()
            _, err = newer.communicate()
    assert newer.returncode == 0, err
    assert f"ending the older run (process {older.pid})" in err


# ---------------------------------------------------------------- act


ACT = """\
#!/bin/sh
printf '%s\\n' "$@" > "{folder}/words"
while test $# -gt 0; do test "$1" = --eventpath && cp "$2" "{folder}/event"; shift; done
exit {code}
"""


@pytest.mark.parametrize("code", [0, 7])
def test_act_gets_the_emitted_file(
    gitops: Gitops, git: Command, root: Path, tmp_path: Path, code: int
) -> None:
    emitted = root / ".github" / "workflows" / "pull-request.yml"
    words = ["ci", "pull-request", "--engine", "act", "--job", "gate"]
    missing = gitops(root, *words)
    assert missing.code == 3
    assert "there is no .github/workflows/pull-request.yml" in missing.err
    emitted.parent.mkdir(parents=True)
    emitted.write_text("name: pull-request\n")
    absent = gitops(root, *words)
    assert absent.code == 4
    assert "act was not found" in absent.err
    act = tmp_path / "bin" / "act"
    act.parent.mkdir()
    act.write_text(ACT.format(folder=tmp_path, code=code))
    act.chmod(0o755)
    event = tmp_path / "event.json"
    event.write_text('{"pull_request": {"number": 3}}')
    path = f"{act.parent}{os.pathsep}{os.environ['PATH']}"
    done = gitops(root, *words, "--event", str(event), env={"PATH": path})
    assert done.code == (1 if code else 0), done.err
    given = (tmp_path / "words").read_text().splitlines()
    assert given[:3] == ["pull_request", "--directory", str(root)]
    assert given[3:7] == ["--workflows", ".github/workflows/pull-request.yml", "--job", "gate"]
    assert json.loads((tmp_path / "event").read_text()) == {"pull_request": {"number": 3}}
    gitops(root, *words, env={"PATH": path})
    sides = {"base": {"ref": "main"}, "head": {"ref": "main"}}
    assert json.loads((tmp_path / "event").read_text()) == {"pull_request": sides}


# ---------------------------------------------------------------- the shipped workflows


@pytest.mark.extended("real training four times over; each of its jobs has tests of its own")
def test_a_pull_request_of_a_real_project(
    gitops: Gitops, git: Command, repository: Repository
) -> None:
    root = repository.root
    git(root.parent, "init", "--quiet", "--bare", "origin.git")
    git(root, "remote", "add", "origin", "../origin.git")
    git(root, "push", "--quiet", "--all", "origin")
    git(root, "switch", "--quiet", "-c", "worse")
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("leave_out: []", "leave_out: [months, fee]"))
    assert gitops(root, "build").code == 0
    git(root, "commit", "--quiet", "--all", "-m", "Leave out what matters")
    done = gitops(root, "ci", "pull-request", "--json", timeout=900)
    found = document(done)
    assert done.code == 1, done.err
    assert states(found)["gate"] == "failed"
    rest = {
        name: state for name, state in states(found).items() if name not in ("gate", "required")
    }
    assert rest == {
        "files": "passed",
        "lint": "passed",
        "tests": "passed",
        "reproduce": "passed",
        "comment": "skipped",
    }
    assert found["headline"].startswith(
        "pull-request failed: gate: left for dev: “roc_auc no worse"
    )
    assert "roc_auc" in Path(found["logs"], "summary.md").read_text()
    assert Path(found["logs"], "artifacts", "gate", "left", "verdict.json").is_file()

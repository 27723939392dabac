"""`gitops new`: what it makes, what it refuses before anything is written, and being stopped."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Table

pytestmark = pytest.mark.functional


@pytest.fixture
def here(tmp_path: Path, churn: Table) -> Path:
    """A folder with a table in it, and nothing else."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "customers.csv").write_text(churn(rows=120))
    return folder


WORDS = ("--data", "customers.csv", "--target", "left", "--no-input")


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# ---------------------------------------------------------------- what it makes


def test_the_answer_is_one_document_and_the_tree_is_clean(
    here: Path, gitops: Gitops, git: Command, dvc: Command
) -> None:
    done = gitops(here, "new", "churn", *WORDS, "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    root = here / "churn"
    assert (answer["project"], answer["model"]) == ("churn", "left")
    assert answer["directory"] == str(root)
    assert answer["storage"] == str(here / "churn-storage")
    assert answer["commit"] == git(root, "rev-parse", "HEAD")
    assert answer["roles"]["id"] == "customer"
    assert answer["profile"]["rows"] == 120
    assert set(answer["files"]) <= set(git(root, "ls-files").splitlines())
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "branch", "--format=%(refname:short)").split() == [
        *("main", "release/production", "release/staging")
    ]
    assert (root / "data" / "customers.csv").read_bytes() == (here / "customers.csv").read_bytes()
    assert dvc(root, "status", "--cloud") == "Cache and remote 'storage' are in sync."
    assert sorted(path.name for path in here.iterdir()) == [
        *("churn", "churn-storage", "customers.csv")
    ]


def test_a_table_too_small_for_productions_policy_is_told_so_with_what_to_say(
    here: Path, gitops: Gitops
) -> None:
    tried = gitops(here, "new", "churn", *WORDS, "--dry-run", "--json")
    (warning,) = json.loads(tried.out)["warnings"]
    assert "about 24 test rows" in warning and "--set policy=project" in warning
    assert warning in gitops(here, "new", "churn", *WORDS, "--dry-run").err
    done = gitops(here, "new", "churn", *WORDS, "--set", "policy=project", "--json")
    assert json.loads(done.out)["warnings"] == []
    declared = (here / "churn" / "gitops.yaml").read_text()
    assert "{name: production, branch: release/production, policy: project}" in declared
    refused = gitops(here, "new", "other", *WORDS, "--set", "policy=strikt")
    assert refused.code == 3 and "did you mean strict?" in refused.err


def test_without_data_a_real_data_set(here: Path, gitops: Gitops) -> None:
    done = gitops(here, "new", "first", "--no-input")
    assert done.code == 0, done.err
    assert "569 rows" in done.err
    assert (here / "first" / "gitops.yaml").is_file()


def test_in_the_empty_folder_that_we_stand_in(here: Path, gitops: Gitops, git: Command) -> None:
    folder = here / "mine"
    folder.mkdir()
    data = str(here / "customers.csv")
    done = gitops(folder, "new", ".", "--data", data, "--target", "left", "--no-input")
    assert done.code == 0, done.err
    assert "project: mine" in (folder / "gitops.yaml").read_text()
    assert git(folder, "status", "--porcelain") == ""
    assert not (folder / ".gitops-staging").exists()


def test_answers_of_a_file_and_of_settings_the_later_winning(here: Path, gitops: Gitops) -> None:
    (here / "answers.yaml").write_text(
        "name: leavers\nmodel: leaving\ndata: customers.csv\ntarget: left\n"
        "positive: 'no'\ndrop: [calls]\nstorage: ../kept\n"
    )
    words = ["--answers", "answers.yaml", "--set", "positive=yes", "--no-input", "--json"]
    done = gitops(here, "new", "folder", *words)
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert (answer["project"], answer["model"]) == ("leavers", "leaving")
    assert answer["storage"] == str(here / "kept")
    assert answer["roles"]["positive"] == "yes"
    assert "calls" not in [one["name"] for one in answer["roles"]["features"]]


def test_200_columns(here: Path, gitops: Gitops) -> None:
    drawn = random.Random(5)
    names = [f"sensor_{n:03}" for n in range(199)]
    rows = [[*(f"{drawn.gauss(0, 1):.4f}" for _ in names), str(n % 3)] for n in range(60)]
    text = "\n".join(",".join(row) for row in [[*names, "state"], *rows])
    (here / "wide.csv").write_text(text + "\n")
    words = ["--data", "wide.csv", "--target", "state", "--no-input", "--json"]
    done = gitops(here, "new", "wide", *words)
    assert done.code == 0, done.err
    roles = json.loads(done.out)["roles"]
    assert len(roles["features"]) + len(roles["dropped"]) == 199
    assert roles["task"] == "multiclass"


def test_the_pipelines_are_of_the_platform_that_was_asked_for(here: Path, gitops: Gitops) -> None:
    done = gitops(here, "new", "churn", *WORDS, "--ci", "azure")
    assert done.code == 0, done.err
    assert not (here / "churn" / ".github" / "workflows").exists()
    there = {file.stem for file in (here / "churn" / ".azure-pipelines").iterdir()}
    assert there == {"pull-request", "build", "promote", "rollback", "deploy"}
    assert gitops(here / "churn", "sync", "--check").code == 0


# ---------------------------------------------------------------- what it refuses


def refused(
    gitops: Gitops, here: Path, code: int, *words: str, env: dict[str, str] | None = None
) -> str:
    """What was said with this exit code; nothing was written."""
    before = listing(here)
    done = gitops(here, "new", *words, env=env)
    assert (done.code, done.out) == (code, ""), done.err
    assert listing(here) == before
    assert "Traceback" not in done.err
    assert "fix:" in done.err
    return done.err


NAMES = [
    ("1 bad-class", "ml-1-bad-class"),
    ("class", "class-ml"),
    ("con", "con-ml"),
    ("a" * 80, "a" * 32),
    ("größe", "grosse"),
    ("数据", "project"),
]


@pytest.mark.parametrize(("name", "suggestion"), NAMES)
def test_names_that_cannot_be(here: Path, gitops: Gitops, name: str, suggestion: str) -> None:
    assert f"'{suggestion}'" in refused(gitops, here, 3, name, *WORDS)
    assert f"'{suggestion}'" in refused(gitops, here, 3, "fine", *WORDS, "--name", name)
    assert f"'{suggestion}'" in refused(gitops, here, 3, "fine", *WORDS, "--set", f"model={name}")


@pytest.mark.parametrize("escape", ["../up", "/etc/up", "a/b", "..", "~/up", "a\\b"])
def test_names_that_would_be_paths(here: Path, gitops: Gitops, escape: str) -> None:
    for key in ("name", "model"):
        said = refused(gitops, here, 3, "fine", *WORDS, "--set", f"{key}={escape}")
        assert repr(escape) in said


def test_a_table_of_an_escaping_name_is_stored_under_data(
    here: Path, gitops: Gitops, git: Command
) -> None:
    shutil.move(here / "customers.csv", here / ".. con; {{ x }} größe.csv")
    words = ["--data", ".. con; {{ x }} größe.csv", "--target", "left", "--no-input"]
    done = gitops(here, "new", "churn", *words)
    assert done.code == 0, done.err
    tracked = [path for path in git(here / "churn", "ls-files").splitlines() if ".dvc" in path]
    assert "data/con-x-grosse.csv.dvc" in tracked


def test_folders_that_cannot_be(here: Path, gitops: Gitops) -> None:
    (here / "full").mkdir()
    (here / "full" / "mine.txt").write_text("mine")
    assert "not empty: mine.txt" in refused(gitops, here, 2, "full", *WORDS)
    assert "not a folder" in refused(gitops, here, 2, "customers.csv", *WORDS)
    (here / "link").symlink_to(here / "full")
    assert "not a folder" in refused(gitops, here, 2, "link", *WORDS)
    assert (here / "full" / "mine.txt").read_text() == "mine"


def test_what_the_machine_lacks(here: Path, gitops: Gitops, tmp_path: Path) -> None:
    nobody = tmp_path / "nobody"
    nobody.write_text("[user]\n\tuseConfigOnly = true\n")
    said = refused(gitops, here, 3, "churn", *WORDS, env={"GIT_CONFIG_GLOBAL": str(nobody)})
    assert 'git config --global user.name "Your Name"' in said
    empty = tmp_path / "bin"
    empty.mkdir()
    said = refused(gitops, here, 4, "churn", *WORDS, env={"PATH": str(empty)})
    assert "git was not found" in said


@pytest.mark.parametrize("pattern", ["", "data/"])
def test_what_a_persons_own_git_ignores(
    here: Path, gitops: Gitops, git: Command, tmp_path: Path, pattern: str
) -> None:
    (tmp_path / "mine").write_text(f"*.lock\n*.dvc\n.dvc\n{pattern}\n")
    config = tmp_path / "home" / ".gitconfig"
    with config.open("a") as file:
        file.write(f"[core]\n\texcludesFile = {tmp_path / 'mine'}\n")
    if pattern:
        said = refused(gitops, here, 3, "churn", *WORDS)
        assert (
            f"ignore data/customers.csv.dvc, which the repository needs: {tmp_path}/mine:4" in said
        )
        return
    done = gitops(here, "new", "churn", *WORDS)
    assert done.code == 0, done.err
    tracked = git(here / "churn", "ls-files").split()
    needed = {".dvc/config", ".gitops/lock.yaml", "data/customers.csv.dvc", "uv.lock"}
    assert needed <= set(tracked)


def test_without_uv(here: Path, installed: Path, git_identity: dict[str, str]) -> None:
    code = "import sys; sys.modules['uv'] = None; from gitops.cli import main; main()"
    done = subprocess.run(
        [installed / "python", "-c", code, "new", "churn", *WORDS],
        cwd=here,
        env=git_identity,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 4
    assert "uv was not found" in done.stderr
    assert listing(here) == ["customers.csv"]


def test_answers_that_cannot_be(here: Path, gitops: Gitops) -> None:
    said = refused(gitops, here, 3, "churn", *WORDS, "--set", "positve=yes")
    assert "did you mean 'positive'?" in said
    said = refused(gitops, here, 3, "churn", *WORDS, "--set", "storge=x")
    assert "did you mean 'storage'?" in said
    assert "KEY=VALUE" in refused(gitops, here, 2, "churn", *WORDS, "--set", "drop")
    assert "'months'" in refused(gitops, here, 3, "churn", *WORDS, "--set", "drop=month")
    said = refused(gitops, here, 3, "churn", *WORDS, "--set", "storage=ftp://host/x")
    assert '"ftp"' in said
    said = refused(gitops, here, 3, "churn", *WORDS, "--ci", "jenkins")
    assert "jenkins" in said
    (here / "answers.yaml").write_text("- a list\n")
    assert "answers.yaml" in refused(gitops, here, 3, "churn", *WORDS, "--answers", "answers.yaml")
    refused(gitops, here, 3, "churn", *WORDS, "--answers", "nosuch.yaml")
    said = refused(gitops, here, 2, "churn", "--data", "customers.csv", "--no-input")
    assert "--target" in said


TABLES = {
    "missing target": ("a,b\n" + "1,2\n2,1\n" * 20, "y", "'y'"),
    "constant target": ("a,y\n" + "1,no\n2,no\n" * 20, "y", "'no' in every row"),
    "empty column": ("a,b,y\n" + "1,,no\n2,,yes\n" * 20, "y", "--set drop=b"),
    "two rows": ("a,y\n1,no\n2,yes\n", "y", "at least 10"),
    "duplicate columns": ("a,a,y\n" + "1,2,no\n2,1,yes\n" * 20, "y", "'a'"),
    "no rows": ("a,y\n", "y", "bad.csv"),
    "nothing": ("", "y", "bad.csv"),
}


@pytest.mark.parametrize("problem", TABLES)
def test_tables_that_cannot_work(here: Path, gitops: Gitops, problem: str) -> None:
    text, target, named = TABLES[problem]
    (here / "bad.csv").write_text(text)
    words = ["--data", "bad.csv", "--target", target, "--no-input"]
    said = refused(gitops, here, 3, "churn", *words)
    assert named in said


# ---------------------------------------------------------------- being stopped


@pytest.fixture
def slow_git(tmp_path: Path) -> Iterator[Path]:
    """A folder with a `git` that reports its commits there, and does them once it is let go."""
    folder = tmp_path / "slow"
    folder.mkdir()
    real = shutil.which("git")
    (folder / "git").write_text(
        f'#!/bin/sh\ncase " $* " in *" commit "*) echo $$ > "{folder}/reached"\n'
        f'while [ ! -e "{folder}/go" ]; do sleep 0.1; done;; esac\nexec {real} "$@"\n'
    )
    (folder / "git").chmod(0o755)
    yield folder
    (folder / "go").touch()


@pytest.fixture
def stopped(
    here: Path, slow_git: Path, installed: Path, git_identity: dict[str, str]
) -> Callable[[signal.Signals], int]:
    """Start `gitops new churn`, stop it at its first commit, and return the exit code."""

    def stop(number: signal.Signals) -> int:
        path = os.pathsep.join([str(slow_git), git_identity["PATH"]])
        process = subprocess.Popen(
            [installed / "gitops", "new", "churn", *WORDS],
            cwd=here,
            env={**git_identity, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + 60
        while not (slow_git / "reached").exists():
            assert time.monotonic() < deadline, "git was never started"
            time.sleep(0.1)
        process.send_signal(number)
        (slow_git / "go").touch()
        said, _ = process.communicate(timeout=60)
        assert "Traceback" not in said
        return process.returncode

    return stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(
    here: Path, stopped: Callable[[signal.Signals], int], number: signal.Signals
) -> None:
    assert stopped(number) == 130
    assert listing(here) == ["customers.csv"]


def test_killed_it_leaves_litter_that_the_next_one_clears(
    here: Path, stopped: Callable[[signal.Signals], int], gitops: Gitops, git: Command
) -> None:
    assert stopped(signal.SIGKILL) == -signal.SIGKILL
    assert not (here / "churn").exists()
    assert [path.name for path in here.iterdir() if path.name != "customers.csv"]
    done = gitops(here, "new", "churn", *WORDS)
    assert done.code == 0, done.err
    assert git(here / "churn", "status", "--porcelain") == ""
    assert sorted(path.name for path in here.iterdir()) == [
        *("churn", "churn-storage", "customers.csv")
    ]


# ---------------------------------------------------------------- on a terminal


def talk(installed: Path, here: Path, env: dict[str, str], *words: str) -> pexpect.spawn[str]:
    return pexpect.spawn(
        str(installed / "gitops"),
        ["new", *words],
        cwd=str(here),
        env=env,
        encoding="utf-8",
        timeout=60,
        dimensions=(50, 110),
    )


def test_prompts_take_defaults_and_a_correction(
    here: Path, installed: Path, git_identity: dict[str, str]
) -> None:
    shell = talk(installed, here, git_identity, "1 bad-class", "--data", "customers.csv")
    shell.expect(r"Name of the project \[ml-1-bad-class\]: ")
    shell.sendline("")
    shell.expect(r"Column to predict \[left\]: ")
    shell.sendline("")
    shell.expect("binary of left")
    shell.expect("KEY=VALUE, or Enter to go on: ")
    shell.sendline("nonsense")
    shell.expect("is not KEY=VALUE")
    shell.expect("KEY=VALUE, or Enter to go on: ")
    shell.sendline("drop=month")
    shell.expect("did you mean 'months'")
    shell.expect("KEY=VALUE, or Enter to go on: ")
    shell.sendline("drop=months")
    shell.expect("months +left out")
    shell.expect("KEY=VALUE, or Enter to go on: ")
    shell.sendline("")
    shell.expect("gitops verify")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 0
    params = (here / "1 bad-class" / "params.yaml").read_text()
    features = params.partition("\nfeatures:")[2].partition("\nslices:")[0]
    assert "calls" in features
    assert "months" not in features


@pytest.mark.parametrize("plain", [False, True])
def test_colour_on_a_terminal_unless_refused(
    here: Path, installed: Path, git_identity: dict[str, str], plain: bool
) -> None:
    env = {**git_identity, "TERM": "xterm-256color", **({"NO_COLOR": "1"} if plain else {})}
    shell = talk(installed, here, env, "churn", *WORDS)
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 0
    assert bool(re.search("\x1b\\[[0-9;]*m", str(shell.before))) is not plain


@pytest.mark.parametrize("prompt", [r"Name of the project \[churn\]: ", "Enter to go on: "])
def test_interrupted_at_a_prompt(
    here: Path, installed: Path, git_identity: dict[str, str], prompt: str
) -> None:
    words = ["--data", "customers.csv", "--target", "left"]
    name = [] if "Name" in prompt else ["--name", "churn"]
    shell = talk(installed, here, git_identity, "churn", *words, *name)
    shell.expect(prompt)
    shell.sendintr()
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 130
    assert listing(here) == ["customers.csv"]

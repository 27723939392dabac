"""A forge in front of a bare git repository, for tests: rules that refuse pushes, merges, reviews.

`Simulator` is the repository and what the forge knows beside it; `forge_server.serve` puts the
REST APIs of GitHub and Azure DevOps, and git over HTTP, in front of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from tests import programs
from tests.forge_azure_settings import Settings as Project
from tests.forge_github_settings import Settings, enforced

How = Literal["merge", "squash", "rebase"]
Stop = Literal["pre-receive", "post-receive"]
State = Literal["approved", "changes requested", "commented", "dismissed"]

OWNER, REPOSITORY = "acme", "flights"
# Whose pushes start no workflow: the user that GitHub's own token has.
ROBOT = "x-access-token"

_GIT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{role}_NAME": "Forge" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "noreply@forge.invalid" for role in ("AUTHOR", "COMMITTER")},
}

_HOOK = '''{head}
"""One file for all three hooks: git calls each by its name, in the repository's folder."""
import fcntl, json, os, re, subprocess, sys

hook = os.path.basename(sys.argv[0])
with open("forge-rules.json") as file:
    rules = json.load(file)

def refuse(*lines):
    for line in lines:
        print(line, file=sys.stderr)
    sys.exit(1)

def stop():
    if rules["stop"] == hook:
        with open("forge-arrived", "w") as file:
            file.write("x")
        with open("forge-gate") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # until the test lets go

if hook == "update":
    ref = sys.argv[1]
    if ref in rules["protected"]:
        refuse(f"error: GH006: Protected branch update failed for {{ref}}.",
               "error: Changes must be made through a pull request.")
    if ref in rules["refused"]:
        refuse(f"error: the server's hook refuses {{ref}}")
    sys.exit(0)

def hit(kind, old, new):
    if not old.strip("0"):
        return kind == "creation"
    if not new.strip("0"):
        return kind == "deletion"
    ancestor = subprocess.run(["git", "merge-base", "--is-ancestor", old, new]).returncode == 0
    if kind == "non_fast_forward":
        return not ancestor
    return kind in ("update", "pull_request", "required_status_checks")

updates = [line.split() for line in sys.stdin]
stop()
for old, new, ref in updates:
    for pattern, kind in rules["rulesets"]:
        if hook == "pre-receive" and re.fullmatch(pattern, ref) and hit(kind, old, new):
            refuse(f"error: GH013: Repository rule violations found for {{ref}}.", f"- {{kind}}")
    if hook == "pre-receive" and ref in rules["ruled"]:
        refuse(f"error: GH013: Repository rule violations found for {{ref}}.",
               "", "- Changes must be made through a pull request.", "")
    if hook == "post-receive" and os.environ.get("REMOTE_USER") != "{robot}" and rules["starting"]:
        with open("forge-pushes", "a") as file:
            file.write(json.dumps(ref) + "\\n")
'''


@dataclass(frozen=True)
class Run:
    """A workflow that was started: by what, on which ref, with which inputs."""

    event: str
    ref: str
    workflow: str = ""
    inputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """What a reviewer said of a commit."""

    login: str
    state: State
    commit: str
    at: str


@dataclass
class Comment:
    """A comment on a pull request. `trusted`: by a bot or a member of the organization."""

    number: int
    author: str
    text: str
    trusted: bool
    at: str
    written: int = 1  # times


@dataclass
class Pull:
    """A pull request. `heads`: the commits that its head was at, with the time of each."""

    number: int
    head: str
    base: str
    title: str
    body: str
    heads: list[tuple[str, str]]
    state: Literal["open", "closed", "merged"] = "open"
    changed: str = ""
    retargeted: list[str] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)


class Simulator:
    """A bare repository with the rules of a forge. Rules hold for pushes, not for its merges."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / OWNER / f"{REPOSITORY}.git"
        self.pulls: list[Pull] = []
        self.dispatched: list[Run] = []
        self.teams: dict[str, tuple[str, ...]] = {}
        self.pipelines: list[tuple[int, str, str]] = []  # Azure's: number, name, folder
        self.settings = Settings()  # GitHub's
        self.project = Project()  # Azure's
        self.lock = threading.RLock()
        self._ticks = 0
        self._rules: dict[str, Any] = {}
        self.path.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
        with (self.path / "config").open("a") as config:
            config.write("[http]\n\treceivepack = true\n")
        self.rules()
        for name in ("pre-receive", "update", "post-receive"):
            hook = self.path / "hooks" / name
            hook.write_text(_HOOK.format(head=programs.head("-IS"), robot=ROBOT), "utf-8")
            hook.chmod(0o755)
        os.mkfifo(self.path / "forge-arrived")
        (self.path / "forge-gate").touch()

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        """What git says in the bare repository (or in a work tree of it)."""
        done = subprocess.run(
            ["git", *arguments], cwd=cwd or self.path, env=_GIT, capture_output=True, text=True
        )
        assert done.returncode == 0, f"git {arguments}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def tip(self, branch: str) -> str | None:
        """The commit of a branch; None: there's no such branch."""
        found = self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
        return found or None

    def now(self) -> str:
        """The forge's clock: a second later at each look, and far from this machine's."""
        self._ticks += 1
        time = datetime(2031, 5, 17, tzinfo=UTC) + timedelta(seconds=self._ticks)
        return time.isoformat().replace("+00:00", "Z")

    def rules(
        self,
        *,
        protected: tuple[str, ...] = (),
        ruled: tuple[str, ...] = (),
        refused: tuple[str, ...] = (),
        starting: bool = True,
    ) -> None:
        """Switch the rules; what isn't named is off.

        `protected` and `ruled`: branches that no push may change, refused with GH006 (ref by ref)
        or GH013 (the whole push). `refused`: full names of refs that a hook declines one by one.
        `starting`: whether a push starts workflows; one by `x-access-token` over HTTP never does.
        """
        self._rules = {
            "protected": [f"refs/heads/{name}" for name in protected],
            "ruled": [f"refs/heads/{name}" for name in ruled],
            "refused": list(refused),
            "starting": starting,
            "rulesets": [],
            "stop": None,
        }
        self._write()

    def enforce(self) -> None:
        """Let the rulesets of the settings hold for pushes, as GitHub does; nobody bypasses."""
        self._rules["rulesets"] = enforced(self.settings)
        self._write()

    def _write(self) -> None:
        staged = self.path / "forge-rules.new"
        staged.write_text(json.dumps(self._rules), "utf-8")
        staged.replace(self.path / "forge-rules.json")

    @contextmanager
    def held(self, at: Stop) -> Iterator[Held]:
        """A remote that is as slow as the test wants: pushes stop in a hook until this ends.

        `pre-receive`: nothing has changed yet. `post-receive`: all has, and the client isn't told.
        """
        with (self.path / "forge-gate").open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            arrived = os.open(self.path / "forge-arrived", os.O_RDWR | os.O_CLOEXEC)
            try:
                self._rules["stop"] = at
                self._write()
                yield Held(arrived)
            finally:
                self._rules["stop"] = None
                self._write()
                fcntl.flock(gate, fcntl.LOCK_UN)
                os.close(arrived)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Workflows started by pushes, then those started by dispatch."""
        pushed: list[Run] = []
        with suppress(FileNotFoundError):
            text = (self.path / "forge-pushes").read_text("utf-8")
            pushed = [Run("push", json.loads(line)) for line in text.splitlines()]
        return (*pushed, *self.dispatched)

    def open(self, head: str, base: str, title: str, body: str) -> Pull:
        """Open a pull request between branches that are there."""
        with self.lock:
            commit = self.tip(head)
            assert commit and self.tip(base), f"{head} or {base} is missing"
            at = self.now()
            number = len(self.pulls) + 1
            pull = Pull(number, head, base, title, body, [(commit, at)], changed=at)
            self.pulls.append(pull)
            return pull

    def seen(self) -> list[Pull]:
        """All pull requests, their heads brought up to where the branches are."""
        with self.lock:
            for pull in self.pulls:
                commit = self.tip(pull.head)
                if pull.state == "open" and commit and commit != pull.heads[-1][0]:
                    pull.changed = self.now()
                    pull.heads.append((commit, pull.changed))
            return self.pulls

    def review(self, number: int, login: str, state: State, commit: str = "") -> None:
        """Somebody says something of a pull request's head (or of an earlier `commit`).

        `dismissed` takes what they said last with it, as a maintainer's click does.
        """
        with self.lock:
            pull = self.seen()[number - 1]
            if state == "dismissed":
                last = max(i for i, one in enumerate(pull.said) if one.login == login)
                one = pull.said[last]
                pull.said[last] = Said(login, state, one.commit, one.at)
            else:
                pull.said.append(Said(login, state, commit or pull.heads[-1][0], self.now()))

    def retarget(self, number: int, base: str) -> None:
        """Aim a pull request at another branch; what was said of it stays."""
        with self.lock:
            pull = self.seen()[number - 1]
            pull.base, pull.changed = base, self.now()
            pull.retargeted.append(pull.changed)

    def close(self, number: int) -> None:
        """Close a pull request without merging it."""
        self.seen()[number - 1].state = "closed"

    def merge(self, branch: str, into: str, how: How) -> str:
        """Merge on the server, past all rules, and close their open pull request; the new tip."""
        with self.lock, tempfile.TemporaryDirectory() as scratch:
            old, head = self.tip(into), self.tip(branch)
            assert old and head, f"{branch} or {into} is missing"
            tree = Path(scratch) / "tree"
            self.git("worktree", "add", "--quiet", "--detach", str(tree), old)
            try:
                new = self._merged(tree, branch, old, head, how)
            finally:
                self.git("worktree", "remove", "--force", str(tree))
            self.git("update-ref", f"refs/heads/{into}", new, old)
            for pull in self.seen():
                if pull.state == "open" and (pull.head, pull.base) == (branch, into):
                    pull.state, pull.changed = "merged", self.now()
            return new

    def _merged(self, tree: Path, branch: str, old: str, head: str, how: How) -> str:
        if how == "merge":
            message = f"Merge pull request from {OWNER}/{branch}"
            self.git("merge", "--quiet", "--no-ff", "-m", message, head, cwd=tree)
        elif how == "squash":
            self.git("merge", "--quiet", "--squash", head, cwd=tree)
            self.git("commit", "--quiet", "--allow-empty", "-m", f"{branch} (squashed)", cwd=tree)
        else:  # new commits even where the old ones would do, and none that merges
            self.git("checkout", "--quiet", "--detach", head, cwd=tree)
            self.git("rebase", "--quiet", "--force-rebase", old, cwd=tree)
        return self.git("rev-parse", "HEAD", cwd=tree)


@dataclass(frozen=True)
class Held:
    """Pushes that stop at a hook; `arrived` is the FIFO that each writes into."""

    arrived: int

    def wait(self) -> None:
        """Return when a push has arrived (one for each call)."""
        ready, _, _ = select.select([self.arrived], [], [], 60)
        assert ready, "no push arrived within a minute"
        os.read(self.arrived, 1)

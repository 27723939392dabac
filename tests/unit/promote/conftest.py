"""Packages once for all tests; a repository with a remote for each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.programs import ssh_key
from tests.unit.promote.line import BRANCHES, Line
from tests.unit.validate import conftest as tables
from tests.unit.validate.gate_repo import ENV, GateRepo, Made, model

FREEZE = """\
environments:
  - {name: dev, branch: main}
  - {name: staging, branch: release/staging}
  - {name: production, branch: release/production, freeze: ["Sun 00:00 - Sun 00:01 UTC"]}
"""


def settle(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """An identity, no settings of the user's, and no CI that says who acts."""
    for name in ("GITHUB_BASE_REF", "SYSTEM_PULLREQUEST_TARGETBRANCH", "GITHUB_RUN_ID", "CI"):
        patch.delenv(name, raising=False)
    for name, value in ENV.items():
        patch.setenv(name, value)
    home = folder / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Test\n\temail = test@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    patch.setenv("HOME", str(home))
    patch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`settle`, for each test."""
    settle(monkeypatch, tmp_path)


def made(folder: Path, rows: int, ruin: float = 0.0) -> Made:
    """A model with a prepared folder beside it, as its stages would have left it."""
    found = model(folder, tables.people(count=rows), tables.people(count=2000, seed=2), ruin=ruin)
    (folder / "prepared").mkdir()
    (folder / "prepared" / "train.csv").write_text(f"{rows}\n")
    return found


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A model."""
    return made(tmp_path_factory.mktemp("good") / "made", 2000)


@pytest.fixture(scope="session")
def better(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One of the same inputs, trained on more rows: no worse."""
    return made(tmp_path_factory.mktemp("better") / "made", 3000)


@pytest.fixture(scope="session")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One whose weights are noise."""
    return made(tmp_path_factory.mktemp("worse") / "made", 2000, ruin=20.0)


@pytest.fixture
def line(tmp_path: Path, plain: None) -> Line:
    """A repository with three environments and nothing built."""
    return Line(GateRepo(tmp_path / "repo")).start()


@pytest.fixture(scope="session")
def promoted(tmp_path_factory: pytest.TempPathFactory, good: Made) -> Line:
    """A first model, promoted to staging and production; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("promoted")
    with pytest.MonkeyPatch.context() as patch:
        settle(patch, folder)
        line = Line(GateRepo(folder / "repo")).start()
        line.build(good)
        line.promote("dev", "staging")
        line.promote("staging", "production")
    return line


@pytest.fixture
def running(promoted: Line, tmp_path: Path, plain: None) -> Line:
    """A first model runs in staging and production."""
    return promoted.copied(tmp_path)


@pytest.fixture(scope="session")
def made_past(tmp_path_factory: pytest.TempPathFactory, good: Made, better: Made) -> Line:
    """Signed: v1.0.0 to production, v1.1.0 after it, production rolled back and so held."""
    folder = tmp_path_factory.mktemp("past")
    key = folder / "key"
    ssh_key(key)
    with pytest.MonkeyPatch.context() as patch:
        settle(patch, folder)
        line = Line(GateRepo(folder / "repo")).start()
        public = key.with_suffix(".pub").read_text()
        line.repo.write(".gitops/allowed_signers", f"test@example.org {public}")
        line.repo.settings(more=FREEZE)
        line.repo.commit("Say who signs")
        line.git("config", "gpg.format", "ssh")
        line.git("config", "user.signingKey", str(key))
        line.git("push", "-q", "origin", *(f"HEAD:refs/heads/{branch}" for branch in BRANCHES))
        line.build(good)
        line.promote("dev", "staging")
        line.promote("staging", "production")
        line.build(better, depth=4)
        line.promote("dev", "staging")
        line.promote("staging", "production")
        line.rollback("production")
    return line


@pytest.fixture
def past(made_past: Line, tmp_path: Path, plain: None) -> Line:
    """A copy of it, with a remote and a storage of its own."""
    shutil.copytree(made_past.root.parent, tmp_path, dirs_exist_ok=True, symlinks=True)
    line = Line(GateRepo(tmp_path / "repo"))
    line.git("remote", "set-url", "origin", str(line.origin))
    config = line.root / ".dvc" / "config.local"
    config.write_text(f"['remote \"storage\"']\n    url = {line.repo.storage}\n")
    return line

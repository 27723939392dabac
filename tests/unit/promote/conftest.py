"""Packages once for all tests; a repository with a remote for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.promote.line import Line
from tests.unit.validate import conftest as tables
from tests.unit.validate.gate_repo import ENV, GateRepo, Made, model


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


@pytest.fixture(autouse=True)
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
def line(tmp_path: Path) -> Line:
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
def running(promoted: Line, tmp_path: Path) -> Line:
    """A first model runs in staging and production."""
    return promoted.copied(tmp_path)

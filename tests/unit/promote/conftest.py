"""Packages once for all tests; a repository with a remote for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.promote.line import Line
from tests.unit.validate import conftest as tables
from tests.unit.validate.gate_repo import ENV, GateRepo, Made, model


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An identity, no settings of the user's, and no CI that says who acts."""
    for name in ("GITHUB_BASE_REF", "SYSTEM_PULLREQUEST_TARGETBRANCH", "GITHUB_RUN_ID", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Test\n\temail = test@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A model."""
    return model(
        tmp_path_factory.mktemp("good") / "made",
        tables.people(count=2000),
        tables.people(count=2000, seed=2),
    )


@pytest.fixture(scope="session")
def better(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One of the same inputs, trained on more rows: no worse."""
    folder = tmp_path_factory.mktemp("better") / "made"
    return model(folder, tables.people(count=3000), tables.people(count=2000, seed=2))


@pytest.fixture(scope="session")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One whose weights are noise."""
    folder = tmp_path_factory.mktemp("worse") / "made"
    return model(folder, tables.people(count=2000), tables.people(count=2000, seed=2), ruin=20.0)


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """A repository with three environments and nothing built."""
    return Line(GateRepo(tmp_path / "repo")).start()


@pytest.fixture
def running(line: Line, good: Made) -> Line:
    """The same, with a first model built and promoted to staging and production."""
    line.build(good)
    line.promote("dev", "staging")
    line.promote("staging", "production")
    return line


@pytest.fixture
def moved(running: Line, better: Made) -> Callable[[int], str]:
    """`moved(depth)`: build and push another model on main."""
    return lambda depth: running.build(better, depth)

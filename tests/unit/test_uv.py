from __future__ import annotations

from pathlib import Path

import pytest

from gitops import uv
from gitops.errors import ConfigError, ToolError


def test_what_build_env_fixes(tmp_path: Path) -> None:
    (tmp_path / "build.env").write_text("# why\nA=1\n\nB='two words'\n")
    assert uv.fixed_environment(tmp_path) == {"A": "1", "B": "two words"}


def test_stages_do_not_inherit_what_is_fixed(tmp_path: Path) -> None:
    (tmp_path / "build.env").write_text("OMP_NUM_THREADS=2\n")
    changes = uv.stage_environment(tmp_path)
    tokens = ("GITHUB_TOKEN", "GH_TOKEN", "SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT")
    assert changes == dict.fromkeys(("OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE", *tokens))


def test_no_build_env_fixes_nothing(tmp_path: Path) -> None:
    assert uv.fixed_environment(tmp_path) == {}


@pytest.mark.parametrize(
    ("files", "fix"),
    [
        ({}, "uv init --bare && uv add PACKAGE..."),
        ({"requirements.txt": "x"}, "uv init --bare && uv add -r requirements.txt"),
        ({"pyproject.toml": "[tool.poetry]\nname = 'x'\n"}, "uvx migrate-to-uv"),
        ({"pyproject.toml": "[tool.black]\n"}, "write [project] with name"),
        ({"pyproject.toml": "[project]\n", "requirements.txt": "x"}, "uv add -r requirements.txt"),
        ({"pyproject.toml": "[project]\ndependencies = []\n"}, "uv lock"),
        ({"pyproject.toml": "[project]\ndynamic = ['dependencies']\n"}, "uv lock"),
        ({"pyproject.toml": "[project\n"}, "mend pyproject.toml"),
    ],
)
def test_how_a_project_comes_to_a_lock(tmp_path: Path, files: dict[str, str], fix: str) -> None:
    for path, text in files.items():
        (tmp_path / path).write_text(text)
    assert uv.to_lock(tmp_path).startswith(fix)


@pytest.mark.parametrize("line", ["A", "=1", "A B=1", "1A=2"])
def test_a_line_that_is_no_setting_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "build.env").write_text(f"A=1\n{line}\n")
    with pytest.raises(ConfigError, match=r"build\.env:2"):
        uv.fixed_environment(tmp_path)


def test_a_project_without_a_lock_is_said_in_uvs_words(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\nversion = '0'\n")
    with pytest.raises(ToolError, match="could not set up") as error:
        uv.sync(tmp_path)
    assert "uv lock" in error.value.fix

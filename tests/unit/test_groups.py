"""Groups of models for a dynamic matrix, and what `gitops affected` says of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gitops.cli.app import make
from gitops.pipelines.groups import Group, for_azure, for_github, pack
from tests.unit.test_affected import FILES, commits


def test_up_to_the_limit_each_model_has_a_group() -> None:
    assert pack(["a", "b-c"], 2) == (Group("a", ("a",)), Group("b-c", ("b-c",)))
    assert pack([], 2) == ()


@pytest.mark.parametrize(("count", "most"), [(3, 2), (1000, 20), (21, 20), (7, 1)])
def test_beyond_it_they_are_packed_evenly_and_in_order(count: int, most: int) -> None:
    models = [f"model-{number}" for number in range(count)]
    groups = pack(models, most)
    assert [one.name for one in groups] == [f"group-{number}" for number in range(1, most + 1)]
    assert [name for one in groups for name in one.models] == models
    sizes = {len(one.models) for one in groups}
    assert max(sizes) - min(sizes) <= 1


def test_what_platforms_are_given() -> None:
    groups = pack(["late", "on-time"])
    assert json.loads(for_github(groups))[1] == {"name": "on-time", "models": ["on-time"]}
    assert json.loads(for_azure(groups))["on_time"] == {"group": "on-time", "models": "on-time"}
    several = json.loads(for_azure(pack(["a", "b", "c"], 1)))
    assert several == {"group_1": {"group": "group-1", "models": "a b c"}}
    assert (for_github(()), for_azure(())) == ("[]", "{}")


# ---------------------------------------------------------------- the command


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository whose last commit touches the model `one`; the commit before."""
    for name in ("GITHUB_OUTPUT", "TF_BUILD", "GITHUB_BASE_REF"):
        monkeypatch.delenv(name, raising=False)
    first, _ = commits(tmp_path, FILES, {"models/one/new.py": "x\n"})
    monkeypatch.chdir(tmp_path)
    return first


def test_names_one_per_line(base: str) -> None:
    done = CliRunner().invoke(make(), ["affected", "--base", base])
    assert (done.exit_code, done.stdout) == (0, "one\n")


def test_json(base: str) -> None:
    done = CliRunner().invoke(make(), ["affected", "--base", base, "--json"])
    found = json.loads(done.stdout)
    assert found["base"] == base
    assert found["models"] == ["one"]
    assert found["groups"] == [{"name": "one", "models": ["one"]}]


@pytest.mark.parametrize("before", ["", "0" * 40, "1" * 40])
def test_a_push_before_which_nothing_is_known(base: str, before: str) -> None:
    done = CliRunner().invoke(make(), ["affected", "--base", before, "--json"])
    found = json.loads(done.stdout)
    assert found["models"] == ["one", "other"]
    assert found["base"] is None
    wrong = CliRunner().invoke(make(), ["affected", "--base", "no-such-branch"])
    assert "no revision 'no-such-branch'" in str(wrong.exception)


def test_outputs(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["affected", "--base", base, "--output", "groups"]
    refused = CliRunner().invoke(make(), words)
    assert "for a step of CI" in str(refused.exception)
    file = tmp_path / "output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(file))
    assert CliRunner().invoke(make(), words).exit_code == 0
    assert file.read_text() == 'groups=[{"name": "one", "models": ["one"]}]\n'
    wrong = CliRunner().invoke(make(), [*words[:-1], "a b"])
    assert "can't name an output" in str(wrong.exception)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path))
    assert "can't be written" in str(CliRunner().invoke(make(), words).exception)
    monkeypatch.delenv("GITHUB_OUTPUT")
    monkeypatch.setenv("TF_BUILD", "True")
    azure = CliRunner().invoke(make(), words)
    command = "##vso[task.setvariable variable=groups;isOutput=true]"
    assert f'{command}{{"one": {{"group": "one", "models": "one"}}}}' in azure.stderr
    assert azure.stdout == "one\n"

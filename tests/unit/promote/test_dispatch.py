"""What pipelines call: a promotion and a rollback that start deploy, and statements for a forge."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gitops.cli.hands import hands
from gitops.errors import EvidenceError, ToolError
from gitops.promote import attest, register
from tests.forge_server import Server, serve
from tests.forge_simulator import Run, Simulator
from tests.forked import HERE
from tests.unit.promote.line import Line
from tests.unit.validate.gate_repo import Made

DEPLOY = "on: {push: {branches: [release/staging]}, workflow_dispatch: {}}\n"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(Simulator(tmp_path / "forge")) as found:
        yield found
        assert found.problems == []


@pytest.fixture
def hosted(line: Line, good: Made, server: Server) -> Line:
    """A model on main of a forge that has the workflow deploy; git speaks HTTP to it."""
    line.repo.write(".github/workflows/deploy.yml", DEPLOY)
    line.build(good)
    for branch in ("release/staging", "release/production"):
        line.git("push", "-q", "origin", f"HEAD^:refs/heads/{branch}")
    found = line.behind(server.simulator.path)
    (server.simulator.path / "forge-pushes").unlink()
    return found


def gitops(
    line: Line, url: str, env: Mapping[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    line.git("remote", "set-url", "origin", url)
    return HERE.run(words, cwd=line.root, env={**os.environ, **env}, timeout=300)


def on_github(line: Line, server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**server.github_env, "GITHUB_ACTIONS": "true"}
    return gitops(line, server.github_url, env, *words)


def test_a_promotion_by_githubs_own_token_starts_deploy(hosted: Line, server: Server) -> None:
    done = on_github(hosted, server, "promote", "dev", "staging", "--dispatch")
    assert done.returncode == 0, done.stderr
    assert "started deploy on release/staging" in done.stderr
    assert server.simulator.runs == (Run("workflow_dispatch", "release/staging", "deploy.yml"),)
    again = on_github(hosted, server, "promote", "dev", "staging", "--dispatch")
    assert "nothing to promote" in again.stdout
    assert len(server.simulator.dispatched) == 2, "a run that failed after the push is made good"


def test_without_dispatch_nothing_is_started(hosted: Line, server: Server) -> None:
    for words in (["--dry-run", "--dispatch"], []):
        assert on_github(hosted, server, "promote", "dev", "staging", *words).returncode == 0
    assert server.simulator.runs == ()


def test_a_rollback_starts_deploy_too(hosted: Line, server: Server, better: Made) -> None:
    assert on_github(hosted, server, "promote", "dev", "staging").returncode == 0
    hosted.git("remote", "set-url", "origin", str(server.simulator.path))
    hosted.build(better, depth=4)
    assert on_github(hosted, server, "promote", "dev", "staging").returncode == 0
    # As the workflow does it where no version was typed in.
    words = ["rollback", "staging", "--to=", "--reason=worse", "--dispatch"]
    done = on_github(hosted, server, *words)
    assert done.returncode == 0, done.stderr
    assert server.simulator.dispatched == [
        Run("workflow_dispatch", "release/staging", "deploy.yml")
    ]


def test_on_azure_the_push_itself_starts_it(hosted: Line, server: Server) -> None:
    env = {**server.azure_env, "TF_BUILD": "True"}
    done = gitops(hosted, server.azure_url, env, "promote", "dev", "staging", "--dispatch")
    assert done.returncode == 0, done.stderr
    assert server.simulator.dispatched == []
    assert "refs/heads/release/staging" in [run.ref for run in server.simulator.runs]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["promote", "dev", "staging", "--dispatch", "--pr"], "starts deploy"),
        (["promote", "--finish", "staging", "--dispatch"], "takes nothing more"),
        (["promote", "dev", "staging", "--dispatch"], "on no forge that is known"),
    ],
)
def test_what_cannot_start_a_deploy(line: Line, good: Made, words: list[str], said: str) -> None:
    line.build(good)
    before = line.refs()
    done = gitops(line, str(line.origin), {}, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert line.refs() == before


@pytest.mark.parametrize(
    ("names", "code", "said"),
    [
        ("demo", 0, "dvc.lock is up to date"),
        ("", 0, "dvc.lock is up to date"),  # all
        ("demo other", 2, "no model 'other'"),
    ],
)
def test_a_job_of_a_matrix_is_told_its_models(
    line: Line, good: Made, names: str, code: int, said: str
) -> None:
    line.build(good)
    line.repo.write("dvc.yaml", "stages: {}\n")
    done = gitops(line, str(line.origin), {"GITOPS_MODELS": names}, "build", "--check")
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


# ---------------------------------------------------------------- statements


def test_what_is_attested_is_what_the_tag_states(line: Line, good: Made, tmp_path: Path) -> None:
    commit = line.build(good)
    found = register.register(line.world(), line.config, commit, ["demo"], hands(line.root))
    versions = {model: version for model, (version, _) in found.items()}
    told = attest.statements(line.world(), versions)
    attest.write(told, tmp_path / "statement")
    tag = line.git("cat-file", "-p", line.git("rev-parse", "demo@v1.0.0"))
    statement = json.loads(next(one for one in tag.splitlines() if one.startswith("{")))
    predicate = json.loads((tmp_path / "statement" / "predicate.json").read_text())
    assert predicate == statement["predicate"]
    assert json.loads((tmp_path / "statement" / "demo.json").read_text()) == statement
    digest, name = (tmp_path / "statement" / "subjects.txt").read_text().split()
    assert (digest, name) == (statement["subject"][0]["digest"]["sha256"], "demo@v1.0.0")
    lines = "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
        for file in sorted((good.folder / "package").iterdir())
    )
    assert digest == hashlib.sha256(lines.encode()).hexdigest()


def test_of_several_models_all_statements_are_in_one(line: Line, good: Made) -> None:
    commit = line.build(good)
    register.register(line.world(), line.config, commit, ["demo"], hands(line.root))
    told = attest.statements(line.world(), {"demo": "v1.0.0"})
    both = attest.predicate({**told, "other": told["demo"]})
    assert both["buildDefinition"]["externalParameters"]["models"] == ["demo", "other"]
    assert both["gitops"]["models"]["demo"] == told["demo"]["predicate"]
    assert both["runDetails"]["builder"] == told["demo"]["predicate"]["runDetails"]["builder"]


def test_a_tag_that_states_nothing_is_not_attested(line: Line, good: Made) -> None:
    line.build(good)
    line.git("tag", "-a", "demo@v1.0.0", "-m", "by hand")
    line.git("push", "-q", "origin", "demo@v1.0.0")
    with pytest.raises(EvidenceError, match="states no provenance"):
        attest.statements(line.world(), {"demo": "v1.0.0"})


def test_an_unwritable_place_is_told(line: Line, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match="can't be written"):
        attest.write({"demo": {"subject": [], "predicate": {}}}, tmp_path / "file" / "x")

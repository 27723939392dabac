"""One pipeline model: from the definition and gitops.yaml to GitHub's workflow."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gitops import config, content, pipelines
from gitops.errors import ConfigError
from gitops.pipelines import definition, github
from gitops.pipelines.model import Permission, Pipeline

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "pull-request.yml"
GITOPS_YAML = """\
version: 1
project: flights
ci: [CI]
environments:
  - {name: dev, branch: main}
  - {name: staging, branch: release/staging}
  - {name: production, branch: release/production}
models:
  late: {task: binary}
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], config.Config]:
    def write(text: str) -> config.Config:
        (tmp_path / "gitops.yaml").write_text(text)
        return config.load(tmp_path)

    return write


@pytest.fixture
def flights(load: Callable[[str], config.Config]) -> config.Config:
    return load(GITOPS_YAML.replace("CI", "github"))


@pytest.fixture
def pull_request(flights: config.Config) -> Pipeline:
    return definition.load("pull-request", flights)


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    """A copy of the shipped definitions, to be broken."""
    return Path(shutil.copytree(content.folder("workflows"), tmp_path / "workflows"))


def test_the_workflow_as_it_is(flights: config.Config) -> None:
    assert pipelines.render(flights) == [
        (".github/workflows/pull-request.yml", GOLDEN.read_bytes())
    ]


def test_nothing_for_another_platform(load: Callable[[str], config.Config]) -> None:
    assert pipelines.render(load(GITOPS_YAML.replace("CI", "azure"))) == []


def test_read_back_it_guards_every_environment_and_grants_only_what_it_says(
    pull_request: Pipeline,
) -> None:
    workflow = YAML(typ="safe").load(github.emit(pull_request))
    branches = ["main", "release/staging", "release/production"]
    assert workflow["on"] == {"pull_request": {"branches": branches}, "merge_group": None}
    assert workflow["permissions"] == {}
    rights = {name: job["permissions"] for name, job in workflow["jobs"].items()}
    assert rights == {
        "tests": {"contents": "read"},
        "reproduce": {"contents": "read"},
        "required": {},
    }
    assert workflow["jobs"]["required"]["needs"] == ["tests", "reproduce"]


def test_the_same_model_gives_the_same_bytes(pull_request: Pipeline) -> None:
    assert github.emit(pull_request) == github.emit(pull_request)
    with pytest.raises(FrozenInstanceError):
        pull_request.jobs[0].timeout = 1  # type: ignore[misc]


def test_a_branch_name_is_no_pattern(pull_request: Pipeline) -> None:
    text = github.emit(replace(pull_request, branches=("c++", "!main", "1.0", "on")))
    workflow = YAML(typ="safe").load(text)
    assert workflow["on"]["pull_request"]["branches"] == [r"c\+\+", r"\!main", "1.0", "on"]


def test_a_queue_never_cancels_and_reasons_stand_beside_permissions(pull_request: Pipeline) -> None:
    job = replace(pull_request.jobs[0], permissions=(Permission("id-token", "write", "logs in"),))
    text = github.emit(replace(pull_request, jobs=(job,), concurrency="queue"))
    assert "  cancel-in-progress: false\n" in text
    assert "      id-token: write  # logs in\n" in text


@pytest.mark.parametrize(
    ("file", "before", "after", "line", "said"),
    [
        ("pull-request", "use: uv", "use: pip", 16, "'pip' is not one of"),
        ("pull-request", "timeout: 30", "timeout: 0", 11, "less than the minimum"),
        ("pull-request", "concurrency: cancel", "queue: true", 3, "'concurrency' is a required"),
        ("pull-request", "timeout: 30", "timeout: 30\n    os: mac", 11, "'os' was unexpected"),
        ("pull-request", "[tests, reproduce]", "[tests, verify]", 8, "no job 'verify'"),
        ("pull-request", "  tests:", "  required:", None, "required"),
        ("pull-request", ", reason: reads the source", "", 13, "'reason' is a required property"),
        ("pins", "3d3c42e5", "", None, "does not match"),
        ("pins", "ubuntu-24.04", "ubuntu-latest", 2, "should not be valid"),
        ("pins", "v7.0.1", "v7", 5, "does not match"),
    ],
)
def test_a_wrong_definition_is_refused_with_its_place(
    definitions: Path,
    flights: config.Config,
    file: str,
    before: str,
    after: str,
    line: int | None,
    said: str,
) -> None:
    path = definitions / f"{file}.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(ConfigError, match=said) as caught:
        definition.load("pull-request", flights, definitions)
    assert caught.value.where is not None
    assert caught.value.where.file == path
    assert line is None or caught.value.where.line == line

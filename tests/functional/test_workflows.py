"""Our own workflows and those that we generate, under every validator; and each validator fires."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gitops import config, pipelines

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
OWN = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
GITOPS_YAML = """\
version: 1
project: flights
environments:
  - {name: dev, branch: main}
  - {name: production, branch: release/production}
models:
  late: {task: binary}
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files that we generate, by name."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "gitops.yaml").write_text(GITOPS_YAML)
    return {Path(path).name: data.decode() for path, data in pipelines.render(config.load(folder))}


@pytest.fixture(params=[*(path.name for path in OWN), "pull-request.yml"])
def workflow(request: pytest.FixtureRequest, generated: dict[str, str], tmp_path: Path) -> Path:
    """Each workflow in turn, in a folder where the validators expect it."""
    known = {path.name: path.read_text() for path in OWN} | generated
    return placed(known[request.param], tmp_path)


def placed(text: str, folder: Path) -> Path:
    path = folder / ".github" / "workflows" / "workflow.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def zizmor(path: Path) -> str:
    """The auditor persona's findings; empty if there are none."""
    return said("zizmor", "--offline", "--no-progress", "--quiet", "--persona=auditor", path)


def schema(path: Path) -> str:
    return said("check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)


def yamllint(path: Path) -> str:
    return said("yamllint", "--strict", "--config-file", PROJECT / ".yamllint", path)


def said(tool: str, *arguments: str | Path) -> str:
    done = subprocess.run([BIN / tool, *arguments], capture_output=True, text=True)
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}"


def house_rules(path: Path) -> str:
    """What the other validators let through and we don't."""
    text = path.read_text()
    return "\n".join([*_line_rules(text), *_workflow_rules(YAML(typ="safe").load(text))])


def _line_rules(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        if " uses: " in line and not re.search(r"@[0-9a-f]{40}  # v\d+\.\d+\.\d+$", line):
            yield f"{number}: no commit with its exact tag beside it"
        if re.search(r"\bpip3? install\b", line) and "--require-hashes" not in line:
            yield f"{number}: installs what no lock names"


def _workflow_rules(workflow: dict[str, Any]) -> Iterator[str]:
    if "pull_request" in workflow["on"]:
        cancel = workflow.get("concurrency", {}).get("cancel-in-progress")
        if cancel is not True and "github.event_name == 'pull_request'" not in str(cancel):
            yield "a newer push doesn't cancel the older run"
    for name, job in workflow["jobs"].items():
        if "timeout-minutes" not in job:
            yield f"job {name} has no timeout"
        if "permissions" not in job:
            yield f"job {name} says nothing of its permissions"
        yield from (f"job {name} has a step without name" for s in job["steps"] if "name" not in s)


VALIDATORS = {"zizmor": zizmor, "schema": schema, "yamllint": yamllint, "house": house_rules}


@pytest.mark.parametrize("validator", VALIDATORS)
def test_no_finding(workflow: Path, validator: str) -> None:
    assert VALIDATORS[validator](workflow) == ""


CONCURRENCY = """\
concurrency:
  group: pull-request-${{ github.ref }}
  cancel-in-progress: true
"""
CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1"
MUTATIONS = [
    ("zizmor", "permissions: {}\n", "permissions: write-all\n", "excessive-permissions"),
    ("zizmor", f"{CHECKOUT}  # v7.0.1", "actions/checkout@v7", "unpinned-uses"),
    ("zizmor", "          persist-credentials: false\n", "", "artipacked"),
    ("zizmor", "contents: read  # reads the source", "contents: write", "undocumented-permissions"),
    ("zizmor", "  pull_request:\n", "  pull_request_target:\n", "dangerous-triggers"),
    ("zizmor", CONCURRENCY, "", "concurrency-limits"),
    ("zizmor", "gitops verify", "gitops verify ${{ github.head_ref }}", "template-injection"),
    ("schema", "    runs-on: ubuntu-24.04\n", "", "is not valid under"),
    ("schema", "timeout-minutes: 30", "timeout-minutes: soon", "timeout-minutes"),
    ("schema", "  merge_group:\n", "  merge_groups:\n", "merge_groups"),
    ("yamllint", "name: pull-request\n", "name:  pull-request\n", "(colons)"),
    ("yamllint", "gitops verify\n", "gitops verify \n", "(trailing-spaces)"),
    ("yamllint", "jobs:\n", "name: twice\njobs:\n", "(key-duplicates)"),
    ("house", "  # v7.0.1", "", "exact tag"),
    ("house", "  # v7.0.1", "  # v7", "exact tag"),
    ("house", " --require-hashes", "", "no lock"),
    ("house", "cancel-in-progress: true", "cancel-in-progress: false", "doesn't cancel"),
    ("house", "    timeout-minutes: 30\n", "", "job tests has no timeout"),
    ("house", "      - name: Set up uv\n        uses:", "      - uses:", "without name"),
    ("house", "    permissions: {}\n", "", "job required says nothing"),
]


@pytest.mark.parametrize(("validator", "before", "after", "finding"), MUTATIONS)
def test_each_validator_fires(
    generated: dict[str, str],
    tmp_path: Path,
    validator: str,
    before: str,
    after: str,
    finding: str,
) -> None:
    text = generated["pull-request.yml"]
    assert before in text
    assert finding in VALIDATORS[validator](placed(text.replace(before, after, 1), tmp_path))


def test_dependabot_waits_before_it_takes_a_release(tmp_path: Path) -> None:
    good = PROJECT / ".github" / "dependabot.yml"
    assert zizmor(good) == ""
    assert said("check-jsonschema", "--builtin-schema", "vendor.dependabot", good) == ""
    hasty = tmp_path / "dependabot.yml"
    hasty.write_text(re.sub(r".*cooldown.*\n", "", good.read_text()))
    assert "dependabot-cooldown" in zizmor(hasty)


def test_pre_commit_runs_only_what_the_lock_holds() -> None:
    file = PROJECT / ".pre-commit-config.yaml"
    assert said("pre-commit", "validate-config", file) == ""
    assert {repo["repo"] for repo in YAML(typ="safe").load(file)["repos"]} == {"local"}


def test_one_commit_for_one_action_everywhere(generated: dict[str, str]) -> None:
    texts = [*(path.read_text() for path in OWN), *generated.values()]
    pins = {pin for text in texts for pin in re.findall(r"uses: (\S+)@(\S+)  # (\S+)", text)}
    assert len(pins) == len({action for action, _, _ in pins})

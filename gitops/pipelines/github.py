"""A Pipeline as a GitHub Actions workflow.

Format: docs.github.com, "Workflow syntax for GitHub Actions". Always emitted anew from the model.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString
from ruamel.yaml.tokens import CommentToken

from gitops.pipelines.model import Job, Pins, Pipeline, Step

_HOME = "$RUNNER_TEMP/gitops"
_TOOL = f"""\
uv venv "{_HOME}"
uv pip install --python "{_HOME}" --require-hashes --requirement .gitops/tool/requirements.txt
echo "{_HOME}/bin" >> "$GITHUB_PATH"
"""
_ALL_PASSED = """\
for result in $RESULTS; do
  test "$result" = success
done
"""


def path(pipeline: Pipeline) -> str:
    """Where the workflow lies in a repository."""
    return f".github/workflows/{pipeline.name}.yml"


def emit(pipeline: Pipeline) -> str:
    """The workflow file: reasons beside permissions, tags beside commits, keys in a fixed order."""
    jobs = [(job.id, _job(job, pipeline.pins)) for job in pipeline.jobs]
    workflow = _map(
        [
            ("name", pipeline.name),
            ("on", _triggers(pipeline)),
            ("permissions", _flow_map()),
            ("concurrency", _concurrency(pipeline)),
            ("jobs", _map([*jobs, ("required", _required(pipeline))])),
        ]
    )
    if pipeline.marked:
        workflow.yaml_set_start_comment(
            f"{pipeline.about}\nWritten by gitops. Every command here does the same on a laptop."
        )
    _blank_lines(workflow, list(workflow))
    _blank_lines(workflow["jobs"], list(workflow["jobs"])[1:])
    yaml = YAML()
    yaml.width = 4096  # never fold a command
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(workflow, text)
    return text.getvalue()


def _triggers(pipeline: Pipeline) -> CommentedMap:
    triggers = CommentedMap()
    if "pull-request" in pipeline.triggers:
        triggers["pull_request"] = _map(
            [("branches", _flow_list(_literal(branch) for branch in pipeline.branches))]
        )
    if "merge-queue" in pipeline.triggers:
        triggers["merge_group"] = None
    return triggers


def _literal(branch: str) -> str:
    """`branch` with the signs escaped that git allows and a branch filter reads as a pattern."""
    return re.sub(r"([+!\]])", r"\\\1", branch)


def _concurrency(pipeline: Pipeline) -> CommentedMap:
    group = f"{pipeline.name}-${{{{ github.ref }}}}"
    return _map([("group", group), ("cancel-in-progress", pipeline.concurrency == "cancel")])


def _job(job: Job, pins: Pins) -> CommentedMap:
    permissions = CommentedMap()
    for right in job.permissions:
        permissions[right.scope] = right.level
        _beside(permissions, right.scope, right.reason)
    return _map(
        [
            ("name", job.id),
            ("runs-on", pins.runner),
            ("timeout-minutes", job.timeout),
            ("permissions", permissions),
            ("steps", [_step(step, pins) for step in job.steps]),
        ]
    )


def _required(pipeline: Pipeline) -> CommentedMap:
    """The one check that branch protection requires: it runs whatever happened to the others."""
    check = _map(
        [
            ("name", "Every required job must have passed"),
            ("env", _map([("RESULTS", "${{ join(needs.*.result, ' ') }}")])),
            ("run", LiteralScalarString(_ALL_PASSED)),
        ]
    )
    return _map(
        [
            ("name", "required"),
            ("if", "${{ always() }}"),
            ("needs", _flow_list(pipeline.required)),
            ("runs-on", pipeline.pins.runner),
            ("timeout-minutes", 5),
            ("permissions", _flow_map()),
            ("steps", [check]),
        ]
    )


def _step(step: Step, pins: Pins) -> CommentedMap:
    if step.use == "checkout":
        # The whole history: what is rebuilt is a clone of this one.
        return _uses(
            step, pins, "actions/checkout", {"persist-credentials": False, "fetch-depth": 0}
        )
    if step.use == "uv":
        version = DoubleQuotedScalarString(pins.uv)
        return _uses(step, pins, "astral-sh/setup-uv", {"version": version})
    command = _TOOL if step.use == "tool" else step.run
    text = LiteralScalarString(command) if "\n" in command else command
    return _map([("name", step.name), ("run", text)])


def _uses(step: Step, pins: Pins, action: str, inputs: Mapping[str, object]) -> CommentedMap:
    pin = pins.action(action)
    result = _map(
        [
            ("name", step.name),
            ("uses", f"{pin.action}@{pin.commit}"),
            ("with", _map(inputs.items())),
        ]
    )
    _beside(result, "uses", pin.tag)
    return result


def _map(items: Iterable[tuple[str, object]]) -> CommentedMap:
    return CommentedMap(items)


def _flow_map() -> CommentedMap:
    result = CommentedMap()
    result.fa.set_flow_style()
    return result


def _flow_list(items: Iterable[str]) -> CommentedSeq:
    result = CommentedSeq(items)
    result.fa.set_flow_style()
    return result


def _beside(mapping: CommentedMap, key: str, text: str) -> None:
    """A comment at the end of the line, two spaces after the value (ruamel puts the first)."""
    mapping.ca.items[key] = [None, None, CommentToken(f" # {text}\n", CommentMark(0)), None]


def _blank_lines(mapping: CommentedMap, keys: Iterable[str]) -> None:
    for key in keys:
        mapping.yaml_set_comment_before_after_key(key, before="\n")

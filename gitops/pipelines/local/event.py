"""What starts a run: by its kind, by a payload as GitHub sends it, or by what is checked out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gitops import git, jsontext, problem
from gitops.errors import UsageError, Where
from gitops.git import graph, scratch
from gitops.pipelines.model import Input, Pipeline, Triggers

Kind = Literal["pull_request", "push", "workflow_dispatch", "schedule"]
NONE = "0" * 40


@dataclass(frozen=True)
class Asked:
    """What the command line said of the event."""

    event: str | None = None
    branch: str | None = None
    inputs: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Event:
    """What a run is of.

    `commit` is checked out: of a pull request the merge result of `head` with `branch`, which is
    where it goes to. `before` is the commit that a pushed branch was at. `fork`: the change comes
    from another repository. `payload`: as the platform would send it.
    """

    kind: Kind
    branch: str
    commit: str
    before: str
    inputs: Mapping[str, str]
    fork: bool
    payload: Mapping[str, Any]

    @property
    def ref(self) -> str:
        """The full ref that is checked out."""
        pull = self.kind == "pull_request"
        return scratch.PULL if pull else f"refs/heads/{self.branch}"


def resolve(root: Path, store: Path, pipeline: Pipeline, asked: Asked) -> Event:
    """The event, and in `store` (the scratch remote) the refs that it brings.

    Raises:
        UsageError: the workflow isn't started by that, or it isn't said of which branch.
        AnswerNo: the pull request conflicts with its base.
    """
    kind, payload, inputs = named(pipeline, asked)
    head, here = git.resolve(root, "HEAD"), git.branch(root)
    if kind == "pull_request":
        return _pull_request(root, store, pipeline, asked, payload, head)
    wanted = asked.branch or _branch_of(payload)
    branch = wanted or _default(pipeline, kind, here)
    if kind == "push" and branch not in pipeline.triggers.push:
        raise UsageError(
            f"a push to {branch} doesn't start {pipeline.name}",
            fix=f"--branch {' or '.join(pipeline.triggers.push)}",
        )
    there = scratch.tip(store, branch)
    given = payload.get("after") if kind == "push" else None
    commit = git.resolve(root, str(given)) if given else head
    if not given and wanted is not None and wanted != here:
        if there is None:
            raise UsageError(f"the remote has no branch {branch}", fix="git push origin HEAD")
        commit = there
    before = str(payload.get("before") or "") or (there if there != commit else None) or ""
    if kind == "push" and not before:
        before = next(iter(graph.parents(root, commit)), NONE)
    scratch.put(store, branch, commit)
    full = {"ref": f"refs/heads/{branch}", "before": before, "after": commit, **payload}
    return Event(kind, branch, commit, before, inputs, False, full)


def named(pipeline: Pipeline, asked: Asked) -> tuple[Kind, Mapping[str, Any], Mapping[str, str]]:
    """The kind of the event, its payload as far as it is given, and the inputs.

    Raises:
        UsageError: the workflow isn't started by that; an input is unknown, missing or wrong.
    """
    kind, payload = _kind(pipeline, asked)
    given = {**_texts(payload.get("inputs")), **(asked.inputs or {})}
    return kind, payload, _inputs(pipeline, kind, given)


def _kind(pipeline: Pipeline, asked: Asked) -> tuple[Kind, Mapping[str, Any]]:
    starts = _starts(pipeline.triggers)
    event = asked.event
    if event is None:
        return starts[0], {}
    payload: Mapping[str, Any] = {}
    name = event.replace("-", "_")
    if name in ("manual", "dispatch"):
        name = "workflow_dispatch"
    if name not in ("pull_request", "push", "workflow_dispatch", "schedule"):
        payload = _payload(Path(event), pipeline)
        pull, pushed = "pull_request" in payload, "after" in payload
        name = "pull_request" if pull else "push" if pushed else "workflow_dispatch"
    if name not in starts:
        raise UsageError(
            f"{pipeline.name} isn't started by {name}", fix=f"it is by {', '.join(starts)}"
        )
    return name, payload


def _starts(triggers: Triggers) -> list[Kind]:
    found: list[Kind] = []
    found += ["pull_request"] if triggers.pull_request else []
    found += ["push"] if triggers.push else []
    found += ["workflow_dispatch"] if triggers.inputs is not None else []
    found += ["schedule"] if triggers.schedule else []
    # What only another system or the queue starts is started like by hand.
    return found or ["workflow_dispatch"]


def _payload(file: Path, pipeline: Pipeline) -> Mapping[str, Any]:
    try:
        found = jsontext.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UsageError(
            f"there's no event {str(file)!r}, nor a file of that name",
            fix=f"name one of {', '.join(_starts(pipeline.triggers))}, or a file with its payload",
        ) from error
    except ValueError as error:
        raise UsageError(f"no JSON: {error}", fix="mend it", where=Where(file)) from error
    if not isinstance(found, dict):
        raise UsageError("not an object", fix="write the event's payload", where=Where(file))
    return found


def _pull_request(
    root: Path, store: Path, pipeline: Pipeline, asked: Asked, payload: Mapping[str, Any], head: str
) -> Event:
    pull = _object(payload.get("pull_request"))
    base, origin = _object(pull.get("base")), _object(pull.get("head"))
    branch = asked.branch or str(base.get("ref") or pipeline.triggers.pull_request[0])
    if branch not in pipeline.triggers.pull_request:
        known = " or ".join(pipeline.triggers.pull_request)
        raise UsageError(f"{pipeline.name} isn't for {branch}", fix=f"--branch {known}")
    if origin.get("sha"):
        head = git.resolve(root, str(origin["sha"]))
    there = scratch.tip(store, branch)
    if there is None:
        raise UsageError(f"the remote has no branch {branch}", fix="git push --all origin")
    if graph.is_ancestor(root, head, there):  # HEAD is there already: as it came there
        there = next(iter(graph.parents(root, head)), None)
        if there is None:
            raise UsageError("HEAD is the first commit", fix="commit a change on a branch")
        scratch.put(store, branch, there)
    merged = scratch.merge(store, branch, there, head)
    names = [_object(one.get("repo")).get("full_name") for one in (origin, base)]
    full = {"number": 1, **payload}
    full["pull_request"] = {
        **pull,
        "base": {**base, "ref": branch, "sha": there},
        "head": {**origin, "sha": head},
    }
    fork = names[0] != names[1]  # of a fork that is gone there's no name
    return Event("pull_request", branch, merged, there, {}, fork, full)


def _default(pipeline: Pipeline, kind: Kind, here: str | None) -> str:
    pushes = pipeline.triggers.push
    if kind != "push":
        return here or pipeline.integration
    if here in pushes:
        return str(here)
    if len(pushes) == 1:
        return pushes[0]
    raise UsageError(
        f"a push to which branch? {here or 'HEAD'} doesn't start {pipeline.name}",
        fix=f"--branch {' or '.join(pushes)}",
    )


def _inputs(pipeline: Pipeline, kind: Kind, given: Mapping[str, str]) -> dict[str, str]:
    """What is asked for, with defaults.

    Raises:
        UsageError: an unknown one, one that is missing, or a value that isn't offered.
    """
    asked = {one.name: one for one in pipeline.triggers.inputs or ()}
    if unknown := [name for name in given if name not in asked]:
        fix = problem.meant(unknown[0], asked, f"there are {', '.join(asked) or 'none'}")
        raise UsageError(f"{pipeline.name} has no input {unknown[0]!r}", fix=fix)
    if kind != "workflow_dispatch":
        return {}
    return {name: _input(one, given.get(name)) for name, one in asked.items()}


def _input(one: Input, given: str | None) -> str:
    value = given if given is not None else one.default
    if value is None:
        choice = "|".join(one.options) or "VALUE"
        raise UsageError(
            f"the input {one.name} is missing: {one.about}", fix=f"--input {one.name}={choice}"
        )
    text = str(value).lower() if isinstance(value, bool) else value
    options = ("true", "false") if one.kind == "boolean" else one.options
    if options and text not in options:
        raise UsageError(
            f"the input {one.name} is {text!r}", fix=f"write one of {', '.join(options)}"
        )
    return text


def _branch_of(payload: Mapping[str, Any]) -> str | None:
    ref = str(payload.get("ref") or "")
    return ref.removeprefix("refs/heads/") or None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> dict[str, str]:
    found = _object(value)
    return {
        name: str(one).lower() if isinstance(one, bool) else str(one) for name, one in found.items()
    }

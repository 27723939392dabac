"""Rules about what a fork's pull request can reach."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gitops.pipelines.lint.model import Hit, Job, Json, Known, Source
from gitops.yamlfile import Place

_SECRET = re.compile(
    r"\$\{\{[^}]*?\bsecrets(?:\.(\w+)|\[\s*'(\w+)'\s*\]|\s*\))[^}]*\}\}", re.IGNORECASE
)
_HEAD = re.compile(
    r"github\.(?:event\.pull_request\.(?:head\.|merge_commit_sha)|head_ref)|\brefs/pull/",
    re.IGNORECASE,
)
_GH = re.compile(r"\bgh\s+pr\s+checkout\b")
# What no run for a fork's pull request passes; with pull_request_target the branch is the base's.
_OTHER = r"head\.repo\.(?:full_name|fork|id)\b|github\.event_name\s*==\s*'(?!pull_request)"
_GUARD = re.compile(rf"{_OTHER}|github\.event_name\s*!=\s*'pull_request'|github\.ref\s*==")
_GUARD_TARGET = re.compile(rf"{_OTHER}|github\.event_name\s*!=\s*'pull_request_target'")


def secret(source: Source, known: Known) -> Iterator[Hit]:
    del known
    if source.platform != "github":
        return
    target = "pull_request_target" in source.triggers
    if not target and "pull_request" not in source.triggers:
        return
    guard = _GUARD_TARGET if target else _GUARD
    for job in source.jobs:
        if _guarded(job.data, guard):
            continue
        if target and (place := _checkout_of_head(job)):
            message = "a fork's code is checked out where it can reach the repository's rights"
            yield Hit(place, message, "use pull_request, or run nothing of what was checked out")
        guarded = [step.place for step in job.steps if _guarded(step.data, guard)]
        inherited = [((*job.place, "secrets"), "of any name")]
        handed = inherited if job.data.get("secrets") == "inherit" else []
        for at, name in (*_secrets(job.data, job.place), *handed):
            if name != "GITHUB_TOKEN" and not any(at[: len(one)] == one for one in guarded):
                yield Hit(
                    at,
                    f"a fork's pull request reaches the secret {name}"
                    if target
                    else f"the secret {name} is empty in a fork's pull request",
                    "add `if: github.event.pull_request.head.repo.full_name == github.repository`",
                )


def _guarded(data: Json, guard: re.Pattern[str]) -> bool:
    return bool(guard.search(str(data.get("if", ""))))


def _checkout_of_head(job: Job) -> Place | None:
    for step in job.steps:
        inputs = step.data.get("with")
        if isinstance(inputs, dict) and _HEAD.search(str(inputs.get("ref", ""))):
            return (*step.place, "with", "ref")
        for script in step.scripts:
            if _GH.search(script.text):
                return script.place
    return None


def _secrets(data: object, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _secrets(value, (*place, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _secrets(value, (*place, index))
    elif isinstance(data, str):
        for found in _SECRET.finditer(data):
            yield place, found[1] or found[2] or "of any name"

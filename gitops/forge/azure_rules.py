"""Checks on environments and policies of branches, on Azure DevOps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops.forge.azure_project import MOST, Project
from gitops.forge.client import Refused, objects, part, pick

_PREVIEW = {"api-version": "7.1-preview.1"}  # of checks; all else is 7.1
CHECKS = {
    "approval": ("8c6f20a7-a545-4486-9777-f762fafe0d4d", "Approval"),
    "exclusive lock": ("2ef31ad6-baa0-403a-8b45-2cbc9b4e5563", "ExclusiveLock"),
    "branch control": ("fe1de3ee-a436-41b4-bb20-f6eb4cb879a7", "Task Check"),
}
_BRANCH_CONTROL = {
    "id": "86b05a0c-73e6-4f7d-b3cf-e38f3b39a75b",
    "name": "evaluatebranchProtection",
    "version": "0.0.1",
}
_TIMEOUT = 43_200  # minutes that a run waits for a check: thirty days, as the portal has it
POLICIES = {
    "build validation": "0609b952-1397-4640-95ec-e00a01b2c241",
    "reviewers": "fa4e907d-c16b-4a4c-9dfa-4906e5d171dd",
    "required reviewers": "fd2167ab-b0be-447a-8ec8-39368250530e",
    "merge types": "fa4e907d-c16b-4a4c-9dfa-4916e5d171ab",
}
_CHECKS_SCOPE = "vso.environment_manage: Environment (read and manage), and its Administrator"
_EDIT = "vso.code_manage: Code (read, write and manage), Edit policies"


def check(at: Project, kind: str, environment: str) -> tuple[int, dict[str, Any]] | None:
    """The number of an environment's check and what it asks; None: it isn't there."""
    number = at.environment(environment)
    if number is None:
        return None
    query = {"resourceType": "environment", "resourceId": str(number), "$expand": "settings"}
    path = f"{at.path}/pipelines/checks/configurations"
    for one in at.all(path, _CHECKS_SCOPE, {**query, **_PREVIEW}):
        settings = part(one, "settings")
        about = str(part(settings, "definitionRef").get("id", "")).lower()
        if str(part(one, "type").get("id", "")).lower() != CHECKS[kind][0]:
            continue
        if kind == "approval":
            people = at.names(who.get("id") for who in objects(settings, "approvers"))
            return pick(one, int, "id"), {**settings, "approvers": people}
        if kind == "exclusive lock":
            return pick(one, int, "id"), {}
        if about == _BRANCH_CONTROL["id"]:
            return pick(one, int, "id"), dict(part(settings, "inputs"))
    return None


def write_check(at: Project, kind: str, environment: str, value: Mapping[str, Any]) -> None:
    """Create the check, or change it."""
    number = at.environment(environment)
    if number is None:
        text = f"there's no environment {environment}"
        raise Refused(text, fix="mend that first", status=404)
    settings: dict[str, Any] = {}
    if kind == "approval":
        settings = {**value, "approvers": [{"id": n} for n in at.ids(value["approvers"])]}
    elif kind == "branch control":
        settings = {
            "displayName": at.mark,
            "definitionRef": _BRANCH_CONTROL,
            "inputs": dict(value),
            "retryInterval": 5,
        }
    identifier, label = CHECKS[kind]
    body = {
        "type": {"id": identifier, "name": label},
        "settings": settings,
        "resource": {"type": "environment", "id": str(number), "name": environment},
        "timeout": _TIMEOUT,
    }
    there = check(at, kind, environment)
    path = f"{at.path}/pipelines/checks/configurations"
    number = there[0] if there else None
    at.put(path, number, _CHECKS_SCOPE, body, method="PATCH", query=_PREVIEW)


# ---------------------------------------------------------------- branch policies


def policy(at: Project, kind: str, branch: str) -> tuple[int, dict[str, Any]] | None:
    """The number of the policy of this branch alone, and what it asks.

    Of kinds that a branch may have several of, ours.
    """
    query: dict[str, str | int] = {
        "repositoryId": at.repository["id"],
        "refName": f"refs/heads/{branch}",
        "policyType": POLICIES[kind],
        **MOST,
    }
    for one in at.all(f"{at.path}/git/policy/configurations", _EDIT, query):
        settings = dict(part(one, "settings"))
        scope = objects(settings, "scope") if settings.get("scope") else []
        ours = {"build validation": "displayName", "required reviewers": "message"}.get(kind)
        if (
            one.get("isDeleted")
            or len(scope) != 1
            or scope[0].get("refName") != f"refs/heads/{branch}"
            or str(scope[0].get("matchKind")).lower() != "exact"
            or str(scope[0].get("repositoryId")).lower() != at.repository["id"].lower()
            or (ours and settings.get(ours) != at.mark)
        ):
            continue
        settings.pop("scope")
        if kind == "build validation":
            number = settings.pop("buildDefinitionId", None)
            names = {found[0]: name for name, found in at.pipelines().items()}
            settings["pipeline"] = names.get(number, "")
        if "requiredReviewerIds" in settings:
            settings["requiredReviewers"] = at.names(settings.pop("requiredReviewerIds"))
        found = {"isEnabled": one.get("isEnabled"), "isBlocking": one.get("isBlocking")}
        return pick(one, int, "id"), {**found, "settings": settings}
    return None


def write_policy(at: Project, kind: str, branch: str, value: Mapping[str, Any]) -> None:
    """Create the policy of this branch, or change it."""
    settings = dict(value["settings"])
    if kind == "build validation":
        pipeline = at.pipelines().get(settings.pop("pipeline"))
        if pipeline is None:
            raise Refused("its pipeline isn't there", fix="mend that first", status=404)
        settings["buildDefinitionId"] = pipeline[0]
    if "requiredReviewers" in settings:
        settings["requiredReviewerIds"] = at.ids(settings.pop("requiredReviewers"))
    scope = {
        "repositoryId": at.repository["id"],
        "refName": f"refs/heads/{branch}",
        "matchKind": "Exact",
    }
    body = {
        "isEnabled": value["isEnabled"],
        "isBlocking": value["isBlocking"],
        "type": {"id": POLICIES[kind]},
        "settings": {**settings, "scope": [scope]},
    }
    there = policy(at, kind, branch)
    at.put(f"{at.path}/policy/configurations", there[0] if there else None, _EDIT, body)

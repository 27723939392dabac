"""Settings of a repository on the simulated GitHub: kept, ruled by its plan, and given back.

What GitHub fills in, refuses and forgets is as its documentation says, so that a setting that is
read back is what GitHub made of it rather than what was sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.forge_contract import Contract, Reply, Request

ACTIONS = 15368  # the App of Actions; GitHub refuses it as a bypass actor
_MISSING = Reply(404, {"message": "Not Found", "documentation_url": "https://docs.github.com"})
_UPGRADE = "Upgrade to GitHub Pro or make this repository public to enable this feature."
_BILLING = (
    "Failed to create the environment protection rule. Please ensure the billing plan supports the"
    " required reviewers protection rule."
)
# What GitHub adds to the parameters of a rule that doesn't name them.
_FILLED: Mapping[str, Mapping[str, Any]] = {
    "pull_request": {
        "allowed_merge_methods": ["merge", "squash", "rebase"],
        "required_reviewers": [],
    },
    "required_status_checks": {"do_not_enforce_on_create": False},
}


@dataclass
class Settings:
    """`plan`: what the account pays for; `admin`: whether the token's user administers it."""

    private: bool = False
    plan: str = "enterprise"
    admin: bool = True
    merge_commits: bool = False
    subject: dict[str, Any] = field(default_factory=lambda: {"use_default": True})
    actions: dict[str, Any] = field(
        default_factory=lambda: {
            "default_workflow_permissions": "write",
            "can_approve_pull_request_reviews": False,
        }
    )
    actions_locked: bool = False  # by the organization
    users: dict[str, int] = field(default_factory=lambda: {"ann": 11, "bob": 12})
    teams: dict[str, int] = field(default_factory=lambda: {"acme/leads": 21})
    apps: dict[str, int] = field(
        default_factory=lambda: {"github-actions": ACTIONS, "acme-promoter": 31}
    )
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    rulesets: list[dict[str, Any]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    numbers: int = 1000

    def number(self) -> int:
        """A number that nothing has yet."""
        self.numbers += 1
        return self.numbers


def answer(
    settings: Settings, root: str, contract: Contract, request: Request, values: Mapping[str, str]
) -> Reply:
    """The reply to a request that the description allows."""
    writes = request.method != "GET"
    if writes and not settings.admin:
        wanted = {"X-Accepted-GitHub-Permissions": "administration=write"}
        return Reply(403, {"message": "Resource not accessible by integration"}, wanted)
    body = request.body or {}
    if "ruleset" in request.operation or request.operation == "repos/get-branch-rules":
        if settings.private and settings.plan == "free":
            return Reply(403, {"message": _UPGRADE})
        return _rulesets(settings, contract, request, values, body)
    if "variable" in request.operation:
        return _variables(settings, contract, request, values, body)
    if "environment" in request.operation or "branch-polic" in request.operation:
        return _environments(settings, contract, request, values, body)
    match request.operation:
        case "users/get-by-username" | "teams/get-by-name" | "apps/get-by-slug":
            return _named(settings, contract, request.operation.partition("/")[0], values)
        case "repos/get" | "repos/update":
            settings.merge_commits = body.get("allow_merge_commit", settings.merge_commits)
            return Reply(200, _repository(settings, contract, root, values))
        case "actions/get-custom-oidc-sub-claim-for-repo":
            return Reply(200, settings.subject)
        case "actions/get-github-actions-default-workflow-permissions-repository":
            return Reply(200, settings.actions)
        case "actions/set-github-actions-default-workflow-permissions-repository":
            if settings.actions_locked:
                return Reply(409)
            settings.actions |= body
            return Reply(204)
    raise AssertionError(request.operation)


def _repository(
    settings: Settings, contract: Contract, root: str, values: Mapping[str, str]
) -> Any:
    return contract.sample(
        "full-repository",
        id=456,
        name=values["repo"],
        full_name=f"{values['owner']}/{values['repo']}",
        owner={"login": values["owner"], "id": 123},
        private=settings.private,
        permissions=dict.fromkeys(("admin", "maintain", "push", "triage", "pull"), settings.admin),
        allow_merge_commit=settings.merge_commits,
        url=f"{root}/api/v3/repos/{values['owner']}/{values['repo']}",
    )


def _named(settings: Settings, contract: Contract, part: str, values: Mapping[str, str]) -> Reply:
    if part == "users":
        number = settings.users.get(values["username"].lower())
        user = {"login": values["username"], "id": number, "type": "User"}
        return Reply(200, contract.sample("public-user", **user)) if number else _MISSING
    if part == "teams":
        number = settings.teams.get(f"{values['org']}/{values['team_slug']}".lower())
        team = {"slug": values["team_slug"], "id": number}
        return Reply(200, contract.sample("team-full", **team)) if number else _MISSING
    number = settings.apps.get(values["app_slug"])
    app = {"slug": values["app_slug"], "id": number}
    return Reply(200, contract.sample("integration", **app)) if number else _MISSING


def _variables(
    settings: Settings,
    contract: Contract,
    request: Request,
    values: Mapping[str, str],
    body: Mapping[str, Any],
) -> Reply:
    environment = values.get("environment_name")
    if environment is not None and environment not in settings.environments:
        return _MISSING
    place = f"{environment}/" if environment else ""
    name = values.get("name", body.get("name", "")).upper()
    key = f"{place}{name}"
    match request.operation:
        case "actions/create-repo-variable" | "actions/create-environment-variable":
            if key in settings.variables:
                return Reply(409, {"message": "Already exists - Variable already exists"})
            settings.variables[key] = body["value"]
            return Reply(201, {})
        case "actions/update-repo-variable" | "actions/update-environment-variable":
            if key not in settings.variables:
                return _MISSING
            settings.variables[key] = body["value"]
            return Reply(204)
        case "actions/get-repo-variable" | "actions/get-environment-variable":
            if key not in settings.variables:
                return _MISSING
            value = settings.variables[key]
            return Reply(200, contract.sample("actions-variable", name=name, value=value))
    raise AssertionError(request.operation)


# ---------------------------------------------------------------- environments


def _environments(
    settings: Settings,
    contract: Contract,
    request: Request,
    values: Mapping[str, str],
    body: Mapping[str, Any],
) -> Reply:
    name = values.get("environment_name", "")
    there = settings.environments.get(name)
    match request.operation:
        case "repos/get-all-environments":
            found = [_environment(contract, n, one) for n, one in settings.environments.items()]
            return _wrapped(request, "environments", found)
        case "repos/create-or-update-environment":
            people = body.get("reviewers") or []
            if people and settings.private and settings.plan != "enterprise":
                return Reply(422, {"message": _BILLING})
            if len(people) > 6:
                return Reply(422, {"message": "Validation Failed: too many reviewers"})
            policy = body.get("deployment_branch_policy")
            # What the request leaves out is taken away.
            settings.environments[name] = {
                "wait_timer": body.get("wait_timer", 0),
                "prevent_self_review": body.get("prevent_self_review", False),
                "reviewers": [_reviewer(settings, contract, one) for one in people],
                "policy": policy,
                "branches": (there or {}).get("branches", [])
                if policy and policy["custom_branch_policies"]
                else [],
            }
            return Reply(200, _environment(contract, name, settings.environments[name]))
    if there is None:
        return _MISSING
    branches = there["branches"]
    match request.operation:
        case "repos/get-environment":
            return Reply(200, _environment(contract, name, there))
        case "repos/list-deployment-branch-policies":
            return _wrapped(request, "branch_policies", branches)
        case "repos/create-deployment-branch-policy":
            if not there["policy"] or not there["policy"]["custom_branch_policies"]:
                return _MISSING
            if any(one["name"] == body["name"] for one in branches):
                return Reply(303)
            policy = {"id": settings.number(), "node_id": "n", "type": "branch", **body}
            branches.append(policy)
            return Reply(200, policy)
        case "repos/delete-deployment-branch-policy":
            number = int(values["branch_policy_id"])
            there["branches"] = [one for one in branches if one["id"] != number]
            return Reply(204)
    raise AssertionError(request.operation)


def _reviewer(settings: Settings, contract: Contract, one: Mapping[str, Any]) -> dict[str, Any]:
    known = settings.users if one["type"] == "User" else settings.teams
    name = next(name for name, number in known.items() if number == one["id"])
    who = (
        contract.sample("simple-user", login=name, id=one["id"], type="User")
        if one["type"] == "User"
        else contract.sample("team", slug=name.partition("/")[2], id=one["id"])
    )
    return {"type": one["type"], "reviewer": who}


def _environment(contract: Contract, name: str, one: Mapping[str, Any]) -> Any:
    plain = {"id": 1, "node_id": "n"}
    rules: list[dict[str, Any]] = []
    if one["wait_timer"]:
        rules.append({**plain, "type": "wait_timer", "wait_timer": one["wait_timer"]})
    if one["reviewers"]:
        people = {key: one[key] for key in ("prevent_self_review", "reviewers")}
        rules.append({**plain, "type": "required_reviewers", **people})
    if one["policy"]:
        rules.append({**plain, "type": "branch_policy"})
    return contract.sample(
        "environment", name=name, protection_rules=rules, deployment_branch_policy=one["policy"]
    )


def _wrapped(request: Request, key: str, found: Sequence[Any]) -> Reply:
    from tests.forge_github import page

    reply = page("http://forge.invalid", request, list(found))
    return Reply(200, {"total_count": len(found), key: reply.body}, reply.headers)


# ---------------------------------------------------------------- rulesets


def _rulesets(
    settings: Settings,
    contract: Contract,
    request: Request,
    values: Mapping[str, str],
    body: Mapping[str, Any],
) -> Reply:
    from tests.forge_github import page

    match request.operation:
        case "repos/get-repo-rulesets":
            parents = request.query.get("includes_parents", "true") == "true"
            found = [
                {key: value for key, value in one.items() if key not in _DETAILS}
                for one in settings.rulesets
                if parents or one["source_type"] == "Repository"
            ]
            return page("http://forge.invalid", request, found)
        case "repos/get-branch-rules":
            ref = f"refs/heads/{values['branch']}"
            rules = [
                {
                    **rule,
                    "ruleset_id": one["id"],
                    "ruleset_source_type": one["source_type"],
                    "ruleset_source": one["source"],
                }
                for one in settings.rulesets
                if one["enforcement"] == "active"
                and any(re.fullmatch(pattern, ref) for pattern in patterns(one))
                for rule in one["rules"]
            ]
            return page("http://forge.invalid", request, rules)
        case "repos/create-repo-ruleset":
            if why := _refusal(settings, body, None):
                return _invalid(why)
            made = ruleset(settings, contract, body)
            settings.rulesets.append(made)
            return Reply(201, made)
    # "repos/get-repo-ruleset" and "repos/update-repo-ruleset"
    number = int(values["ruleset_id"])
    there = next((one for one in settings.rulesets if one["id"] == number), None)
    if there is None:
        return _MISSING
    if request.operation == "repos/update-repo-ruleset":
        if why := _refusal(settings, body, number):
            return _invalid(why)
        there |= {key: _filled(body)[key] for key in body}
    shown = {k: v for k, v in there.items() if settings.admin or k != "bypass_actors"}
    return Reply(200, shown)


def _invalid(why: str) -> Reply:
    body = {"message": "Validation Failed", "errors": [{"message": why, "code": "custom"}]}
    return Reply(422, {**body, "documentation_url": "https://docs.github.com/rest"})


_DETAILS = ("rules", "conditions", "bypass_actors")


def ruleset(settings: Settings, contract: Contract, body: Mapping[str, Any]) -> dict[str, Any]:
    """A ruleset of the repository, as GitHub makes it of a request."""
    defaults = {
        "id": settings.number(),
        "target": "branch",
        "source_type": "Repository",
        "source": "acme/flights",
        "bypass_actors": [],
        "conditions": {"ref_name": {"include": [], "exclude": []}},
        "rules": [],
    }
    made = contract.sample("repository-ruleset", **defaults)
    return {**made, **_filled(body)}


def _filled(body: Mapping[str, Any]) -> dict[str, Any]:
    rules = []
    for rule in body.get("rules", ()):
        parameters = {**_FILLED.get(rule["type"], {}), **rule.get("parameters", {})}
        rules.append({"type": rule["type"], **({"parameters": parameters} if parameters else {})})
    return {**body, "rules": rules}


def _refusal(settings: Settings, body: Mapping[str, Any], number: int | None) -> str:
    own = [one for one in settings.rulesets if one["source_type"] == "Repository"]
    if any(one["name"] == body["name"] and one["id"] != number for one in own):
        return "Name must be unique"
    for actor in body.get("bypass_actors", ()):
        known = {"Integration": settings.apps, "Team": settings.teams}.get(actor["actor_type"])
        if actor["actor_id"] == ACTIONS or (
            known is not None and actor["actor_id"] not in known.values()
        ):
            return (
                f"Actor {actor['actor_type']} must be part of the ruleset source or owner"
                " organization"
            )
    return ""


def patterns(one: Mapping[str, Any]) -> list[str]:
    """Regular expressions of the refs that a ruleset is about.

    Ruby's File.fnmatch, in which `*` stands for no slash and `**/` for any folders.
    """
    kind = "refs/tags/" if one["target"] == "tag" else "refs/heads/"
    words = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return [
        "".join(words.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*|\?)", pattern))
        for pattern in one["conditions"]["ref_name"]["include"]
        if pattern.startswith(kind)
    ]


def enforced(settings: Settings) -> list[tuple[str, str]]:
    """Pattern of refs and kind of every rule in force."""
    return [
        (pattern, rule["type"])
        for one in settings.rulesets
        if one["enforcement"] == "active"
        for pattern in patterns(one)
        for rule in one["rules"]
    ]

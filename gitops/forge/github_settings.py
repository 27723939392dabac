"""A repository's settings on GitHub: environments, rulesets, variables, what Actions may do.

https://docs.github.com/en/rest: each is read into a mapping and written from one, by kind and name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from gitops.errors import UsageError
from gitops.forge.client import PAGE, Answer, Client, Refused, Unavailable, objects, part, pick
from gitops.forge.github import GitHub

T = TypeVar("T")

_ADMIN = "administration=write"
_READ = "administration=read"
_RULESET = ("target", "enforcement", "bypass_actors", "conditions", "rules")
_ANYWHERE, _PROTECTED = ["(any branch)"], ["(protected branches)"]
# What GitHub says where the repository's plan lacks a feature, with 403 or 422.
_PLAN = ("upgrade to", "billing plan")


@dataclass(frozen=True)
class Facts:
    """What the settings of a repository depend on.

    `admin`: whether the token may administer it, as far as GitHub says. `actions`: the App that
    Actions' checks come from (None: unknown). `subject`: what the subject of its OIDC tokens starts
    with, `claims` the claims that replace the default ones. `issuer`: who issues them.
    """

    owner: str
    name: str
    admin: bool
    actions: int | None
    subject: str
    claims: tuple[str, ...]
    issuer: str


@dataclass(frozen=True)
class GitHubSettings:
    """Reads and writes settings of one repository."""

    github: GitHub
    name: str = "GitHub"

    @property
    def client(self) -> Client:
        return self.github.client

    def facts(self) -> Facts:
        """ToolError: the repository isn't there, or the token may not see it."""
        found = self._get("", "metadata=read").data
        subject = f"repo:{self.github.owner}/{self.github.repository}"
        claims: tuple[str, ...] = ()
        custom = self._try(lambda: self._get("/actions/oidc/customization/sub", "actions=read"))
        if custom is not None:
            prefix = custom.data.get("sub_claim_prefix")
            if isinstance(prefix, str) and prefix.startswith("repo:"):
                subject = prefix.rstrip(":")
            elif custom.data.get("use_immutable_subject"):
                owner = f"{self.github.owner}@{pick(found, int, 'owner', 'id')}"
                subject = f"repo:{owner}/{self.github.repository}@{pick(found, int, 'id')}"
            if custom.data.get("use_default") is False:
                claims = tuple(custom.data.get("include_claim_keys") or ())
        app = self._try(lambda: self.client.send("GET", "apps/github-actions", needs="none"))
        return Facts(
            pick(found, str, "owner", "login"),
            pick(found, str, "full_name"),
            # Of an App's installation GitHub tells no permissions here.
            _is_app(self.client) or part(found, "permissions").get("admin") is True,
            pick(app.data, int, "id") if app else None,
            subject,
            claims,
            issuer(self.client.base),
        )

    def read(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """A setting as it is; None: it isn't there.

        Raises:
            Unavailable: the repository's plan doesn't have it.
            ToolError: as `Client.send`.
        """
        match kind:
            case "repository":
                found = self._get("", _READ).data
                return {"allow_merge_commit": pick(found, bool, "allow_merge_commit")}
            case "actions":
                found = self._get("/actions/permissions/workflow", _READ).data
                keys = ("default_workflow_permissions", "can_approve_pull_request_reviews")
                return {key: found.get(key) for key in keys}
            case "environment":
                found = self._environment(name)
                return found and {key: found[key] for key in ("branches", "wait_timer")}
            case "reviewers":
                found = self._environment(name) or {}
                none = {"reviewers": [], "prevent_self_review": False}
                return {key: found.get(key, value) for key, value in none.items()}
            case "ruleset":
                ruleset = self._ruleset(name)
                return None if ruleset is None else ruleset[1]
            case "variable":
                path, name, scope = _variable(name)
                answer = self._try(lambda: self._get(f"{path}/{quote(name)}", f"{scope}=read"))
                return None if answer is None else {"value": pick(answer.data, str, "value")}
        raise AssertionError(kind)

    def write(
        self, kind: str, name: str, have: Mapping[str, Any] | None, value: Mapping[str, Any]
    ) -> None:
        """Make a setting `value`, which was `have` (None: it wasn't there).

        Raises:
            Unavailable, ToolError: as `read`.
        """
        match kind:
            case "repository":
                self._send("PATCH", "", value)
            case "actions":
                self._write_actions(value)
            case "environment" | "reviewers":
                there = self._environment(name)
                if there is None and kind == "reviewers":
                    raise Refused(
                        f"there's no environment {name}", fix="mend that first", status=404
                    )
                self._write_environment(name, {**(there or {}), **value})
            case "ruleset":
                body = {"name": name, **{key: value[key] for key in _RULESET if key in value}}
                ruleset = self._ruleset(name)
                method, path = (
                    ("PUT", f"/rulesets/{ruleset[0]}") if ruleset else ("POST", "/rulesets")
                )
                self._send(method, path, body)
            case "variable":
                path, name, scope = _variable(name)
                place = f"{path}/{quote(name)}" if have else path
                body = {"name": name, "value": value["value"]}
                self._send("PATCH" if have else "POST", place, body, needs=f"{scope}=write")
            case _:
                raise AssertionError(kind)

    def _write_actions(self, value: Mapping[str, Any]) -> None:
        try:
            self._send("PUT", "/actions/permissions/workflow", value)
        except Refused as error:
            if error.status != 409:
                raise
            fix = "the organization (or enterprise) decides it: its Settings, Actions, General"
            raise Refused(error.message, fix=fix, status=error.status) from error

    def known(self) -> dict[str, tuple[str, ...]]:
        """Names of all environments and rulesets of the repository, ours or not."""
        environments = self._unless_plan(
            lambda: self._list("/environments", "environments", "actions=read")
        )
        found = {"environment": environments, "ruleset": self._unless_plan(self._rulesets)}
        return {
            kind: tuple(pick(one, str, "name") for one in several or ())
            for kind, several in found.items()
        }

    def rules(self, branch: str) -> list[dict[str, Any]]:
        """All rules in force for a branch, those of the organization too."""
        path = f"{self.github.path}/rules/branches/{quote(branch, safe='')}"
        found = self._unless_plan(lambda: self.client.pages(path, needs="metadata=read", query={}))
        return found or []

    def actor(self, text: str) -> dict[str, Any]:
        """Who may bypass a ruleset: `app:SLUG`, `team:ORG/TEAM` or `deploy-key`.

        Raises:
            UsageError: it's none of these, or isn't there.
        """
        kind, _, name = text.partition(":")
        if text == "deploy-key":
            return {"actor_id": None, "actor_type": "DeployKey", "bypass_mode": "always"}
        path = {"app": f"apps/{quote(name, safe='')}"}.get(kind)
        if kind == "team" and name.removeprefix("@").count("/") == 1:
            path = _team(name.removeprefix("@"))
        if path is None or not name:
            raise UsageError(
                f"{text!r} names nobody that may push",
                fix="write app:SLUG, team:ORGANIZATION/TEAM or deploy-key",
            )
        found = self._try(lambda: self.client.send("GET", path, needs="members=read"))
        if found is None:
            raise UsageError(f"GitHub has no {kind} {name}", fix="look at its page for the name")
        what = {"app": "Integration", "team": "Team"}[kind]
        return {
            "actor_id": pick(found.data, int, "id"),
            "actor_type": what,
            "bypass_mode": "always",
        }

    # ------------------------------------------------------------ environments

    def _environment(self, name: str) -> dict[str, Any] | None:
        answer = self._try(lambda: self._get(f"/environments/{quote(name)}", "actions=read"))
        if answer is None:
            return None
        rules = {str(one.get("type")): one for one in objects(answer.data, "protection_rules")}
        people = rules.get("required_reviewers", {})
        policy = answer.data.get("deployment_branch_policy")
        branches = _ANYWHERE if not isinstance(policy, dict) else _PROTECTED
        if isinstance(policy, dict) and policy.get("custom_branch_policies"):
            branches = sorted(self._policies(name))
        return {
            "branches": branches,
            "reviewers": sorted(self._reviewer(one) for one in people.get("reviewers") or ()),
            "prevent_self_review": bool(people.get("prevent_self_review")),
            "wait_timer": int(rules.get("wait_timer", {}).get("wait_timer") or 0),
        }

    def _reviewer(self, one: Mapping[str, Any]) -> str:
        who = part(one, "reviewer")
        if one.get("type") == "Team":
            return f"@{self.github.owner}/{pick(who, str, 'slug')}".lower()
        return f"@{pick(who, str, 'login')}".lower()

    def _policies(self, name: str) -> dict[str, int]:
        """The branches (and `tag:NAME`) that may deploy, with the number of each policy."""
        path = f"/environments/{quote(name)}/deployment-branch-policies"
        return {
            ("tag:" if one.get("type") == "tag" else "") + pick(one, str, "name"): pick(
                one, int, "id"
            )
            for one in self._list(path, "branch_policies", "actions=read")
        }

    def _write_environment(self, name: str, value: Mapping[str, Any]) -> None:
        path = f"/environments/{quote(name)}"
        custom = value["branches"] not in (_ANYWHERE, _PROTECTED)
        body = {
            "wait_timer": value.get("wait_timer", 0),
            "prevent_self_review": value.get("prevent_self_review", False),
            "reviewers": [self._reviewer_id(one) for one in value.get("reviewers", ())],
            "deployment_branch_policy": None
            if value["branches"] == _ANYWHERE
            else {"protected_branches": not custom, "custom_branch_policies": custom},
        }
        self._send("PUT", path, body)
        if not custom:
            return
        there = self._policies(name)
        for branch in sorted(set(value["branches"]) - set(there)):
            kind = "tag" if branch.startswith("tag:") else "branch"
            policy = {"name": branch.removeprefix("tag:"), "type": kind}
            self._send("POST", f"{path}/deployment-branch-policies", policy)
        for branch in sorted(set(there) - set(value["branches"])):
            self._send("DELETE", f"{path}/deployment-branch-policies/{there[branch]}", None)

    def _reviewer_id(self, who: str) -> dict[str, Any]:
        name = who.removeprefix("@")
        is_team = "/" in name
        path = _team(name) if is_team else f"users/{quote(name, safe='')}"
        answer = self._try(lambda: self.client.send("GET", path, needs="members=read"))
        if answer is None:
            raise Refused(
                f"GitHub has no {'team' if is_team else 'user'} {who}, or the token may not see it",
                fix="mend `approvers` in gitops.yaml, or give the token `members=read`",
                status=404,
            )
        return {"type": "Team" if is_team else "User", "id": pick(answer.data, int, "id")}

    # ------------------------------------------------------------ rulesets

    def _rulesets(self) -> list[dict[str, Any]]:
        """Those of the repository itself, without their rules."""
        query: dict[str, str | int] = {"includes_parents": "false"}
        return self.client.pages(f"{self.github.path}/rulesets", needs=_READ, query=query)

    def _ruleset(self, name: str) -> tuple[int, dict[str, Any]] | None:
        for one in self._planned(self._rulesets):
            if one.get("name") == name and one.get("source_type", "Repository") == "Repository":
                number = pick(one, int, "id")
                found = self._get(f"/rulesets/{number}", _READ).data
                return number, {key: found[key] for key in _RULESET if key in found}
        return None

    # ------------------------------------------------------------ requests

    def _get(self, path: str, needs: str, query: Mapping[str, str | int] | None = None) -> Answer:
        place = f"{self.github.path}{path}"
        return self._planned(lambda: self.client.send("GET", place, needs=needs, query=query))

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, needs: str = _ADMIN
    ) -> None:
        self._planned(
            lambda: self.client.send(method, f"{self.github.path}{path}", needs=needs, body=body)
        )

    def _list(self, path: str, key: str, needs: str) -> list[dict[str, Any]]:
        """All items of a list that is wrapped in an object, page by page."""
        found: list[dict[str, Any]] = []
        for page in range(1, 101):
            answer = self._get(path, needs, {"per_page": PAGE, "page": page})
            found += objects(answer.data, key)
            if not answer.more:
                break
        return found

    def _try(self, ask: Callable[[], Answer]) -> Answer | None:
        """An answer; None: there's no such thing."""
        try:
            return ask()
        except Refused as error:
            if error.status != 404:
                raise
            return None

    def _planned(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except Refused as error:
            if error.status in (403, 422) and any(word in error.message.lower() for word in _PLAN):
                raise Unavailable(
                    error.message,
                    fix="a public repository has it; a private one needs a plan that includes it",
                    status=error.status,
                ) from error
            raise

    def _unless_plan(self, ask: Callable[[], T]) -> T | None:
        try:
            return self._planned(ask)
        except Unavailable:
            return None


def _variable(name: str) -> tuple[str, str, str]:
    """The list that a variable is in (`NAME`, `ENVIRONMENT/NAME`), its name there, its scope."""
    environment, slash, name = name.rpartition("/")
    if slash:
        return f"/environments/{quote(environment)}/variables", name, "environments"
    return "/actions/variables", name, "variables"


def _team(name: str) -> str:
    organization, _, slug = name.partition("/")
    return f"orgs/{quote(organization, safe='')}/teams/{quote(slug, safe='')}"


def _is_app(client: Client) -> bool:
    """Whether the token is that of an App's installation, by GitHub's prefix for these."""
    return client.token is not None and client.token.secret.startswith("ghs_")


def issuer(api: str) -> str:
    """https://docs.github.com/en/actions/reference/security/oidc: of this API's Actions."""
    if api == "https://api.github.com":
        return "https://token.actions.githubusercontent.com"
    if api.startswith("https://api.") and api.endswith(".ghe.com"):
        return api.replace("https://api.", "https://token.actions.", 1)
    return f"{api.removesuffix('/api/v3')}/_services/token"

"""`gitops setup github` against a GitHub that keeps what it is told."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gitops import pipelines
from gitops.errors import ConfigError, UsageError
from gitops.setup import github as setup
from gitops.setup import run, wishes
from gitops.setup.model import Plan
from tests.forge_contract import Contract
from tests.forge_github_settings import ACTIONS, ruleset
from tests.unit.setup.conftest import OnGitHub, configured

CONTRACT = Contract("github.json")


def planned(github: OnGitHub, *pushers: str, values: dict[str, str] | None = None) -> Plan:
    return setup.plan(github.place, configured(), values or {}, pushers)


def applied(github: OnGitHub, *pushers: str, values: dict[str, str] | None = None) -> None:
    plan = planned(github, *pushers, values=values)
    outcomes = run.apply(github.place, plan.steps, lambda text: None)
    assert {one.state for one in outcomes} <= {"done", "so already"}, outcomes


def rulesets(github: OnGitHub) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in github.settings.rulesets}


def rule(one: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (found for found in one["rules"] if found["type"] == kind)
    return dict(found.get("parameters", {}))


def changed(plan: Plan) -> dict[str, list[str]]:
    return {one.setting.title: [change.at for change in one.changes] for one in plan.due}


def test_a_plan_reads_applying_makes_it_and_a_second_time_there_is_nothing_to_do(
    github: OnGitHub,
) -> None:
    plan = planned(github)
    assert github.wrote() == []
    assert {one.action for one in plan.steps} == {"create", "update"}
    outcomes = run.apply(github.place, plan.steps, lambda text: None)
    assert {one.state for one in outcomes} == {"done"}, outcomes
    assert github.wrote()
    again = planned(github)
    assert {one.action for one in again.steps} == {"keep"}, again.due
    outcomes = run.apply(github.place, again.steps, lambda text: None)
    assert {one.state for one in outcomes} == {"so already"}
    assert github.wrote() == []


def test_what_is_there_afterwards(github: OnGitHub) -> None:
    applied(github)
    found = github.settings
    assert found.merge_commits
    assert found.actions == {
        "default_workflow_permissions": "read",
        "can_approve_pull_request_reviews": True,
    }
    assert set(found.environments) == {"staging", "production"}
    for name, one in found.environments.items():
        assert [policy["name"] for policy in one["branches"]] == [f"release/{name}"]
    people = found.environments["production"]["reviewers"]
    assert {(one["type"], one["reviewer"]["id"]) for one in people} == {("Team", 21), ("User", 11)}
    assert found.environments["production"]["prevent_self_review"]
    assert found.environments["staging"]["reviewers"] == []

    rules = rulesets(github)
    assert list(rules) == [
        f"gitops: {name}" for name in ("history", "dev", "staging", "production", "registry")
    ]
    assert all(one["enforcement"] == "active" for one in rules.values())
    assert all(one["bypass_actors"] == [] for one in rules.values())
    for name in ("dev", "staging", "production"):
        checks = rule(rules[f"gitops: {name}"], "required_status_checks")
        check = {"context": "required", "integration_id": ACTIONS}
        assert checks["required_status_checks"] == [check]
        assert checks["strict_required_status_checks_policy"]
    reviews = {name: rule(one, "pull_request") for name, one in list(rules.items())[1:4]}
    assert [one["required_approving_review_count"] for one in reviews.values()] == [0, 0, 1]
    assert [len(one["allowed_merge_methods"]) for one in reviews.values()] == [3, 1, 1]
    assert reviews["gitops: production"]["allowed_merge_methods"] == ["merge"]


def test_settings_of_others_stay(github: OnGitHub) -> None:
    applied(github, "app:acme-promoter")
    theirs = {"name": "Team rules", "enforcement": "active", "rules": [{"type": "creation"}]}
    github.settings.rulesets.append(ruleset(github.settings, CONTRACT, theirs))
    github.settings.environments["preview"] = dict(github.settings.environments["staging"])
    github.settings.environments["production"]["wait_timer"] = 30
    production = rulesets(github)["gitops: production"]
    production["rules"].append({"type": "required_signatures"})
    for one in production["rules"]:
        if one["type"] == "pull_request":
            one["parameters"]["required_approving_review_count"] = 3
        if one["type"] == "required_status_checks":
            one["parameters"]["required_status_checks"].append({"context": "theirs"})
    plan = planned(github)
    assert plan.due == ()
    assert plan.left == ("environment preview", "ruleset Team rules")

    # And where ours has to be mended, theirs is written back with it.
    production["enforcement"] = "disabled"
    github.settings.environments["production"]["prevent_self_review"] = False
    assert changed(planned(github)) == {
        "reviewers production": ["prevent_self_review"],
        "ruleset gitops: production": ["enforcement"],
    }
    applied(github)
    production = rulesets(github)["gitops: production"]
    assert production["enforcement"] == "active"
    assert production["bypass_actors"][0]["actor_id"] == 31
    assert rule(production, "required_signatures") == {}
    assert rule(production, "pull_request")["required_approving_review_count"] == 3
    checks = rule(production, "required_status_checks")["required_status_checks"]
    assert [one["context"] for one in checks] == ["required", "theirs"]
    assert github.settings.environments["production"]["wait_timer"] == 30
    assert rulesets(github)["Team rules"]["rules"] == [{"type": "creation"}]


def test_what_loosens_ours_is_taken_back(github: OnGitHub) -> None:
    applied(github)
    bypass = {"actor_id": 5, "actor_type": "RepositoryRole", "bypass_mode": "always"}
    rulesets(github)["gitops: registry"]["bypass_actors"] = [bypass]
    rulesets(github)["gitops: history"]["conditions"]["ref_name"]["exclude"] = ["refs/heads/main"]
    production = github.settings.environments["production"]
    production["branches"].append({"id": 1, "name": "topic", "type": "branch"})
    production["branches"].append({"id": 2, "name": "v*", "type": "tag"})
    production["reviewers"] = production["reviewers"][:1]
    github.settings.environments["staging"]["policy"] = None
    assert changed(planned(github)) == {
        "environment staging": ["branches"],
        "environment production": ["branches"],
        "reviewers production": ["reviewers"],
        "ruleset gitops: history": ["conditions.ref_name.exclude"],
        "ruleset gitops: registry": ["bypass_actors"],
    }
    applied(github)
    assert planned(github).due == ()
    production = github.settings.environments["production"]
    assert [one["name"] for one in production["branches"]] == ["release/production"]
    assert rulesets(github)["gitops: registry"]["bypass_actors"] == []


def test_an_environment_that_is_gone_is_named_and_left(github: OnGitHub) -> None:
    applied(github)
    fewer = configured(environments=[{"name": "dev", "branch": "main"}])
    plan = setup.plan(github.place, fewer, {}, ())
    old = " (gitops.yaml no longer asks for it)"
    assert f"ruleset gitops: staging{old}" in plan.left
    assert "environment staging" in plan.left
    assert "actions" in {one.setting.kind for one in plan.steps if one.action == "keep"}


@pytest.mark.parametrize(
    ("who", "actor"),
    [
        ("app:acme-promoter", ("Integration", 31)),
        ("team:acme/leads", ("Team", 21)),
        ("team:@acme/leads", ("Team", 21)),
        ("deploy-key", ("DeployKey", None)),
    ],
)
def test_who_may_push(github: OnGitHub, who: str, actor: tuple[str, int | None]) -> None:
    applied(github, who)
    for name, one in rulesets(github).items():
        found = [(actor["actor_type"], actor["actor_id"]) for actor in one["bypass_actors"]]
        fixed = name in ("gitops: history", "gitops: registry")
        assert found == ([] if fixed else [actor])


@pytest.mark.parametrize("who", ["ann", "user:ann", "app:", "app:nobody", "team:leads", ""])
def test_nobody_of_that_name_may_push(github: OnGitHub, who: str) -> None:
    with pytest.raises(UsageError):
        planned(github, who)


def test_approvers_that_github_cannot_know_are_named(github: OnGitHub) -> None:
    production = {"name": "production", "branch": "release/production"}
    who = ["@bob", "lead@example.org", "@elsewhere/leads"]
    config = configured(
        environments=[{"name": "dev", "branch": "main"}, {**production, "approvers": who}]
    )
    plan = setup.plan(github.place, config, {}, ())
    (step,) = [one for one in plan.steps if one.setting.kind == "reviewers"]
    assert step.value["reviewers"] == ["@bob"]
    assert any("lead@example.org, @elsewhere/leads" in text for text in plan.by_hand)
    many = [f"@user{n}" for n in range(7)]
    config = configured(
        environments=[{"name": "dev", "branch": "main"}, {**production, "approvers": many}]
    )
    with pytest.raises(ConfigError, match="7 approvers"):
        setup.plan(github.place, config, {}, ())


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        ([{"type": "required_linear_history"}], "a linear history"),
        (
            [
                {
                    "type": "pull_request",
                    "parameters": {
                        "allowed_merge_methods": ["squash", "rebase"],
                        "dismiss_stale_reviews_on_push": False,
                        "require_code_owner_review": False,
                        "require_last_push_approval": False,
                        "required_approving_review_count": 1,
                        "required_review_thread_resolution": False,
                    },
                }
            ],
            "merging by squash or rebase",
        ),
    ],
)
def test_rules_under_which_no_promotion_can_be_merged_are_named(
    github: OnGitHub, rules: list[dict[str, Any]], what: str
) -> None:
    condition = {"ref_name": {"include": ["refs/heads/release/**/*"], "exclude": []}}
    body = {"name": "House rules", "enforcement": "active", "rules": rules}
    one = ruleset(github.settings, CONTRACT, {**body, "conditions": condition})
    one |= {"source_type": "Organization", "source": "acme"}
    github.settings.rulesets.append(one)
    applied(github)
    plan = planned(github)
    found = [text for text in plan.by_hand if what in text]
    assert len(found) == 2
    assert "of acme" in found[0]
    assert plan.left == ()  # it is the organization's, not the repository's


def test_a_repository_of_one_environment_opens_no_pull_requests(github: OnGitHub) -> None:
    config = configured(environments=[{"name": "dev", "branch": "main"}])
    plan = setup.plan(github.place, config, {}, ())
    run.apply(github.place, plan.steps, lambda text: None)
    assert github.settings.actions["can_approve_pull_request_reviews"] is False
    assert github.settings.environments == {}
    assert not any("maintainer's click" in text for text in plan.by_hand)


def test_the_required_check_is_the_job_that_the_workflow_has() -> None:
    files = dict(pipelines.render(configured()))
    jobs = yaml.safe_load(files[".github/workflows/pull-request.yml"])["jobs"]
    # GitHub names a check as the job is named.
    assert jobs[wishes.REQUIRED].get("name", wishes.REQUIRED) == wishes.REQUIRED


def test_a_check_that_no_workflow_reports_is_not_required(github: OnGitHub) -> None:
    plan = setup.plan(github.place, configured(ci=["azure"]), {}, ())
    run.apply(github.place, plan.steps, lambda text: None)
    kinds = [one["type"] for one in rulesets(github)["gitops: dev"]["rules"]]
    assert kinds == ["pull_request"]
    assert any("no check is required" in text for text in plan.by_hand)


def test_without_the_number_of_actions_any_app_may_report_the_check(github: OnGitHub) -> None:
    del github.settings.apps["github-actions"]
    applied(github)
    checks = rule(rulesets(github)["gitops: dev"], "required_status_checks")
    assert checks["required_status_checks"] == [{"context": "required"}]


def test_every_described_operation_is_asked_for(github: OnGitHub) -> None:
    """Else a cut of the description, or a call of ours, would go unnoticed."""
    github.settings.environments["production"] = {
        "wait_timer": 0,
        "prevent_self_review": False,
        "reviewers": [],
        "policy": {"protected_branches": False, "custom_branch_policies": True},
        "branches": [{"id": 3, "name": "old", "type": "branch"}],
    }
    for value in ("one", "two"):
        places = ("AZURE_CLIENT_ID", "production/AZURE_CLIENT_ID")
        applied(github, values=dict.fromkeys(places, value))
    rulesets(github)["gitops: dev"]["enforcement"] = "disabled"
    applied(github)
    asked = {one.operation for one in github.server.requests}
    described = {
        one["operationId"]
        for path, methods in CONTRACT.document["paths"].items()
        for one in methods.values()
        if any(word in path for word in ("ruleset", "environments", "variables", "oidc", "rules/"))
    }
    assert len(described) == 18
    assert described - asked == set()


def test_a_plan_is_the_same_when_nothing_changed(github: OnGitHub) -> None:
    assert planned(github) == planned(github)

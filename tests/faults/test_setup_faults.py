"""`gitops setup` while the forge refuses, breaks off, limits, or is changed by somebody else."""

from __future__ import annotations

import pytest

from gitops.errors import ToolError
from gitops.forge.client import Refused
from gitops.setup import azure as on_azure
from gitops.setup import github as on_github
from gitops.setup import run
from gitops.setup.model import Plan
from gitops.setup.run import Outcome
from tests.forge_contract import Contract, Reply
from tests.forge_github_settings import ruleset
from tests.forge_server import Fault
from tests.unit.setup.conftest import OnAzure, OnGitHub, configured

FILES = (".azure-pipelines/pull-request.yml",)
LIMITED = Reply(403, {"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "7"})


def planned(place: OnGitHub) -> Plan:
    return on_github.plan(place.place, configured(), {}, ())


def done(place: OnGitHub, plan: Plan | None = None) -> dict[str, Outcome]:
    outcomes = run.apply(place.place, (plan or planned(place)).steps, lambda text: None)
    return {one.step.setting.title: one for one in outcomes}


def bad(found: dict[str, Outcome]) -> dict[str, str]:
    """The state of whatever isn't as wanted."""
    return {
        title: one.state for title, one in found.items() if one.state not in ("done", "so already")
    }


def mended(place: OnGitHub) -> None:
    """A further run makes the rest, and after it there's nothing to do."""
    place.server.faults.clear()
    assert bad(done(place)) == {}
    assert planned(place).due == ()


def test_a_write_that_is_refused_stops_itself_alone(github: OnGitHub) -> None:
    headers = {"X-Accepted-GitHub-Permissions": "administration=write"}
    github.server.faults = [
        Fault("POST .*/rulesets", Reply(403, {"message": "Resource not accessible"}, headers))
    ]
    found = done(github)
    assert bad(found) == {"ruleset gitops: history": "failed"}
    assert "administration=write" in found["ruleset gitops: history"].fix
    assert "GITHUB_TOKEN" in found["ruleset gitops: history"].fix
    mended(github)


@pytest.mark.parametrize("status", [404, 422])
def test_a_setting_that_the_forge_does_not_take(github: OnGitHub, status: int) -> None:
    message = {"message": "Validation Failed", "errors": ["Invalid rule 'update'"]}
    github.server.faults = [Fault("PUT .*/environments/staging", Reply(status, message))]
    found = done(github)
    assert bad(found) == {"environment staging": "failed"}
    assert "Invalid rule 'update'" in found["environment staging"].problem
    mended(github)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_overloaded_forge_is_asked_again(github: OnGitHub, status: int) -> None:
    github.server.faults = [
        Fault("PUT .*/environments/staging", Reply(status)),
        Fault("GET .*/rulesets", Reply(status)),
        Fault("PATCH .*/flights", None),
    ]
    assert bad(done(github)) == {}
    assert github.waits == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("reply", [None, Reply(502)])
def test_what_was_made_although_the_answer_was_lost_is_made_once(
    github: OnGitHub, reply: Reply | None
) -> None:
    github.server.faults = [Fault("POST .*/rulesets", reply, after=True)]
    assert bad(done(github)) == {}
    names = [one["name"] for one in github.settings.rulesets]
    assert len(names) == len(set(names)) == 5


@pytest.mark.parametrize("reply", [None, Reply(502)])
def test_what_was_not_made_is_named(github: OnGitHub, reply: Reply | None) -> None:
    github.server.faults = [Fault("POST .*/rulesets", reply)]
    found = done(github)
    assert bad(found) == {"ruleset gitops: history": "failed"}
    mended(github)


def test_a_limit_is_waited_for(github: OnGitHub) -> None:
    github.server.faults = [Fault("POST .*/rulesets", LIMITED), Fault("GET .*/staging", LIMITED)]
    assert bad(done(github)) == {}
    assert github.waits == [7.0, 7.0]


def test_a_forge_that_is_lost_on_the_way_is_not_asked_any_more(github: OnGitHub) -> None:
    plan = planned(github)
    github.wrote()
    github.server.faults = [Fault("/environments/production", None)] * 4
    found = done(github, plan)
    assert found["environment staging"].state == "done"
    assert found["environment production"].state == "failed"
    rest = {state for title, state in bad(found).items() if title != "environment production"}
    assert rest == {"not tried"}
    assert len(bad(found)) == 7
    assert not [one for one in github.wrote() if "ruleset" in one]
    mended(github)


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(github: OnGitHub) -> None:
    done(github)
    github.settings.rulesets[1]["enforcement"] = "disabled"
    plan = planned(github)
    github.settings.rulesets[1]["rules"] = [{"type": "creation"}]
    found = done(github, plan)
    assert bad(found) == {"ruleset gitops: dev": "changed meanwhile"}
    assert github.settings.rulesets[1]["rules"] == [{"type": "creation"}]
    mended(github)


def test_what_somebody_else_deleted_meanwhile(github: OnGitHub) -> None:
    done(github)
    github.settings.rulesets[1]["enforcement"] = "disabled"
    plan = planned(github)
    del github.settings.rulesets[1]
    assert bad(done(github, plan)) == {"ruleset gitops: dev": "changed meanwhile"}
    mended(github)


def test_what_somebody_else_made_just_so_meanwhile(github: OnGitHub) -> None:
    plan = planned(github)
    done(github)
    github.wrote()
    found = done(github, plan)
    assert {one.state for one in found.values()} == {"so already"}
    assert github.wrote() == []


def test_what_the_forge_says_is_done_and_is_not(github: OnGitHub) -> None:
    done(github)
    github.settings.rulesets[1]["enforcement"] = "evaluate"
    plan = planned(github)
    number = github.settings.rulesets[1]["id"]
    said = {**github.settings.rulesets[1], "enforcement": "active"}
    github.server.faults = [Fault(f"PUT .*/rulesets/{number}", Reply(200, said))]
    found = done(github, plan)
    assert bad(found) == {"ruleset gitops: dev": "failed"}
    assert "enforcement" in found["ruleset gitops: dev"].problem


def test_what_is_undone_while_we_go_on_is_noticed(github: OnGitHub) -> None:
    plan = planned(github)

    def undo(text: str) -> None:
        if text == "done: ruleset gitops: registry":
            github.settings.rulesets[0]["enforcement"] = "disabled"

    outcomes = run.apply(github.place, plan.steps, undo)
    found = [one.step.setting.title for one in outcomes if one.state == "failed"]
    assert found == ["ruleset gitops: history"]


def test_somebodys_hundreds_of_settings(github: OnGitHub) -> None:
    contract = Contract("github.json")
    for number in range(250):
        body = {"name": f"theirs {number}", "enforcement": "active", "rules": []}
        github.settings.rulesets.insert(0, ruleset(github.settings, contract, body))
    policies = [{"id": n, "name": f"b{n}", "type": "branch"} for n in range(120)]
    one = {"wait_timer": 0, "prevent_self_review": False, "reviewers": []}
    custom = {"protected_branches": False, "custom_branch_policies": True}
    github.settings.environments = {
        **{f"their-{number}": {**one, "policy": None, "branches": []} for number in range(130)},
        "staging": {**one, "policy": custom, "branches": policies},
    }
    assert bad(done(github)) == {}
    plan = planned(github)
    assert plan.due == ()
    assert len(plan.left) == 250 + 130
    branches = [one["name"] for one in github.settings.environments["staging"]["branches"]]
    assert branches == ["release/staging"]


def test_a_ruleset_of_our_name_that_the_organization_has_is_not_ours(github: OnGitHub) -> None:
    body = {"name": "gitops: history", "enforcement": "disabled", "rules": []}
    theirs = ruleset(github.settings, Contract("github.json"), body)
    theirs |= {"source_type": "Organization", "source": "acme"}
    github.settings.rulesets.append(theirs)
    assert bad(done(github)) == {}
    assert [one["name"] for one in github.settings.rulesets].count("gitops: history") == 2
    assert theirs["enforcement"] == "disabled"
    assert planned(github).due == ()


@pytest.mark.parametrize(
    ("plan", "missing"),
    [
        ("free", ("reviewers", "ruleset")),
        ("team", ("reviewers",)),
        ("enterprise", ()),
    ],
)
def test_what_a_private_repositorys_plan_does_not_have(
    github: OnGitHub, plan: str, missing: tuple[str, ...]
) -> None:
    github.settings.private, github.settings.plan = True, plan
    found = done(github)
    kinds = {title.partition(" ")[0] for title in bad(found)}
    assert kinds == set(missing)
    for title in bad(found):
        assert "a plan that includes it" in found[title].fix
    assert set(github.settings.environments) == {"staging", "production"}
    github.settings.private = False
    mended(github)


def test_what_the_organization_does_not_leave_to_the_repository(github: OnGitHub) -> None:
    github.settings.actions_locked = True
    found = done(github)
    assert bad(found) == {"actions": "failed"}
    assert "organization" in found["actions"].fix
    github.settings.actions_locked = False
    mended(github)


def test_who_may_push_must_be_installed(github: OnGitHub) -> None:
    plan = on_github.plan(github.place, configured(), {}, ["app:acme-promoter"])
    del github.settings.apps["acme-promoter"]
    found = done(github, plan)
    titles = {f"ruleset gitops: {name}" for name in ("dev", "staging", "production")}
    assert set(bad(found)) == titles
    assert "must be part of the ruleset source" in found["ruleset gitops: dev"].problem
    mended(github)


def test_actions_own_app_cannot_be_let_past_the_rules(github: OnGitHub) -> None:
    plan = on_github.plan(github.place, configured(), {}, ["app:github-actions"])
    assert "ruleset gitops: dev" in bad(done(github, plan))


def test_an_approver_whom_github_does_not_know(github: OnGitHub) -> None:
    del github.settings.users["ann"]
    found = done(github)
    assert bad(found) == {"reviewers production": "failed"}
    assert "no user @ann" in found["reviewers production"].problem
    assert "approvers" in found["reviewers production"].fix
    assert github.settings.environments["production"]["reviewers"] == []
    github.settings.users["ann"] = 11
    mended(github)


def test_reviewers_never_make_an_environment_that_any_branch_may_use(github: OnGitHub) -> None:
    github.server.faults = [Fault("PUT .*/environments/production", Reply(422, {"message": "no"}))]
    found = done(github)
    assert set(bad(found)) == {"environment production", "reviewers production"}
    assert "production" not in github.settings.environments
    mended(github)


def test_half_an_environment_is_finished_by_the_next_run(github: OnGitHub) -> None:
    github.server.faults = [Fault("POST .*/staging/deployment-branch-policies", Reply(500))]
    found = done(github)
    assert bad(found) == {"environment staging": "failed"}
    assert github.settings.environments["staging"]["branches"] == []  # closed, not open
    assert github.settings.environments["staging"]["policy"]["custom_branch_policies"]
    mended(github)


def test_the_repository_is_gone(github: OnGitHub) -> None:
    github.server.faults = [Fault("GET .*/flights", Reply(404, {"message": "Not Found"}))]
    with pytest.raises(Refused, match="404"):
        planned(github)


def test_no_forge_no_plan(github: OnGitHub) -> None:
    github.server.faults = [Fault("GET .*/actions/permissions/workflow", None)] * 4
    with pytest.raises(ToolError, match="can't be reached"):
        planned(github)


def test_a_setting_that_may_not_be_read_blocks_its_step_alone(github: OnGitHub) -> None:
    github.server.faults = [
        Fault("GET .*/permissions/workflow", Reply(403, {"message": "Resource not accessible"}))
    ]
    plan = planned(github)
    assert [one.setting.kind for one in plan.blocked] == ["actions"]
    assert not plan.blocked[0].unavailable
    assert "administration=read" in plan.blocked[0].fix


def test_what_azure_forbids_names_the_permission(azure: OnAzure) -> None:
    azure.settings.forbidden = ("create policy",)
    config = configured()
    outcomes = run.apply(azure.place, _azure(azure).steps, lambda text: None)
    failed = [one for one in outcomes if one.state == "failed"]
    assert {one.step.setting.kind for one in failed} == {
        "build validation",
        "merge types",
        "reviewers",
        "required reviewers",
    }
    assert "Edit policies" in failed[0].fix
    assert {one["name"] for one in azure.settings.environments} == {
        one.name for one in config.environments[1:]
    }
    azure.settings.forbidden = ()
    outcomes = run.apply(azure.place, _azure(azure).steps, lambda text: None)
    assert {one.state for one in outcomes} == {"done", "so already"}


def test_azure_answers_too_late(azure: OnAzure) -> None:
    azure.server.faults = [Fault("POST .*/distributedtask/environments", None, after=True)]
    outcomes = run.apply(azure.place, _azure(azure).steps, lambda text: None)
    assert {one.state for one in outcomes} == {"done"}
    names = [one["name"] for one in azure.settings.environments]
    assert names == ["staging", "production"]


def test_azures_checks_are_not_made_on_an_environment_that_is_not_there(azure: OnAzure) -> None:
    azure.settings.forbidden = ("add environment",)
    outcomes = run.apply(azure.place, _azure(azure).steps, lambda text: None)
    failed = {one.step.setting.title for one in outcomes if one.state == "failed"}
    assert "branch control production" in failed
    assert azure.settings.checks == []


def _azure(place: OnAzure) -> Plan:
    config = configured(
        environments=[
            {"name": "dev", "branch": "main"},
            {"name": "staging", "branch": "release/staging"},
            {
                "name": "production",
                "branch": "release/production",
                "approvers": ["ann@example.org"],
            },
        ]
    )
    return on_azure.plan(place.place, config, FILES, {})

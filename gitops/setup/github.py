"""What a repository on GitHub must be set to, and what is left to do by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gitops.config.values import RECORDS
from gitops.errors import ConfigError
from gitops.setup import wishes
from gitops.setup.model import AtLeast, Initially, Items, Plan, Setting
from gitops.setup.run import compare

if TYPE_CHECKING:
    from gitops.config import Config, Environment
    from gitops.forge.github_settings import Facts, GitHubSettings

OURS = "gitops: "
REVIEWERS = 6  # the most that an environment takes
# Of a ruleset's patterns `*` stands for no slash; the tags' grammar is that of gitops.promote.tags.
_PULL_REQUEST = "pull-request"  # what its tokens' subject is called here
_TAGS = ("*@v*", "*#*", "hold/*/*", "approval/*/*")


def wanted(
    config: Config,
    owner: str,
    actions: int | None,
    values: Mapping[str, str],
    pushers: Sequence[Mapping[str, Any]] = (),
) -> tuple[Setting, ...]:
    """All settings, in an order in which they can be made.

    `owner`: of the repository; `actions`: the App that Actions' checks come from; `values`: of
    variables; `pushers`: who may push to the branches of environments past their rules.

    Raises:
        ConfigError: an environment has more approvers than GitHub takes.
    """
    found = [
        Setting("repository", "", {"allow_merge_commit": True}, "promotions are merge commits"),
        Setting(
            "actions",
            "",
            {
                "default_workflow_permissions": "read",
                **(
                    {"can_approve_pull_request_reviews": True}
                    if len(config.environments) > 1
                    else {}
                ),
            },
            "a job gets what it asks for; `promote --pr` opens pull requests",
        ),
    ]
    for environment in wishes.deployed(config):
        found += _environment(environment, owner)
    found.append(_history(config))
    found += [_branch(config, one, actions, pushers) for one in config.environments]
    found.append(_registry())
    found += [
        Setting("variable", name, {"value": value}, "the workflows log in with it")
        for name, value in values.items()
    ]
    return tuple(found)


def _environment(environment: Environment, owner: str) -> Iterator[Setting]:
    name = environment.name
    yield Setting(
        "environment",
        name,
        {"branches": (environment.branch,)},
        f"only {environment.branch} gets its credentials",
    )
    if people := reviewers(environment, owner):
        if len(people) > REVIEWERS:
            raise ConfigError(
                f"{name} has {len(people)} approvers, and GitHub takes {REVIEWERS} reviewers",
                fix="name a team among its approvers in gitops.yaml",
            )
        yield Setting(
            "reviewers",
            name,
            {"reviewers": people, "prevent_self_review": True},
            "a deployment waits for one of its approvers, never its own author",
        )


def reviewers(environment: Environment, owner: str) -> tuple[str, ...]:
    """The approvers that GitHub may know: users, and teams of the repository's organization."""
    return tuple(
        one.lower()
        for one in environment.approvers
        if one.startswith("@") and ("/" not in one or one.lower().startswith(f"@{owner.lower()}/"))
    )


def _ruleset(
    name: str,
    refs: Sequence[str],
    rules: Sequence[Mapping[str, Any]],
    why: str,
    bypass: Items | tuple[()],
    target: str = "branch",
) -> Setting:
    want = {
        "target": target,
        "enforcement": "active",
        "bypass_actors": bypass,
        "conditions": {"ref_name": {"include": tuple(refs), "exclude": ()}},
        "rules": Items(("type",), tuple(rules)),
    }
    return Setting("ruleset", OURS + name, want, why)


def _history(config: Config) -> Setting:
    """Apart from the other rules: nobody bypasses these."""
    branches = [*(one.branch for one in config.environments), RECORDS]
    return _ruleset(
        "history",
        [f"refs/heads/{name}" for name in branches],
        [{"type": "deletion"}, {"type": "non_fast_forward"}],
        "what was deployed and recorded stays: no force push, no deletion",
        (),
    )


def _registry() -> Setting:
    return _ruleset(
        "registry",
        [f"refs/tags/{pattern}" for pattern in _TAGS],
        [{"type": "deletion"}, {"type": "non_fast_forward"}, {"type": "update"}],
        "tags of the registry, holds and approvals: made, never moved or deleted",
        (),
        target="tag",
    )


def _branch(
    config: Config,
    environment: Environment,
    actions: int | None,
    pushers: Sequence[Mapping[str, Any]],
) -> Setting:
    release = environment != config.environments[0]
    approved = bool(environment.approvers)
    review = {
        "required_approving_review_count": AtLeast(int(approved)),
        "dismiss_stale_reviews_on_push": AtLeast(approved),
        "require_code_owner_review": AtLeast(False),
        "require_last_push_approval": AtLeast(False),
        "required_review_thread_resolution": AtLeast(False),
        **({"allowed_merge_methods": ("merge",)} if release else {}),
    }
    check = {"context": wishes.REQUIRED, **({"integration_id": actions} if actions else {})}
    checks = {
        "required_status_checks": Items(("context",), (check,)),
        "strict_required_status_checks_policy": True,
        "do_not_enforce_on_create": Initially(True),  # a release branch starts at what was judged
    }
    rules: list[Mapping[str, Any]] = [{"type": "pull_request", "parameters": review}]
    if "github" in config.ci:  # else nobody would ever report the check
        rules.append({"type": "required_status_checks", "parameters": checks})
    why = "pull requests only, judged on the merge result"
    return _ruleset(
        environment.name,
        [f"refs/heads/{environment.branch}"],
        rules,
        f"{why}, by merge commits" if release else why,
        Items(("actor_type", "actor_id"), tuple(pushers)),
    )


# ---------------------------------------------------------------- the plan


def plan(
    place: GitHubSettings, config: Config, values: Mapping[str, str], pushers: Sequence[str]
) -> Plan:
    """Everything compared; nothing is written.

    Raises:
        ToolError: no token, no such repository, or no way to GitHub.
        ConfigError, UsageError: GitHub can't have what is asked for.
    """
    facts = place.facts()
    actors = [place.actor(one) for one in pushers]
    settings = wanted(config, facts.owner, facts.actions, values, actors)
    steps = compare(place, settings)
    unset = [
        name
        for name in wishes.variables(config)
        if name not in values and place.read("variable", name) is None
    ]
    return Plan(
        place.name,
        facts.name,
        steps,
        tuple(_left(place, settings)),
        (
            *_in_the_way(place, config),
            *by_hand(config, facts, unset),
        ),
        admin=facts.admin,
    )


def _left(place: GitHubSettings, settings: Sequence[Setting]) -> Iterator[str]:
    ours = {(one.kind, one.name) for one in settings}
    for kind, names in place.known().items():
        for name in sorted(names):
            if (kind, name) not in ours:
                old = " (gitops.yaml no longer asks for it)" if name.startswith(OURS) else ""
                yield f"{kind} {name}{old}"


def _in_the_way(place: GitHubSettings, config: Config) -> Iterator[str]:
    """Rules of others under which no promotion can be merged."""
    for environment in config.environments[1:]:
        for rule in place.rules(environment.branch):
            methods = (rule.get("parameters") or {}).get("allowed_merge_methods")
            if rule.get("type") == "required_linear_history":
                what = "a linear history"
            elif isinstance(methods, list) and "merge" not in methods:
                what = f"merging by {' or '.join(methods)}"
            else:
                continue
            source = rule.get("ruleset_source") or "somebody"
            yield (
                f"ruleset {rule.get('ruleset_id')} of {source} asks for {what} on"
                f" {environment.branch}: promotions are merge commits; except this branch there"
            )


def subjects(config: Config, facts: Facts) -> tuple[tuple[str, str], ...]:
    """Name and subject of every token that a cloud has to trust, by `wishes.trusts`."""
    return tuple((one.name, f"{facts.subject}:{one.subject}") for one in wishes.trusts(config))


def by_hand(config: Config, facts: Facts, unset: Sequence[str]) -> Iterator[str]:
    """What no request of ours can do, as exact steps."""
    if "github" not in config.ci:
        yield "no check is required: add github to `ci` in gitops.yaml, gitops sync, run this again"
    for environment in config.environments[1:]:
        known = reviewers(environment, facts.owner)
        if others := [one for one in environment.approvers if one.lower() not in known]:
            yield (
                f"no reviewer of {environment.name} on GitHub: {', '.join(others)}; name @login, or"
                f" a team as @{facts.owner}/team, in gitops.yaml"
            )
    if unset:
        asked = " ".join(f"--set {name}=..." for name in unset)
        yield f"say what the workflows log in as: gitops setup github {asked} --apply"
    if wishes.needs_azure(config) or wishes.needs_aws(config):
        if facts.claims:
            yield (
                f"this repository's OIDC subject is made of {', '.join(facts.claims)}: the subjects"
                " below don't apply; read one from a token of each job"
            )
        if wishes.provisioned(config):
            who, reader = wishes.identities(config)
            yield (
                "gitops infra apply shared makes the identities that trust this repository's jobs:"
                f" --set {who}=... (ci), --set {reader}=... (read) and"
                f" --set ENV:{who}=... (each other)"
            )
        for name, subject in () if wishes.provisioned(config) else subjects(config, facts):
            yield _trust(config, facts, name, subject)
        yield (
            "what pull requests log in as (the variable with READ in its name) may only read: they"
            " run what their authors wrote; for what deploys give another identity:"
            " --set production:NAME=..."
        )
    if len(config.environments) > 1:
        yield (
            "a pull request that GitHub's own token opened starts its workflows only after a"
            " maintainer's click (`Approve workflows to run`); with a GitHub App's token they start"
        )
        yield (
            "a rollback pushes, and GitHub lets no workflow's own token past these rules: name an"
            " App, or the team that is on call, with --pusher"
        )


def _trust(config: Config, facts: Facts, name: str, subject: str) -> str:
    reads = name == _PULL_REQUEST
    if wishes.reads_azure(config) if reads else wishes.needs_azure(config):
        who = wishes.AZURE_READER if reads else wishes.AZURE[0]
        return wishes.credential(f"{config.project}-{name}", facts.issuer, subject, who=who)
    role = "AWS_READ_ROLE_ARN" if reads else f"AWS_ROLE_ARN of {name}"
    return f"let the role {role} trust {facts.issuer} for the subject {subject}"

"""What a repository on Azure DevOps must be set to, and what is left to do by hand."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from gitops import trust
from gitops.config.values import RECORDS
from gitops.errors import UsageError
from gitops.setup import wishes
from gitops.setup.model import AtLeast, Initially, Plan, Setting
from gitops.setup.run import compare

if TYPE_CHECKING:
    from pathlib import Path

    from gitops.config import Config, Environment
    from gitops.forge.azure_settings import AzureSettings

MARK = "gitops"  # the name of what is ours: policies, checks, the connection
READ = "gitops-read"  # the connection of jobs that pull requests run
PULL_REQUEST = "pull-request"
FOLDER = ".azure-pipelines"


def files(root: Path) -> tuple[str, ...]:
    """The pipelines of a repository, relative to its top folder."""
    return tuple(f"{FOLDER}/{one.name}" for one in sorted((root / FOLDER).glob("*.yml")))


def wanted(
    config: Config,
    repository: str,
    files: Sequence[str],
    people: Collection[str],
    values: Mapping[str, str],
) -> tuple[Setting, ...]:
    """All settings, in an order in which they can be made.

    `files`: the pipelines of `repository`; `people`: the approvers that Azure DevOps knows;
    `values`: of variables.
    """
    found = []
    for file in files:
        name = file.rpartition("/")[2].partition(".")[0]
        # Where several repositories of a project have a `deploy`, that of this folder is started.
        want = {"file": file, "folder": Initially(f"\\{repository}")}
        found.append(Setting("pipeline", name, want, "a file alone starts nothing here"))
    names = {one.name for one in found}
    for environment in config.environments:
        found += _policies(config, environment, people, PULL_REQUEST in names)
    for environment in wishes.deployed(config):
        found += _environment(environment, people)
    found += _permissions()
    found += _connections(values)
    return tuple(found)


def _environment(environment: Environment, people: Collection[str]) -> Iterator[Setting]:
    name = environment.name
    yield Setting("environment", name, {"name": name}, "what deployments and checks hang on")
    known = tuple(one for one in environment.approvers if one in people)
    if known:
        want = {
            "approvers": known,
            "requesterCannotBeApprover": True,
            "minRequiredApprovers": Initially(1),
            "executionOrder": Initially("anyOrder"),
            "instructions": Initially(f"Deploy to {name}?"),
            "blockedApprovers": Initially([]),
        }
        why = "a deployment waits for one of its approvers, never who started it"
        yield Setting("approval", name, want, why)
    yield Setting("exclusive lock", name, {}, "one deployment at a time")
    branches = {
        "allowedBranches": f"refs/heads/{environment.branch}",
        "ensureProtectionOfBranch": "true",
        "allowUnknownStatusBranch": "false",
    }
    yield Setting("branch control", name, branches, f"only {environment.branch} is deployed to it")


def _policies(
    config: Config, environment: Environment, people: Collection[str], judged: bool
) -> Iterator[Setting]:
    branch = environment.branch
    blocking = {"isEnabled": True, "isBlocking": True}
    if judged:
        check = {
            "pipeline": PULL_REQUEST,
            "displayName": MARK,
            "manualQueueOnly": False,
            "queueOnSourceUpdateOnly": False,
            "validDuration": 0,
        }
        why = "`pr:` in a file is ignored here; judged anew when the branch moves"
        yield Setting("build validation", branch, {**blocking, "settings": check}, why)
    if environment == config.environments[0]:
        return
    merges = {
        "allowNoFastForward": True,
        "allowSquash": False,
        "allowRebase": False,
        "allowRebaseMerge": False,
    }
    why = "promotions are merge commits"
    yield Setting("merge types", branch, {**blocking, "settings": merges}, why)
    known = tuple(one for one in environment.approvers if one in people)
    if environment.approvers:
        votes = {
            "minimumApproverCount": AtLeast(1),
            "creatorVoteCounts": False,
            "resetOnSourcePush": AtLeast(True),
        }
        why = "somebody else has looked at what is merged"
        yield Setting("reviewers", branch, {**blocking, "settings": votes}, why)
    if known:
        # All that are listed must approve: of several, one is enough for `promote`, so they are
        # only asked.
        settings = {"requiredReviewers": known, "message": MARK, "creatorVoteCounts": False}
        want = {"isEnabled": True, "isBlocking": len(known) == 1, "settings": settings}
        why = "its approvers are asked" if len(known) > 1 else "its approver is asked, and needed"
        yield Setting("required reviewers", branch, want, why)


def _permissions() -> Iterator[Setting]:
    allowed = ("Contribute", "Create branch", "Create tag", "Contribute to pull requests")
    want = {**dict.fromkeys(allowed, "allow"), "Force push": "deny"}
    why = "the build service tags, records and opens pull requests; it moves and deletes no tag"
    yield Setting("permissions", "", want, why)
    why = "who made a branch may force it, unless that is denied: records only grow"
    yield Setting("permissions", RECORDS, {"Force push": "deny"}, why)


def _connections(values: Mapping[str, str]) -> Iterator[Setting]:
    _, *where = wishes.AZURE
    for connection, who, why in (
        (MARK, wishes.AZURE[0], "a login without a secret"),
        (READ, wishes.AZURE_READER, "pull requests run what their authors wrote: they only read"),
    ):
        if all(name in values for name in (who, *where)):
            tenant, subscription = (values[name] for name in where)
            want = {
                "scheme": "WorkloadIdentityFederation",
                "client": values[who],
                "tenant": tenant,
                "subscription": subscription,
            }
            yield Setting("service connection", connection, want, why)


# ---------------------------------------------------------------- the plan


def plan(
    place: AzureSettings, config: Config, files: Sequence[str], values: Mapping[str, str]
) -> Plan:
    """Everything compared; nothing is written.

    Raises:
        ToolError: no token, no such repository, or no way to Azure DevOps.
        UsageError: `values` are for something else than the connection.
    """
    known = (*wishes.AZURE, wishes.AZURE_READER)
    for given in values:
        if given not in known:
            raise UsageError(
                f"--set {given.replace('/', ':')}: pipelines here log in by {MARK} and {READ}",
                fix=f"give {', '.join(known)}",
            )
    name = place.facts()
    approvers = {who for one in config.environments for who in one.approvers}
    people = [who for who in sorted(approvers) if place.knows(who)]
    settings = wanted(config, name.rpartition("/")[2], files, people, values)
    steps = compare(place, settings)
    unknown = sorted(approvers.difference(people))
    return Plan(
        place.name,
        name,
        steps,
        by_hand=tuple(by_hand(config, files, unknown, values, place)),
    )


def _logins(config: Config, values: Mapping[str, str], place: AzureSettings) -> Iterator[str]:
    """What is left to do for each connection: make it, or let its identity trust it."""
    _, *where = wishes.AZURE
    connections = {MARK: wishes.AZURE[0]}
    if wishes.reads_azure(config):
        connections[READ] = wishes.AZURE_READER
    asked, made = [], False
    for connection, who in connections.items():
        if trusted := place.trust(connection):
            name = f"{config.project}-azure-devops{connection.removeprefix(MARK)}"
            yield wishes.credential(name, *trusted, who=who)
        elif unset := [name for name in (who, *where) if name not in values]:
            asked += [name for name in unset if name not in asked]
        else:
            made = True
    if asked:
        told = " ".join(f"--set {name}=..." for name in asked)
        yield f"say what the pipelines log in as: gitops setup azure {told} --apply"
    if made:
        yield "run this with --apply: the connection's issuer and subject are shown then"


def _roles(config: Config) -> Iterator[str]:
    """The connections of AWS, which only its own extension knows how to make."""
    yield "install the extension AWS Toolkit for Azure DevOps (1.15 or newer) in the organisation"
    made = wishes.provisioned(config, "aws")
    for who, name in trust.azure_devops(config).items():
        if made or who in (trust.CI, trust.READ):
            role = (
                f"roles.{who} of `gitops infra apply shared`" if made else "a role that trusts it"
            )
            yield f"make an AWS service connection {name} that uses OIDC, with {role}"


def by_hand(
    config: Config,
    files: Sequence[str],
    unknown: Sequence[str],
    values: Mapping[str, str],
    place: AzureSettings,
) -> Iterator[str]:
    """What no request of ours can do, as exact steps."""
    if not any(PULL_REQUEST in file for file in files):
        yield f"there's no {FOLDER}/{PULL_REQUEST}.yml: gitops sync, push, and run this again"
    for who in unknown:
        yield (
            f"Azure DevOps knows no {who}: name an address or @project/team in gitops.yaml, or add"
            " that approver to the environment's approval check"
        )
    if wishes.needs_aws(config):
        yield from _roles(config)
    if wishes.needs_azure(config):
        yield from _logins(config, values, place)
        provisioned = wishes.provisioned(config, "azure")
        for environment in wishes.deployed(config) if provisioned else ():
            yield (
                f"make a service connection {MARK}-{environment.name} by workload identity, as"
                f" client_ids.{environment.name} of `gitops infra apply shared`"
            )
        if wishes.ACCOUNT in wishes.variables(config):
            yield "write storage.account into gitops.yaml: pipelines have no such variable here"
    yield (
        "the first run of each pipeline asks whether it may use its environment and connection:"
        " open it and choose Permit"
    )
    yield (
        "a rollback pushes, and the policies let nobody push: give who is on call `Bypass policies"
        " when pushing` on the release branches"
    )

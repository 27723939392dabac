"""Is Azure what gitops.yaml and its workflows need? Asked there; nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops import az, cloudnames, trust
from gitops.errors import GitopsError, ToolError
from gitops.finding import Finding
from gitops.setup import wishes
from gitops.setup.rights import Identity, Right, identities, rights

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.forge.azure_settings import AzureSettings

Json = dict[str, Any]
SHARED = "gitops infra apply shared"


@dataclass(frozen=True)
class Token:
    """What a job shows when it logs in: `whose` identity is to trust this issuer and subject.

    `name`: what a credential for it is called.
    """

    whose: str
    name: str
    issuer: str
    subject: str


def presented(config: Config, issuer: str, subject: str) -> Iterator[Token]:
    """What jobs on GitHub present; `subject`: what it starts with, of this repository."""
    for one in wishes.trusts(config):
        if one.whose != trust.READ or wishes.reads_azure(config):
            yield Token(one.whose, one.name, issuer, f"{subject}:{one.subject}")


def examine(config: Config, tokens: Sequence[Token]) -> Iterator[Finding]:
    """What is there and what isn't, with the command that mends it.

    `tokens`: what the jobs of each forge present, by `wishes.trusts` and `connections`.
    """
    try:
        account = _account()
        yield Finding("Azure", "ok", f"logged in to {account['name']} as {account['user']['name']}")
        yield from _subscription(account)
        declared = config.infrastructure
        if declared is not None and declared.provider == "azure":
            yield from _provisioned(config, str(account["id"]), tokens)
        else:
            yield from _registered(config, tokens)
    except GitopsError as error:
        yield Finding("Azure", "fail", error.message, error.fix or az.LOGIN)
    except (KeyError, TypeError) as error:
        text = f"az answered without {error}: this isn't a format that is known here"
        yield Finding("Azure", "fail", text, "az upgrade")


def _account() -> Json:
    found: Json = az.ask("account", "show")
    return found


def _subscription(account: Json) -> Iterator[Finding]:
    wanted = os.environ.get("ARM_SUBSCRIPTION_ID") or os.environ.get("AZURE_SUBSCRIPTION_ID")
    if wanted and wanted.lower() != str(account["id"]).lower():
        text = f"az is set to the subscription {account['id']}, the environment says {wanted}"
        yield Finding("subscription", "fail", text, f"az account set --subscription {wanted}")
    if account["state"] != "Enabled":
        text = f"the subscription {account['name']} is {account['state']}"
        yield Finding(
            "subscription", "fail", text, "enable it in the Azure portal, or choose another"
        )


# ---------------------------------------------------------------- declared infrastructure


def _provisioned(config: Config, subscription: str, tokens: Sequence[Token]) -> Iterator[Finding]:
    shared = cloudnames.of(config, cloudnames.SHARED)["resource_group"]
    if not _is_there(shared):
        text = f"there's no resource group {shared} in this subscription"
        fix = "az account set --subscription NAME, if it is in another; else sh"
        yield Finding("resource group", "fail", text, f"{fix} infrastructure/bootstrap.sh")
        return
    groups = {shared: "shared"}
    for one in config.environments:
        group = cloudnames.of(config, one.name)["resource_group"]
        if _is_there(group):
            groups[group] = one.name
        else:
            text = f"{one.name} has no resource group {group}"
            yield Finding("resource group", "fail", text, SHARED)
    yield Finding("resource group", "ok", ", ".join(groups))
    there = _principals(groups)
    known = [one for one in identities(config) if one.group in groups]
    for identity in known:
        if (identity.group, identity.name) not in there:
            text = f"{identity.name} ({identity.whose}) isn't there"
            yield Finding("identity", "fail", text, SHARED)
    present = [one for one in known if (one.group, one.name) in there]
    for identity in present:
        if identity.logs_in:
            mine = [one for one in tokens if one.whose == identity.whose]
            yield from _trusted(identity, mine)
    principals = {one: there[one.group, one.name] for one in present}
    yield from _allowed(principals, rights(config), subscription)


def _is_there(group: str) -> bool:
    try:
        az.ask("group", "show", "--name", group)
    except az.Missing:
        return False
    return True


def _principals(groups: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """The principal of each identity, by its group and name."""
    return {
        (group, one["name"]): one["principalId"]
        for group in groups
        for one in az.ask("identity", "list", "--resource-group", group)
    }


def _trusted(identity: Identity, wanted: Sequence[Token]) -> Iterator[Finding]:
    """Exactly what jobs present, and nothing else."""
    words = ["--identity-name", identity.name, "--resource-group", identity.group]
    found = az.ask("identity", "federated-credential", "list", *words)
    yield from _compared(identity.name, identity.whose, found, wanted, lambda _: SHARED)


def _compared(
    name: str,
    whose: str,
    found: Sequence[Json],
    wanted: Sequence[Token],
    fix: Callable[[Token], str],
) -> Iterator[Finding]:
    about = f"{name} ({whose})"
    have = {(one["issuer"], one["subject"]) for one in found if wishes.AUDIENCE in one["audiences"]}
    want = {(one.issuer, one.subject) for one in wanted}
    for one in wanted:
        if (one.issuer, one.subject) not in have:
            text = f"{about} doesn't trust {one.subject} of {one.issuer}, which its jobs present"
            yield Finding("federated credential", "fail", text, fix(one))
    issuers = {issuer for issuer, _ in want}
    for issuer, subject in sorted(have - want):
        # Of a forge that wasn't asked nothing is known.
        if issuer in issuers:
            text = f"{about} trusts {subject}, which no job of its presents"
            remove = "remove it: whoever has that token is let in"
            yield Finding("federated credential", "warn", text, remove)
    if want and want <= have:
        trusted = ", ".join(sorted(subject for _, subject in want))
        yield Finding("federated credential", "ok", f"{about} trusts {trusted}")


def _allowed(
    principals: Mapping[Identity, str], wanted: Sequence[Right], subscription: str
) -> Iterator[Finding]:
    """Every right is there; those that log in have no other."""
    given = az.ask("role", "assignment", "list", "--all")
    top = f"/subscriptions/{subscription}"
    for identity, principal in principals.items():
        mine = [one for one in given if one["principalId"] == principal]
        due = [one for one in wanted if one.identity == identity.name]
        about = f"{identity.name} ({identity.whose})"
        missing = [one for one in due if not any(_covers(it, one, top) for it in mine)]
        for right in missing:
            text = f"{about} isn't {right.role} of {right.scope.rpartition('/')[2]}"
            yield Finding("role", "fail", text, SHARED)
        if not missing:
            yield Finding("role", "ok", f"{about} has its {len(due)} rights")
        more = [it for it in mine if not any(_is(it, one, top) for one in due)]
        for one in more if identity.logs_in else ():
            text = f"{about} is {one['roleDefinitionName']} of {one['scope']} too"
            fix = f"az role assignment delete --ids {one['id']}"
            yield Finding("role", "warn", text, fix)


def _is(given: Json, right: Right, top: str) -> bool:
    role, scope = given["roleDefinitionName"], str(given["scope"])
    return role == right.role and scope.lower() == f"{top}{right.scope}".lower()


def _covers(given: Json, right: Right, top: str) -> bool:
    """Whether it gives the right, here or further up."""
    above = str(given["scope"]).lower().rstrip("/")
    below = f"{top}{right.scope}/".lower()
    return given["roleDefinitionName"] == right.role and below.startswith(f"{above}/")


# ---------------------------------------------------------------- a registration of one's own


def _registered(config: Config, tokens: Sequence[Token]) -> Iterator[Finding]:
    """Where nothing is provisioned, identities are known by their client ids alone."""
    reads = [one for one in tokens if one.whose == trust.READ]
    others = [one for one in tokens if one.whose != trust.READ]
    for variable, mine in ((wishes.AZURE[0], others), (wishes.AZURE_READER, reads)):
        client = os.environ.get(variable)
        if not mine:
            continue
        if not client:
            text = f"what {variable} trusts isn't looked at: which identity is it?"
            yield Finding(
                "federated credential", "warn", text, f"{variable}=... gitops doctor --cloud"
            )
            continue

        def command(token: Token, who: str = variable) -> str:
            name = f"{config.project}-{token.name}"
            return wishes.credential(name, token.issuer, token.subject, who=who)

        try:
            found = az.ask("ad", "app", "federated-credential", "list", "--id", client)
        except az.Missing as error:
            yield Finding("federated credential", "fail", error.message, f"set {variable} anew")
            continue
        yield from _compared(client, variable, found, mine, command)


# ---------------------------------------------------------------- Azure DevOps


def connections(config: Config) -> dict[str, str]:
    """The service connections that pipelines log in by, and whose identity each is."""
    if not wishes.needs_azure(config):
        return {}
    whose = [trust.CI, *([trust.READ] if wishes.reads_azure(config) else [])]
    if wishes.provisioned(config):
        whose += [one.name for one in wishes.deployed(config)]
    named = trust.azure_devops(config)
    return {named[one]: one for one in whose}


def connected(
    place: AzureSettings, wanted: Mapping[str, str], tokens: list[Token]
) -> Iterator[Finding]:
    """The connections that aren't there; what the others present goes to `tokens`."""
    missing = False
    for name, whose in wanted.items():
        try:
            found = place.trust(name)
        except ToolError as error:
            yield Finding("service connection", "fail", error.message, error.fix)
            return
        if found is None:
            missing = True
            text = f"there's no service connection {name} by workload identity"
            yield Finding("service connection", "fail", text, _made(name))
        else:
            tokens.append(Token(whose, f"azure-devops-{whose}", *found))
    if wanted and not missing:
        yield Finding("service connection", "ok", ", ".join(wanted))


def _made(name: str) -> str:
    reader = f"{trust.CONNECTION}-{trust.READ}"
    variables = {trust.CONNECTION: wishes.AZURE[0], reader: wishes.AZURE_READER}
    if name not in variables:
        return (
            "make it by workload identity in the project's settings, with the client id that"
            f" `{SHARED}` shows, then give its issuer and subject: docs/guides/azure.md"
        )
    told = (f"--set {one}=..." for one in (variables[name], *wishes.AZURE[1:]))
    return f"gitops setup azure {' '.join(told)} --apply"

"""What gitops.yaml asks of any forge, before a forge's own words for it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops import trust
from gitops.config.deploy import ON_AZURE
from gitops.errors import UsageError

if TYPE_CHECKING:
    from gitops.config import Config, Environment

REQUIRED = "required"  # the job of the workflow pull-request that waits for all others
# What the workflows read of a cloud identity; none of it is a secret.
AZURE = ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID")
AZURE_READER = "AZURE_READ_CLIENT_ID"  # who pull requests log in as
ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"
AWS = ("AWS_ROLE_ARN", "AWS_READ_ROLE_ARN", "AWS_REGION")
AUDIENCE = "api://AzureADTokenExchange"


@dataclass(frozen=True)
class Trust:
    """What a login rests on: `whose` it is (an identity of `trust`), a name for it, and how the
    subject of its tokens ends, after the repository."""

    whose: str
    name: str
    subject: str


def trusts(config: Config) -> tuple[Trust, ...]:
    """All that clouds have to trust of a repository on GitHub: what its workflows present."""
    said = trust.github(config)
    names = [one.name for one in config.environments]
    reads = reads_azure(config) or needs_aws(config)
    return (
        *([Trust(trust.READ, "pull-request", said[trust.READ][0])] if reads else []),
        *(Trust(trust.CI, *one) for one in zip(names, said[trust.CI], strict=True)),
        *(Trust(one.name, f"{one.name}-deploy", said[one.name][0]) for one in deployed(config)),
    )


def needs_azure(config: Config) -> bool:
    """Whether a workflow logs in to Azure: for the storage, a model's target, infrastructure."""
    targets = {model.deploy.target for model in config.models.values()}
    azure = config.storage.kind == "azure" or bool(targets & ON_AZURE)
    return azure or provisioned(config, "azure")


def reads_azure(config: Config) -> bool:
    """Whether jobs of pull requests log in to Azure."""
    return config.storage.kind == "azure" or provisioned(config, "azure")


def provisioned(config: Config, provider: str | None = None) -> bool:
    """Whether infrastructure is declared (of a provider), which has an identity for each place."""
    declared = config.infrastructure
    if declared is None or not declared.in_cloud:
        return False
    return provider in (None, declared.provider)


def identities(config: Config) -> tuple[str, str]:
    """The variables of who jobs log in as where infrastructure is: usually, and if they read."""
    return (AWS[0], AWS[1]) if provisioned(config, "aws") else (AZURE[0], AZURE_READER)


def deployed(config: Config) -> tuple[Environment, ...]:
    """The environments that a job can be of: what is provisioned, or comes to a release branch."""
    return config.environments[0 if provisioned(config) else 1 :]


def needs_aws(config: Config) -> bool:
    """Whether a workflow has to log in to Amazon; a store of one's own takes no such identity."""
    stored = config.storage.kind == "s3" and config.storage.endpoint is None
    return stored or provisioned(config, "aws")


def variables(config: Config) -> tuple[str, ...]:
    """The variables that the workflows of this project read."""
    account = config.storage.kind == "azure" and config.storage.account is None
    return (
        *(AZURE if needs_azure(config) else ()),
        *((AZURE_READER,) if reads_azure(config) else ()),
        *((ACCOUNT,) if account else ()),
        *(AWS if needs_aws(config) else ()),
    )


def given(config: Config, texts: Sequence[str]) -> dict[str, str]:
    """The values of `NAME=VALUE` texts; `ENV:NAME=VALUE` is for an environment alone.

    The keys are `NAME`, and `ENV/NAME`.

    Raises:
        UsageError: it's no such text, or a variable that no workflow of this project reads.
    """
    found: dict[str, str] = {}
    for text in texts:
        place, equals, value = text.partition("=")
        environment, colon, name = place.rpartition(":")
        known = variables(config)
        if not equals or not value or name not in known:
            raise UsageError(
                f"--set {place}: no workflow of this project reads that",
                fix=f"NAME=VALUE with one of: {', '.join(known) or 'none is needed'}; no secret",
            )
        if colon and environment not in [one.name for one in deployed(config)]:
            raise UsageError(
                f"--set {place}: jobs of {environment or 'no name'} have no variables of their own",
                fix=f"{', '.join(one.name for one in deployed(config)) or 'none'} may have",
            )
        found[f"{environment}/{name}" if colon else name] = value
    return found


def credential(name: str, issuer: str, subject: str, *, who: str = AZURE[0]) -> str:
    """The command by which an identity on Azure trusts the tokens of an issuer and subject.

    `who`: the variable with the identity's client id.

    https://learn.microsoft.com/en-us/cli/azure/ad/app/federated-credential
    """
    values = {"name": name, "issuer": issuer, "subject": subject, "audiences": [AUDIENCE]}
    command = f'az ad app federated-credential create --id "${who}" --parameters'
    return f"{command} {shlex.quote(json.dumps(values))}"

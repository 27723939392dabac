"""Planning, applying and destroying what is below infrastructure/, by Terraform or OpenTofu.

What is applied is the plan that was shown, byte for byte: it lies in a private folder meanwhile,
since it may hold secrets, and goes whatever happens.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gitops import cloudnames, jsontext, proc
from gitops.config import Config
from gitops.config.infrastructure import Infrastructure
from gitops.errors import AnswerNo, ConfigError, ToolError, UsageError, Where
from gitops.infra.check import TOOLS, tool

FOLDER = "infrastructure"
Action = Literal["plan", "apply", "destroy"]
Say = Callable[[str], None]
# A tool that is killed while it applies leaves a lock, and resources that its state doesn't know.
_GRACE_SECONDS = 900.0
_OLDEST = {"azure": "1.9", "aws": "1.10"}  # on AWS: its state is locked without a database
_QUIET: Mapping[str, str | None] = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}


@dataclass(frozen=True)
class Changes:
    """How many resources a plan would make, change, and take away (replaced ones count as both)."""

    create: int
    update: int
    delete: int

    @property
    def due(self) -> bool:
        """Whether anything would change."""
        return bool(self.create or self.update or self.delete)

    def __str__(self) -> str:
        return f"{self.create} to make, {self.update} to change, {self.delete} to take away"


@dataclass(frozen=True)
class Outcome:
    """What a run came to: what the plan would change, and whether that was done."""

    environment: str
    action: Action
    changes: Changes
    done: bool


@dataclass(frozen=True)
class Root:
    """A folder that Terraform runs in, with the program and the environment variables for it."""

    environment: str
    folder: Path
    program: str
    env: Mapping[str, str | None]


def open_root(
    root: Path, config: Config, environment: str, program: str | None, trust: Mapping[str, str]
) -> Root:
    """The root of an environment, or of what all share.

    `trust`: what subjects of GitHub's tokens start with, and who issues them (`subject`, `issuer`);
    empty: the remote isn't there.

    Raises:
        ConfigError: no infrastructure is declared, or its files aren't there.
        UsageError: there's no such environment.
        ToolError: neither Terraform nor OpenTofu is installed, or nobody is logged in.
    """
    declared = wanted(root, config)
    shared = environment == cloudnames.SHARED
    name = environment if shared else config.environment(environment).name
    provider = declared.provider
    folder = root / FOLDER / ("shared" if shared else f"environments/{name}")
    if not any(folder.glob("*.tf")):
        raise ConfigError("there's no Terraform here", fix="gitops sync", where=Where(folder))
    found = tool(program)
    if found is None:
        missing = program or " or ".join(TOOLS)
        raise ToolError(
            f"there's no {missing} on PATH", fix=f"install {missing}, {_OLDEST[provider]} or newer"
        )
    env = login(os.environ) if provider == "azure" else login_aws(os.environ)
    if shared and "github" in config.ci and "TF_VAR_github_subject" not in os.environ:
        if "subject" not in trust:
            raise UsageError(
                "which repository on GitHub may log in? There's no remote there",
                fix="git remote add origin URL; or TF_VAR_github_subject=repo:OWNER/NAME",
            )
        env |= {f"TF_VAR_github_{name}": value for name, value in trust.items()}
    return Root(name, folder, found, env)


def wanted(root: Path, config: Config) -> Infrastructure:
    """What is declared.

    Raises:
        ConfigError: nothing is, or this machine is all there is.
    """
    declared = config.infrastructure
    if declared is None or not declared.in_cloud:
        raise ConfigError(
            "no infrastructure is declared, so there's nothing to provision"
            if declared is None
            else "the provider is local: there's nothing to provision",
            fix="gitops add infrastructure",
            where=Where(root / "gitops.yaml"),
        )
    return declared


def login(env: Mapping[str, str]) -> dict[str, str | None]:
    """The variables by which Terraform logs in to Azure as this job or person does.

    In a job by its token, without a secret; else by the Azure CLI, which knows the subscription:
    https://registry.terraform.io/providers/hashicorp/azurerm/latest/docs/guides/service_principal_oidc

    Raises:
        ToolError: the Azure CLI isn't there, or isn't logged in.
    """
    found = dict(_QUIET)
    if {"idToken", "servicePrincipalId", "tenantId"} <= env.keys():  # AzureCLI@2 of Azure Pipelines
        found |= {
            "ARM_USE_OIDC": "true",
            "ARM_OIDC_TOKEN": env["idToken"],
            "ARM_CLIENT_ID": env["servicePrincipalId"],
            "ARM_TENANT_ID": env["tenantId"],
        }
    elif "ACTIONS_ID_TOKEN_REQUEST_URL" in env and env.get("AZURE_CLIENT_ID"):
        found |= {
            "ARM_USE_OIDC": "true",
            "ARM_CLIENT_ID": env["AZURE_CLIENT_ID"],
            "ARM_TENANT_ID": env.get("AZURE_TENANT_ID", ""),
        }
    subscription = env.get("ARM_SUBSCRIPTION_ID") or env.get("AZURE_SUBSCRIPTION_ID")
    return {**found, "ARM_SUBSCRIPTION_ID": subscription or _subscription()}


def login_aws(env: Mapping[str, str]) -> dict[str, str | None]:
    """The variables for Terraform on AWS, which finds the login of a job or person by itself.

    A job has it in its environment; a person by a profile, which `aws` can tell to be of use:
    https://registry.terraform.io/providers/hashicorp/aws/latest/docs#authentication-and-configuration

    Raises:
        ToolError: the AWS CLI is there, and isn't logged in.
    """
    given = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")
    if not any(env.get(name) for name in given) and shutil.which("aws"):
        done = proc.run(["aws", "sts", "get-caller-identity"], check=False, timeout=120)
        if done.code:
            raise ToolError("the AWS CLI isn't logged in", fix="aws sso login; or set AWS_PROFILE")
    return dict(_QUIET)


def _subscription() -> str:
    fix = "az login, and az account set --subscription NAME; or set ARM_SUBSCRIPTION_ID"
    try:
        command = ["az", "account", "show", "--query", "id", "--output", "tsv"]
        done = proc.run(command, check=False, timeout=120)
    except ToolError as error:
        raise ToolError("no subscription is known, and there's no Azure CLI", fix=fix) from error
    if done.code or not done.out.strip():
        raise ToolError("the Azure CLI isn't logged in", fix=fix)
    return done.out.strip()


def run(
    root: Root, action: Action, confirm: Callable[[Changes], bool], show: Say, *, read_only: bool
) -> Outcome:
    """Plan, show it, and (`apply`, `destroy`) do it once it is confirmed.

    `read_only`: by who may only read: no lock is taken, and nothing is looked up anew.

    Raises:
        ToolError: Terraform failed.
        AnswerNo: it wasn't confirmed; nothing was changed.
    """
    with ExitStack() as stack:
        private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gitops-infra-")))
        plan = private / "plan"
        lock = ["-lock=false"] if read_only else []
        _tell(root, ["init", "-input=false", *lock], show)
        options = ["-input=false", f"-out={plan}", *lock]
        options += ["-refresh=false"] if read_only else []
        options += ["-destroy"] if action == "destroy" else []
        _tell(root, ["plan", *options], show)
        changes = _changes(root, plan)
        if action == "plan" or not changes.due:
            return Outcome(root.environment, action, changes, done=False)
        if not confirm(changes):
            raise AnswerNo(f"nothing was changed in {root.environment}")
        _tell(root, ["apply", "-input=false", str(plan)], show)
        return Outcome(root.environment, action, changes, done=True)


def _tell(root: Root, arguments: list[str], show: Say) -> None:
    command = [root.program, *arguments]
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        show(line)

    code = proc.stream(command, hear, cwd=root.folder, env=root.env, grace=_GRACE_SECONDS)
    if code:
        raise ToolError(
            f"{root.program} {arguments[0]} failed in {root.folder} with exit code {code}",
            fix=_fix("\n".join(said)),
        )


def _fix(said: str) -> str:
    """What to do about the failures that a beginner meets first."""
    if "Error acquiring the state lock" in said:
        return "somebody else is at work there; if nobody is: terraform force-unlock ID, as it says"
    away = ("ResourceNotFound", "ContainerNotFound", "no such host", "NoSuchBucket")
    if any(one in said for one in away):
        return "is there a place for the state? sh infrastructure/bootstrap.sh; then: shared first"
    if "AuthorizationPermissionMismatch" in said or "AuthorizationFailed" in said:
        return (
            "that identity lacks the right: infrastructure/shared/roles.tf gives them, and they"
            " take some minutes to count"
        )
    if "AccessDenied" in said or "UnauthorizedOperation" in said:
        return "that role lacks the right: infrastructure/shared/policies.tf gives them"
    if "EntityAlreadyExists" in said and "openid" in said.lower():
        return "the account has a provider of these tokens already: TF_VAR_github_provider=false"
    return "read what it said above"


def _changes(root: Root, plan: Path) -> Changes:
    command = [root.program, "show", "-json", str(plan)]
    done = proc.run(command, cwd=root.folder, env=root.env)
    try:
        resources = jsontext.loads(done.out).get("resource_changes", [])
        actions = [one["change"]["actions"] for one in resources]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolError(f"{root.program} show -json wrote no plan") from error
    return Changes(
        *(sum(kind in one for one in actions) for kind in ("create", "update", "delete"))
    )

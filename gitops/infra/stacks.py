"""Planning, applying and destroying what is below infrastructure/ as Bicep, by the Azure CLI.

An environment is deployed as a deployment stack: Azure keeps what belongs to it, so that what is no
longer declared goes, as it does with a state of Terraform, and there is no state to keep. What is
shown is Azure's own prediction (`what-if`): it may err, and what changes in the cloud after it is
not seen. What is applied are the template and parameters that it was made of, byte for byte.
https://learn.microsoft.com/azure/azure-resource-manager/bicep/deployment-stacks
https://learn.microsoft.com/azure/azure-resource-manager/bicep/deploy-what-if
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops import cloudnames, jsontext, proc
from gitops.config import Config
from gitops.errors import AnswerNo, ConfigError, ToolError, UsageError, Where
from gitops.infra.terraform import FOLDER, Action, Changes, Outcome, Say, login, wanted

_USING = re.compile(r"^using\s+'([^']+)'", re.MULTILINE)
_PARAMETERS = "main.bicepparam"
# What the Azure CLI ends with where something isn't there (azclierror.ResourceNotFoundError).
_ABSENT = 3
# Of what-if: https://learn.microsoft.com/azure/azure-resource-manager/bicep/deploy-what-if#change-types
_SIGNS = {"Create": "+", "Modify": "~", "Deploy": "~", "Delete": "-", "Unsupported": "?"}
_STAYS = "Ignore"  # it is there, and not of this template
_LONGEST = 60  # characters of a value that is shown


@dataclass(frozen=True)
class Root:
    """What is deployed as one stack.

    `stack`: its name, which is that of the group; `scope`: what `az` takes to say where; `others`:
    the stacks that stand on it, by environment.
    """

    environment: str
    template: Path
    parameters: Path
    stack: str
    scope: tuple[str, ...]
    env: Mapping[str, str | None]
    subscription: str
    others: Mapping[str, str]

    @property
    def kind(self) -> str:
        """Of a scope: `sub` or `group`."""
        return "group" if "--resource-group" in self.scope else "sub"

    @property
    def place(self) -> tuple[str, ...]:
        """The scope of a stack that is there already."""
        return self.scope if self.kind == "group" else ()


@dataclass(frozen=True)
class Prediction:
    """What would change: a line to show for each, and how many. `unsure`: Azure can't say."""

    lines: tuple[str, ...]
    changes: Changes
    unsure: int


def open_root(root: Path, config: Config, environment: str, trust: Mapping[str, str]) -> Root:
    """The stack of an environment, or of what all share.

    `trust`: as `terraform.open_root`.

    Raises:
        ConfigError: no infrastructure is declared, or its files aren't there.
        UsageError: there's no such environment, or no remote to trust.
        ToolError: nobody is logged in.
    """
    declared = wanted(root, config)
    shared = environment == cloudnames.SHARED
    name = environment if shared else config.environment(environment).name
    parameters = root / FOLDER / ("shared" if shared else f"environments/{name}") / _PARAMETERS
    if not parameters.is_file():
        raise ConfigError("there's no Bicep here", fix="gitops sync", where=Where(parameters))
    using = _USING.search(parameters.read_text("utf-8"))
    if using is None:
        raise ConfigError(
            "it doesn't say which template it is for",
            fix="add: using 'main.bicep'",
            where=Where(parameters),
        )
    groups = {
        one.name: cloudnames.of(config, one.name)["resource_group"] for one in config.environments
    }
    group = cloudnames.of(config, name)["resource_group"]
    where = ("--location", declared.region) if shared else ("--resource-group", group)
    env = _known(config, trust) if shared else {}
    subscription = login(os.environ)["ARM_SUBSCRIPTION_ID"]
    return Root(
        name,
        (parameters.parent / using[1]).resolve(),
        parameters,
        group,
        where,
        env,
        str(subscription),
        groups if shared else {},
    )


def _known(config: Config, trust: Mapping[str, str]) -> dict[str, str | None]:
    """What parameters of `shared` read from the environment."""
    env: dict[str, str | None] = {}
    if "github" in config.ci and "GITOPS_GITHUB_SUBJECT" not in os.environ:
        if "subject" not in trust:
            raise UsageError(
                "which repository on GitHub may log in? There's no remote there",
                fix="git remote add origin URL; or GITOPS_GITHUB_SUBJECT=repo:OWNER/NAME",
            )
        env |= {f"GITOPS_GITHUB_{name.upper()}": value for name, value in trust.items()}
    parts = config.infrastructure.components.declared if config.infrastructure else ()
    if "grafana" in parts and "GITOPS_OWNER" not in os.environ:
        command = ["az", "ad", "signed-in-user", "show", "--query", "id", "--output", "tsv"]
        done = proc.run(command, check=False)
        if done.code or not done.out.strip():
            raise ToolError(
                "who is to invite others in Grafana? No person is logged in to the Azure CLI",
                fix="az login; or GITOPS_OWNER=OBJECT-ID",
            )
        env["GITOPS_OWNER"] = done.out.strip()
    return env


def run(
    root: Root, action: Action, confirm: Callable[[Changes], bool], show: Say, *, read_only: bool
) -> Outcome:
    """Predict, show it, and (`apply`, `destroy`) do it once it is confirmed.

    `read_only`: by who may only read: Azure doesn't ask for the right to deploy.

    Raises:
        ToolError: the Azure CLI failed.
        UsageError: what other stacks stand on is to be destroyed.
        AnswerNo: it wasn't confirmed; nothing was changed.
    """
    if action == "destroy":
        return _destroy(root, confirm, show)
    with tempfile.TemporaryDirectory(prefix="gitops-infra-") as private:
        template, parameters = Path(private) / "template.json", Path(private) / "parameters.json"
        _az(root, ["bicep", "build", "--file", str(root.template), "--outfile", str(template)])
        build = ["bicep", "build-params", "--file", str(root.parameters)]
        _az(root, [*build, "--outfile", str(parameters)])
        files = ["--template-file", str(template), "--parameters", f"@{parameters}"]
        found = _predicted(root, files, template, read_only=read_only)
        for line in found.lines:
            show(line)
        if action == "plan" or not (found.changes.due or found.unsure):
            return Outcome(root.environment, action, found.changes, done=False)
        if not confirm(found.changes):
            raise AnswerNo(f"nothing was changed in {root.environment}")
        command = ["stack", root.kind, "create", "--name", root.stack, *root.scope, *files]
        # Groups that are no longer declared stay, and what others have put into them.
        command += ["--action-on-unmanage", "deleteResources", "--deny-settings-mode", "none"]
        command += ["--resources-without-delete-support", "detach", "--yes"]
        made = _flat(_json(_az(root, _asked(root, command)), "stack"))
        for name, one in sorted((made.get("outputs") or {}).items()):
            show(f"{name} = {json.dumps(one.get('value'))}")
        return Outcome(root.environment, action, found.changes, done=True)


def _destroy(root: Root, confirm: Callable[[Changes], bool], show: Say) -> Outcome:
    for environment, group in root.others.items():
        if _managed(root, "group", group, ("--resource-group", group)) is not None:
            raise UsageError(
                f"{environment} stands on what all share, and is still there",
                fix=f"gitops infra destroy {environment}",
            )
    managed = _managed(root, root.kind, root.stack, root.place)
    changes = Changes(0, 0, len(managed or ()))
    for one in managed or ():
        show(f"- {_short(one)}")
    if managed is None:
        return Outcome(root.environment, "destroy", changes, done=False)
    if not confirm(changes):
        raise AnswerNo(f"nothing was changed in {root.environment}")
    # Groups are of `shared`; once the environments are gone they go with what is left in them.
    unmanaged = "deleteAll" if root.kind == "sub" else "deleteResources"
    command = ["stack", root.kind, "delete", "--name", root.stack, *root.place]
    command += ["--action-on-unmanage", unmanaged]
    command += ["--resources-without-delete-support", "detach", "--yes"]
    _az(root, _asked(root, command, output="none"))
    return Outcome(root.environment, "destroy", changes, done=True)


# ---------------------------------------------------------------- what would change


def _predicted(root: Root, files: list[str], template: Path, *, read_only: bool) -> Prediction:
    level = "ProviderNoRbac" if read_only else "Provider"
    command = ["deployment", root.kind, "what-if", "--name", root.stack, *root.scope, *files]
    command += ["--no-pretty-print", "--no-prompt", "true", "--validation-level", level]
    answer = _flat(_json(_az(root, _asked(root, command)), "what-if"))
    managed = _managed(root, root.kind, root.stack, root.place) or ()
    return prediction(
        answer.get("changes") or (), managed, types(json.loads(template.read_text("utf-8")))
    )


def prediction(
    changes: Iterable[Mapping[str, Any]], managed: Iterable[str], declared: frozenset[str]
) -> Prediction:
    """What a what-if comes to, with what the stack would let go of.

    `managed`: the ids of what the stack has; `declared`: the types in the template. What the
    what-if doesn't name goes, unless Azure couldn't predict something that may be it.

    Raises:
        ToolError: the changes aren't as Azure documents them.
    """
    try:
        return _prediction(changes, managed, declared)
    except (AttributeError, TypeError) as error:
        raise ToolError(f"az wrote no what-if as it is documented: {error}") from error


def _prediction(
    changes: Iterable[Mapping[str, Any]], managed: Iterable[str], declared: frozenset[str]
) -> Prediction:
    named: set[str] = set()
    counts = dict.fromkeys(_SIGNS, 0)
    lines: list[str] = []
    for one in changes:
        kind, name = str(one.get("changeType")), str(one.get("resourceId") or "")
        if kind != _STAYS:
            named.add(name.lower())
        if kind in _SIGNS:
            counts[kind] += 1
            why = one.get("unsupportedReason")
            lines.append(f"{_SIGNS[kind]} {_short(name)}{f': {why}' if why else ''}")
            lines += (f"    {text}" for text in _delta(one.get("delta") or (), ""))
    unsure = counts["Unsupported"]
    for name in managed:
        if name.lower() in named:
            continue
        if unsure and type_of(name) in declared:
            unsure += 1
            lines.append(f"? {_short(name)}: it isn't predicted, so it may go or stay")
        else:
            counts["Delete"] += 1
            lines.append(f"- {_short(name)}")
    update = counts["Modify"] + counts["Deploy"]
    return Prediction(tuple(lines), Changes(counts["Create"], update, counts["Delete"]), unsure)


def type_of(name: str) -> str:
    """The type of a resource by its id, in lower case."""
    _, found, rest = name.lower().rpartition("/providers/")
    parts = rest.split("/") if found else name.lower().split("/")
    if not found:
        return "microsoft.resources/resourcegroups" if "resourcegroups" in parts else ""
    return "/".join([parts[0], *parts[1::2]])


def types(template: Mapping[str, Any]) -> frozenset[str]:
    """The types of resources in a template and the ones nested in it, in lower case."""
    return frozenset(_types(template))


def _types(template: Mapping[str, Any]) -> Iterator[str]:
    resources = template.get("resources") or ()
    for one in resources.values() if isinstance(resources, dict) else resources:
        if not one.get("existing"):
            yield str(one.get("type", "")).lower()
        inner = (one.get("properties") or {}).get("template")
        if isinstance(inner, dict):
            yield from _types(inner)


def _delta(changes: Iterable[Mapping[str, Any]], path: str) -> Iterator[str]:
    for one in changes:
        name = f"{path}.{one.get('path')}".lstrip(".")
        if one.get("children"):
            yield from _delta(one["children"], name)
        elif one.get("propertyChangeType") != "NoEffect":
            yield f"{name}: {_value(one.get('before'))} -> {_value(one.get('after'))}"


def _value(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _short(name: str) -> str:
    """An id without the subscription, which logs needn't tell."""
    return re.sub(r"^/subscriptions/[^/]+/", "", name)


# ---------------------------------------------------------------- the Azure CLI


def _managed(root: Root, kind: str, stack: str, place: tuple[str, ...]) -> tuple[str, ...] | None:
    """The ids of what a stack has; None if it isn't there."""
    command = _asked(root, ["stack", kind, "show", "--name", stack, *place])
    done = proc.run(["az", *command], check=False)
    if done.code == _ABSENT:
        return None
    if done.code:
        raise _failed(command, done.err)
    found = _flat(_json(done.out, "stack"))
    return tuple(str(one["id"]) for one in found.get("resources") or () if one.get("id"))


def _asked(root: Root, command: list[str], output: str = "json") -> list[str]:
    return [*command, "--subscription", root.subscription, "--output", output, "--only-show-errors"]


def _az(root: Root, command: list[str]) -> str:
    done = proc.run(["az", *command], env=root.env, cwd=root.parameters.parent, check=False)
    if done.code:
        raise _failed(command, done.err)
    return done.out


def _json(text: str, what: str) -> dict[str, Any]:
    try:
        found = jsontext.loads(text)
    except ValueError as error:
        raise ToolError(f"az wrote no {what}: {text[:200]}") from error
    if not isinstance(found, dict):
        raise ToolError(f"az wrote no {what}")
    return found


def _flat(found: dict[str, Any]) -> dict[str, Any]:
    """Versions of the Azure CLI write what is in `properties` there, or beside it."""
    inner = found.get("properties")
    return {**found, **inner} if isinstance(inner, dict) else found


def _failed(command: list[str], said: str) -> ToolError:
    words = " ".join(one for one in command[:3] if not one.startswith("-"))
    last = said.strip()[-1500:]
    return ToolError(f"az {words} failed: {last}", fix=_fix(said))


def _fix(said: str) -> str:
    """What to do about the failures that a beginner meets first."""
    if "ResourceGroupNotFound" in said:
        return "what all share is first: gitops infra apply shared"
    if "MissingSubscriptionRegistration" in said:
        return "sh infrastructure/bootstrap.sh"
    if "AuthorizationFailed" in said or "does not have authorization" in said:
        return (
            "that identity lacks the right: infrastructure/shared/*roles.bicep give them, and they"
            " take some minutes to count"
        )
    if "unrecognized arguments" in said:
        return "take a newer Azure CLI: az upgrade"
    return "read what it said above"

"""What the places that models are deployed to need of the rest of gitops.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gitops import cloudnames
from gitops.config.kubernetes import LONGEST, namespace
from gitops.config.serving import SHADOW
from gitops.config.values import shown
from gitops.latency import BUCKETS
from gitops.problem import Problem
from gitops.yamlfile import Place
from gitops.yamlfile.edits import dotted

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.config.infrastructure import Infrastructure

BASE = "base"  # the deployment of IoT Edge's own modules, beside those of models


def problems(config: Config) -> Iterator[Problem]:
    """Why a file that is right otherwise can't be deployed as it says."""
    yield from kubernetes(config)
    yield from azureml(config)
    yield from iotedge(config)
    yield from argo_rollouts(config)


def kubernetes(config: Config) -> Iterator[Problem]:
    """Why a cluster can't serve models as a file says that is right otherwise."""
    settings = config.targets.kubernetes
    place: Place = ("targets", "kubernetes", "contexts")
    yield from _strangers(config, place, settings.contexts if settings else ())
    models = [name for name, one in config.models.items() if one.deploy.target == "kubernetes"]
    for each in config.environments[1:] if models else ():
        name = namespace(settings, config.project, each.name)
        if len(name) > LONGEST:
            target: Place = ("models", models[0], "deploy", "target")
            yield Problem(
                target,
                f"{dotted(target)} is kubernetes, whose namespaces have at most"
                f" {LONGEST} characters: {name} has {len(name)}",
                "write a shorter targets.kubernetes.namespace",
            )


def _strangers(config: Config, place: Place, named: Iterable[str]) -> Iterator[Problem]:
    """Environments that settings of a target are for, and that aren't there."""
    environments = [one.name for one in config.environments]
    for name in named:
        if name not in environments:
            text = f"{dotted(place)}: there's no environment {shown(name)}"
            fix = f"write one of {', '.join(environments)}"
            yield Problem((*place, name), text, fix, key=True)


def azureml(config: Config) -> Iterator[Problem]:
    """Why Azure Machine Learning can't serve models as a file says that is right otherwise."""
    given, declared = config.targets.azureml, config.infrastructure
    place: Place = ("targets", "azureml", "workspaces")
    yield from _strangers(config, place, given.workspaces)
    provisioned = declared is not None and declared.components.azureml is not None
    if given.workspaces and provisioned:
        yield Problem(
            place,
            f"{dotted(place)}: infrastructure.components.azureml provisions the workspaces",
            "remove one of the two",
        )
    models = [name for name, one in config.models.items() if one.deploy.target == "azureml"]
    if not models:
        return
    for at, each in enumerate(config.environments):
        if at == 0:  # nothing is ever assigned to the first
            continue
        if not provisioned and each.name not in given.workspaces:
            target: Place = ("models", models[0], "deploy", "target")
            yield Problem(
                target,
                f"{dotted(target)} is azureml, but no workspace is known for {each.name}",
                _declare("azureml", declared)
                + f"write targets: {{azureml: {{workspaces: {{{each.name}: {{name: ...,"
                " resource_group: ...}}}}",
            )
        elif each.rollout.steps and each.rollout.key is not None:
            key: Place = ("environments", at, "rollout", "key")
            yield Problem(
                key,
                f"{dotted(key)}: Azure ML draws each request anew, so no key keeps its version"
                f" (models.{models[0]})",
                "remove key, or deploy to another target",
            )
    clusters = declared.components.azureml if declared else None
    if given.batch and clusters is not None and clusters.cpu is None:
        batch: Place = ("targets", "azureml", "batch")
        yield Problem(
            batch,
            f"{dotted(batch)} is true, but no cluster is provisioned",
            "write azureml: {cpu: {}} under infrastructure.components",
        )
    yield from _endpoints(config, models)


def _declare(component: str, declared: Infrastructure | None) -> str:
    """A part of a fix: Azure can provision it, but not where all is in another cloud."""
    if declared is not None and declared.provider != "azure":
        return ""
    return f"declare `{component}: {{}}` under infrastructure.components, or "


def _endpoints(config: Config, models: list[str]) -> Iterator[Problem]:
    """Names of endpoints that Azure refuses, or that two would have."""
    taken: set[str] = set()
    for model in models:
        for each in config.environments[1:]:
            for batch in (False, True):
                try:
                    name = cloudnames.endpoint(config, each.name, model, batch=batch)
                except ValueError as error:
                    why = str(error)
                    if "no workspace" in why:  # said already
                        continue
                else:
                    why = f"is taken: {name}" if name in taken else ""
                    taken.add(name)
                if why:
                    text = f"models.{model}: the name of its endpoint in {each.name} {why}"
                    yield Problem(("models", model), text, "call the model otherwise", key=True)
                    return


def iotedge(config: Config) -> Iterator[Problem]:
    """Why devices can't run models as a file says that is right otherwise."""
    hubs, declared = config.targets.iotedge.hubs, config.infrastructure
    place: Place = ("targets", "iotedge", "hubs")
    yield from _strangers(config, place, hubs)
    provisioned = declared is not None and declared.components.iot is not None
    if hubs and provisioned:
        text = f"{dotted(place)}: infrastructure.components.iot provisions the hubs"
        yield Problem(place, text, "remove one of the two")
    models = [name for name, one in config.models.items() if one.deploy.target == "iotedge"]
    if BASE in models:
        text = f"models.{BASE}: deploy/iotedge/ENVIRONMENT/{BASE}.json is what all devices have"
        yield Problem(("models", BASE), text, "call the model otherwise", key=True)
    # Nothing is ever assigned to the first environment.
    for at, each in enumerate(config.environments[1:] if models else (), start=1):
        target: Place = ("models", models[0], "deploy", "target")
        if not provisioned and each.name not in hubs:
            fix = f"targets: {{iotedge: {{hubs: {{{each.name}: NAME}}}}}}"
            yield Problem(
                target,
                f"{dotted(target)} is iotedge, but no IoT hub is known for {each.name}",
                f"{_declare('iot', declared)}write {fix}",
            )
        if each.rollout.steps:
            steps: Place = ("environments", at, "rollout", "steps")
            yield Problem(
                steps,
                f"{dotted(steps)}: a device runs one version, and what it answers isn't brought"
                f" here, so a share of requests can't be judged (models.{models[0]} is iotedge)",
                "remove steps; let an environment with a target condition of its own, as"
                " tags.environment='canary', come before this one",
            )


def argo_rollouts(config: Config) -> Iterator[Problem]:
    """Why Argo Rollouts can't bring versions to traffic as environments say."""
    models = [name for name, one in config.models.items() if one.deploy.target == "kubernetes"]
    given = config.targets.kubernetes
    if not models or given is None or given.canary != "argo-rollouts":
        return
    # Nothing is ever assigned to the first environment.
    for at, each in enumerate(config.environments[1:], start=1):
        rollout, place = each.rollout, ("environments", at, "rollout")
        found = []
        if SHADOW in rollout.steps:
            why = "Argo Rollouts shares out pods, so none can be asked beside another"
            found.append(("steps", why, "remove shadow"))
        if rollout.steps and rollout.key is not None:
            why = "Argo Rollouts shares out pods, so no key keeps its version"
            found.append(("key", why, "remove key"))
        if rollout.steps and rollout.guardrails.slow_ms / 1000 not in BUCKETS:
            why = "what pods measure tells only these limits apart"
            known = ", ".join(f"{1000 * one:g}" for one in BUCKETS)
            found.append(("guardrails.slow_ms", why, f"write one of {known}"))
        for name, why, fix in found:
            here: Place = (*place, *name.split("."))
            text = f"{dotted(here)}: {why} (targets.kubernetes.canary)"
            yield Problem(here, text, f"{fix}, or let gitops do it: canary: gitops")

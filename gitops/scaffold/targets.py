"""deploy/: what the targets of gitops.yaml's models need, as files of the user's.

As with infrastructure/, gitops.yaml says which, so the generators are in no lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from gitops.config.kubernetes import Kubernetes, namespace
from gitops.scaffold import azureml, generator, iotedge
from gitops.scaffold.render import Rendered, render

if TYPE_CHECKING:
    from gitops.config import Config, Environment

Context = Mapping[str, object]


def rendered(declared: Config) -> Iterable[Rendered]:
    """The image's files if a model is deployed elsewhere than to a machine, and those of each kind
    of target that a model has, for every environment that something is deployed to.

    No digest, version or share stands in them: a promotion proves trees, so these come from the
    plan when it is applied.

    Raises:
        ConfigError: as `render`.
    """
    used = {one.deploy.target for one in declared.models.values()} - {"local"}
    if not used:
        return ()
    shared = {
        "project": declared.project,
        "environments": [one.name for one in environments(declared)],
    }
    files = list(render([generator.load("image")], shared))
    for kind in sorted(used & _GENERATORS.keys()):
        name, context = _GENERATORS[kind]
        made = [generator.load(name)]
        models = [name for name, one in declared.models.items() if one.deploy.target == kind]
        for one in environments(declared):
            found = context(declared, one)
            for several in [found] if isinstance(found, Mapping) else found:
                own = {"environment": one.name, "models": models, **several}
                files += render(made, {**shared, **own})
    once = {file.path: replace(file, generator="gitops") for file in files}
    return [once[path] for path in sorted(once, key=PurePosixPath)]


def environments(declared: Config) -> tuple[Environment, ...]:
    """Those that something can be deployed to: nothing is ever assigned to the first."""
    return declared.environments[1:]


def _kubernetes(declared: Config, environment: Environment) -> Context:
    settings = declared.targets.kubernetes or Kubernetes()
    rails = environment.rollout.guardrails
    return {
        **settings.model_dump(),
        "steps": list(environment.rollout.steps),
        "rails": {"errors": f"{rails.errors:g}", "slow": f"{rails.slow:g}"},
        "slow_seconds": str(rails.slow_ms / 1000),  # as the metric's label has it
        "namespace": namespace(settings, declared.project, environment.name),
    }


# What renders a kind's files, and what its templates see of an environment beside the rest; a kind
# with files for each model has a context for each.
_GENERATORS: Mapping[
    str, tuple[str, Callable[[Config, Environment], Context | Iterable[Context]]]
] = {
    "azureml": ("azureml", azureml.contexts),
    "iotedge": ("iotedge", iotedge.contexts),
    "kubernetes": ("kubernetes", _kubernetes),
}

"""The places that models are deployed to: what the target of each kind is made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops.cli import screen

if TYPE_CHECKING:
    from pathlib import Path

    from gitops.cli import watching
    from gitops.cli.hands_deploy import Remote
    from gitops.config import Config
    from gitops.deploy.kubernetes.target import Kubernetes
    from gitops.deploy.local import Local
    from gitops.deploy.model import Course
    from gitops.deploy.run import Watcher
    from gitops.deploy.state import State
    from gitops.deploy.target import Target


@dataclass(frozen=True)
class Setting:
    """What is deployed from where: `remote` is the git remote's name.

    `workers`: processes that answer on this machine (None: as before).
    """

    root: Path
    config: Config
    environment: str
    remote: str
    workers: int | None = None
    say: Callable[[str], None] = screen.say

    def state(self, kind: str) -> State:
        """The state folder of the environment's place of one kind."""
        from gitops.deploy import state
        from gitops.git import remote

        url = remote.place(self.root, self.remote)
        return state.of(self.config.project, url, self.environment, kind)

    def source(self, kind: str) -> Remote:
        """The remote's word for the models of one kind."""
        from gitops.cli.hands_deploy import Remote

        return Remote(self.root, self.config, self.environment, self.remote, kind)

    def target(self, kind: str, state: State) -> Target:
        """The target of one kind; nothing of it is asked or changed yet."""
        return _MAKERS[kind](self, state)

    def kinds(self) -> list[str]:
        """The kinds that are used: by gitops.yaml here, or by what still runs.

        The branch may name more: those are known when it has been read. Nothing is ever assigned to
        the first environment, so it may have no place of some kinds.
        """
        from gitops import cloudnames
        from gitops.config.deploy import KINDS

        declared: set[str] = {one.deploy.target for one in self.config.models.values()}
        declared |= self.config.targets.model_fields_set
        if self.environment == self.config.environments[0].name:
            declared.clear()
        if cloudnames.iot_hub(self.config, self.environment) is None:
            declared.discard("iotedge")  # `targets` may have hubs for other environments alone
        plans = {kind: self.state(kind).plan() for kind in KINDS}
        running = {kind for kind, plan in plans.items() if plan and plan.models}
        return [kind for kind in KINDS if kind in declared | running] or [KINDS[0]]

    def watcher(self, kind: str, show: watching.Show, state: State, patience: float) -> Watcher:
        """The reconciler of one kind's place, over its life."""
        from gitops.cli.evidence import Evidence
        from gitops.deploy.book import Book
        from gitops.deploy.reconcile import Reconciler
        from gitops.deploy.run import Watcher
        from gitops.deploy.traffic import Traffic

        source, target = self.source(kind), self.target(kind, state)
        state = target.state  # which keeps its documents where the target does
        names = (self.config.project, self.environment)
        book, judge = Book(state, self.environment), Evidence(state).judge
        course = _course(target)
        reconciler = Reconciler(
            names, state, target, source, book, judge, self.say, patience, course=course
        )
        return Watcher(reconciler, Traffic(reconciler), show)


def setting(
    root: Path,
    config: Config,
    environment: str,
    remote: str | None,
    workers: int | None = None,
    say: Callable[[str], None] = screen.say,
) -> Setting:
    """What `gitops deploy` works with.

    Raises:
        ConfigError, UsageError: which remote is meant isn't clear.
    """
    from gitops.git import remote as remotes

    return Setting(root, config, environment, remotes.choose(root, remote), workers, say)


def _course(target: Target) -> Callable[[], Course] | None:
    from gitops.deploy.kubernetes.target import Kubernetes

    return target.course if isinstance(target, Kubernetes) and target.argo else None


def _local(setting: Setting, state: State) -> Local:
    from gitops.deploy import local
    from gitops.deploy.ask import Endpoint

    endpoint = local.remembered(state) or Endpoint(*setting.config.listen(setting.environment))
    return local.Local(state, endpoint, setting.workers, setting.say)


def _azureml(setting: Setting, state: State) -> Target:
    from gitops import cloudnames, git
    from gitops.cli.hands_image import Images, named
    from gitops.deploy.azureml.az import Az
    from gitops.deploy.azureml.store import Store
    from gitops.deploy.azureml.target import AzureML
    from gitops.errors import ConfigError
    from gitops.serve.collected import Collected

    environment = setting.environment
    place = cloudnames.workspace(setting.config, environment)
    if place is None:
        raise ConfigError(
            f"no workspace of Azure Machine Learning is known for {environment}",
            fix="declare `azureml: {}` under infrastructure.components, or targets.azureml"
            ".workspaces in gitops.yaml",
        )
    az = Az(place, setting.say)

    def files(commit: str) -> dict[str, dict[str, str]]:
        at = git.snapshot(setting.root, commit)
        top = f"deploy/azureml/{environment}/"
        names = [name for name in at.files if name.startswith(top) and name.count("/") == 4]
        found: dict[str, dict[str, str]] = {}
        for name, raw in at.read(names).items():
            model, file = name.removeprefix(top).split("/")
            found.setdefault(model, {})[file] = raw.decode("utf-8", "replace")
        return found

    return AzureML(
        state,
        az,
        Store(az, environment),
        lambda commit: Images(setting.root, setting.config, commit or None, setting.say),
        lambda variant: named(setting.config, variant),
        files,
        lambda model: Collected(state.folder, model),
        setting.say,
    )


def _iotedge(setting: Setting, state: State) -> Target:
    from gitops import cloudnames, git
    from gitops.cli import hands_image
    from gitops.deploy.ask import Endpoint
    from gitops.deploy.iotedge.hub import Hub
    from gitops.deploy.iotedge.target import IotEdge
    from gitops.deploy.local import Local
    from gitops.errors import ConfigError

    config, environment = setting.config, setting.environment
    hub = cloudnames.iot_hub(config, environment)
    if hub is None:
        raise ConfigError(
            f"no IoT hub is known for {environment}",
            fix="declare `iot: {}` under infrastructure.components, or targets.iotedge.hubs",
        )

    def files(commit: str) -> dict[str, str]:
        at, top = git.snapshot(setting.root, commit), f"deploy/iotedge/{environment}/"
        names = [name for name in at.files if name.startswith(top) and name.endswith(".json")]
        found = at.read(names).items()
        return {name.removeprefix(top): raw.decode("utf-8", "replace") for name, raw in found}

    return IotEdge(
        state=state,
        hub=Hub(hub, f"{config.project}/{environment}"),
        names=(config.project, environment),
        images=lambda commit: hands_image.Images(setting.root, config, commit, setting.say),
        named=lambda variant: hands_image.named(config, variant),
        files=files,
        beside=lambda there: Local(there, Endpoint("127.0.0.1", 0), 1, setting.say),
        say=setting.say,
    )


def _kubernetes(setting: Setting, state: State) -> Kubernetes:
    from gitops.cli.hands_image import Images, named
    from gitops.cli.hands_kubernetes import Branch, Overlay, cluster
    from gitops.config import kubernetes
    from gitops.deploy.kubernetes.delivery import Push
    from gitops.deploy.kubernetes.target import Kubernetes

    config, environment = setting.config, setting.environment
    kubectl = cluster(config, environment, state)
    settings = config.targets.kubernetes
    pulled = settings is not None and settings.delivery == "pull"
    workload, more = kubernetes.workload(settings)
    push = Push(kubectl, more)
    return Kubernetes(
        state=state,
        kubectl=kubectl,
        delivery=Branch(setting.root, setting.remote, environment) if pulled else push,
        name=config.project,
        sources=Overlay(setting.root, environment),
        images=lambda tip: Images(setting.root, config, tip or None, setting.say),
        named=lambda variant: named(config, variant),
        say=setting.say,
        workload=workload,
    )


_MAKERS: Mapping[str, Callable[[Setting, State], Target]] = {
    "local": _local,
    "azureml": _azureml,
    "iotedge": _iotedge,
    "kubernetes": _kubernetes,
}

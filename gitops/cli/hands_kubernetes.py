"""What the target `kubernetes` needs: the manifests of a commit, and which cluster is meant."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops import git
from gitops.errors import ConfigError, Where

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.deploy.kubernetes.kubectl import Kubectl
    from gitops.deploy.state import State

_FOLDER = "deploy/kubernetes"


@dataclass
class Overlay:
    """An environment's manifests as a commit has them ("": the work tree)."""

    root: Path
    environment: str
    _known: dict[str, Sequence[dict[str, Any]]] = field(default_factory=dict)

    def __call__(self, commit: str) -> Sequence[dict[str, Any]]:
        """The documents that kustomize makes of the overlay.

        Raises:
            ConfigError: it isn't there, or kustomize can't build it.
        """
        if not commit:
            return self._built(self.root)
        if commit not in self._known:
            at = git.snapshot(self.root, commit)
            files = at.read([one for one in at.files if one.startswith(f"{_FOLDER}/")])
            with tempfile.TemporaryDirectory(prefix="gitops-kubernetes-") as folder:
                for path, content in files.items():
                    file = Path(folder) / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(content)
                self._known = {commit: self._built(Path(folder))}
        return self._known[commit]

    def _built(self, root: Path) -> Sequence[dict[str, Any]]:
        from gitops.deploy.kubernetes import kubectl

        folder = root / _FOLDER / "overlays" / self.environment
        if not folder.is_dir():
            raise ConfigError(
                f"there's no {_FOLDER}/overlays/{self.environment} on the environment's branch",
                fix="gitops sync writes it; commit and promote it",
                where=Where(f"{_FOLDER}/overlays/{self.environment}"),
            )
        return kubectl.kustomize(folder)


def cluster(config: Config, environment: str, state: State) -> Kubectl:
    """The namespace of an environment in its cluster: by a context of the user's kubeconfig, or in
    the cluster that is provisioned, as whom `az` is logged in.

    Raises:
        ConfigError: gitops.yaml doesn't say which cluster is meant.
    """
    from gitops import cloudnames
    from gitops.config_kubernetes import namespace
    from gitops.deploy.kubernetes import aks
    from gitops.deploy.kubernetes.kubectl import Kubectl

    settings, declared = config.targets.kubernetes, config.infrastructure
    where = namespace(settings, config.project, environment)
    if settings is not None and environment in settings.contexts:
        return Kubectl(settings.contexts[environment], where)
    if declared is not None and declared.components.aks is not None:
        names = cloudnames.of(config, environment)
        name, group = names["kubernetes"], names["resource_group"]
        file = state.folder / "kubeconfig"
        return Kubectl(name, where, login=lambda: aks.kubeconfig(name, group, file))
    raise ConfigError(
        f"which cluster is {environment}? gitops.yaml names none, and none is provisioned",
        fix=f"write `targets: {{kubernetes: {{contexts: {{{environment}: NAME}}}}}}`, a context of"
        " kubeconfig; or gitops add infrastructure --set aks=",
    )

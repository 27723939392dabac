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


def context(config: Config, environment: str) -> str:
    """The context of kubeconfig that an environment's cluster has there.

    `az aks get-credentials` calls it as the cluster.

    Raises:
        ConfigError: gitops.yaml doesn't say which cluster is meant.
    """
    from gitops import cloudnames

    settings, declared = config.targets.kubernetes, config.infrastructure
    if settings is not None and environment in settings.contexts:
        return settings.contexts[environment]
    if declared is not None and declared.components.aks is not None:
        return cloudnames.of(config, environment)["kubernetes"]
    raise ConfigError(
        f"which cluster is {environment}? gitops.yaml names none, and none is provisioned",
        fix=f"write `targets: {{kubernetes: {{contexts: {{{environment}: NAME}}}}}}`, a context of"
        " kubeconfig; or gitops add infrastructure --set aks=",
    )

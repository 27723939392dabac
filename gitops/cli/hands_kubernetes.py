"""What the target `kubernetes` needs: the manifests of a commit, and which cluster is meant."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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


@dataclass(frozen=True)
class Branch:
    """Delivery by a branch of the repository's remote, which Argo CD follows.

    It has a file for each name. The push moves it from where it was read, and is read back.
    """

    root: Path
    remote: str
    environment: str

    def put(self, name: str, documents: Sequence[dict[str, Any]]) -> None:
        from gitops.deploy.kubernetes import kubectl

        # A namespace is never pruned with what is in it: the state is.
        kept = [one for one in documents if one["kind"] != "Namespace"]
        self._write(name, kubectl.text(kept).encode())

    def remove(self, name: str, labels: Mapping[str, str]) -> bool:
        return self._write(name, None)

    def _write(self, name: str, content: bytes | None) -> bool:
        """Whether the branch has changed by it.

        Raises:
            AnswerNo: somebody else moved the branch meanwhile.
            ToolError: the remote can't be reached, or refuses.
        """
        from gitops.git import remote, write

        refs = remote.read(self.root, self.remote)
        branch = f"gitops/deploy/{self.environment}"
        tip = refs.heads.get(branch)
        before = f"{tip}^{{tree}}" if tip else None
        path = f"{name}.yaml"
        if content is None and (tip is None or path not in git.snapshot(self.root, tip).files):
            return False
        file = write.File("100644", write.blob(self.root, content)) if content else None
        tree = write.tree(self.root, before, {path: file})
        if tip is not None and tree == git.snapshot(self.root, tip).tree:
            return False
        word = "Deploy" if content else "Remove"
        message = f"{word} what is {name} in {self.environment}\n"
        commit = write.commit(self.root, tree, [tip] if tip else [], message)
        remote.push(self.root, refs, [remote.Update(f"refs/heads/{branch}", tip, commit)])
        return True


def cluster(config: Config, environment: str, state: State) -> Kubectl:
    """The namespace of an environment in its cluster: by a context of the user's kubeconfig, or in
    the cluster that is provisioned, as whom `az` is logged in.

    Raises:
        ConfigError: gitops.yaml doesn't say which cluster is meant.
    """
    from gitops import cloudnames
    from gitops.config.kubernetes import namespace
    from gitops.deploy.kubernetes import aks
    from gitops.deploy.kubernetes.kubectl import Kubectl

    settings, declared = config.targets.kubernetes, config.infrastructure
    where = namespace(settings, config.project, environment)
    container = "kserve-container" if settings is not None and settings.kserve else "server"
    if settings is not None and environment in settings.contexts:
        return Kubectl(settings.contexts[environment], where, container=container)
    if declared is not None and declared.components.aks is not None:
        names = cloudnames.of(config, environment)
        name, group = names["kubernetes"], names["resource_group"]
        file = state.folder / "kubeconfig"
        login = partial(aks.kubeconfig, name, group, file)
        return Kubectl(name, where, login, container)
    raise ConfigError(
        f"which cluster is {environment}? gitops.yaml names none, and none is provisioned",
        fix=f"write `targets: {{kubernetes: {{contexts: {{{environment}: NAME}}}}}}`, a context of"
        " kubeconfig; or gitops add infrastructure --set aks=",
    )

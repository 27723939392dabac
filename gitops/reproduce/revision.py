"""A revision's files in a folder of their own, without disturbing the work tree."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gitops import config as configuration
from gitops import dvcremote, git, objects
from gitops.errors import EvidenceError
from gitops.reproduce.model import Place, places


def clone(root: Path, target: Path, commit: str, cache: Path) -> None:
    """Clone `commit`, with our remote (credentials and all) and the DVC cache at `cache`."""
    git.clone(root, target, commit)
    remote = dvcremote.remote(root)
    dvcremote.set_local(target, remote, {**remote.options, "url": remote.url}, cache)


@contextmanager
def model_at(
    root: Path, revision: str, name: str | None, say: Callable[[str], None]
) -> Iterator[Place]:
    """The model `name` as of `revision`, with its package there and proven.

    Raises:
        EvidenceError: the package was never built or pushed, or its bytes were altered.
    """
    commit = git.resolve(root, revision)
    with tempfile.TemporaryDirectory(prefix="gitops-revision-") as temporary:
        target = Path(temporary) / "clone"
        say(f"reading {commit[:12]}")
        clone(root, target, commit, cache=root / ".dvc" / "cache")
        config = configuration.load(target)
        (place,) = places(target, config, [config.model(name)[0]])
        package = place.package.relative_to(target).as_posix()
        tracked = [item for item in place.tracked() if item.cached]
        if package not in [item.path for item in tracked]:
            raise EvidenceError(
                f"model {place.name} was never built at {revision}: its dvc.lock has no {package}",
                fix="build there first, or name another revision",
            )
        # A declared command may read anything that the model's stages wrote.
        items = [
            item
            for item in tracked
            if item.path == package or (place.declared.predict and item.stage)
        ]
        if lost := objects.bring(target, items):
            raise EvidenceError(
                f"{', '.join(item.path for item in lost)} of {revision} is not in the remote",
                fix="gitops build --push, where it was built",
            )
        yield place

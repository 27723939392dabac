"""Which models a change touches: from git and the text of DVC's files, without checkout or DVC.

It errs on one side only: what isn't certain is touched. A model is touched by a change

- of its folder (in a monorepo), of its section of gitops.yaml, or of anything that its pipeline
  names: dependencies and outputs, files of parameters, folders around them, `.dvc` files, and what
  symbolic links lead to;
- of another pipeline that makes what it depends on, if that one is touched itself;
- of what all models stand on: the locked environment, the tool, the storage, the policies, and code
  that no pipeline names, since any may import it.

Documentation, tests and the like touch none.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gitops import config as configuration
from gitops import dvcpaths, git
from gitops.config import Config, Model
from gitops.dvcpaths import join
from gitops.errors import ConfigError
from gitops.git import Snapshot, graph

_FILES = frozenset(
    ("uv.lock", "uv.toml", "pyproject.toml", ".python-version", "build.env", ".dvcignore")
)
_FOLDERS = (".dvc/", ".gitops/tool/", ".gitops/policies/")
_NO_CODE = ("tests/", "docs/", ".")  # where a file that ends in .py is no model's


def models(before: Snapshot, after: Snapshot, old: Config | None, new: Config) -> tuple[str, ...]:
    """The models of `new`, the settings of `after`, that the change touches, in their order.

    `old`: the settings of `before`; None: it has none.
    """
    everything = tuple(new.models)
    if before.tree == after.tree:
        return ()
    paths = git.changed_paths(after.root, before.commit, after.commit)
    if old is None or _common(old) != _common(new) or any(map(_is_common, paths)):
        return everything
    touched = {name for name, one in new.models.items() if old.models.get(name) != one}
    change = _Change(after, paths)
    pipelines = _pipelines(change, new)
    named = {path for one in pipelines.values() for path in (one.folder, *(one.paths or ()))}
    if any(_is_code(path) and named.isdisjoint(_up(path)) for path in paths):
        return everything
    folders = _spread(change, pipelines)
    return tuple(name for name, one in new.models.items() if name in touched or one.path in folders)


def between(root: Path, base: str, head: str) -> tuple[str, ...]:
    """The models of the commit `head` that its commits since it left `base` touch.

    Raises:
        ConfigError: gitops.yaml of `head` is wrong.
    """
    fork = graph.fork_point(root, base, head) or base
    before, after = git.snapshot(root, fork), git.snapshot(root, head)
    old = None
    with suppress(ConfigError):  # there's none, or one that this version can't read
        old = configuration.load_at(root, fork)
    return models(before, after, old, configuration.load_at(root, head))


def _common(config: Config) -> tuple[object, ...]:
    """The settings that all models are built and judged by."""
    judged = [(one.name, one.branch, one.policy) for one in config.environments]
    return config.version, config.project, config.storage, config.tool, judged


def _is_common(path: str) -> bool:
    return path in _FILES or path.startswith(_FOLDERS)


def _is_code(path: str) -> bool:
    return path.startswith("src/") or (path.endswith(".py") and not path.startswith(_NO_CODE))


@dataclass(frozen=True)
class _Change:
    """The changed paths, and the repository after it."""

    at: Snapshot
    paths: tuple[str, ...]

    @cached_property
    def whole(self) -> frozenset[str]:
        """The paths, and the data that changed `.dvc` files track: with all that lies in them."""
        return frozenset({*self.paths, *(one.removesuffix(".dvc") for one in self.paths)})

    @cached_property
    def around(self) -> frozenset[str]:
        """The folders around them."""
        return _folders(self.whole)

    @cached_property
    def tree(self) -> frozenset[str]:
        """All folders that git has."""
        return _folders(self.at.files)

    @cached_property
    def links(self) -> dict[str, str]:
        """What symbolic links lead to, by their path."""
        found = git.blobs(self.at.root, self.at.links.values())
        targets = {path: found.get(one, b"").decode() for path, one in self.at.links.items()}
        return {path: join(posixpath.dirname(path) or ".", to) for path, to in targets.items()}

    def touches(self, path: str) -> bool:
        """Whether a dependency on `path` has changed."""
        return path in self.around or any(one in self.whole for one in _up(path))

    def keeps(self, path: str) -> bool:
        """Whether git has `path`, or the `.dvc` file that tracks it."""
        files = self.at.files
        return path in files or path in self.tree or any(f"{one}.dvc" in files for one in _up(path))

    def led(self, paths: Iterable[str]) -> set[str]:
        """The paths, and those that links on them, or in them, lead to."""
        found = set(paths)
        todo = list(found) if self.links else []
        while todo:
            path = todo.pop()
            for link, to in self.links.items():
                if f"{path}/".startswith(f"{link}/"):
                    new = posixpath.normpath(to + path[len(link) :])
                elif link.startswith(f"{path}/"):
                    new = to
                else:
                    continue
                if new not in found and len(found) < 10_000:
                    found.add(new)
                    todo.append(new)
        return found


@dataclass(frozen=True)
class _Pipeline:
    """A pipeline in a folder: what it names (None: that isn't certain), and what it writes."""

    folder: str
    paths: frozenset[str] | None
    outs: frozenset[str]


def _pipelines(change: _Change, config: Config) -> dict[str, _Pipeline]:
    """All pipelines of the commit, declared as models or not."""
    at = change.at
    declared: dict[str, list[Model]] = {}
    for model in config.models.values():
        declared.setdefault(model.path, []).append(model)
    folders = {posixpath.dirname(p) or "." for p in at.files if p.rpartition("/")[2] == "dvc.yaml"}
    wanted = sorted(folders | declared.keys())
    names = {join(folder, name) for folder in wanted for name in ("dvc.yaml", "dvc.lock")}
    texts = at.read(names)
    found = {}
    for folder in wanted:
        pipeline, lock = (texts.get(join(folder, one)) for one in ("dvc.yaml", "dvc.lock"))
        named = dvcpaths.read(at, folder, pipeline, lock) if pipeline is not None else None
        if named is None:
            found[folder] = _Pipeline(folder, None, frozenset())
            continue
        more = {join(folder, one) for one in ("dvc.yaml", "dvc.lock", "params.yaml")}
        more |= {path for model in declared.get(folder, ()) for path in _of_model(model)}
        paths = change.led({*named.paths, *more, *([] if folder == "." else [folder])})
        found[folder] = _Pipeline(folder, frozenset(paths), named.outs)
    return found


def _of_model(model: Model) -> Iterator[str]:
    wrapped = model.wrap.deps if model.wrap else ()
    script = model.serve.script
    for path in (model.metrics, model.package, model.evaluation, model.data, script, *wrapped):
        if path:
            yield join(model.path, path)
    if script:
        yield script


def _spread(change: _Change, pipelines: Mapping[str, _Pipeline]) -> set[str]:
    """The folders of the pipelines that are touched, by the change or through another one."""
    known: dict[str, bool] = {}

    def touches(path: str) -> bool:
        if path not in known:
            known[path] = change.touches(path)
        return known[path]

    found = {
        one.folder
        for one in pipelines.values()
        if one.paths is None or any(touches(path) for path in one.paths)
    }
    if not found:
        return found
    users = _users(change, pipelines)
    todo = list(found)
    while todo:
        for user in users.get(todo.pop(), set()) - found:
            found.add(user)
            todo.append(user)
    return found


def _users(change: _Change, pipelines: Mapping[str, _Pipeline]) -> dict[str, set[str]]:
    """The pipelines that depend on what another one makes, by that one's folder."""
    makers = {out: one.folder for one in pipelines.values() for out in one.outs}
    inside: dict[str, set[str]] = {}
    for out, folder in makers.items():
        for around in _up(out):
            inside.setdefault(around, set()).add(folder)

    def made_by(path: str) -> set[str]:
        found = inside.get(path, set()) | {makers[one] for one in _up(path) if one in makers}
        if found or path.startswith("../") or change.keeps(path):
            return found
        # A pipeline that never ran has no outputs yet: its folder says whose it would be.
        return {next((one for one in _up(path) if one in pipelines), ".")}

    with_others = {".", *_folders(pipelines)}
    known: dict[str, set[str]] = {}
    users: dict[str, set[str]] = {}
    for one in pipelines.values():
        for path in one.paths or ():
            if one.folder not in with_others and path.startswith(f"{one.folder}/"):
                continue
            if path not in known:
                known[path] = made_by(path)
            for maker in known[path]:
                users.setdefault(maker, set()).add(one.folder)
    return users


def _up(path: str) -> Iterator[str]:
    """The path and the folders around it, without the top."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _folders(paths: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return frozenset(found)

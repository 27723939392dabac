"""What a repository that is there says about itself, and the gitops.yaml that follows from it.

Everything is read, nothing run or unpickled. What isn't certain says where it was guessed from.
"""

from __future__ import annotations

import configparser
import os
import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gitops import config, dvcremote, git, names
from gitops.errors import ConfigError
from gitops.scaffold import discover_code, discover_models
from gitops.scaffold.discover_code import Code
from gitops.scaffold.discover_dvc import Stage, stages
from gitops.scaffold.discover_models import Found, Sources

_MOST_CODE = 2000
_LARGEST_METRICS = 1 << 20
_INTEGRATION = ("main", "master", "develop", "development", "trunk", "dev")
_BRANCHES = {
    "staging": ("release/staging", "staging", "stage", "preprod", "uat", "qa"),
    "production": ("release/production", "production", "prod", "live"),
}
_AZURE = re.compile(
    r"(?:(?:\.?azure-?(?:pipelines|devops)|\.(?:pipelines|ado|azdo))/.*|(?:.*/)?azure-pipelines[^/]*)"
    r"\.ya?ml"
)
_OTHER_CI = {
    ".gitlab-ci.yml": "GitLab CI",
    "Jenkinsfile": "Jenkins",
    ".circleci/config.yml": "CircleCI",
    "bitbucket-pipelines.yml": "Bitbucket Pipelines",
}


@dataclass(frozen=True)
class Value:
    """A value for gitops.yaml, what it was found in, and whether that leaves no doubt."""

    value: str
    why: str
    sure: bool = True


@dataclass(frozen=True)
class Environment:
    """A branch and its name as an environment; `there`: the branch exists."""

    name: str
    branch: Value
    there: bool


@dataclass(frozen=True)
class Model:
    """A model and the values of its keys in gitops.yaml."""

    name: str
    why: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Proposal:
    """All of gitops.yaml, and notes for the user.

    `has_dvc`: DVC is set up at the top; `branches`: those that git knows, here or at a remote.
    """

    project: Value
    ci: tuple[Value, ...]
    environments: tuple[Environment, ...]
    storage: Value
    endpoint: str | None
    account: str | None
    models: tuple[Model, ...]
    has_dvc: bool
    branches: frozenset[str] = frozenset()
    notes: tuple[str, ...] = field(default=())


def discover(root: Path) -> Proposal:
    """Read the repository whose top folder is `root`.

    Raises:
        ToolError: git refuses to work here.
    """
    files = git.files(root)
    project = _project(root, files)
    notes: list[str] = []
    there = Sources(files, _stages(root, files, notes), _code(root, files, notes), project.value)
    storage, endpoint, account = _storage(root, project.value, notes)
    models = _models(root, there)
    branches = _branches(root)
    subfolders = [path for path in files if path.endswith("/.dvc/config")]
    if subfolders and ".dvc/config" not in files:
        notes.append(
            f"DVC is set up in {posixpath.dirname(posixpath.dirname(subfolders[0]))};"
            " gitops works with one at the repository's top"
        )
    return Proposal(
        project=project,
        ci=_ci(files, notes),
        environments=_environments(branches, git.branch(root), notes),
        storage=storage,
        endpoint=endpoint,
        account=account,
        models=models,
        has_dvc=(root / ".dvc" / "config").exists() or bool(subfolders),
        branches=branches,
        notes=tuple(notes),
    )


# ---------------------------------------------------------------- the project


def _project(root: Path, files: Iterable[str]) -> Value:
    for text, why in _declared_names(root):
        name = names.suggest(text)
        return Value(name, why if name == text else f"{why}, which says {text!r}", name == text)
    folder = root.resolve().name
    name = names.suggest(folder)
    return Value(name, f"the folder's name, {folder!r}", sure=name == folder.lower())


def _declared_names(root: Path) -> Iterator[tuple[str, str]]:
    with suppress(OSError, ValueError):
        data = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
        for table in (data.get("project"), data.get("tool", {}).get("poetry")):
            if isinstance(table, dict) and isinstance(table.get("name"), str):
                yield table["name"], "pyproject.toml"
    parser = configparser.ConfigParser(interpolation=None)
    with suppress(OSError, ValueError, configparser.Error):
        parser.read_string((root / "setup.cfg").read_text("utf-8"))
        if name := parser.get("metadata", "name", fallback=""):
            yield name, "setup.cfg"


def _ci(files: Iterable[str], notes: list[str]) -> tuple[Value, ...]:
    found: dict[str, str] = {}
    for path in files:
        if re.fullmatch(r"\.github/workflows/[^/]+\.ya?ml", path):
            found.setdefault("github", path)
        if _AZURE.fullmatch(path):
            found.setdefault("azure", path)
        if path in _OTHER_CI:
            notes.append(f"{path}: gitops writes no pipelines for {_OTHER_CI[path]}")
    if not found:
        return (Value("github", "no pipelines are there", sure=False),)
    return tuple(Value(name, found[name]) for name in ("github", "azure") if name in found)


def _branches(root: Path) -> frozenset[str]:
    remotes = git.remotes(root)
    return frozenset(_local(name, remotes) for name in git.branches(root)) - {"HEAD"}


def _environments(
    there: frozenset[str], here: str | None, notes: list[str]
) -> tuple[Environment, ...]:
    first = next((name for name in _INTEGRATION if name in there), here or "main")
    if first in ("main", "master") and "develop" in there:  # git-flow: what is released is on main
        first = "develop"
    main = next((name for name in ("main", "master") if name in there and name != first), None)
    taken = [first]
    found = [Environment("dev", _dev(first, there, here), first in there)]
    for name, usual in _BRANCHES.items():
        branch = next((one for one in usual if one in there and one not in taken), None)
        why = "the branch of that name"
        if branch is None and name == "production" and main is not None:
            branch, why = main, f"{first} is where work comes together"
        if branch is None:
            branch = next(one for one in usual if _can_be(one, [*there, *taken]))
            why = f"not there yet: git branch {branch}"
        taken.append(branch)
        sure = branch in there and branch in usual
        found.append(Environment(name, Value(branch, why, sure), branch in there))
    releases = sorted(name for name in there if re.match(r"releases?/", name) and name not in taken)
    if releases:
        notes.append(f"branches that are no environment: {', '.join(releases[:5])}")
    return tuple(found)


def _dev(branch: str, there: Iterable[str], here: str | None) -> Value:
    if branch not in there:
        return Value(branch, "there is no commit yet", sure=branch == here)
    return Value(branch, "the branch of that name", sure=branch in _INTEGRATION)


def _local(name: str, remotes: Iterable[str]) -> str:
    for remote in remotes:
        if name.startswith(f"{remote}/"):
            return name.removeprefix(f"{remote}/")
    return name


def _can_be(branch: str, others: Iterable[str]) -> bool:
    """Whether git can have the branch beside the others: no name is a folder of another."""
    return not any(
        branch == one or branch.startswith(f"{one}/") or one.startswith(f"{branch}/")
        for one in others
    )


def _storage(root: Path, project: str, notes: list[str]) -> tuple[Value, str | None, str | None]:
    """Place, endpoint and account of DVC's default remote, as far as gitops.yaml can say them."""
    default = f"../{project}-storage"
    try:
        remotes = dvcremote.declared_remotes(root)
    except ConfigError as error:
        notes.append(f"{error.message}; {error.fix}")
        return Value(default, ".dvc/config can't be read", sure=False), None, None
    if not remotes:
        return Value(default, "no remote of DVC is there", sure=False), None, None
    one = remotes[0]
    why = f".dvc/config, remote {one.name!r}"
    if len(remotes) > 1:
        notes.append(f"storage is {one.name!r}, of {len(remotes)} remotes in .dvc/config")
    url = one.url
    if one.is_folder and not Path(url).is_absolute():  # DVC means: from .dvc/
        url = Path(os.path.normpath(f".dvc/{url}")).as_posix()
    extra = {
        name: one.options[key]
        for name, key, scheme in (
            ("endpoint", "endpointurl", "s3://"),
            ("account", "account_name", "azure://"),
        )
        if key in one.options and url.startswith(scheme)
    }
    try:
        config.storage({"remote": url, **extra})
    except ConfigError as error:
        notes.append(f"{why} stays as it is, but gitops.yaml can't name it: {error.message}")
        return (
            Value(default, f"{why} is of a kind that gitops doesn't know", sure=False),
            None,
            None,
        )
    return Value(url, why), extra.get("endpoint"), extra.get("account")


# ---------------------------------------------------------------- the models


def _stages(root: Path, files: Iterable[str], notes: list[str]) -> list[Stage]:
    found: list[Stage] = []
    for path in files:
        if posixpath.basename(path) == "dvc.yaml":
            try:
                found += stages(root, path)
            except ConfigError as error:
                said = " ".join(error.message.replace(f"{root}/", "").split())
                notes.append(f"{said}: the models in it are not known")
    return found


def _code(root: Path, files: Iterable[str], notes: list[str]) -> dict[str, Code]:
    paths = [path for path in files if path.endswith((".py", ".ipynb"))]
    paths = [path for path in paths if not discover_models.is_foreign(path)]
    if len(paths) > _MOST_CODE:
        notes.append(f"only {_MOST_CODE} of {len(paths)} scripts and notebooks were read")
    code = {path: discover_code.read(root, path) for path in paths[:_MOST_CODE]}
    notes += [f"{one.path} was not read: {one.problem}" for one in code.values() if one.problem]
    return code


def _models(root: Path, there: Sources) -> tuple[Model, ...]:
    found = discover_models.find(there)
    shared = {one.folder for one in found if [o.folder for o in found].count(one.folder) > 1}
    if not found:
        why = "nothing shows a model"
        values = {"path": Value(".", why), "task": Value("binary", why, sure=False)}
        return (Model(there.project, why, values),)
    return tuple(_model(root, one, there, alone=one.folder not in shared) for one in found)


def _model(root: Path, one: Found, there: Sources, *, alone: bool) -> Model:
    metrics = [path for path in one.metrics if path.endswith(".json")]
    words = [word for path in one.metrics for word in _metric_words(root / path)]
    heard = sorted(word for path in one.code for word in there.code[path].words)
    task = discover_code.task([*heard, *words])
    values = {
        "path": Value(one.folder, one.why),
        "task": Value(task.name, _task_why(task, one, there, words), sure=False),
    }
    libraries = sorted({lib for path in one.code for lib in there.code[path].libraries})
    custom = [there.code[path].custom for path in one.code if there.code[path].fits]
    kind, why = "sklearn", "what it imports" if libraries else "nothing says what it is made with"
    if custom and all(custom):
        kind, why = "custom", f"what it imports: {', '.join(libraries[:4])}"
    values["framework"] = Value(kind, why, sure="sklearn" in libraries and kind == "sklearn")
    tables = [path for path in discover_models.tables(one, there) if _inside(path, one.folder)]
    if tables:
        why = "what its code reads" if len(tables) == 1 else f"one of {len(tables)} tables it reads"
        values["data"] = Value(_inside(tables[0], one.folder), why, sure=False)
    return Model(one.name, one.why, values | dict(_outputs(one, there, metrics, alone=alone)))


def _task_why(task: discover_code.Task, one: Found, there: Sources, metrics: Iterable[str]) -> str:
    """`train.py: RandomForestClassifier, roc_auc`."""
    if not task.words:
        return "nothing says what it predicts"
    files = [path for path in sorted(one.code) if there.code[path].words & set(task.words)]
    files += [path for path in one.metrics if set(metrics) & set(task.words)]
    return f"{', '.join(files[:2])}: {', '.join(task.words[:3])}"


def _metric_words(file: Path) -> tuple[str, ...]:
    with suppress(OSError, UnicodeDecodeError):
        if file.is_file() and file.stat().st_size <= _LARGEST_METRICS:
            return discover_models.metric_words(file.read_text("utf-8"))
    return ()


def _outputs(
    one: Found, there: Sources, metrics: Iterable[str], *, alone: bool
) -> Iterator[tuple[str, Value]]:
    """Where packaging is to write, where the default would meet another model or what is there."""
    for key, default in (("package", "models/package"), ("evaluation", "evaluation")):
        own = f"{'packages' if key == 'package' else 'evaluations'}/{one.name}"
        if not alone or _meets(posixpath.join(one.folder, default), there):
            yield key, Value(own, "what packaging it would write")
    theirs = next((path for path in metrics if _inside(path, one.folder)), None)
    if theirs:
        inside = _inside(theirs, one.folder)
        if inside != "metrics.json":
            yield "metrics", Value(inside, "what its pipeline writes")
    elif not alone or _meets(posixpath.join(one.folder, "metrics.json"), there):
        yield "metrics", Value(f"metrics/{one.name}.json", "what packaging it would write")


def _meets(path: str, there: Sources) -> bool:
    """Whether the path, one around it or one inside it is there or is written by a stage."""
    path = posixpath.normpath(path)
    outs = [out for stage in there.stages for out in (*stage.outs, *stage.metrics)]
    return any(
        one == path or one.startswith(f"{path}/") or path.startswith(f"{one}/")
        for one in (*outs, *there.files)
    )


def _inside(path: str, folder: str) -> str:
    """`path` from `folder`; empty if it isn't in it."""
    if folder == ".":
        return path
    return path.removeprefix(f"{folder}/") if path.startswith(f"{folder}/") else ""

"""`gitops new`: a table becomes a repository, all of it or nothing.

The whole repository, first commit included, is made in a staging folder beside the target and
put in place by one rename.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gitops import (
    __version__,
    cloudnames,
    config,
    content,
    dvc,
    git,
    names,
    problem,
    uv,
    yamlfile,
)
from gitops.config.infrastructure import REGIONS, new_id
from gitops.errors import ConfigError, ToolError, UsageError
from gitops.git import program
from gitops.scaffold import apply, desired, generator, lock, models
from gitops.scaffold.builtin import NAME as BUILTIN_NAME
from gitops.scaffold.builtin import builtin
from gitops.scaffold.render import render, tool_file
from gitops.scaffold.roles import Roles
from gitops.scaffold.table import Table, read

Say = Callable[[str], None]

GENERATORS = ("sklearn",)
STRICT, PROJECT = "strict", "project"


@dataclass(frozen=True)
class Request:
    """All answers: where, under which names, from which table, with which roles.

    `policy`: production's.
    """

    target: Path
    project: str
    model: str
    table: Table
    roles: Roles
    ci: tuple[str, ...]
    storage: config.Storage
    infrastructure: Mapping[str, object] | None = None
    policy: str = STRICT


@dataclass(frozen=True)
class Made:
    """The new repository: its first commit, its files, and the storage folder or URL."""

    commit: str
    files: tuple[str, ...]
    storage: str


@contextmanager
def opened(data: object) -> Iterator[tuple[Table, str | None]]:
    """The table at `data`; without one, a small real data set and its usual target."""
    if data is not None:
        yield read(Path(str(data)).expanduser()), None
        return
    frame, target = builtin()
    with tempfile.TemporaryDirectory(prefix="gitops-data-") as temporary:
        path = Path(temporary) / f"{BUILTIN_NAME}.csv"
        frame.write_csv(path)
        yield read(path), target


def request(
    target: Path,
    project: str,
    table: Table,
    roles: Roles,
    ci: tuple[str, ...],
    answers: Mapping[str, object],
) -> Request:
    """All answers in one value, names and storage checked.

    Raises:
        ConfigError: a name or the storage can't work.
    """
    wanted = answers.get("model")
    model = str(wanted) if wanted else _model_name(roles.target, project)
    names.check("model", model)
    provisioned = infrastructure(project, answers)
    stored = storage(project, answers, provisioned)
    return Request(target, project, model, table, roles, ci, stored, provisioned, policy(answers))


def policy(answers: Mapping[str, object]) -> str:
    """By which policy production is judged.

    Raises:
        ConfigError: it is none of a new repository's.
    """
    known = [PROJECT, *sorted(one.stem for one in content.folder("policies").glob("*.yaml"))]
    wanted = str(answers.get("policy", STRICT))
    if wanted not in known:
        fix = problem.meant(wanted, known, f"one of {', '.join(known)}")
        raise ConfigError(f"policy: {wanted!r} isn't known", fix=fix)
    return wanted


def storage(
    project: str, answers: Mapping[str, object], provisioned: Mapping[str, object] | None
) -> config.Storage:
    """What was named; else what is provisioned, or a folder beside the repository.

    Raises:
        ConfigError: it can't work.
    """
    wanted = {key: str(answers[key]) for key in ("endpoint", "account") if key in answers}
    if "storage" in answers:
        wanted["remote"] = str(answers["storage"])
    elif provisioned is not None and "id" in provisioned:
        provider, identity = str(provisioned["provider"]), str(provisioned["id"])
        wanted = cloudnames.storage(provider, project, identity) | wanted
    else:
        wanted["remote"] = f"../{project}-storage"
    return config.storage(wanted)


def infrastructure(project: str, answers: Mapping[str, object]) -> dict[str, object] | None:
    """What gitops.yaml is to say of infrastructure; None if nothing.

    Raises:
        ConfigError: it can't be provisioned: an unknown provider, or names that it refuses.
    """
    provider = answers.get("infrastructure")
    if provider is None:
        if "region" in answers:
            raise ConfigError(
                "a region, and no infrastructure", fix="--set infrastructure=azure, or aws"
            )
        return None
    generator = str(provider)
    provider = {"bicep-azure": "azure"}.get(generator, generator)
    wanted: dict[str, object] = {"provider": provider}
    if provider != generator:
        wanted["generator"] = generator
    if provider != "local":
        region = answers.get("region", REGIONS.get(provider, "westeurope"))
        wanted |= {"id": new_id(), "region": str(region)}
    trial = {"version": 1, "project": project, "infrastructure": wanted}
    text = yamlfile.dump({**trial, "models": {"model": {"task": "binary"}}})
    config.parse(text.encode(), Path("--set infrastructure"))
    return wanted


def _model_name(target: str, project: str) -> str:
    """The target's name where it makes a good one, else the project's."""
    name = names.suggest(target)
    return project if names.problem("model", name) else name


def preflight(target: Path) -> None:
    """Refuse at the start what would fail at the end.

    Raises:
        ToolError, ConfigError: no usable git, no identity, no uv.
        UsageError: the folder isn't empty, or can't be made.
    """
    program.require()
    uv.binary()
    parent = target if target.is_dir() else target.parent
    while not parent.exists():
        parent = parent.parent
    program.require_identity(parent)
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageError(f"{target} is not a folder", fix="name another")
    apply.finish(target.resolve())
    if target.is_dir() and (inside := sorted(path.name for path in target.iterdir())):
        raise UsageError(
            f"{target} is not empty: {', '.join(inside[:5])}",
            fix="name a new or an empty folder; to adopt what is there: git init, and again",
        )
    if not os.access(parent, os.W_OK):
        raise ToolError(f"{parent} can't be written to", fix="choose another place")


def create(request: Request, say: Say) -> Made:
    """Make the repository of `request`; nothing is left behind if that fails.

    Raises:
        GitopsError: of whatever kind stopped it.
    """
    target = request.target.resolve()
    storage = desired.storage_url(request.storage, target)
    with apply.staging(target) as staging:
        say("rendering")
        made = write_files(request, storage, staging)
        say("tracking the data")
        commit = _version(request, staging, made)
        provide_storage(storage, staging, say)
        shutil.rmtree(staging / ".dvc" / "tmp", ignore_errors=True)
        apply.install(staging, target)
    files = sorted(str(path) for path in (*made.lock.files, lock.PATH))
    return Made(commit, tuple(files), storage)


def context(request: Request, storage: str) -> dict[str, object]:
    """What templates see: plain data only."""
    return {
        "project": request.project,
        "package": names.package_name(request.project),
        **models.answers(request.model, request.table, request.roles),
        "ci": list(request.ci),
        "storage": request.storage.remote,
        "storage_url": storage,
        "storage_endpoint": request.storage.endpoint,
        "storage_account": request.storage.account,
        "python": platform.python_version(),
        "wrapped": False,
        "infrastructure": request.infrastructure,
        "policy": request.policy,
    }


def write_files(request: Request, storage: str, staging: Path) -> desired.Desired:
    """Everything that is generated, and the table, into the new folder `staging`."""
    answers = context(request, storage)
    generators = generator.compose(GENERATORS)
    rendered = render(generators, answers)
    apply.stage(rendered, staging)
    made = desired.build(staging, config.load(staging), generators, answers)
    templates = {one.path for one in rendered}
    extra = [one for one in made.files if one.path not in templates]
    apply.stage([*extra, tool_file(str(lock.PATH), lock.dump(made.lock))], staging)
    data = staging / models.data_path(request.table)
    data.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(request.table.path, data)
    return made


def _version(request: Request, staging: Path, made: desired.Desired) -> str:
    declared = config.load(staging)
    first, *others = [one.branch for one in declared.environments]
    git.init(staging, first)
    data = models.data_path(request.table)
    for path, rule in git.ignoring(staging, [*map(str, made.lock.files), f"{data}.dvc"]):
        raise ConfigError(
            f"git would ignore {path}, which the repository needs: {rule}",
            fix="take that pattern out of your own settings of git (core.excludesFile)",
        )
    dvc.add(staging, data)
    commit = git.commit(staging, f"Start {request.project}, scaffolded by gitops {__version__}")
    git.create_branches(staging, others)
    return commit


def provide_storage(storage: str, staging: Path, say: Say) -> None:
    """A folder gets the data at once; a network remote waits for `gitops build --push`."""
    if "://" in storage:
        return
    try:
        Path(storage).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolError(f"the storage folder {storage} can't be made: {error.strerror}") from error
    say(f"copying the data into {storage}")
    dvc.push(staging)


def read_answers(file: Path | None, settings: list[str]) -> dict[str, object]:
    """Answers of a YAML file, then of `--set KEY=VALUE`, the later winning.

    Raises:
        UsageError: a setting isn't KEY=VALUE.
        ConfigError: the file can't be read.
    """
    answers: dict[str, object] = dict(yamlfile.read(file).data) if file else {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {setting!r} is not KEY=VALUE", fix="--set task=regression")
        answers[key.strip()] = value
    return answers


def ci_of(value: object) -> tuple[str, ...]:
    """The CI platforms of a comma list (or a list).

    Raises:
        ConfigError: one isn't known.
    """
    parts = value.split(",") if isinstance(value, str) else value
    wanted = tuple(str(part).strip() for part in parts) if isinstance(parts, list | tuple) else ()
    if not wanted or any(one not in ("github", "azure") for one in wanted):
        raise ConfigError(f"ci: {value!r} isn't known", fix="github, azure, or github,azure")
    return tuple(dict.fromkeys(wanted))

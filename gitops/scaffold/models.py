"""`gitops add model`: one more model, with its own stages, parameters and data, on the shared code.

The first model lies at the top; each added one in models/<name>/. Everything is laid down beside
the repository first; one switch puts the new files, gitops.yaml and the lock in place together.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gitops import (
    dvc,
    dvcremote,
    dvcstore,
    git,
    names,
    pipelines,
    yamlfile,
)
from gitops.config import FILE, Model
from gitops.config import checks as config_checks
from gitops.errors import AnswerNo, ConfigError, Where
from gitops.git import program
from gitops.scaffold import apply, disk, generator, journal
from gitops.scaffold import lock as locks
from gitops.scaffold.plan import Entry, Plan, plan
from gitops.scaffold.render import Rendered, render_each, tool_file
from gitops.yamlfile import edits

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.scaffold.lock import FileLock, Lock
    from gitops.scaffold.roles import Roles
    from gitops.scaffold.table import Table

Say = Callable[[str], None]

GENERATOR = "model"
FOLDER = "models"
# Which part of a model's answers an answer of the user decides, where the names differ.
_DECIDES = {"drop": "dropped", "type": "features"}


@dataclass(frozen=True)
class Request:
    """A model to add: its name, its table, the roles of the columns, and what the user said."""

    name: str
    table: Table
    roles: Roles
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Added:
    """What was done: files written (none: it was there), and the commit or what to commit."""

    model: str
    path: str
    files: tuple[str, ...]
    commit: str | None
    to_commit: tuple[str, ...]
    note: str


def answers(name: str, table: Table, roles: Roles) -> dict[str, object]:
    """What the templates of one model see beside what the repository's models share."""
    return {
        "model": name,
        "task": roles.task,
        "data": {
            "file": data_path(table),
            "format": table.format,
            "separator": table.separator,
            "encoding": table.encoding,
        },
        "target": roles.target,
        "classes": list(roles.classes),
        "positive": roles.positive,
        "id": roles.id,
        "time": roles.time,
        "group": roles.group,
        "features": [
            {"name": one.name, "type": one.type, "calendar": list(one.calendar)}
            for one in roles.features
        ],
        "slices": list(roles.slices),
        "sensitive": list(roles.sensitive),
        "dropped": [asdict(one) for one in roles.dropped],
        "split": roles.split,
        "rows": table.frame.height,
    }


def data_path(table: Table) -> str:
    """Where the table goes in the model's folder: its own name, made safe, under data/."""
    return f"data/{names.suggest(table.path.stem)}.{table.format}"


def rendered(
    shared: Mapping[str, object],
    added: Mapping[str, Mapping[str, object]],
    folders: Mapping[str, str],
) -> Iterator[Rendered]:
    """The own files of each added model that gitops.yaml still declares.

    `shared` are the repository's answers, `added` those of each model, `folders` the models' paths
    in gitops.yaml by name.

    Raises:
        ConfigError: as `render`.
    """
    contexts = []
    for name, own in added.items():
        if name in folders:
            folder = PurePosixPath(folders[name])
            top = "../" * len(folder.parts)
            contexts.append((folder, {**shared, **own, "top": top}))
    if contexts:
        yield from render_each(generator.load(GENERATOR), contexts)


def moved(
    root: Path,
    files: Mapping[PurePosixPath, FileLock],
    folders: Mapping[str, str],
    migrated: Mapping[PurePosixPath, PurePosixPath | None],
) -> dict[PurePosixPath, PurePosixPath | None]:
    """Where files of the lock belong whose model has another path in gitops.yaml now.

    `folders` are the models' paths by name; `migrated`: what migrations of generators move.

    Raises:
        ConfigError: they are still at the old one: the data beside them is not ours to move.
    """
    found: dict[PurePosixPath, PurePosixPath | None] = {}
    for name, folder in folders.items():
        own = [path for path, made in files.items() if made.model == name]
        # Each model has a dvc.yaml at the top of its folder.
        old = os.path.commonpath([path.parent for path in own]) if own else folder
        if PurePosixPath(old) == PurePosixPath(folder):
            continue
        if any(os.path.lexists(root / path) for path in own):
            raise ConfigError(
                f"the path of model {name} is {folder}, but its files are in {old}",
                fix=f"mkdir -p {PurePosixPath(folder).parent} && git mv {old} {folder}",
                where=yamlfile.read(root / FILE).where(("models", name, "path")),
            )
        for path in own:
            at = migrated.get(path, path)
            if at is not None and at.is_relative_to(old):
                found[path] = folder / at.relative_to(old)
    return found


def preflight(root: Path, name: str) -> Lock:
    """Refuse at the start what would fail at the end; the repository's lock.

    Raises:
        ConfigError: the name can't work, the lock is missing, or there's no code to share.
    """
    names.check("model", name)
    private = git.private_to_tree(root)
    apply.recover(root, private / "apply")
    with disk.locked(private / "add.lock", root):
        shutil.rmtree(private / "add", ignore_errors=True)  # of a run that was killed
    file = root / locks.PATH
    if not file.is_file():
        raise ConfigError(
            "there's no lock of what gitops generated here, so no code for a model to share",
            fix="if it was deleted: git checkout -- .gitops/lock.yaml;"
            " else make a repository with `gitops new`",
            where=Where(file),
        )
    lock = locks.read(file)
    package = root / "src" / str(lock.answers.get("package", ""))
    missing = [one for one in ("train.py", "gitops_package") if not (package / one).exists()]
    if "package" not in lock.answers or "adopted" in lock.answers or missing:
        raise ConfigError(
            "a model that is added shares the training code that `gitops new` wrote: there's none"
            " here",
            fix=f"for training code of your own declare {name} in {FILE}, under models:, with its"
            f" task and path, then gitops add packaging {name}",
        )
    return lock


def existing(root: Path, config: Config, lock: Lock, request: Request) -> str:
    """The folder of the model that `request` names, which is there, if it is just that.

    Raises:
        AnswerNo: it is another; or only one of gitops.yaml and the lock knows it.
    """
    name = request.name
    own = lock.answers if lock.answers.get("model") == name else lock.models.get(name)
    declared = config.models.get(name)
    if declared is None or own is None:
        knows, other = (FILE, locks.PATH) if own is None else (locks.PATH, FILE)
        raise AnswerNo(
            f"{knows} has a model {name} that {other} doesn't know",
            fix=f"choose another name, or restore the other file: git log -- {other}"
            + ("; or `gitops sync`, and it is taken out" if declared is None else ""),
        )
    if differences := list(_differences(root / declared.path, own, request)):
        raise AnswerNo(
            f"model {name} is there, and is another:\n  " + "\n  ".join(differences),
            fix=f"choose another name; new rows of the same table: gitops data update FILE {name}",
        )
    return declared.path


def found(root: Path, config: Config, name: str, path: str) -> Added:
    """A model that is there; a killed run may have left it uncommitted."""
    own = {FILE, str(locks.PATH), *(one for one, _ in pipelines.render(config, root))}
    left = [one for one in git.changes(root) if one in own or one.startswith(f"{path}/")]
    return Added(name, path, (), None, tuple(left), "not committed yet" if left else "")


def _differences(base: Path, own: Mapping[str, object], request: Request) -> Iterator[str]:
    """What the model in `base`, made of the answers `own`, has otherwise."""
    wanted = answers(request.name, request.table, request.roles)
    if own["target"] != wanted["target"]:
        yield f"its target is {own['target']!r}, not {wanted['target']!r}"
    place = str(_part(own, "data")["file"])
    tracked = [item.md5 for item in dvc.tracked(base, ["."]) if item.path == place]
    if tracked != [dvc.file_md5(request.table.path)]:
        yield f"its data, {place}, isn't {request.table.path}"
    for key in dict.fromkeys(one.partition(".")[0] for one in request.said):
        part = _DECIDES.get(key, key)
        if own.get(part) != wanted[part]:
            yield f"{part} is {own.get(part)!r}, not {wanted[part]!r}"


def _part(own: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = own[key]
    return value if isinstance(value, Mapping) else {}


def add(root: Path, config: Config, request: Request, *, commit: bool, say: Say) -> Added:
    """Add the model: data, files, gitops.yaml and lock, all of it or nothing.

    Commits where the tree was clean before, as `gitops build` does.

    Raises:
        AnswerNo: the name is taken, by a model or by files.
        ToolError: the storage can't be reached, or DVC or the disk refused.
    """
    folder = PurePosixPath(FOLDER) / request.name
    declared = _declared(config, request, folder)
    before = git.changes(root)
    private = git.private_to_tree(root)
    work = private / "add"
    with disk.locked(private / "add.lock", root):
        try:
            files, updated = _files(root, config, request, declared)
            _require_free(root, request, folder, files)
            files.append(_track(root, request, folder, work, say))
            changes = (*_require_free(root, request, folder, files), *updated)
            apply.apply(Plan(changes), root, private / "apply")
        finally:
            shutil.rmtree(work, ignore_errors=True)
    dvc.checkout(root, [str(files[-1].path)])
    written = tuple(sorted(str(entry.file.path) for entry in changes))
    return _committed(root, Added(request.name, str(folder), written, None, (), ""), before, commit)


def _declared(config: Config, request: Request, folder: PurePosixPath) -> Model:
    """What gitops.yaml is to say of the model.

    Raises:
        AnswerNo: its folder is what another model's build writes.
    """
    declared = Model(
        path=str(folder),
        task=request.roles.task,
        data=data_path(request.table),
        sensitive=request.roles.sensitive,
    )
    models = {**config.models, request.name: declared}
    for problem in config_checks.between({}, models, set()):
        raise AnswerNo(problem.text, fix="choose another name")
    return declared


def extended(
    root: Path, lock: Lock, config: Config, added: Mapping[str, tuple[Mapping[str, object], Model]]
) -> tuple[list[Rendered], Lock]:
    """The files that models (by name: answers, declaration) bring, and the lock with them.

    Among them are the pipelines that are other with more models, where they are the tool's.

    Raises:
        ConfigError: as `rendered`.
    """
    own = {name: answers for name, (answers, _) in added.items()}
    declared = {name: model for name, (_, model) in added.items()}
    folders = {name: model.path for name, model in declared.items()}
    files = list(rendered({**lock.answers, **lock.applied}, own, folders))
    more = config.model_copy(update={"models": {**config.models, **declared}})
    for path, text in pipelines.render(more, root):
        file, known = tool_file(path, text), lock.files.get(PurePosixPath(path))
        if known is not None and not known.kept and known.blob != locks.blob(text):
            files.append(file)
    locked = {**lock.files, **{one.path: locks.entry(one) for one in files}}
    return files, replace(lock, models={**lock.models, **own}, files=locked)


def declaration(model: Model) -> dict[str, object]:
    """What gitops.yaml says of an added model."""
    entry: dict[str, object] = {"path": model.path, "task": model.task}
    entry |= {"framework": model.framework, "data": model.data}
    return entry | ({"sensitive": list(model.sensitive)} if model.sensitive else {})


def _files(
    root: Path, config: Config, request: Request, declared: Model
) -> tuple[list[Rendered], list[Entry]]:
    """The new files, and how gitops.yaml and the lock change."""
    places = (root / FILE, root / locks.PATH)
    before = [place.read_bytes() for place in places]
    own = answers(request.name, request.table, request.roles)
    lock = locks.parse(before[1], places[1])
    known = lock.files
    made, lock = extended(root, lock, config, {request.name: (own, declared)})
    files = [one for one in made if one.path not in known]
    text = edits.apply(
        before[0].decode(), places[0], {("models", request.name): declaration(declared)}
    )
    updated = [
        Entry("update", "has the new model", tool_file(path, new), locks.blob(old))
        for path, new, old in zip(
            (FILE, str(locks.PATH)), (text.encode(), locks.dump(lock)), before, strict=True
        )
    ]
    for one in made:
        if one.path in known:
            there = journal.look(root / one.path).mark
            updated.append(Entry("update" if there else "create", "has the new model", one, there))
    return files, updated


def _require_free(
    root: Path, request: Request, folder: PurePosixPath, files: list[Rendered]
) -> tuple[Entry, ...]:
    """What is to be written of `files`; raises AnswerNo if others, or other data, are there."""
    proposed = plan(files, root)
    lines = [f"{entry.file.path}: {entry.why}" for entry in proposed.conflicts]
    data = root / folder / data_path(request.table)
    if data.exists() and dvc.hash_of(data) != dvc.file_md5(request.table.path):
        lines.append(f"{data.relative_to(root)}: it is there, and is another table")
    if lines:
        raise AnswerNo(
            "\n  ".join([f"the place of model {request.name} is taken:", *lines]),
            fix="choose another name, or move these files away",
        )
    return proposed.changes


def _track(root: Path, request: Request, folder: PurePosixPath, work: Path, say: Say) -> Rendered:
    """Put the table into DVC's cache, and into the storage if that is a folder; its .dvc file."""
    path = data_path(request.table)
    say("tracking the data")
    if dvcremote.remote(root).is_folder:
        dvcremote.preflight(root)
    dvcstore.apart(root, work)
    with disk.errors(work):
        (work / path).parent.mkdir()
        shutil.copyfile(request.table.path, work / path)
    dvc.add(work, path, push=dvcremote.remote(root).is_folder)
    content = (work / f"{path}.dvc").read_bytes()
    return Rendered(folder / f"{path}.dvc", content, False, "user", "gitops")


def _committed(root: Path, added: Added, before: tuple[str, ...], allowed: bool) -> Added:
    """Commit what was added where nothing else would get into the commit."""
    if os.environ.get("CI"):
        note = "in CI nothing is committed"
    elif not allowed:
        note = "not committed, as asked"
    elif before:
        note = "the work tree had other changes"
    elif git.head(root).branch is None:
        note = "HEAD is detached: make a branch first (git switch -c NAME)"
    else:
        try:
            program.require_identity(root)
            made = git.commit(root, f"Add model {added.model}", list(added.files))
            return replace(added, commit=made)
        except ConfigError as error:
            note = f"{error.message}: {error.fix}"
    return replace(added, to_commit=added.files, note=note)

"""New data for a model: compared with the old, tracked, pushed, committed when asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from gitops import dvc, dvcremote, git, objects, signature, utc
from gitops.errors import AnswerNo, ConfigError, EvidenceError, UsageError
from gitops.git import program
from gitops.scaffold import infer, refusals, schema_diff, table

if TYPE_CHECKING:
    from gitops.config import Config, Model


@dataclass(frozen=True)
class Updated:
    """What became of the new table."""

    model: str
    path: str
    diff: schema_diff.SchemaDiff
    changed: bool
    branch: str | None
    commit: str | None

    def text(self) -> str:
        """For people."""
        if not self.changed:
            return f"{self.path} has these bytes already: nothing to do"
        lines = [self.diff.text(), f"tracked {self.path}"]
        if self.commit:
            lines.append(
                f"committed {self.commit[:12]}" + (f" on {self.branch}" if self.branch else "")
            )
        lines.append(f"next: gitops build {self.model}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "model": self.model,
            "path": self.path,
            "changed": self.changed,
            "diff": self.diff.as_json(),
            "branch": self.branch,
            "commit": self.commit,
        }


def update(
    root: Path,
    config: Config,
    file: Path,
    name: str | None,
    *,
    branch: str | None,
    commit: bool,
    force: bool,
    say: Callable[[str], None],
    origin: Mapping[str, object] | None = None,
) -> Updated:
    """Replace the table of a model.

    `origin`: where `file`, which we have written, was taken; it is noted in the .dvc file, unless
    nothing has changed. A file of the user's leaves no such note there.

    Raises:
        ConfigError: the model declares no `data:`.
        AnswerNo: the training would break on it, and `force` isn't set; nothing is changed.
        UsageError: a commit is asked for, but the tree has other changes.
    """
    known, model = config.model(name)
    if model.data is None:
        raise ConfigError(
            f"model {known} declares no table",
            fix=f"add `data: data/FILE.csv` under models: {known}: in gitops.yaml",
        )
    target = root / model.path / model.data
    temporary = _part(target)
    if branch or commit:
        require_committable(root, target, branch)
    temporary.unlink(missing_ok=True)
    _require_alike(file, target)
    _bring_old(root, model, target, file)
    if file.resolve() == target.resolve():
        raise UsageError(f"{file} is the tracked table itself", fix="name the new file")
    say(f"comparing {file.name} with {model.data}")
    old, new = table.read(target), table.read(file)
    used = used_columns(root / model.path, model)
    diff = schema_diff.compare(
        old, new, target=used.target, features=used.features, classes=used.classes
    )
    diff = replace(diff, breaks=diff.breaks + reading_breaks(root / model.path, target, new))
    path = target.relative_to(root).as_posix()
    if _same(file, target, ours=origin is not None):
        return Updated(known, path, diff, False, None, None)
    if diff.breaks and not force:
        fix = "mend the file, or change params.yaml with it and say --force"
        if refusals.is_local(new):
            fix = refusals.advice(new)
        raise AnswerNo(
            f"the training of {known} would break on {file}:\n  " + "\n  ".join(diff.breaks),
            fix=fix,
        )
    if branch:
        git.switch_new(root, branch)
    shutil.copyfile(file, temporary)
    temporary.replace(target)
    note = None if origin is None else _noted(origin, target)
    known_to_dvc = (root / f"{path}.dvc").is_file()
    if known_to_dvc:  # the note first: it isn't believed until its bytes are tracked
        dvc.note(root, path, note)
    dvc.add(root, path, push=dvcremote.remote(root).is_folder)
    if not known_to_dvc:
        dvc.note(root, path, note)
    made = None
    if branch or commit:
        made = git.commit(
            root, f"Update the data of {known}: {new.frame.height:,} rows", [f"{path}.dvc"]
        )
    return Updated(known, path, diff, True, branch, made)


@dataclass(frozen=True)
class Used:
    """What the training uses: the target, the type of each feature, and the classes if known."""

    target: str | None
    features: dict[str, str]
    classes: tuple[str, ...] | None


def used_columns(base: Path, model: Model) -> Used:
    """From the package's signature, else from params.yaml, else from `wrap:` of gitops.yaml."""
    classes = () if model.task == "regression" else None
    if (base / model.package / "signature.json").is_file():
        found = signature.read(base / model.package / "signature.json")
        return Used(found.target, {one.name: one.type for one in found.inputs}, found.classes)
    if (base / "params.yaml").is_file():
        params = dvc.read_yaml(base / "params.yaml")
        features = params.get("features")
        if isinstance(features, dict):
            typed = {name: kind for kind, names in features.items() for name in names or ()}
            return Used((params.get("data") or {}).get("target"), typed, classes)
    return Used(model.wrap.target if model.wrap else None, {}, classes)


def reading_breaks(base: Path, target: Path, new: table.Table) -> tuple[str, ...]:
    """What params.yaml says of how the table is read, and no longer holds."""
    params = dvc.read_yaml(base / "params.yaml") if (base / "params.yaml").is_file() else {}
    data = params.get("data")
    if not isinstance(data, dict) or Path(str(data.get("file"))).name != target.name:
        return ()  # not of ours
    found = []
    if new.format == "csv" and data.get("separator", new.separator) != new.separator:
        was = data["separator"]
        found.append(f"its cells are separated by {new.separator!r}, params.yaml says {was!r}")
    if ("16" in str(data.get("encoding", new.encoding))) != ("16" in new.encoding):
        found.append(f"it is written in {new.encoding}, params.yaml says {data['encoding']}")
    facts = infer.facts(new)
    for role in ("id", "time", "group"):
        name = data.get(role)
        if name is not None and name not in facts:
            found.append(f"the {role} {name} is gone")
        elif name is not None and role == "time":
            problem = infer.misfit(new, facts[name], "datetime")
            found += [f"the time {name}: {problem}"] if problem else []
        elif name is not None and role == "id":
            try:
                refusals.check_id(new, facts[name])
            except ConfigError as error:
                found.append(error.message)
    return tuple(found)


def _same(file: Path, target: Path, *, ours: bool) -> bool:
    """Whether the bytes are equal; in Parquet that we write (`ours`) the rows: bytes change with
    the library that writes them.
    """
    if dvc.file_md5(file) == dvc.file_md5(target):
        return True
    if not ours or target.suffix.lower() == ".csv":
        return False
    old, new = (pl.read_parquet(one, glob=False) for one in (target, file))
    return old.schema == new.schema and old.equals(new)


def _noted(origin: Mapping[str, object], target: Path) -> dict[str, object]:
    at = utc.now()
    return {**origin, "snapshot": dvc.file_md5(target), "at": at}


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def require_committable(root: Path, target: Path, branch: str | None) -> None:
    """Let a commit hold the table `target` alone.

    Raises:
        UsageError: the tree has other changes, or HEAD is detached.
    """
    _part(target).unlink(missing_ok=True)  # of a killed run; git would count it as a change
    program.require_identity(root)
    if branch is None and git.head(root).branch is None:
        raise UsageError(
            "HEAD is detached: a commit would belong to no branch", fix="git switch main"
        )
    if changed := git.changes(root):
        raise UsageError(
            f"the work tree has other changes: {', '.join(changed[:5])}",
            fix="commit or stash them first, so that the commit holds the data alone",
        )


def _require_alike(file: Path, target: Path) -> None:
    if not file.is_file():
        raise EvidenceError(f"{file} isn't there", fix="name the new table")
    if file.suffix.lower() != target.suffix.lower():
        raise UsageError(
            f"{file} isn't of the format of {target.name}",
            fix=f"save it as {target.suffix}, or change `data:` in gitops.yaml and params.yaml",
        )


def _bring_old(root: Path, model: Model, target: Path, file: Path) -> None:
    """The old table, to compare with, and the package, whose signature says what is used.

    A run that was killed may have laid the new table there, and not tracked it.
    """
    package = root / model.path / model.package
    folders = [model.path, target.parent.relative_to(root).as_posix()]
    old = []
    for item in dvc.tracked(root, folders):
        path = root / item.path
        if path in (target, package) and not path.exists():
            old.append(item)
        elif path == target and path.resolve() != file.resolve():
            laid = dvc.file_md5(path)
            old += [item] if laid != item.md5 and laid == dvc.file_md5(file) else []
    objects.bring(root, old)
    if not target.is_file():
        raise EvidenceError(
            f"{target} isn't here and isn't tracked",
            fix=f"put the table there and `dvc add {target}`",
        )

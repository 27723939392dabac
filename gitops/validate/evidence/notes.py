"""What a pull request changes about its own judgement, and what else a reviewer must know first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import BaseModel

from gitops import config as configuration
from gitops import git
from gitops.config import Config
from gitops.evaluation import Evaluation
from gitops.validate.evidence.revisions import Side, Target
from gitops.validate.evidence.tables import MOST_VALUES
from gitops.validate.model import Array, Finding, Table

_TOOL = (".github/", ".azure-pipelines/", ".gitops/", "CODEOWNERS", "docs/CODEOWNERS")
_POLICIES = ".gitops/policies/"
# Dependencies of the evaluation that are no code of it.
_OTHER = ("uv.lock", ".python-version", "build.env", "pyproject.toml", "__init__.py")
_OLD = "here the base's still hold, but once this is merged the new ones do"
_SHOWN = 5


def note(kind: str, text: str, column: str | None = None) -> Finding:
    """A finding that is shown and never blocks by itself."""
    return Finding(kind, "note", text, column)


def of_commits(target: Target, side: Side, paths: Collection[str], old: Config) -> list[Finding]:
    """From the files that changed since the branches parted (`paths`), and gitops.yaml then."""
    found = []
    if target.adopted:
        text = "the base has no gitops.yaml: the candidate's own settings, and the baseline policy"
        found.append(note("gate-settings-changed", text))
    elif settings := list(_settings(old, target.proposed, side.name)):
        text = f"it changes how models are judged, in gitops.yaml: {listed(settings)}"
        found.append(note("gate-settings-changed", f"{text}; {_OLD}"))
    if policies := [path for path in paths if path.startswith(_POLICIES)]:
        text = f"it changes policies: {listed(policies)}; {_OLD}"
        found.append(note("policy-changed", text))
    if code := sorted(_evaluation_code(side) & set(paths)):
        text = f"it changes code that makes the test set or the evaluation: {listed(code)}"
        found.append(note("evaluation-code-changed", text))
    tool = [path for path in paths if path.startswith(_TOOL) and not path.startswith(_POLICIES)]
    if tool:
        text = f"it changes workflows or the tool's files: {listed(tool)}"
        found.append(note("tool-or-workflow-changed", text))
    return found


def of_work_tree(root: Path) -> list[Finding]:
    """Changes that aren't committed aren't judged."""
    changed = git.changes(root)
    if not changed:
        return []
    text = f"changes that are not committed are not judged: {listed(changed)}"
    return [note("work-tree-dirty", text)]


def first_model(target: Target, side: Side) -> Finding:
    """Why there is no champion."""
    here, name = target.base.commit[:12], side.name
    if target.adopted:
        why = f"{here} has no gitops.yaml"
    elif name in target.settings.models:
        why = f"model {name} was not built at {here}"
    else:
        gone = sorted(target.settings.models.keys() - target.proposed.models.keys())
        instead = f", which has {listed(gone)} that the candidate lacks" if gone else ""
        why = f"there's no model {name} at {here}{instead}"
    return note("first-model", f"there is no champion to compare with: {why}")


def overlap(looked: Mapping[str, Array]) -> Iterator[Finding]:
    """Test rows that a model was trained on, by model as of `tables.trained_on`."""
    for name, one in looked.items():
        hits, seen = int((one == 1).sum()), int((one >= 0).sum())
        if hits:
            of = "the test set" if seen == len(one) else f"a sample of {seen:,} test rows"
            text = f"the {name} was trained on {hits:,} rows of {of} ({hits / seen:.2%})"
            text += ", or on rows with the same inputs and label"
            level: Literal["alarm", "note"] = "alarm"
            if name != "candidate":
                level = "note"
                text += ", so it may look better here than on new rows"
            yield Finding("leakage-train-test-overlap", level, text, None, hits / seen)


def never_predicted(table: Table) -> Iterator[Finding]:
    """Classes that there are in the labels, but in no prediction of the candidate."""
    if table.task == "regression":
        return
    counts = [_counts(one, table) for one in (table.label, table.candidate.prediction)]
    champion = _counts(table.champion.prediction, table) if table.champion else None
    for code, name in enumerate(table.classes):
        rows, predicted = (int(one[code]) for one in counts)
        if not rows or predicted:
            continue
        text = f"no row is predicted {name!r}, though {rows:,} have this label"
        lost = champion is not None and bool(champion[code])
        if champion is not None:
            text += "; the champion predicts it" if lost else "; nor does the champion predict it"
        yield Finding("class-never-predicted", "alarm" if lost else "note", text)


def _counts(codes: Array, table: Table) -> Array:
    return np.bincount(codes[codes >= 0], minlength=len(table.classes))


def crowded(name: str) -> Finding:
    """A slice column that isn't used."""
    text = f"slice column {name!r} has more than {MOST_VALUES:,} values: no slices of it"
    return note("slice-too-many-values", text, name)


def unseen(judged: Evaluation, classes: Collection[str]) -> list[Finding]:
    """Labels that no model has learned."""
    strange = {text: count for text, count in judged.unseen.items() if text not in classes}
    if not strange:
        return []
    strangers = listed([f"{text!r} ({count:,} rows)" for text, count in strange.items()])
    return [note("unseen-class", f"labels that neither model knows count as errors: {strangers}")]


def other_classes(candidate: Collection[str], champion: Collection[str]) -> list[Finding]:
    """Classes that only one of the models knows, or another order of a binary model's."""
    alike = set(candidate) == set(champion)
    if alike and (list(candidate) == list(champion) or len(candidate) > 2):
        return []
    added = sorted(set(candidate) - set(champion))
    removed = sorted(set(champion) - set(candidate))
    parts = [f"new {listed(added)}"] if added else []
    parts += [f"gone {listed(removed)}"] if removed else []
    text = ", ".join(parts) or f"another order; {list(champion)[-1]} stays the last"
    return [note("classes-changed", f"the model's classes changed: {text}")]


def _settings(old: Config, new: Config, model: str) -> Iterator[str]:
    """What differs in gitops.yaml of what the gate reads."""
    before, after = ({e.name: e for e in config.environments} for config in (old, new))
    for name in dict.fromkeys((*before, *after)):
        if name not in after or name not in before:
            yield f"environment {name} {'removed' if name in before else 'added'}"
            continue
        for key in configuration.Environment.model_fields:
            if key != "listen":  # where it answers, not how it is judged
                one, other = getattr(before[name], key), getattr(after[name], key)
                yield from _differences(f"{name}.{key}", one, other)
    if [*before] != [*after] and before.keys() == after.keys():
        yield "the order of environments"
    if model in old.models and model in new.models:
        for key in ("sensitive", "task", "path", "package", "evaluation"):
            one, other = (getattr(config.models[model], key) for config in (old, new))
            yield from _differences(f"{model}.{key}", one, other)


def _differences(place: str, one: object, other: object) -> Iterator[str]:
    """Two values, or what differs within them."""
    if one == other:
        return
    if isinstance(one, BaseModel) and type(one) is type(other):
        for key in type(one).model_fields:
            yield from _differences(f"{place}.{key}", getattr(one, key), getattr(other, key))
        return
    yield f"{place} {_shown(one)} -> {_shown(other)}"


def _evaluation_code(side: Side) -> set[str]:
    """Committed files that the evaluation and the rows that it reads are made by."""
    pipeline = (PurePosixPath(side.declared.path) / "dvc.yaml").as_posix()
    if side.lock is None:
        return {pipeline}
    code = {pipeline}
    waiting, done = [side.path("evaluation")], {side.path("package")}
    outs: Mapping[str, object] = side.lock.outs
    while waiting:
        path = waiting.pop()
        stage = side.lock.writer(path) if path not in done else None
        done.add(path)
        for dep in stage.deps if stage else ():
            if dep.path in outs:
                waiting.append(dep.path)
            else:
                code |= _files(side, dep.path)
    return {path for path in code if PurePosixPath(path).name not in _OTHER}


def _files(side: Side, path: str) -> set[str]:
    return {one for one in side.at.files if one == path or one.startswith(f"{path}/")}


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(str(one) for one in value)}]"
    return str(value)


def listed(items: Collection[str]) -> str:
    """The first few, and how many more."""
    first = list(items)[:_SHOWN]
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(first) + more

"""`gitops new` in a repository that is there: what was found, what would be written, yes or no."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gitops.cli import screen
from gitops.errors import AnswerNo

if TYPE_CHECKING:
    from gitops.scaffold.adopt import Adoption


def adopt(
    root: Path, given: dict[str, object], *, asking: bool, dry_run: bool, as_json: bool
) -> None:
    """Adopt the repository `root`.

    Raises:
        AnswerNo: the user says no, or something is in the way.
    """
    from gitops.scaffold import adopt as scaffold

    if scaffold.adopted(root):
        _already(root, given, as_json=as_json)
        return
    planned = scaffold.propose(root, given)
    if not as_json:
        _show(planned)
    if asking and not dry_run:
        answer = screen.ask(f"Write these {len(planned.files)} files? yes or no", "yes")
        if answer.lower() not in ("y", "yes"):
            raise AnswerNo("nothing was written", fix="--set KEY=VALUE changes what is proposed")
    if not dry_run:
        scaffold.write(planned)
    if as_json:
        screen.document(_json(planned, dry_run=dry_run))
    elif dry_run:
        screen.out("nothing was written: it was a dry run")
    else:
        _next(planned)


def _already(root: Path, given: dict[str, object], *, as_json: bool) -> None:
    if given:
        raise AnswerNo(
            f"gitops is at work in {root} already, so {', '.join(given)} would change nothing",
            fix="edit gitops.yaml and run gitops sync; one more model: gitops add model NAME",
        )
    if as_json:
        screen.document({"directory": str(root), "adopted": True, "already": True, "files": []})
    else:
        screen.out(f"{root}: gitops is at work here already; nothing was changed")
        screen.out("  gitops sync       brings what it generated up to date")


def _show(planned: Adoption) -> None:
    found = planned.found
    screen.out(screen.style(f"found in {planned.root}", "bold"))
    rows = [("project", found.project.value, found.project.why)]
    rows += [("ci", one.value, one.why) for one in found.ci]
    rows += [
        (f"environment {one.name}", one.branch.value, one.branch.why) for one in found.environments
    ]
    rows.append(("storage", found.storage.value, found.storage.why))
    for model in found.models:
        task = model.values["task"]
        rows.append((f"model {model.name}", model.values["path"].value, model.why))
        rows.append((f"  {model.name}.task", task.value, task.why))
    _columns(rows)
    kept = dict(planned.kept)
    if "gitops.yaml" in kept:
        screen.out("gitops.yaml is there: it holds, whatever was found")
    screen.out(screen.style("files", "bold"))
    _columns([("create", path, "") for path in planned.files])
    _columns([("kept: yours", path, why) for path, why in planned.kept])
    if planned.left_out:  # all for one reason
        screen.out(f"  left out     {', '.join(path for path, _ in planned.left_out)}")
        screen.out(f"    {planned.left_out[0][1]}")
    for note in found.notes:
        screen.out(f"note: {note}")
    if planned.uncommitted:
        screen.out(
            f"note: changes of yours that aren't committed stay as they are: {planned.uncommitted}"
        )


def _columns(rows: list[tuple[str, str, str]]) -> None:
    widths = [max((len(row[at]) for row in rows), default=0) for at in (0, 1)]
    for head, value, why in rows:
        screen.out(f"  {head:<{widths[0]}}  {value:<{widths[1]}}  {why}".rstrip())


def _next(planned: Adoption) -> None:
    from gitops.scaffold.adopt_answers import guesses

    unsure = guesses(planned.found) if "gitops.yaml" in planned.files else []
    tops = dict.fromkeys(_top(path) for path in planned.files)
    screen.out(f"written: {len(planned.files)} new files; no file of yours was touched")
    screen.out("next:")
    if unsure:
        screen.out(f"  look at gitops.yaml: {len(unsure)} values are guesses, marked `check`")
    if planned.ignored:
        screen.out(f"  git add --force {shlex.join(planned.ignored)}  # your .gitignore hides them")
    screen.out(f"  git add {shlex.join(tops)} && git commit -m 'Adopt gitops'")
    screen.out("  gitops doctor     what is missing, each with its fix")
    screen.out("  gitops sync       after every change of gitops.yaml")


def _top(path: str) -> str:
    """What `git add` is given: the folder that is all ours, else the file."""
    parts = PurePosixPath(path).parts
    return parts[0] if parts[0] in (".gitops", ".dvc") else path


def _json(planned: Adoption, *, dry_run: bool) -> dict[str, object]:
    from gitops.scaffold.adopt_answers import guesses

    found, declared = planned.found, planned.declared
    return {
        "directory": str(planned.root),
        "adopted": not dry_run,
        "already": False,
        "project": declared.project,
        "ci": list(declared.ci),
        "storage": declared.storage.remote,
        "environments": [{"name": one.name, "branch": one.branch} for one in declared.environments],
        "models": {
            name: {"path": one.path, "task": one.task, "framework": one.framework}
            for name, one in declared.models.items()
        },
        "found": {one.name: one.why for one in found.models},
        "guesses": [
            {"at": place, "value": value.value, "why": value.why} for place, value in guesses(found)
        ],
        "files": list(planned.files),
        "kept": [{"path": path, "why": why} for path, why in planned.kept],
        "left_out": [{"path": path, "why": why} for path, why in planned.left_out],
        "ignored": list(planned.ignored),
        "notes": list(found.notes),
    }

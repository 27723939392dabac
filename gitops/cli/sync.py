"""`gitops sync`: templates moved, gitops.yaml changed, files were edited: bring it all together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops import git
from gitops.cli import screen
from gitops.cli.common import JsonOption
from gitops.errors import UsageError

if TYPE_CHECKING:
    from gitops.scaffold.plan import Plan
    from gitops.scaffold.sync import Synced


def register(app: typer.Typer) -> None:
    app.command()(sync)


def sync(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: exit 1 if something would change.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing: show what would change, and conflicts.")
    ] = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="Take the last sync back, until it is committed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring generated files up to date with gitops.yaml, and with this version of gitops.

    Files of the tool are restored; changes of templates are merged into yours as git does it.
    Conflicts are marked in the files, named, and exit with 1. Nothing is committed.

    Examples:

        gitops sync

        gitops sync --check             in CI: has anybody edited what is the tool's?

        gitops sync --diff --json

        gitops sync --abort
    """
    from gitops.scaffold import sync as engine

    if abort and (check or diff):
        raise UsageError("--abort writes, --check and --diff don't", fix="give one of them")
    root = git.root(Path.cwd())
    if abort:
        _abort(root, as_json=as_json)
    elif check or diff:
        plan = engine.survey(root)
        found = {str(path): text for path, text in engine.diffs(root, plan).items()} if diff else {}
        if as_json:
            screen.document(_json(plan, found if diff else None))
        else:
            _show_diff(plan, found) if diff else _show_check(plan)
        if plan.conflicts or (check and plan.changes):
            raise typer.Exit(1)
    else:
        done = engine.sync(root)
        _show_json(done) if as_json else _show(root, done)
        if done.plan.conflicts:
            raise typer.Exit(1)


def _abort(root: Path, *, as_json: bool) -> None:
    from gitops.scaffold import sync as engine

    done = engine.abort(root)
    saved = str(done.saved) if done.saved else None
    if as_json:
        document = {"files": list(done.files), "edited": list(done.edited), "saved": saved}
        screen.document(document)
        return
    screen.out(f"as before the sync: {len(done.files)} files")
    if saved:
        screen.out(f"what you edited since is kept in {saved}:")
        for name in done.edited:
            screen.out(f"  {name}")


def _show_check(plan: Plan) -> None:
    due = [*plan.changes, *(entry for entry in plan.conflicts if entry not in plan.changes)]
    rows = [
        [
            entry.file.owner,
            str(entry.file.path),
            entry.why.removeprefix("restored: "),
            "gitops sync" if entry.state != "conflict" else "gitops sync, then by hand",
        ]
        for entry in sorted(due, key=lambda entry: entry.file.path)
    ]
    if rows:
        screen.table(["OWNER", "FILE", "WHAT", "REPAIR"], rows)
    _notes(plan)
    screen.out(f"{len(rows)} files differ: gitops sync" if rows else "in sync")


def _show_diff(plan: Plan, found: dict[str, str]) -> None:
    for entry in plan.entries:
        if str(entry.file.path) in found:
            state = "conflict" if entry.state == "marked" else entry.state
            screen.out(screen.style(f"# {state}: {entry.file.path}: {entry.why}", "bold"))
            screen.out(found[str(entry.file.path)].rstrip("\n"))
    counts = ", ".join(f"{n} {state}" for state, n in plan.counts().items() if n)
    screen.out(f"# {counts or 'nothing'}")


def _notes(plan: Plan) -> None:
    for entry in plan.entries:
        if entry.state == "kept":
            screen.out(f"note: {entry.file.path}: {entry.why}")


def _show(root: Path, done: Synced) -> None:
    plan = done.plan
    if not (plan.changes or plan.conflicts):
        _notes(plan)
        screen.out("in sync")
        return
    screen.out(plan.text())
    if done.saved:
        screen.out(f"edits that no commit had are kept in {done.saved}")
    if done.theirs:
        screen.out(f"the new versions of files that stay as they are: {done.theirs}")
    if plan.conflicts:
        for entry in plan.conflicts:
            screen.out(f"conflict: {entry.file.path}: {entry.why}")
        screen.out("resolve them, then: git add -A && git commit -m 'Sync with gitops'")
    elif git.changes(root):
        screen.out("next: git add -A && git commit -m 'Sync with gitops'")
    screen.out("or take it back: gitops sync --abort")


def _show_json(done: Synced) -> None:
    document = _json(done.plan, None)
    document["theirs"] = str(done.theirs) if done.theirs else None
    document["saved"] = str(done.saved) if done.saved else None
    screen.document(document)


def _json(plan: Plan, diffs: dict[str, str] | None) -> dict[str, object]:
    document = plan.as_json()
    document["conflicts"] = [str(entry.file.path) for entry in plan.conflicts]
    document["clean"] = not (plan.changes or plan.conflicts)
    if diffs is not None:
        document["diffs"] = diffs
    return document

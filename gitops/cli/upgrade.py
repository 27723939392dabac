"""`gitops upgrade` and `gitops eject`: to the newest version of the tool, or away from it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gitops import git
from gitops.cli import screen
from gitops.cli.common import JsonOption
from gitops.errors import AnswerNo


def register(app: typer.Typer) -> None:
    app.command()(upgrade)
    app.command()(eject)


def upgrade(
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="WHEEL", help="A wheel. [default: what runs]"),
    ] = None,
    accept_moved_tags: Annotated[
        bool, typer.Option("--accept-moved-tags", help="Take an overlay whose tag has moved.")
    ] = False,
    commit: Annotated[bool, typer.Option("--commit/--no-commit", help="Commit the result.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Move this repository to a version of gitops, and its overlays to their newest, in one commit.

    Moves the tool in .gitops/tool and its lock, the pins of actions, the generated files (merged
    with your edits, as by `gitops sync`) and the overlays. Needs a clean work tree. With conflicts
    nothing is committed: resolve them and commit, or `gitops sync --abort`.

    Examples:

        gitops upgrade

        gitops upgrade --dry-run

        gitops upgrade --to gitops_ml-0.2.0-py3-none-any.whl
    """
    from gitops.scaffold import upgrade as engine

    root = git.root(Path.cwd())
    if to is not None:
        flags = {
            "--accept-moved-tags": accept_moved_tags,
            "--no-commit": not commit,
            "--dry-run": dry_run,
            "--json": as_json,
        }
        given = [flag for flag, wanted in flags.items() if wanted]
        raise typer.Exit(engine.by_wheel(to, root, given, screen.say))
    done = engine.upgrade(
        root, accept_moved=accept_moved_tags, commit=commit, dry_run=dry_run, say=screen.say
    )
    if as_json:
        plan = done.plan.as_json()
        screen.document({"moved": list(done.moved), "commit": done.commit, **plan})
    elif not (done.plan.changes or done.plan.conflicts):
        screen.out("nothing to do: everything is at its newest")
    else:
        for line in done.moved:
            screen.out(line)
        screen.out(done.plan.text())
        _say_next(done.commit, bool(done.plan.conflicts), dry_run=dry_run)
    if done.plan.conflicts:
        raise typer.Exit(1)


def _say_next(commit: str | None, conflicts: bool, *, dry_run: bool) -> None:
    if commit:
        screen.out(f"committed {commit[:12]}")
    elif conflicts:
        screen.out("resolve the conflicts, then: git add -A && git commit -m 'Upgrade gitops'")
    elif not dry_run:
        screen.out("next: git add -A && git commit -m 'Upgrade gitops'")
    if not commit and not dry_run:
        screen.out("or take it back: gitops sync --abort")


def eject(
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take gitops out of this repository, and leave one that works without it.

    Removes .gitops/ and gitops.yaml, and the steps of pipelines that call gitops; your code, data,
    stages and environment stay. Nothing is committed: git takes it back.

    Examples:

        gitops eject --dry-run

        gitops eject --yes
    """
    from gitops.scaffold import eject as engine

    root = git.root(Path.cwd())
    done = engine.eject(root, dry_run=True)
    if not as_json:
        for kind, names in (("remove", done.removed), ("rewrite", done.changed)):
            for name in names:
                screen.out(f"{kind:<8} {name}")
        for name in done.kept:
            screen.out(f"stays    {name}: a stage depends on it")
        if done.mentions:
            screen.out(f"still name gitops: {', '.join(done.mentions[:20])}")
    if not dry_run:
        if not yes:
            _ask(as_json=as_json)
        engine.eject(root, dry_run=False)
    if as_json:
        screen.document(asdict(done))
    elif not dry_run:
        screen.out("next: git add -A && git commit -m 'Do without gitops'")
        screen.out("or take it back: git stash -u && git stash drop")


def _ask(*, as_json: bool) -> None:
    import sys

    from gitops.errors import UsageError

    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("there is no terminal to ask on", fix="gitops eject --yes")
    if screen.ask("Take gitops out? [y/N]", "").lower() not in ("y", "yes"):
        raise AnswerNo("nothing was written")

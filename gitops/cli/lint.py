"""`gitops lint` and `gitops pins`: workflow files, whoever wrote them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops import git, logtext
from gitops.cli import screen
from gitops.cli.common import JsonOption
from gitops.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from gitops.pipelines.lint import Linted
    from gitops.pipelines.pinning import Move, Pinned

FromOption = Annotated[
    str,
    typer.Option("--from", metavar="URL", help="Where the repositories OWNER/NAME of actions are."),
]
_FORGE = "https://github.com/"


def register(app: typer.Typer) -> None:
    app.command()(lint)
    app.command()(pins)


def lint(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Workflow files or folders; all if left out."),
    ] = None,
    tags: Annotated[
        bool, typer.Option("--tags", help="Ask the actions' repositories for their tags.")
    ] = False,
    base: FromOption = _FORGE,
    sarif: Annotated[
        Path | None, typer.Option("--sarif", metavar="FILE", help="Write findings there as SARIF.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what is wrong in workflow files of GitHub Actions and Azure Pipelines.

    Works in any repository, without gitops.yaml too. Exits with 1 where it finds something. A line
    `# gitops: ignore\\[rule] reason` silences one rule, and needs the reason.

    Examples:

        gitops lint

        gitops lint .github/workflows/deploy.yml --tags

        gitops lint --sarif build/lint.sarif
    """
    from gitops.pipelines import definition, pinning
    from gitops.pipelines.lint import Known, report
    from gitops.pipelines.lint import lint as engine

    root = _root()
    known = Known(
        {one.action: (one.tag, one.commit) for one in definition.pins(root=root).actions},
        pinning.tags_of(base) if tags else None,
    )
    found = engine(root, paths or [], known, _drift(root))
    if sarif is not None:
        sarif.parent.mkdir(parents=True, exist_ok=True)
        sarif.write_text(report.sarif(found.findings), "utf-8")
    for platform, variable in (("github", "GITHUB_ACTIONS"), ("azure", "TF_BUILD")):
        if os.environ.get(variable):
            lines = report.annotated(found.findings, platform)  # type: ignore[arg-type]
            sys.stderr.write("".join(f"{line}\n" for line in lines))
    if as_json:
        findings = [one.as_json() for one in found.findings]
        screen.document({"files": found.files, "ignored": found.ignored, "findings": findings})
    else:
        _show(found)
    if found.findings:
        raise typer.Exit(1)


def _root() -> Path:
    try:
        return git.root(Path.cwd())
    except ConfigError:
        return Path.cwd().resolve()


def _drift(root: Path) -> Iterator[tuple[str, str]]:
    """Generated files that aren't as they should be, where this is a repository of gitops."""
    if not (root / "gitops.yaml").is_file() or not (root / ".gitops" / "lock.yaml").is_file():
        return
    from gitops.scaffold import sync

    plan = sync.survey(root)
    for entry in {*plan.changes, *plan.conflicts}:
        yield entry.file.path.as_posix(), entry.why


def _show(found: Linted) -> None:
    for one in found.findings:
        path, message, fix = map(logtext.lines, (one.path, one.message, one.fix))
        place = screen.style(f"{path}:{one.line}:{one.column}", "bold")
        screen.out(f"{place}: {screen.style(one.rule, 'red')}: {message}")
        screen.out(f"  {screen.style('fix:', 'green')} {fix}")
    ignored = f", {found.ignored} ignored" if found.ignored else ""
    count = len(found.findings)
    said = f"{count} finding{'' if count == 1 else 's'}" if count else "no findings"
    screen.out(f"{said} in {found.files} file{'' if found.files == 1 else 's'}{ignored}")


# ---------------------------------------------------------------- pins


def pins(
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Move to the newest tags, and write the pins.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: exit 1 if something is newer.")
    ] = False,
    major: Annotated[bool, typer.Option("--major", help="Move to new major versions too.")] = False,
    base: FromOption = _FORGE,
    as_json: JsonOption = False,
) -> None:
    """Show which commit of which action the workflows run, and move to newer ones.

    The network is asked only with --check or --upgrade. An upgrade writes `.gitops/pins.yaml`,
    which goes before the pins of gitops, and workflows written by hand; `gitops sync` then writes
    the generated ones.

    Examples:

        gitops pins

        gitops pins --check --json

        gitops pins --upgrade --major
    """
    from gitops.pipelines import pinning

    if upgrade and check:
        raise UsageError("--upgrade writes, --check doesn't", fix="give one of them")
    root = _root()
    found = pinning.survey(root)
    every: tuple[Move, ...] = ()
    written: tuple[str, ...] = ()
    if upgrade or check:
        every = pinning.moves(found, pinning.tags_of(base))
    taken = pinning.chosen(every, major=major) if upgrade else ()
    generated = _generated(root) if upgrade else set()
    if upgrade:
        written = pinning.apply(root, taken, generated)
    due = pinning.chosen(every, major=major) if check else ()
    moved = [one for one in every if one.moved]
    if as_json:
        screen.document(_document(found, every, taken, written))
    else:
        _pins(found)
        _moves(every, taken, major=major)
        if written:
            rest = "; next: gitops sync" if generated else ""
            screen.out(f"wrote {', '.join(written)}{rest}")
    if due or moved:
        raise typer.Exit(1)


def _generated(root: Path) -> set[str]:
    """Files that `gitops sync` writes."""
    from gitops.scaffold import lock

    path = root / lock.PATH
    return {one.as_posix() for one in lock.read(path).files} if path.is_file() else set()


def _pins(found: tuple[Pinned, ...]) -> None:
    rows = []
    for one in found:
        other = sorted({use.ref for use in one.uses if use.ref != one.commit})
        note = f"also {', '.join(ref[:12] for ref in other)}" if one.commit and other else ""
        where = ", ".join(sorted({use.path.rpartition("/")[2] for use in one.uses}))
        source = ("own" if one.own else "gitops") if one.commit else "-"
        commit = one.commit[:12] or ", ".join(ref[:12] for ref in other)
        rows.append([one.action, one.tag or "-", commit, source, where or "-", note])
    screen.table(["ACTION", "TAG", "COMMIT", "PINNED BY", "USED IN", ""], rows)


def _moves(every: tuple[Move, ...], taken: tuple[Move, ...], *, major: bool) -> None:
    for move in every:
        if move.moved:
            told = f"{move.old} was moved to {move.moved}: the pin stays at {move.commit}"
            screen.out(f"{move.action}: {screen.style(told, 'red')}")
        elif move in taken:
            screen.out(f"{move.action}: {move.old} -> {move.new}")
        elif move.major and not major:
            screen.out(f"{move.action}: {move.new} is a new major version: --major")
        else:
            screen.out(f"{move.action}: {move.new} is newer than {move.old}")


def _document(
    found: tuple[Pinned, ...],
    every: tuple[Move, ...],
    taken: tuple[Move, ...],
    written: tuple[str, ...],
) -> dict[str, object]:
    pins = [
        {
            "action": one.action,
            "tag": one.tag or None,
            "commit": one.commit or None,
            "own": one.own,
            "uses": [
                {"path": use.path, "line": use.line, "ref": use.ref, "comment": use.comment}
                for use in one.uses
            ],
        }
        for one in found
    ]
    newer = [
        {
            "action": move.action,
            "from": move.old,
            "to": move.new,
            "commit": move.commit,
            "major": move.major,
            "taken": move in taken,
        }
        for move in every
        if not move.moved
    ]
    moved = [
        {"action": move.action, "tag": move.old, "pinned": move.commit, "now": move.moved}
        for move in every
        if move.moved
    ]
    return {"pins": pins, "newer": newer, "moved": moved, "written": list(written)}

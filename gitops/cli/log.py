"""`gitops log`: the audit trail, and its proof."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.cli.moves import RemoteOption

if TYPE_CHECKING:
    from pathlib import Path

    from gitops.promote.audit import Event
    from gitops.promote.proof import Fault
    from gitops.promote.world import World

_VERBS = {
    "version": "registered",
    "withdrawn": "took back",
    "deprecated": "deprecated",
    "promotion": "promoted",
    "rollback": "rolled back",
    "hotfix": "recorded a hotfix of",
    "assigned": "assigned",
    "unassigned": "unassigned",
    "hold": "held",
    "release": "released",
    "approval": "approved",
    "moved": "moved",
}


def register(app: typer.Typer) -> None:
    app.command()(log)


def log(
    about: Annotated[
        str | None, typer.Argument(metavar="MODEL|ENV", help="Only this model or environment.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Prove it: signatures, chain, trees, verdicts.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="With --verify: what runs now must rebuild, too.")
    ] = False,
    number: Annotated[
        int | None, typer.Option("--number", "-n", min=1, help="Only the newest N events.")
    ] = None,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who put what where, when and why, by the tags and records of the remote.

    The newest first, by ancestry and by the tags' counters: a clock that is wrong changes nothing.
    Times are as the tags tell them. --verify holds every tag against signatures (where the
    environment's branch has .gitops/allowed_signers), commits, trees, verdicts, packages and the
    chain of environments; exit code 1 if anything is wrong.

    Examples:

        gitops log

        gitops log production -n 5

        gitops log late --json

        gitops log --verify

        gitops log production --verify --rebuild
    """
    from gitops.errors import UsageError
    from gitops.promote import audit
    from gitops.promote import world as worlds

    if rebuild and not verify:
        raise UsageError("--rebuild is a part of --verify", fix="gitops log --verify --rebuild")
    root, config = open_repository()
    world = worlds.read(root, remote)
    found = audit.events(world, config, about)
    if verify:
        from gitops.promote import proof
        from gitops.validate import verdict

        faults = proof.prove(world, config, found, verdict.prove)
        if rebuild:
            faults += _rebuilt(root, world, found)
        _verified(found, faults, as_json)
        return
    shown = found[:number]
    if as_json:
        screen.document({"events": [_as_json(one) for one in shown]})
        return
    for one in shown:
        _show(one)
    if not shown:
        screen.out("nothing was registered or promoted yet")


def _show(one: Event) -> None:
    what = f"{one.model} {one.version}".strip()
    place = f" {'to' if one.kind == 'promotion' else 'in'} {one.environment}"
    if one.kind in ("hold", "release", "approval", "moved"):
        what, place = one.environment, ""
    if one.kind in ("version", "withdrawn", "deprecated"):
        place = ""
    text = f"{_VERBS[one.kind]} {what}{place}"
    screen.out(f"{screen.style(text, 'bold')}  {one.commit[:10]}")
    foreign = "" if one.ours else "  (no statement: made by another tool)"
    screen.out(f"    {one.at or 'at an unknown time'}  by {one.who or 'unknown'}{foreign}")
    if one.why:
        screen.out(f"    {one.why}")
    details = [one.tag] if one.tag else []
    if one.verdict:
        details.append(f"verdict {one.verdict[:12]} by {one.policy}")
    if one.approvers:
        details.append(f"approved by {', '.join(one.approvers)}")
    if details:
        screen.out(f"    {'  '.join(details)}")


def _as_json(one: Event) -> dict[str, Any]:
    plain = {name: value or None for name, value in asdict(one).items()}
    kept = {"approvers": list(one.approvers), "metrics": dict(one.metrics), "ours": one.ours}
    return plain | kept


def _rebuilt(root: Path, world: World, found: tuple[Event, ...]) -> tuple[Fault, ...]:
    """The versions that run somewhere now, rebuilt from nothing."""
    from gitops.errors import AnswerNo, EvidenceError
    from gitops.promote.proof import Fault
    from gitops.reproduce.verify import verify

    faults = []
    for model, commit, tag in _running(world, found):
        try:
            _, answers = verify(root, commit, [model], screen.say, None)
        except (AnswerNo, EvidenceError) as error:
            faults.append(Fault(tag, "rebuild", error.message))
            continue
        faults += [
            Fault(tag, "rebuild", f"{model} at {commit[:12]} doesn't rebuild: {one.found.detail}")
            for one in answers
            if not one.holds
        ]
    return tuple(faults)


def _running(world: World, found: tuple[Event, ...]) -> list[tuple[str, str, str]]:
    """Model, commit and tag of what is assigned by the tags that were looked at."""
    places = dict.fromkeys((one.model, one.environment) for one in found if one.environment)
    entries = [world.registry.assigned(model, stage) for model, stage in places if model]
    known = {(one.tag.model, one.commit): one.tag.name for one in entries if one is not None}
    return [(model, commit, tag) for (model, commit), tag in known.items()]


def _verified(found: tuple[Event, ...], faults: tuple[Fault, ...], as_json: bool) -> None:
    wrong = [one for one in faults if one.wrong]
    if as_json:
        told = [asdict(one) for one in faults]
        screen.document({"verified": not wrong, "events": len(found), "findings": told})
    else:
        for one in faults:
            word = screen.style("wrong", "red") if one.wrong else screen.style("note", "yellow")
            screen.out(f"{word}  {one.about}: {one.text}")
        if not wrong:
            screen.out(
                f"{screen.style('verified', 'green')}: {len(found)} events, nothing is wrong"
            )
    if wrong:
        raise typer.Exit(1)

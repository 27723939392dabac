"""`gitops status`: where every model stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.cli.moves import RemoteOption
from gitops.errors import GitopsError, ToolError

if TYPE_CHECKING:
    from pathlib import Path

    from gitops.cli.places import Setting
    from gitops.config import Config
    from gitops.deploy.live import Live
    from gitops.promote.overview import Overview, Place, Standing
    from gitops.promote.world import World
    from gitops.reproduce.status import Row, Status


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    live: Annotated[
        bool,
        typer.Option("--live", help="What of it runs at its places, and where that differs."),
    ] = False,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what runs where: versions, how far behind, holds, freezes, hotfixes, metrics.

    The truth is the git remote's; without one, or where it doesn't answer, what this clone knows is
    shown, and that is said. BEHIND counts commits and versions of the environment before.

    Examples:

        gitops status

        gitops status --live

        gitops status --json

        gitops status --remote upstream
    """
    from gitops.reproduce.status import status as read

    root, config = open_repository()
    there, why = _remote(root, config, remote)
    found = read(root, config, screen.say, there.tips if there else None)
    running = _live(root, config, remote) if live else None
    taken = _sources(root, config)
    if as_json:
        document = _as_json(found, there, why) | {"sources": taken}
        more = {} if running is None else {"live": [asdict(one) for one in running]}
        screen.document(document | more)
        return
    tree = _count(len(found.changes), "changed file") if found.changes else "clean"
    screen.out(f"{found.project}: on {found.branch or 'a detached HEAD'}, {tree}")
    _rows(found, there)
    for name, origin in taken.items():
        what = snapshot(origin) if origin else "no snapshot yet (gitops data ingest)"
        screen.out(f"{name}'s table: {what}")
    if running is not None:
        _show_live(running)
    if there is None:
        screen.say(f"environments as this clone knows them: {why}")
        return
    screen.out()
    screen.out(f"{screen.style('environments', 'bold')} of {there.remote} ({there.url})")
    for one in there.places:
        _place(one)


def _sources(root: Path, config: Config) -> dict[str, dict[str, Any] | None]:
    """Where the table of each model with a source was taken; None if it wasn't taken there."""
    from gitops import dvc

    found = {}
    for name, model in config.models.items():
        file = root / model.path / f"{model.data}.dvc"
        if model.source is not None:
            found[name] = dvc.origin(dvc.read_yaml(file)) if file.is_file() else None
    return found


def snapshot(origin: Mapping[str, Any]) -> str:
    """A note of a .dvc file on one line."""
    rows = origin.get("rows")
    number = f"{rows:,}" if isinstance(rows, int) else str(rows)
    return f"{number} rows of {origin.get('place')}, taken at {origin.get('at')}"


def _remote(root: Path, config: Config, wanted: str | None) -> tuple[Overview | None, str]:
    """What the remote says, or why it says nothing."""
    from gitops import git
    from gitops.promote import overview
    from gitops.promote import world as worlds

    if wanted is None and not git.remotes(root):
        return None, "there's no git remote"
    try:
        return overview.of(worlds.read(root, wanted), config), ""
    except ToolError as error:
        screen.error(error)
        return None, "the git remote can't be read"
    except GitopsError as error:
        if wanted is not None:
            raise
        return None, error.message


def _live(root: Path, config: Config, wanted: str | None) -> list[Live]:
    """What runs at the places of every environment that was deployed or is assigned."""
    from gitops.cli import places
    from gitops.promote import world as worlds

    found: list[Live] = []
    world = None
    try:
        world = worlds.read(root, wanted)
    except GitopsError as error:
        screen.say(f"only what this machine knows: {error.message}")
    for environment in config.environments:
        try:
            setting = places.setting(root, config, environment.name, wanted)
        except GitopsError:  # no remote: nothing was ever deployed
            break
        for kind in setting.kinds():
            found += _live_at(setting, kind, world)
    return found


def _live_at(setting: Setting, kind: str, world: World | None) -> list[Live]:
    """What runs at the environment's place of one kind."""
    from gitops.deploy import live

    state = setting.state(kind)
    desired = None
    try:
        desired = setting.source(kind).by(world) if world else None
    except GitopsError as error:
        if state.plan() is not None:
            screen.say(f"{setting.environment}: {error.message}")
    if desired is None and state.plan() is None:
        return []
    try:
        target = setting.target(kind, state)
        if not state.taken():
            target.recall()
    except GitopsError as error:
        screen.say(f"{setting.environment}: {kind} can't be looked at: {error.message}")
        return []
    return live.look(setting.environment, desired, state, target)


# ---------------------------------------------------------------- what a person sees


def _show_live(running: list[Live]) -> None:
    screen.out()
    screen.out(screen.style("live", "bold") + ("" if running else ": nothing"))
    if not running:
        return
    rows = []
    for one in running:
        health = screen.style("ready", "green") if one.healthy else screen.style("down", "red")
        where = f"{one.endpoint} {health}" if one.runs or not one.healthy else one.endpoint
        if not one.deployed:
            where = f"not deployed (gitops deploy {one.environment})"
        generation = str(one.generation) if one.generation is not None else "-"
        package = one.package[:12] if one.package else "-"
        rows.append([one.environment, one.model, one.assigned or "-", one.runs or "-", package])
        rows[-1] += [generation, where]
    screen.table(["WHERE", "MODEL", "ASSIGNED", "RUNS", "PACKAGE", "PLAN", "ENDPOINT"], rows)
    for one in running:
        if one.rollout:
            screen.out(f"  {one.environment}: {one.rollout}")
        for text in one.drift:
            screen.out(
                f"  {screen.style('drift:', 'yellow')} {one.environment} {one.model}: {text}"
                f" (gitops deploy {one.environment})"
            )


def _rows(found: Status, there: Overview | None) -> None:
    names = _columns(found)
    head = ["MODEL", "WHERE", "REVISION", "DATE", "STATE"]
    if there is not None:
        head[2:3] = ["VERSION", "BEHIND", "REVISION"]
    rows = []
    for row in found.rows:
        cells = [row.model, row.environment, row.revision or "-", row.date or "-", row.state]
        if there is not None:
            one = there.standings.get((row.model, row.environment))
            cells[2:3] = [
                str(one.version or one.tag or "-") if one else "-",
                _behind(one),
                row.revision or "-",
            ]
        numbers = [f"{row.metrics[name]:.4g}" if name in row.metrics else "-" for name in names]
        rows.append([*cells, *numbers])
    screen.table([*head, *[name.upper() for name in names]], rows)


def _behind(one: Standing | None) -> str:
    if one is None or one.commits is None:
        return "-"
    if not one.commits and not one.versions:
        return "0"
    return f"{_count(one.commits, 'commit')}, {_count(one.versions or 0, 'version')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _place(one: Place) -> None:
    tip = one.tip[:10] if one.tip else screen.style("no such branch", "red")
    screen.out(f"  {one.environment}: {one.branch} {tip}")
    notes = []
    if one.hold is not None:
        hold = one.hold
        notes.append(f"held since {hold.at} by {hold.who}: {hold.why} ({hold.name})")
    if one.frozen:
        notes.append(f"frozen now: {one.frozen}")
    elif one.freezes is not None:
        notes.append(f"next freeze: {one.freezes:%a %Y-%m-%d %H:%M %Z}")
    notes += [f"hotfix that the first environment lacks: {text}" for text in one.hotfixes]
    if one.recorded is False:
        notes.append(
            "its tip is on no record: it was pushed or merged there by hand"
            f" (gitops promote --finish {one.environment})"
        )
    if one.unusable:
        notes.append(f"its own settings can't be used: {one.unusable}")
    for text in notes:
        screen.out(f"    {text}")


def _columns(found: Status) -> list[str]:
    """Metrics to show: four; of models with different ones, the first two of each kind."""
    kinds = dict.fromkeys(tuple(row.metrics) for row in found.rows if row.metrics)
    named = [[name for name in kind if name != "rows"] for kind in kinds]
    each = 4 if len(named) == 1 else 2
    return list(dict.fromkeys(name for names in named for name in names[:each]))


# ---------------------------------------------------------------- what a program sees


def _as_json(found: Status, there: Overview | None, why: str) -> dict[str, Any]:
    remote = {"name": there.remote, "url": there.url} if there else None
    return {
        "project": found.project,
        "branch": found.branch,
        "changes": list(found.changes),
        "remote": remote,
        "local": why or None,
        "environments": [_place_json(one) for one in there.places] if there else [],
        "rows": [_row_json(row, there) for row in found.rows],
    }


def _place_json(one: Place) -> dict[str, Any]:
    return {
        "environment": one.environment,
        "branch": one.branch,
        "source": one.source,
        "commit": one.tip,
        "recorded": one.recorded,
        "hold": {
            "tag": one.hold.name,
            "who": one.hold.who,
            "why": one.hold.why,
            "since": one.hold.at,
        }
        if one.hold
        else None,
        "frozen": one.frozen or None,
        "next_freeze": one.freezes.isoformat() if one.freezes else None,
        "hotfixes": list(one.hotfixes),
        "unusable": one.unusable or None,
    }


def _row_json(row: Row, there: Overview | None) -> dict[str, Any]:
    one = there.standings.get((row.model, row.environment)) if there else None
    return {
        **asdict(row),
        "version": str(one.version) if one and one.version else None,
        "commit": one.commit or None if one else None,
        "tag": one.tag or None if one else None,
        "commits_behind": one.commits if one else None,
        "versions_behind": one.versions if one else None,
    }

"""What runs where by the remote: versions, how far behind, holds, freezes, hotfixes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gitops import config as configuration
from gitops.config import Config, Environment
from gitops.errors import ConfigError
from gitops.git import graph
from gitops.git.graph import Graph
from gitops.promote import hotfix, marks
from gitops.promote.marks import Mark
from gitops.promote.world import SIGNERS, World
from gitops.version import Version


@dataclass(frozen=True)
class Place:
    """An environment by the remote.

    `tip` None: its branch isn't there. `recorded`: the tip is one that a promotion, a rollback or
    a finished merge has written (None for the first environment, and where nothing was promoted
    yet). `frozen` is the window that it is in now; `freezes` when the next one starts. `unusable`
    says why its own settings can't be read; then those of the work tree stand in.
    """

    environment: str
    branch: str
    source: str | None
    tip: str | None
    recorded: bool | None
    hold: Mark | None
    frozen: str
    freezes: datetime | None
    hotfixes: tuple[str, ...]
    unusable: str = ""


@dataclass(frozen=True)
class Standing:
    """A model in an environment: its version, and the commit that this one stands on.

    In the first environment that is the newest version in the branch's history. `versions`: how
    many higher ones its source has; `commits`: how many commits of the source, in the model's
    folder, it lacks. None where there's no source or nothing runs.
    """

    model: str
    environment: str
    version: Version | None
    commit: str
    tag: str
    commits: int | None
    versions: int | None


@dataclass(frozen=True)
class Overview:
    """`tips`: commit by branch."""

    remote: str
    url: str
    places: tuple[Place, ...]
    standings: Mapping[tuple[str, str], Standing]

    @property
    def tips(self) -> dict[str, str]:
        return {one.branch: one.tip for one in self.places if one.tip}


def of(world: World, local: Config) -> Overview:
    """Everything by the remote; a few processes, however many models there are."""
    tips = {one.name: world.refs.heads.get(one.branch) for one in local.environments}
    history = graph.read(world.root, [tip for tip in tips.values() if tip])
    places = tuple(_places(world, local, tips, history))
    found = _standings(world, local, tips, history)
    return Overview(
        world.refs.remote, world.url, places, _behind(world, local, found, tips, history)
    )


def _places(
    world: World, local: Config, tips: Mapping[str, str | None], history: Graph
) -> list[Place]:
    names = [f"{tip}:{file}" for tip in tips.values() for file in (configuration.FILE, SIGNERS)]
    texts = graph.contents(world.root, names)
    here = world.root / configuration.FILE
    known = {here.read_bytes(): local} if here.is_file() else {}
    now, first = datetime.now(UTC), local.environments[0]
    moves: set[str] | None = None
    found = []
    for at, declared in enumerate(local.environments):
        tip = tips[declared.name]
        ruling, unusable = _ruling(declared, tip, texts, known)
        source = local.environments[at - 1] if at else None
        windows = [one for one in ruling.freeze if one.contains(now)]
        later = [one.next_start(now) for one in ruling.freeze]
        allowed = texts.get(f"{tip}:{SIGNERS}")
        moved = any(world.registry.assigned(one, declared.name) for one in world.registry.entries)
        recorded = None
        if tip and source and moved:
            moves = hotfix.recorded(world) if moves is None else moves
            recorded = tip[:16] in moves
        found.append(
            Place(
                environment=declared.name,
                branch=declared.branch,
                source=source.name if source else None,
                tip=tip,
                recorded=recorded,
                hold=marks.hold(world, declared.name, allowed),
                frozen=str(windows[0]) if windows else "",
                freezes=min(later, default=None),
                hotfixes=_hotfixes(world, tip, tips[first.name] if source else None, history),
                unusable=unusable,
            )
        )
    return found


def _ruling(
    declared: Environment,
    tip: str | None,
    texts: Mapping[str, bytes],
    known: dict[bytes, Config],
) -> tuple[Environment, str]:
    """The environment as its own branch declares it: that is what rules there."""
    if tip is None:
        return declared, ""
    raw = texts.get(f"{tip}:{configuration.FILE}")
    if raw is None:
        return declared, f"{declared.branch} has no {configuration.FILE}"
    try:
        if raw not in known:
            known[raw] = configuration.parse(raw, Path(f"{tip[:12]}:{configuration.FILE}"))
    except ConfigError as error:
        return declared, str(error).partition("\n")[0]
    for one in known[raw].environments:
        if one.name == declared.name and one.branch == declared.branch:
            return one, ""
    return declared, f"{declared.name} isn't the branch {declared.branch} there"


def _hotfixes(world: World, tip: str | None, onto: str | None, history: Graph) -> tuple[str, ...]:
    """What the integration branch lacks."""
    if tip is None or onto is None or tip in history.history(onto):
        return ()
    return tuple(hotfix.shown(one) for one in hotfix.pending(world, tip, [onto]))


def _standings(
    world: World, local: Config, tips: Mapping[str, str | None], history: Graph
) -> dict[tuple[str, str], Standing]:
    first, *later = local.environments
    found = {}
    tip = tips[first.name]
    past = history.history(tip) if tip else frozenset()
    for model in local.models:
        newest = next(
            (
                (version, entry)
                for version, entry in world.registry.versions(model).items()
                if entry.commit in past
            ),
            None,
        )
        version, entry = newest or (None, None)
        found[model, first.name] = Standing(
            model,
            first.name,
            version,
            entry.commit if entry else "",
            entry.tag.name if entry else "",
            None,
            None,
        )
        for one in later:
            given = world.registry.assigned(model, one.name)
            found[model, one.name] = Standing(
                model,
                one.name,
                world.registry.version_of(given) if given else None,
                given.commit if given else "",
                given.tag.name if given else "",
                None,
                None,
            )
    return found


def _behind(
    world: World,
    local: Config,
    found: dict[tuple[str, str], Standing],
    tips: Mapping[str, str | None],
    history: Graph,
) -> dict[tuple[str, str], Standing]:
    """The same, counted against the environment before: its commits, and the versions it has."""
    sources = {
        one.name: tips[before.name]
        for before, one in zip(local.environments, local.environments[1:], strict=False)
    }
    pairs: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}
    for key, one in found.items():
        source, tip = sources.get(one.environment), tips[one.environment]
        if one.commit and source:
            # After a rollback the branch has the commits, and not what they did.
            there = (tip,) if tip and not _went_back(world, one) else ()
            pairs[key] = (source, (one.commit, *there))
    lacking = dict(zip(pairs, history.lacking(pairs.values()), strict=True))
    paths = graph.touched(
        world.root, {commit for several in lacking.values() for commit in several}
    )
    ends = dict(found)
    for key, commits in lacking.items():
        one, past = found[key], history.history(pairs[key][0])
        newer = 0
        for version, entry in world.registry.versions(one.model).items():  # the highest first
            if version == one.version:
                break
            newer += entry.commit in past
        folder = local.models[one.model].path
        own = [commit for commit in commits if _touches(paths[commit], folder)]
        ends[key] = replace(one, commits=len(own), versions=newer)
    return ends


def _went_back(world: World, one: Standing) -> bool:
    """Whether the environment had a higher version before."""
    higher = set()
    for version, entry in world.registry.versions(one.model).items():  # the highest first
        if version == one.version:
            break
        higher.add(entry.commit)
    given = world.registry.assignments(one.model, one.environment) if higher else []
    return one.version is not None and any(entry.commit in higher for entry in given)


def _touches(paths: tuple[str, ...], folder: str) -> bool:
    return bool(paths) if folder == "." else any(path.startswith(f"{folder}/") for path in paths)

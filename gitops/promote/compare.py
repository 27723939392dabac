"""Two environments, versions or commits side by side: what differs, model by model."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gitops import config as configuration
from gitops import dvclock, git, jsontext
from gitops.config import Config
from gitops.errors import EvidenceError, UsageError
from gitops.git import write
from gitops.promote import statement, tags
from gitops.promote.closure import Closure
from gitops.promote.closure import of as closure_of
from gitops.promote.plan import version_at
from gitops.promote.world import World, closure_at
from gitops.signature import Input, Signature

# The signature of a package (path and DVC's hash); raises EvidenceError or ToolError.
Signatures = Callable[[str, str], Signature]
Pair = tuple[Any, Any]
_BESIDE = ("dvc.lock", "params.yaml", "uv.lock")


@dataclass(frozen=True)
class Side:
    """One of the two: `name` as it was asked for, the environment or the model that it names."""

    name: str
    at: git.Snapshot
    config: Config
    environment: str = ""
    model: str = ""


@dataclass(frozen=True)
class Number:
    """A metric: estimates and intervals (lower, upper, level), the second of the later side.

    `difference`: later minus earlier with its interval, where one verdict compared exactly these.
    `source`: `verdict`, or `metrics.json` where a side has no verdict on record.
    """

    name: str
    values: tuple[float | None, float | None]
    intervals: tuple[tuple[float, float, float] | None, tuple[float, float, float] | None]
    difference: tuple[float, float, float, float] | None
    source: str


@dataclass(frozen=True)
class Delta:
    """What differs of a model; empty parts are equal. `state`: changed, added, removed, equal.

    `code`: path -> lines added and removed. `data`: path -> (DVC's hash, size) of both sides, None
    where it isn't there. `parameters`, `features` and `packages`: name -> both values, None where
    there's none. `contract`: task, classes, threshold. `unknown`: what could not be compared.
    """

    model: str
    state: str
    versions: tuple[str | None, str | None]
    package: tuple[str, str]
    code: Mapping[str, tuple[int, int]]
    data: Mapping[str, Pair]
    parameters: Mapping[str, Pair]
    metrics: tuple[Number, ...]
    features: Mapping[str, Pair]
    contract: Mapping[str, Pair]
    packages: Mapping[str, Pair]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """Two sides, their models, and the paths that differ and are no model's."""

    sides: tuple[Side, Side]
    models: tuple[Delta, ...]
    along: Mapping[str, tuple[int, int]]


def resolve(root: Path, world: World | None, local: Config, name: str) -> Side:
    """An environment (by the remote), a version (`late@v1.2.0`), or a commit.

    Raises:
        UsageError: it's none of them.
        EvidenceError: the branch isn't there, or the commit has no gitops.yaml.
    """
    for one in local.environments:
        if one.name == name:
            commit = world.tip(one).commit if world else git.find(root, one.branch)
            if commit is None:
                raise EvidenceError(f"there's no branch {one.branch}", fix="gitops status")
            return _side(root, name, commit, environment=name)
    tag = tags.parse(name)
    if tag is not None and tag.version is not None and world is not None:
        entry = world.registry.versions(tag.model).get(tag.version)
        if entry is None:
            known = ", ".join(map(str, world.registry.versions(tag.model))) or "none"
            raise UsageError(f"{name} isn't registered", fix=f"{tag.model} has {known}")
        return _side(root, name, entry.commit, model=tag.model)
    try:
        return _side(root, name, git.resolve(root, name))
    except UsageError as error:
        names = ", ".join(one.name for one in local.environments)
        raise UsageError(
            f"{name!r} is no environment, version or commit",
            fix=f"name an environment ({names}), a version (MODEL@v1.2.0) or a commit",
        ) from error


def _side(root: Path, name: str, commit: str, *, environment: str = "", model: str = "") -> Side:
    at = git.snapshot(root, commit)
    return Side(name, at, configuration.load_at(root, commit), environment, model)


def difference(
    world: World | None, old: Side, new: Side, signatures: Signatures, model: str | None = None
) -> Difference:
    """What `new` has otherwise than `old`; equal models are left out, unless one is asked for.

    Raises:
        UsageError: neither side has `model`.
    """
    only = model or old.model or new.model
    names = list(dict.fromkeys((*old.config.models, *new.config.models)))
    if only and only not in names:
        raise UsageError(f"neither side has a model {only!r}", fix=f"they have {', '.join(names)}")
    changed = git.changed(old.at.root, old.at.commit, new.at.commit)
    deltas, own = [], set()
    for name in [only] if only else names:
        closures = [_closure(side, name) for side in (old, new)]
        own |= {path for one in closures if one for path in one.files}
        delta = _delta(world, (old, new), closures[0], closures[1], name, changed, signatures)
        if only or delta.state != "equal":
            deltas.append(delta)
    along = {path: lines for path, lines in changed.items() if path not in own}
    return Difference((old, new), tuple(deltas), {} if only else along)


def _closure(side: Side, model: str) -> Closure | None:
    return closure_of(side.at, side.config, model) if model in side.config.models else None


def _delta(
    world: World | None,
    sides: tuple[Side, Side],
    one: Closure | None,
    other: Closure | None,
    model: str,
    changed: Mapping[str, tuple[int, int]],
    signatures: Signatures,
) -> Delta:
    state = "changed" if one and other else "added" if other else "removed"
    if one and other and one.digest == other.digest:
        state = "equal"
    both = (one, other)
    locks = [
        dvclock.read(side.at, closure.declared.path) if closure else None
        for side, closure in zip(sides, both, strict=True)
    ]
    data = _apart(*(_data(side.at, lock) for side, lock in zip(sides, locks, strict=True)))
    parameters = _apart(*(_keys(lock.params if lock else {}) for lock in locks))
    files = {path for closure in both if closure for path in closure.files}
    packages = _apart(*(_packages(side, lock) for side, lock in zip(sides, locks, strict=True)))
    features, contract, unknown = _signatures(one, other, signatures)
    return Delta(
        model=model,
        state=state,
        versions=(_version(world, sides[0], one), _version(world, sides[1], other)),
        package=(one.package if one else "", other.package if other else ""),
        code={
            path: changed[path] for path in sorted(files & changed.keys()) if _is_code(path, both)
        },
        data=data,
        parameters=parameters,
        metrics=_metrics(world, sides, both),
        features=features,
        contract=contract,
        packages=packages,
        unknown=unknown,
    )


def _is_code(path: str, both: tuple[Closure | None, Closure | None]) -> bool:
    """What a person wrote: no lock, no parameters, no metrics, no pointer to data."""
    written = {PurePosixPath(one.declared.metrics).name for one in both if one}
    name = PurePosixPath(path).name
    return name not in written | set(_BESIDE) and not name.endswith(".dvc")


def _apart(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Pair]:
    """What differs, by name."""
    names = dict.fromkeys((*old, *new))
    return {
        name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
    }


def _keys(group: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The values of nested parameters by dotted key."""
    found: dict[str, Any] = {}
    for name, value in group.items():
        if isinstance(value, dict) and value:
            found |= _keys(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found


def _data(at: git.Snapshot, lock: dvclock.Lock | None) -> dict[str, tuple[str, int | None]]:
    if lock is None:
        return {}
    return {path: (one.md5, one.size) for path, one in dvclock.sources(at, lock).items()}


def _version(world: World | None, side: Side, closure: Closure | None) -> str | None:
    """The version that the side has: by the registry for an environment, else with its closure."""
    if world is None or closure is None:
        return None
    if side.environment:
        entry = world.registry.assigned(closure.model, side.environment)
        if entry is not None:
            return str(world.registry.version_of(entry) or "") or None
    found = version_at(world, side.at, closure)
    return str(found[0]) if found else None


def _packages(side: Side, lock: dvclock.Lock | None) -> dict[str, str]:
    """What the environment's lock installs: version by name (several where markers differ)."""
    paths = [path for path in (lock.deps if lock else {}) if PurePosixPath(path).name == "uv.lock"]
    path = paths[0] if paths else "uv.lock"
    try:
        document = tomllib.loads(side.at.read([path]).get(path, b"").decode())
    except ValueError:
        return {}
    found: dict[str, set[str]] = {}
    for one in document.get("package", []):
        if isinstance(one, dict) and "name" in one:
            found.setdefault(str(one["name"]), set()).add(str(one.get("version", "-")))
    return {name: ", ".join(sorted(several)) for name, several in found.items()}


# ---------------------------------------------------------------- what a model takes and gives


def _signatures(
    one: Closure | None, other: Closure | None, read: Signatures
) -> tuple[dict[str, Pair], dict[str, Pair], tuple[str, ...]]:
    """Features and contract that differ, and why they can't be told."""
    if one and other and one.package == other.package:
        return {}, {}, ()
    found: list[Signature | None] = []
    unknown = []
    for closure in (one, other):
        found.append(None)
        if closure is None or not closure.package:
            continue
        path = (PurePosixPath(closure.declared.path) / closure.declared.package).as_posix()
        try:
            found[-1] = read(path, closure.package)
        except EvidenceError as error:
            unknown.append(f"what {closure.model} takes: {error.message.splitlines()[0]}")
    if unknown:
        return {}, {}, tuple(unknown)
    return (
        _apart(*({item.name: _kind(item) for item in one.inputs} if one else {} for one in found)),
        _apart(*(_gives(one) if one else {} for one in found)),
        (),
    )


def _kind(item: Input) -> str:
    return f"{item.type}{', may be missing' if item.nullable else ''}"


def _gives(one: Signature) -> dict[str, Any]:
    return {"task": one.task, "classes": list(one.classes), "threshold": one.threshold}


# ---------------------------------------------------------------- metrics


def _metrics(
    world: World | None,
    sides: tuple[Side, Side],
    both: tuple[Closure | None, Closure | None],
) -> tuple[Number, ...]:
    """By the verdicts on record; of a side without one by the metrics.json of its commit."""
    verdicts = [
        _verdict(world, side, closure) if world and closure else None
        for side, closure in zip(sides, both, strict=True)
    ]
    files = [
        _file(side, closure) if closure else {} for side, closure in zip(sides, both, strict=True)
    ]
    measured = [_measured(verdict) for verdict in verdicts]
    names = dict.fromkeys(name for one in measured for name in one)
    if not all(measured):
        names |= dict.fromkeys(name for one in files for name in one)
    numbers = []
    for name in names:
        told = [one.get(name) for one in measured]
        values = [
            one["estimate"] if one else file.get(name)
            for one, file in zip(told, files, strict=True)
        ]
        intervals = [(one["lower"], one["upper"], one["level"]) if one else None for one in told]
        source = "verdict" if all(told) else "metrics.json" if not any(told) else "both"
        apart = _compared(verdicts, name)
        if any(value is not None for value in values):
            numbers.append(
                Number(
                    name,
                    (values[0], values[1]),
                    (intervals[0], intervals[1]),
                    apart,
                    source,
                )
            )
    return tuple(numbers)


def _verdict(world: World, side: Side, closure: Closure) -> dict[str, Any] | None:
    """The verdict on what the side has: that of its very tree, else of an assignment's.

    An assignment's counts only if package and evaluation are the same there.
    """
    names = world.records.names("verdicts")
    paths = [path for path in names if path.split("/")[2] == closure.model]
    wanted = [path for path in paths if path.split("/")[1] == side.at.tree]
    for digest in _digests(world, side, closure):
        wanted += [path for path in paths if path.endswith(f"-{digest[:16]}.json")]
    return world.records.many(wanted[:1]).get(wanted[0]) if wanted else None


def _digests(world: World, side: Side, closure: Closure) -> list[str]:
    """The verdicts that assignments of the same build name, the environment's own first."""
    entries = [
        one
        for one in reversed(world.registry.entries.get(closure.model, ()))
        if one.tag.action == "assign"
    ]
    entries.sort(key=lambda one: one.tag.stage != side.environment)
    there = {
        commit: closure_at(world, commit, closure.model)
        for commit in {one.commit for one in entries}
    }
    kept = [one for one in entries if _same_build(there[one.commit], closure)]
    texts = write.tag_texts(world.root, [one.object for one in kept]) if kept else {}
    told = [statement.of_stage(texts.get(one.object, ""), one.tag.name) for one in kept]
    return [str(one["predicate"]["gitops"]["verdict"]) for one in told if one]


def _same_build(one: Closure | None, other: Closure) -> bool:
    return one is not None and (one.package, one.evaluation) == (other.package, other.evaluation)


def _measured(verdict: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The candidate's intervals on all rows, by metric."""
    measures = verdict.get("measures") if verdict else None
    return {
        one["metric"]: one["candidate"]
        for one in (measures if isinstance(measures, list) else ())
        if isinstance(one, dict) and not one.get("slice") and isinstance(one.get("candidate"), dict)
    }


def _compared(
    verdicts: list[dict[str, Any] | None], name: str
) -> tuple[float, float, float, float] | None:
    """Estimate, lower, upper and level, if the second verdict compared just these packages."""
    old, new = verdicts
    if not old or not new or "champion" not in new:
        return None
    if new["champion"].get("package") != old["candidate"].get("package"):
        return None
    for one in new["measures"]:
        if one["metric"] == name and not one["slice"] and (found := one["difference"]):
            return (found["estimate"], found["lower"], found["upper"], found["level"])
    return None


def _file(side: Side, closure: Closure) -> dict[str, float]:
    path = (PurePosixPath(closure.declared.path) / closure.declared.metrics).as_posix()
    try:
        found = jsontext.loads(side.at.read([path]).get(path, b"{}"))
    except ValueError:
        return {}
    return {
        name: value
        for name, value in (found.items() if isinstance(found, dict) else ())
        if isinstance(value, int | float) and not isinstance(value, bool)
    }

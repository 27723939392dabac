"""The audit trail: who put what where, when and why, from the tags and records of a remote.

The order is that of ancestry and of the tags' counters. Clocks are told, and never compared.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any, Literal

from gitops.config import Config
from gitops.errors import UsageError
from gitops.git import graph, write
from gitops.promote import statement
from gitops.promote.registry import Entry, Series
from gitops.promote.world import World

Kind = Literal[
    "version",
    "withdrawn",
    "deprecated",
    "promotion",
    "rollback",
    "hotfix",
    "assigned",
    "unassigned",
    "hold",
    "release",
    "approval",
    "moved",
]
_TAGGER = re.compile(r"^tagger (?P<who>.*?) (?P<time>-?\d+) (?P<zone>[+-]\d{4})$", re.MULTILINE)
_KINDS: dict[str, Kind] = {
    "register": "version",
    "deregister": "withdrawn",
    "deprecate": "deprecated",
    "assign": "assigned",
    "unassign": "unassigned",
}


@dataclass(frozen=True)
class Event:
    """Something that was done. `commit` is what its tag stands on, `tip` what a branch became.

    `ours` is False for a tag without a statement of ours, as GTO makes them: then who, when and why
    are the tagger's. `at` is as it was told (RFC 3339). `moved`: a branch moved, and no model.
    """

    kind: Kind
    tag: str
    object: str
    commit: str
    model: str = ""
    environment: str = ""
    version: str = ""
    counter: int = 0
    source: str = ""
    who: str = ""
    at: str = ""
    why: str = ""
    verdict: str = ""
    policy: str = ""
    package: str = ""
    approvers: tuple[str, ...] = ()
    tip: str = ""
    ours: bool = True
    builder: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


def events(world: World, local: Config, about: str | None = None) -> tuple[Event, ...]:
    """Everything that was done, the newest first; `about` one model or environment only.

    Raises:
        UsageError: `about` is neither.
    """
    entries, numbered = _chosen(world, local, about)
    objects = [one.object for one in entries] + [one.object for one in numbered]
    texts = write.tag_texts(world.root, objects)
    found = [_entry(world, one, texts.get(one.object, "")) for one in entries]
    found += [_series(one, texts.get(one.object, "")) for one in numbered]
    if about is None or about not in world.registry.entries:
        found += _moved(world, found, about)
    return tuple(reversed(_ordered(world, found)))


def _chosen(
    world: World, local: Config, about: str | None
) -> tuple[list[Entry], tuple[Series, ...]]:
    known = world.registry.entries
    environments = [one.name for one in local.environments]
    every = [one for several in known.values() for one in several]
    if about is None:
        return every, world.registry.numbered
    if about in known or about in local.models:
        return list(known.get(about, ())), ()
    stages = {one.tag.stage for one in every}
    if about in environments or about in stages:
        series = tuple(one for one in world.registry.numbered if one.tag.environment == about)
        return [one for one in every if one.tag.stage == about], series
    raise UsageError(
        f"there's no model or environment {about!r}",
        fix=f"there are {', '.join([*local.models, *environments][:20])}",
    )


# ---------------------------------------------------------------- one tag


def _entry(world: World, one: Entry, text: str) -> Event:
    """The event of a tag of the registry; what its statement lacks stays empty."""
    tag = one.tag
    known = str(tag.version or world.registry.version_of(one) or "")
    plain = Event(
        _KINDS[tag.action],
        tag.name,
        one.object,
        one.commit,
        model=tag.model,
        environment=tag.stage,
        version=known,
        counter=tag.counter,
        **_tagger(text),
    )
    told = statement.parse(text)
    own = _at(told, "predicate", "gitops")
    if not isinstance(own, dict):
        return plain
    if tag.action == "register":
        return _version(plain, told)
    kind = own.get("kind")
    if tag.action != "assign" or kind not in ("promotion", "rollback", "hotfix"):
        return plain
    approvers = own.get("approvers")
    return Event(
        kind,
        tag.name,
        one.object,
        one.commit,
        model=tag.model,
        environment=tag.stage,
        version=_text(told, "subject", 0, "name").rpartition("@")[2] or known,
        counter=tag.counter,
        source=_text(own, "source"),
        who=_text(own, "who"),
        at=_text(told, "predicate", "timeVerified"),
        why=_text(own, "why"),
        verdict=_text(own, "verdict"),
        policy=_text(told, "predicate", "policy", "uri").removeprefix("gitops:policy/"),
        package=_text(own, "package"),
        approvers=tuple(map(str, approvers)) if isinstance(approvers, list) else (),
        tip=_text(own, "tip", "commit"),
    )


def _version(plain: Event, told: object) -> Event:
    run = _at(told, "predicate", "runDetails")
    metrics = _at(told, "predicate", "gitops", "metrics")
    return Event(
        plain.kind,
        plain.tag,
        plain.object,
        plain.commit,
        model=plain.model,
        version=plain.version,
        who=_text(run, "metadata", "invocationId"),
        at=_text(run, "metadata", "finishedOn"),
        why=_text(told, "predicate", "gitops", "bump"),
        package=_text(told, "subject", 0, "digest", "sha256"),
        builder=_text(run, "builder", "id").rpartition("/")[2],
        metrics={
            str(name): value
            for name, value in (metrics.items() if isinstance(metrics, dict) else ())
            if isinstance(value, int | float) and not isinstance(value, bool)
        },
    )


def _series(one: Series, text: str) -> Event:
    """The event of a hold, its release, or an approval; one that can't be read is a hold."""
    told = statement.parse(text)
    kind = told.get("kind") if told else None
    expected: tuple[Kind, ...] = (
        ("approval",) if one.tag.kind == "approval" else ("hold", "release")
    )
    known: dict[str, Any] = {"environment": one.tag.environment, "counter": one.tag.counter}
    if told is None or kind not in expected:
        return Event(expected[0], one.tag.name, one.object, one.commit, **known, **_tagger(text))
    return Event(
        kind,
        one.tag.name,
        one.object,
        one.commit,
        **known,
        who=_text(told, "who"),
        at=_text(told, "at"),
        why=_text(told, "why"),
    )


def _tagger(text: str) -> dict[str, Any]:
    """Who, when and why by the tag object itself."""
    head, _, message = text.partition("\n\n")
    found = _TAGGER.search(head)
    subject = next((line for line in message.splitlines() if line.strip()), "")
    if found is None:
        return {"ours": False, "why": subject[:200]}
    zone = found["zone"]
    away = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:])) * (-1 if zone[0] == "-" else 1)
    try:
        at = datetime.fromtimestamp(int(found["time"]), UTC).astimezone(timezone(away)).isoformat()
    except (OverflowError, ValueError, OSError):
        at = ""
    return {"ours": False, "who": found["who"], "at": at, "why": subject[:200]}


def _at(document: object, *steps: str | int) -> object:
    """The value at a place of a document that anybody may have written; None if there's none."""
    for step in steps:
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and isinstance(step, int) and step < len(document):
            document = document[step]
        else:
            return None
    return document


def _text(document: object, *steps: str | int) -> str:
    found = _at(document, *steps)
    return found if isinstance(found, str) else ""


def _moved(world: World, found: Sequence[Event], about: str | None) -> list[Event]:
    """Promotions on record that no tag tells of: code moved, and no model."""
    known = {(one.environment, one.tip[:16]) for one in found if one.tip}
    lost = []
    for path in world.records.names("promotions"):
        environment, _, tip = path.rpartition("/")[2].removesuffix(".json").rpartition("-")
        if (environment, tip) not in known and about in (None, environment):
            lost.append(path)
    events = []
    for path, record in world.records.many(lost).items():
        tip = _text(record, "tip", "commit")
        if _at(record, "models") or not tip:
            continue  # its tags are gone: `--verify` says so
        events.append(
            Event(
                "moved",
                "",
                path,
                tip,
                environment=_text(record, "target"),
                source=_text(record, "source"),
                who=_text(record, "who"),
                at=_text(record, "at"),
                why=_text(record, "why"),
                tip=tip,
            )
        )
    return events


# ---------------------------------------------------------------- order


def _ordered(world: World, found: Sequence[Event]) -> list[Event]:
    """The oldest first: counters decide, and between models and environments ancestry.

    Tags and records give chains (the counters of a model, the numbers of a series, a version before
    its assignments); what they leave open follows the commits, ancestors first.
    """
    commits = {one.tip or one.commit for one in found} | {one.commit for one in found}
    heads = [commit for commit in commits if commit]
    line = list(graph.read(world.root, heads).parents)
    place = {one: -at for at, one in enumerate(line, 1)}
    order = {
        at: (
            place.get(one.tip or one.commit, -len(line) - 1),
            _rank(one),
            one.model,
            one.counter,
            one.tag,
        )
        for at, one in enumerate(found)
    }
    after: dict[int, list[int]] = {at: [] for at in order}
    waits = dict.fromkeys(order, 0)
    for before, then in _chains(found, order):
        after[before].append(then)
        waits[then] += 1
    ready = [(order[at], at) for at, count in waits.items() if not count]
    heapq.heapify(ready)
    done = []
    while ready:
        _, at = heapq.heappop(ready)
        done.append(found[at])
        for then in after[at]:
            waits[then] -= 1
            if not waits[then]:
                heapq.heappush(ready, (order[then], then))
    return done


def _chains(
    found: Sequence[Event], order: Mapping[int, tuple[Any, ...]]
) -> Iterator[tuple[int, int]]:
    chains: dict[tuple[str, ...], list[int]] = {}
    versions: dict[tuple[str, str], int] = {}
    for at, one in enumerate(found):
        if one.kind == "version":
            versions[one.model, one.version] = at
        if one.kind in ("hold", "release", "approval"):
            series = "approval" if one.kind == "approval" else "hold"
            chains.setdefault((series, one.environment), []).append(at)
        elif one.counter:
            chains.setdefault(("model", one.model), []).append(at)
    for several in chains.values():
        several.sort(key=lambda at: (found[at].counter, order[at]))
        yield from pairwise(several)
    for at, one in enumerate(found):
        first = versions.get((one.model, one.version))
        if first is not None and first != at:
            yield first, at


def _rank(one: Event) -> int:
    """On one commit: built, approved, moved, held."""
    if one.kind == "version":
        return 0
    if one.kind == "approval":
        return 1
    return 3 if one.kind in ("hold", "release") else 2

"""The audit trail held against everything that it claims: every finding is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gitops import signature
from gitops.config import Config, Environment
from gitops.errors import EvidenceError, Where
from gitops.git import graph, write
from gitops.git.graph import Graph
from gitops.promote import hotfix, signatures, statement, tags
from gitops.promote.audit import Event
from gitops.promote.world import SIGNERS, World, before

# Holds a recorded verdict against its contract and its own digest, or raises EvidenceError.
Prove = Callable[[Mapping[str, Any], Where], None]
_PARALLEL = 4


@dataclass(frozen=True)
class Fault:
    """What was found, and about which tag, record or branch; `wrong` False: worth knowing.

    `kind`: signature, statement, commit, chain, verdict, package, record, branch, rebuild, or
    (never wrong) kind, signers, lightweight.
    """

    about: str
    kind: str
    text: str
    wrong: bool = True


@dataclass(frozen=True)
class _Case:
    """What is looked at, read once."""

    world: World
    local: Config
    events: Sequence[Event]
    prove: Prove

    @cached_property
    def texts(self) -> dict[str, str]:
        return write.tag_texts(self.world.root, [one.object for one in self.events if one.tag])

    @cached_property
    def history(self) -> Graph:
        tips = [tip for one in self.local.environments if (tip := self.tip(one.name))]
        return graph.read(self.world.root, tips)

    @cached_property
    def everywhere(self) -> frozenset[str]:
        """What any environment's branch has in its history."""
        return frozenset(self.history.parents)

    @cached_property
    def trees(self) -> dict[str, str]:
        commits = {one.commit for one in self.events} | {one.tip for one in self.events if one.tip}
        return graph.trees(self.world.root, commits)

    @cached_property
    def verdicts(self) -> dict[str, str]:
        """The path of each recorded verdict by what follows its tree."""
        paths = self.world.records.names("verdicts")
        return {path.split("/", 2)[2]: path for path in paths}

    @cached_property
    def documents(self) -> dict[str, dict[str, Any]]:
        """The recorded verdicts of all assignments."""
        wanted = [f"{one.model}/{one.environment}-{one.verdict[:16]}.json" for one in self.events]
        return self.world.records.many(
            [self.verdicts[name] for name in wanted if name in self.verdicts]
        )

    @cached_property
    def builds(self) -> dict[str, dict[str, Any]]:
        """The build records of all versions."""
        versions = [one for one in self.events if one.kind == "version"]
        told = [statement.of_version(self.texts.get(one.object, ""), one.tag) for one in versions]
        return self.world.records.many(
            [one["predicate"]["gitops"]["record"] for one in told if one]
        )

    @cached_property
    def packages(self) -> dict[str, str]:
        """By the object of a version tag, the package that its provenance has."""
        known = self.world.registry
        models = {one.model for one in self.events if one.environment and one.model}
        objects = [entry.object for model in models for entry in known.versions(model).values()]
        found = {}
        for one, text in write.tag_texts(self.world.root, objects).items():
            told = statement.of_version(text, "")
            if told is not None:
                found[one] = str(told["subject"][0]["digest"]["sha256"])
        return found

    def tip(self, environment: str) -> str | None:
        known = {one.name: one.branch for one in self.local.environments}
        return self.world.refs.heads.get(known.get(environment, ""))


def prove(
    world: World, local: Config, events: Sequence[Event], verdict: Prove
) -> tuple[Fault, ...]:
    """What is wrong with `events` (of `audit.events`), and what else is worth knowing."""
    case = _Case(world, local, events, verdict)
    found = [*_branches(case), *_signatures(case)]
    for one in events:
        if one.kind == "version":
            found += _version(case, one)
        elif one.kind in ("promotion", "rollback", "hotfix", "assigned"):
            found += _assignment(case, one)
        elif one.kind in ("hold", "release", "approval") and not one.ours:
            found.append(Fault(one.tag, "statement", "it says nothing that can be read"))
    return (*found, *_lightweight(case))


# ---------------------------------------------------------------- branches, signatures


def _branches(case: _Case) -> Iterator[Fault]:
    """The tip of every environment is one that a promotion has written."""
    recorded = hotfix.recorded(case.world)
    named = {one.environment for one in case.events if one.environment}
    for environment in case.local.environments[1:]:
        if environment.name not in named:
            continue
        tip = case.tip(environment.name)
        if tip is None:
            yield Fault(
                environment.branch, "branch", f"the remote has no branch of {environment.name}"
            )
        elif tip[:16] not in recorded:
            text = f"its tip {tip[:12]} is on no record: it was pushed or merged there by hand"
            yield Fault(environment.branch, "branch", text)


def _signatures(case: _Case) -> Iterator[Fault]:
    """Where an environment's branch has allowed signers, each of its tags is from one of them."""
    allowed = _allowed(case)
    for environment, text in allowed.items():
        if text is None:
            said = f"{environment} has no {SIGNERS}: its tags need no signature"
            yield Fault(environment, "signers", said, wrong=False)
    first = case.local.environments[0].name
    looked = [
        (one, allowed.get(one.environment or first))
        for one in case.events
        if one.tag and allowed.get(one.environment or first) is not None
    ]

    def check(item: tuple[Event, bytes | None]) -> signatures.Signature:
        one, signers = item
        return signatures.check(
            case.world.root, one.tag, one.object, case.texts.get(one.object, ""), signers
        )

    with ThreadPoolExecutor(_PARALLEL) as pool:
        for (one, _), signed in zip(looked, pool.map(check, looked), strict=True):
            if signed.state != "good":
                yield Fault(one.tag, "signature", f"its signature doesn't count: {signed.why}")


def _allowed(case: _Case) -> dict[str, bytes | None]:
    """The allowed signers of each environment that the events are about."""
    first = case.local.environments[0].name
    named = {one.environment or first for one in case.events}
    names = {
        one.name: f"{tip}:{SIGNERS}"
        for one in case.local.environments
        if one.name in named and (tip := case.tip(one.name))
    }
    texts = graph.contents(case.world.root, names.values())
    return {environment: texts.get(name) for environment, name in names.items()}


def _lightweight(case: _Case) -> Iterator[Fault]:
    for name in sorted(case.world.refs.tags.keys() - case.world.refs.peeled.keys()):
        if tags.parse(name) is not None or tags.parse_numbered(name) is not None:
            yield Fault(
                name, "lightweight", "a lightweight tag: it counts for nothing", wrong=False
            )


# ---------------------------------------------------------------- versions


def _version(case: _Case, one: Event) -> Iterator[Fault]:
    if one.commit not in case.everywhere:
        text = f"{one.commit[:12]} is in no environment's history: it was rewritten, or never there"
        yield Fault(one.tag, "commit", text)
    text = case.texts.get(one.object, "")
    told = statement.of_version(text, one.tag)
    if told is None:
        yield _untold(one, text, wrong="{" in text)
        return
    parameters = told["predicate"]["buildDefinition"]["externalParameters"]
    yield from _names(case, one, told, parameters["model"])
    source = told["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    commit, tree = source["digest"].get("gitCommit"), source["digest"].get("gitTree")
    yield from _stands(case, one, {commit, parameters["revision"]}, tree)
    path = told["predicate"]["gitops"]["record"]
    record = case.builds.get(path)
    if record is None:
        yield Fault(one.tag, "record", f"there's no build record {path}")
    elif one.package not in _packages(record):
        yield Fault(one.tag, "package", f"the build record {path} has another package")


def _packages(record: Mapping[str, Any]) -> set[str]:
    """The digests of what a build record says was packaged."""
    outputs = record.get("outputs")
    files = [
        item.get("files")
        for item in (outputs if isinstance(outputs, list) else ())
        if isinstance(item, dict)
    ]
    return {signature.package_digest(one) for one in files if isinstance(one, dict) and one}


# ---------------------------------------------------------------- assignments


def _assignment(case: _Case, one: Event) -> Iterator[Fault]:
    text = case.texts.get(one.object, "")
    told = statement.of_stage(text, one.tag)
    if told is None:
        now = case.world.registry.assigned(one.model, one.environment)
        current = now is not None and now.tag.name == one.tag
        yield _untold(one, text, wrong=current or "{" in text)
        return
    own = told["predicate"]["gitops"]
    if (own["target"], own["counter"]) != (one.environment, one.counter):
        said = f"its statement is about {own['target']} #{own['counter']}"
        yield Fault(one.tag, "statement", said)
    yield from _names(case, one, told, own["model"])
    digest = told["subject"][0]["digest"]
    yield from _stands(case, one, {digest["gitCommit"]}, digest["gitTree"])
    yield from _tip(case, one, own["tip"])
    yield from _source(case, one, own)
    policy = str(told["predicate"]["policy"]["digest"]["sha256"])
    yield from _judged(case, one, own, policy)
    yield from _promoted_package(case, one)


def _tip(case: _Case, one: Event, tip: Mapping[str, str]) -> Iterator[Fault]:
    there = case.tip(one.environment)
    if there is not None and tip["commit"] not in case.history.history(there):
        said = f"the branch of {one.environment} never was at {tip['commit'][:12]}"
        yield Fault(one.tag, "branch", said)
    elif case.trees.get(tip["commit"]) not in (None, tip["tree"]):
        yield Fault(one.tag, "commit", f"{tip['commit'][:12]} has another tree than it says")


def _source(case: _Case, one: Event, own: Mapping[str, Any]) -> Iterator[Fault]:
    """A promotion has one of the same version to the environment before; others are named."""
    if one.kind in ("rollback", "hotfix"):
        said = f"a {one.kind}: {one.model} {one.version} to {one.environment}, by {one.who}"
        yield Fault(one.tag, "kind", f"{said}: {one.why}", wrong=False)
        return
    target = _environment(case, one.environment)
    source = before(case.local, target) if target else None
    if target is None or source is None:
        said = f"{one.environment} is no environment that is promoted to"
        yield Fault(one.tag, "chain", said, wrong=target is not None)
        return
    if own["source"] != source.name:
        yield Fault(one.tag, "chain", f"it says that it came from {own['source']}")
    if before(case.local, source) is None:
        return
    earlier = [
        entry
        for entry in case.world.registry.assignments(one.model, source.name)
        if entry.commit == one.commit and entry.tag.counter < one.counter
    ]
    if not earlier:
        said = f"{one.model} {one.version} was never promoted to {source.name} before"
        yield Fault(one.tag, "chain", said)


def _environment(case: _Case, name: str) -> Environment | None:
    return next((one for one in case.local.environments if one.name == name), None)


def _judged(case: _Case, one: Event, own: Mapping[str, Any], policy: str) -> Iterator[Fault]:
    """The recorded verdict is the tag's, passed, and is about this package."""
    path = case.verdicts.get(f"{one.model}/{one.environment}-{own['verdict'][:16]}.json")
    document = case.documents.get(path) if path else None
    if path is None or document is None:
        text = f"the verdict {own['verdict'][:16]} isn't on record"
        yield Fault(one.tag, "verdict", text)
        return
    try:
        case.prove(document, Where(path))
    except EvidenceError as error:
        yield Fault(one.tag, "verdict", f"{path}: {error.message}")
        return
    about = (document["model"], document["environment"], document["candidate"]["package"])
    if document["digest"] != own["verdict"]:
        yield Fault(one.tag, "verdict", f"{path} has another digest than the tag")
    elif about != (one.model, one.environment, own["package"]):
        yield Fault(one.tag, "verdict", f"{path} is about {' '.join(about)[:80]}")
    elif not document["passed"]:
        yield Fault(one.tag, "verdict", f"{path} says no")
    elif document["policy"]["digest"] != policy:
        yield Fault(one.tag, "verdict", f"{path} judged by another policy than the tag says")


def _promoted_package(case: _Case, one: Event) -> Iterator[Fault]:
    """The package that was promoted is the one that the version's provenance has."""
    for version, entry in case.world.registry.versions(one.model).items():
        if str(version) == one.version:
            if entry.commit != one.commit:
                said = f"{entry.tag.name} stands on {entry.commit[:12]}"
                yield Fault(one.tag, "commit", said)
            built = case.packages.get(entry.object)
            if built is not None and built != one.package:
                yield Fault(one.tag, "package", f"it isn't the package of {entry.tag.name}")
            return
    yield Fault(one.tag, "chain", f"{one.model} {one.version} isn't registered")


# ---------------------------------------------------------------- what both have


def _untold(one: Event, text: str, *, wrong: bool) -> Fault:
    if "{" in text:
        return Fault(one.tag, "statement", "its statement can't be read", wrong)
    return Fault(one.tag, "statement", "it has no statement: another tool made it", wrong)


def _names(case: _Case, one: Event, told: Mapping[str, Any], model: str) -> Iterator[Fault]:
    name = told["subject"][0]["name"]
    named = f"{one.model}@{one.version}"
    if name != named or model != one.model or (one.kind == "version" and name != one.tag):
        yield Fault(one.tag, "statement", f"its statement is about {name}")


def _stands(case: _Case, one: Event, commits: set[str | None], tree: str | None) -> Iterator[Fault]:
    if commits != {one.commit}:
        told = ", ".join(sorted(str(commit)[:12] for commit in commits))
        text = f"it stands on {one.commit[:12]}, and its statement names {told}"
        yield Fault(one.tag, "commit", text)
    elif case.trees.get(one.commit) != tree:
        yield Fault(one.tag, "commit", f"{one.commit[:12]} has another tree than it says")

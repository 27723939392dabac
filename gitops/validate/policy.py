"""The policy of an environment: read from the base commit, with all that it extends.

A pack is `.gitops/policies/<name>.yaml` of the repository, or a shipped one. What is in the work
tree or in the candidate plays no part: a pull request cannot loosen its own gate.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from gitops import content, problem, yamlfile
from gitops.config import Environment
from gitops.config import checks as config_checks
from gitops.errors import ConfigError, Where
from gitops.problem import Problem
from gitops.validate.model import Finding, Task, Waiver
from gitops.validate.policy_checks import OnInconclusive, Pack, Rule, Slices
from gitops.validate.policy_kinds import CRITERIA
from gitops.validate.stats.metrics import METRICS

_T = TypeVar("_T")

FOLDER = ".gitops/policies"
BASELINE = "baseline"

TextAt = Callable[[str], str | None]
"""The text of a path at the base commit; None if it isn't there."""


@dataclass(frozen=True)
class Asked:
    """A check, its name, and where it stands."""

    rule: Rule
    name: str
    confidence: float
    on_inconclusive: OnInconclusive
    _document: yamlfile.Document = field(repr=False, compare=False)
    _at: int

    def where(self, *place: str | int) -> Where:
        return self._document.where(("checks", self._at, *place))


@dataclass(frozen=True)
class Policy:
    """All that a model is judged by. `source` says where it was read; `digest` is over its values.

    `waivers_by`: the only ones whose waivers count; None: anyone's. `notes` are what a reviewer
    must know about it.
    """

    name: str
    source: str
    digest: str
    checks: tuple[Asked, ...]
    slices: Slices
    on_inconclusive: OnInconclusive
    waivers: tuple[Waiver, ...]
    waivers_by: tuple[str, ...] | None
    where_slices: Where
    notes: tuple[Finding, ...] = ()

    def of(self, task: Task, model: str = "") -> tuple[Asked, ...]:
        """The checks for a model of `task`.

        Raises:
            ConfigError: there's none, or one that names no task asks for what this task hasn't.
        """
        chosen = tuple(
            one
            for one in self.checks
            if one.rule.task in (None, task) and one.rule.model in (None, model)
        )
        if not chosen:
            raise ConfigError(
                f"policy {self.name} has no check for a {task} model, so it could not fail",
                fix=f"add a check, or `extends: {BASELINE}`",
                where=self.checks[0].where(),
            )
        for one in chosen:
            _check_task(one, task)
        return chosen


def load(
    environment: Environment, text_at: TextAt, base: str, *, first: bool, today: date
) -> Policy:
    """The policy that `environment` (of the base's gitops.yaml) names.

    `base`: the base commit's id, for errors. `first`: whether this is the first environment, the
    only one that the shipped baseline may judge where there's no such policy. `today` (UTC) decides
    which waivers have expired.

    Raises:
        ConfigError: there's no such policy, or one of its files is wrong; with file, line and fix.
    """
    reader = _Reader(text_at, base)
    name = environment.policy
    notes: tuple[Finding, ...] = ()
    if not reader.has(name):
        message = f"there's no policy {name!r} at the base {base[:12]}, nor among those of gitops"
        if not first:
            raise ConfigError(
                f"{message}; {environment.name} is not judged by a policy that nobody chose",
                fix=problem.meant(name, reader.shipped(), f"merge {FOLDER}/{name}.yaml first"),
                where=Where(reader.path(name)),
            )
        text = f"{message}: judged by {BASELINE}"
        notes = (Finding("policy-missing", "note", text),)
        name = BASELINE
    chain = reader.chain(name)
    return _merged(chain, environment, today, notes)


def path_of(name: str) -> str:
    """Where a repository keeps its own pack of that name."""
    return f"{FOLDER}/{name}.yaml"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a policy pack, for editors."""
    schema = Pack.model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**head, **schema, "title": "gitops policy pack"}


def read_pack(document: yamlfile.Document) -> Pack:
    """A policy file as values.

    Raises:
        ConfigError: every problem of it, with its place.
    """
    problems: list[Problem] = []
    try:
        pack = Pack.model_validate(document.data)
    except ValidationError as error:
        problems = config_checks.of_fields(error, Pack.model_json_schema())
        raise problem.error(document, problems) from error
    for at, rule in enumerate(pack.checks or ()):
        for before, other in enumerate((pack.checks or ())[:at]):
            if _same(rule, other):
                line = document.where(("checks", before)).line
                text = f"the check {rule.name!r} is already on line {line}"
                fix = "remove one, or give it an `id:`"
                problems.append(Problem(("checks", at), text, fix))
    if pack.name != document.path.stem:
        text = f"name: {pack.name!r} is in the file {document.path.name}"
        problems.append(Problem(("name",), text, f"write {document.path.stem}"))
    if problems:
        raise problem.error(document, problems)
    return pack


# ---------------------------------------------------------------- files


@dataclass(frozen=True)
class _File:
    pack: Pack
    document: yamlfile.Document
    shipped: bool


@dataclass(frozen=True)
class _Reader:
    text_at: TextAt
    base: str

    def shipped(self) -> list[str]:
        return sorted(path.stem for path in content.folder("policies").glob("*.yaml"))

    def path(self, name: str) -> Path:
        return Path(f"{self.base[:12]}:{path_of(name)}")

    def has(self, name: str) -> bool:
        return name in self.shipped() or self.text_at(path_of(name)) is not None

    def chain(self, name: str) -> list[_File]:
        """The pack and all that it extends, the outermost ancestor first.

        A pack of the repository may extend the shipped one of its own name.
        """
        found: list[_File] = []
        wanted: str | None = name
        while wanted is not None:
            last = found[-1] if found else None
            asked = last.document.where(("extends",)) if last is not None else None
            itself = last is not None and not last.shipped and last.pack.name == wanted
            if not itself and wanted in [one.pack.name for one in found]:
                path = " -> ".join([*(one.pack.name for one in found), wanted])
                raise ConfigError(
                    f"the policies extend each other in a circle: {path}",
                    fix="remove one `extends`",
                    where=asked,
                )
            # What is shipped rests on what is shipped: nobody can put something under it.
            own = None if itself or (last is not None and last.shipped) else self._own(wanted)
            found.append(own or self._shipped(wanted, asked))
            wanted = found[-1].pack.extends
        return found[::-1]

    def _own(self, name: str) -> _File | None:
        text = self.text_at(path_of(name))
        if text is None:
            return None
        document = yamlfile.parse(text.encode(), self.path(name))
        return _File(read_pack(document), document, shipped=False)

    def _shipped(self, name: str, asked: Where | None) -> _File:
        known = self.shipped()
        if name not in known:
            raise ConfigError(
                f"there's no policy {name!r} to extend",
                fix=problem.meant(name, known, f"extend one of {', '.join(known)}"),
                where=asked,
            )
        document = yamlfile.read(content.folder("policies") / f"{name}.yaml")
        return _File(read_pack(document), document, shipped=True)


# ---------------------------------------------------------------- several files as one policy


def _merged(
    chain: list[_File], environment: Environment, today: date, notes: tuple[Finding, ...]
) -> Policy:
    confidence: float = _last(chain, "confidence", 0.95)
    on_inconclusive: OnInconclusive = _last(chain, "on_inconclusive", "block")
    checks: list[Asked] = []
    for file in chain:
        for at, rule in enumerate(file.pack.checks or ()):
            asked = Asked(
                rule,
                rule.name,
                rule.confidence or confidence,
                rule.on_inconclusive or on_inconclusive,
                file.document,
                at,
            )
            before = [place for place, one in enumerate(checks) if _same(one.rule, rule)]
            checks = [one for one in checks if not _same(one.rule, rule)]
            checks.insert(before[0] if before else len(checks), asked)
    slices = _last(chain, "slices", Slices())
    names = list(dict.fromkeys(one.name for one in checks))
    approved = _last(chain, "waivers_by", "anyone") == "approvers"
    waivers_by = tuple(environment.approvers) if approved else None
    waivers = tuple(_waivers(chain, names, environment, waivers_by, today))
    content_of = {
        "checks": [
            {"name": one.name, "confidence": one.confidence, "on": one.on_inconclusive}
            | one.rule.model_dump(exclude_none=True, exclude={"confidence", "on_inconclusive"})
            for one in checks
        ],
        "slices": slices.model_dump(),
        "on_inconclusive": on_inconclusive,
        "waivers": [file.model_dump() for one in chain for file in one.pack.waivers],
    }
    text = json.dumps(content_of, sort_keys=True, ensure_ascii=False, allow_nan=False)
    own = [one for one in chain if not one.shipped]
    source = str(own[-1].document.path) if own else f"shipped with gitops: {chain[-1].pack.name}"
    return Policy(
        name=chain[-1].pack.name,
        source=source,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        checks=tuple(checks),
        slices=slices,
        on_inconclusive=on_inconclusive,
        waivers=waivers,
        waivers_by=waivers_by,
        where_slices=next(
            (one for one in chain[::-1] if one.pack.slices is not None), chain[-1]
        ).document.where(("slices", "columns")),
        notes=notes,
    )


def _same(one: Rule, other: Rule) -> bool:
    """Whether two checks of one name would be asked of the same model."""
    return one.name == other.name and all(
        mine == theirs or mine is None or theirs is None
        for mine, theirs in ((one.task, other.task), (one.model, other.model))
    )


def _last(chain: list[_File], key: str, default: _T) -> _T:
    """What the pack itself, or the nearest that it extends, says."""
    for file in chain[::-1]:
        value: _T | None = getattr(file.pack, key)
        if value is not None:
            return value
    return default


def _waivers(
    chain: list[_File],
    checks: list[str],
    environment: Environment,
    approvers: tuple[str, ...] | None,
    today: date,
) -> Iterator[Waiver]:
    for file in chain:
        for at, one in enumerate(file.pack.waivers):
            if (whole := one.check.partition(":")[0]) not in checks and one.check not in checks:
                known = f"the checks are {', '.join(checks)}"
                raise ConfigError(
                    f"waivers[{at}].check: there's no check {one.check!r}",
                    fix=problem.meant(whole, checks, known),
                    where=file.document.where(("waivers", at, "check")),
                )
            if approvers is not None and one.by not in approvers:
                raise ConfigError(
                    f"waivers[{at}].by: {one.by} is no approver of {environment.name}",
                    fix=f"it takes one of {', '.join(approvers)}"
                    if approvers
                    else f"name approvers of {environment.name} in gitops.yaml",
                    where=file.document.where(("waivers", at, "by")),
                )
            expired = date.fromisoformat(one.until) < today
            yield Waiver(one.check, one.by, one.why, one.until, expired)


def _check_task(one: Asked, task: Task) -> None:
    for name in one.rule.names:
        if task not in METRICS[name].tasks:
            place = "metric" if one.rule.metric else "expression"
            raise ConfigError(
                f"{name} is no metric of a {task} model",
                fix=f"add `task: {METRICS[name].tasks[0]}` to the check, or take another",
                where=one.where(place),
            )
    fairness = one.rule.fairness
    if fairness and fairness.criterion not in CRITERIA[task]:
        raise ConfigError(
            f"{fairness.criterion} is not defined for a {task} model",
            fix=f"add `task: binary` to the check, or write one of {', '.join(CRITERIA[task])}",
            where=one.where("fairness", "criterion"),
        )

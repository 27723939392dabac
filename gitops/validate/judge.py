"""From evidence and a policy to a verdict: all that is asked is computed once, then answered.

Seeded by what is judged (test set, packages, policy): the same evidence gives the same verdict.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from difflib import get_close_matches

from gitops.errors import ConfigError
from gitops.validate import analyses, judge_metrics, judge_signs, stats
from gitops.validate.analyses.data import MISSING, RANGE, UNSEEN
from gitops.validate.analyses.drift import ALARM
from gitops.validate.analyses.leakage import BOUND
from gitops.validate.evidence import Evidence
from gitops.validate.judge_metrics import Numbers
from gitops.validate.judge_signs import Signs
from gitops.validate.model import (
    Check,
    Fairness,
    Finding,
    Measure,
    Slice,
    Table,
    Task,
    Verdict,
    Waiver,
)
from gitops.validate.policy import Asked, Policy
from gitops.validate.policy_kinds import CRITERIA
from gitops.validate.verdict import answer, sealed

Say = Callable[[str], None]
SHOWN: dict[Task, tuple[str, ...]] = {
    "binary": ("roc_auc", "accuracy", "f1", "log_loss", "brier"),
    "multiclass": ("balanced_accuracy", "accuracy", "f1", "log_loss"),
    "regression": ("r2", "mae", "rmse", "bias"),
}
MOST_SLICES = 1000  # the largest ones; each has hundreds of rows, and reports show a few


def judge(evidence: Evidence, policy: Policy, today: date, say: Say) -> Verdict:
    """Answer every check of `policy` for the model of `evidence`.

    Raises:
        ConfigError: the policy asks for what this model or its test set doesn't have, or for
            nothing that could fail.
    """
    asked = policy.of(evidence.task, evidence.model)
    seed = seed_of(evidence, policy)
    each, small, enough = _slices(evidence, policy)
    say(f"{evidence.model}: {evidence.test_set.rows:,} rows, {len(each)} slices")
    numbers = replace(_numbers(evidence, asked, each, small, seed), enough=enough)
    signs = _signs(evidence, policy, asked, seed, say)
    answers = tuple(
        _closed(one, found, policy.waivers)
        for one, found in _answers(evidence, asked, numbers, signs)
    )
    if not answers:
        raise ConfigError(
            f"policy {policy.name} asks nothing of model {evidence.model}, so it could not fail",
            fix="declare the model's `sensitive:` columns, or add a check",
            where=asked[0].where(),
        )
    state, passed = answer(answers)
    main = SHOWN[evidence.task][0]
    overall, sliced = _measures(numbers)
    return sealed(
        Verdict(
            model=evidence.model,
            environment=evidence.environment.name,
            task=evidence.task,
            state=state,
            passed=passed,
            policy=policy.name,
            policy_digest=policy.digest,
            policy_source=policy.source,
            base=evidence.base,
            candidate=evidence.candidate,
            champion=evidence.champion,
            test_set=evidence.test_set,
            notes=(*evidence.notes, *policy.notes, *_notes(evidence, asked, answers)),
            checks=answers,
            measures=overall,
            slices=sliced,
            worst=tuple(
                stats.worst_slices(
                    evidence.table,
                    main,
                    numbers.of(main, Slice()).measure.candidate.estimate,
                    minimum_rows=policy.slices.minimum_rows,
                    seed=seed,
                )
            ),
            fairness=tuple(signs.fairness),
            importance=tuple(signs.importance),
            findings=tuple(signs.findings),
            costs=tuple(signs.costs),
            waivers=policy.waivers,
            waivers_by=policy.waivers_by,
            curves=tuple(stats.curves(evidence.table)),
            changes=evidence.changes,
            date=today.isoformat() if policy.waivers else "",
        )
    )


def _notes(
    evidence: Evidence, asked: Sequence[Asked], answers: Sequence[Check]
) -> Iterator[Finding]:
    if any(one.rule.fairness for one in asked) and not any(c.kind == "fairness" for c in answers):
        text = "gitops.yaml declares no sensitive columns at the base: fairness is not judged"
        yield Finding("fairness-not-judged", "note", text)
    if never := never_predicted(evidence.table):
        yield Finding("class-never-predicted", "note", never)


def never_predicted(table: Table) -> str:
    """That no row is predicted as a class which rows have: accuracy looks good all the same."""
    if table.task == "regression":
        return ""
    names = table.classes
    codes = [1] if table.task == "binary" else list(range(len(names)))
    rows = {code: int((table.label == code).sum()) for code in codes}
    lost = [one for one in codes if rows[one] and not (table.candidate.prediction == one).any()]
    told = [f"{names[one]!r} ({rows[one]:,} have it)" for one in lost[:5]]
    more = f" and {len(lost) - 5} more classes" if len(lost) > 5 else ""
    return f"no test row is predicted {', '.join(told)}{more}" if lost else ""


def seed_of(evidence: Evidence, policy: Policy) -> int:
    """A seed (63 bits) that the same evidence and policy always give."""
    champion = evidence.champion.package if evidence.champion else ""
    parts = (evidence.test_set.identity, evidence.candidate.package, champion, policy.digest)
    return int(hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16], 16) >> 1


# ---------------------------------------------------------------- numbers


def _slices(evidence: Evidence, policy: Policy) -> tuple[tuple[Slice, ...], int, int | None]:
    """The slices that are large enough to be judged, the largest first, and how many aren't.

    Then the number of test rows with which the first of these would be.
    """
    columns = policy.slices.columns
    if columns is None:
        columns = tuple(evidence.table.columns)
    else:
        _require(columns, evidence, policy)
    found = stats.slices_of(
        evidence.table,
        columns,
        minimum_rows=policy.slices.minimum_rows,
        minimum_per_class=policy.slices.minimum_per_class,
        pairs=policy.slices.pairs,
    )
    large = sorted((one for one in found if not one.why), key=lambda one: -one.rows)
    each = tuple(one.slice for one in large[:MOST_SLICES])
    times = min((one.times for one in found if one.why), default=math.inf)
    enough = math.ceil(evidence.table.rows * times) if math.isfinite(times) else None
    return each, len(found) - len(each), enough


def _numbers(
    evidence: Evidence, asked: Sequence[Asked], each: Sequence[Slice], small: int, seed: int
) -> Numbers:
    """Every metric that a check needs, and those that reports show, in as few passes as there are
    sets of slices."""
    table, whole = evidence.table, Slice()
    rules = [one for one in asked if one.rule.names]
    keys = judge_metrics.wanted(rules, table, each)
    shown = SHOWN[evidence.task]
    keys += [(name, whole) for name in shown] + [(shown[0], cut) for cut in each]
    by_slices: dict[str, dict[Slice, None]] = {}
    for name, cut in keys:
        by_slices.setdefault(name, {})[cut] = None
    groups: dict[tuple[Slice, ...], list[str]] = {}
    for name, cuts in by_slices.items():
        groups.setdefault(tuple(cuts), []).append(name)
    found = {}
    for together, names in groups.items():
        for one in stats.measure(table, names, together, seed=seed):
            found[one.measure.metric, one.measure.slice] = one
    champion = evidence.champion
    same = champion is not None and champion.package == evidence.candidate.package
    return Numbers(found, each, small, table.champion is not None, same)


def _measures(numbers: Numbers) -> tuple[tuple[Measure, ...], tuple[Measure, ...]]:
    """What reports show: on all rows, and on slices."""
    every = [one.measure for one in numbers.found.values()]
    whole = tuple(one for one in every if not one.slice.cut)
    return whole, tuple(one for one in every if one.slice.cut)


# ---------------------------------------------------------------- the analyses


def _signs(
    evidence: Evidence, policy: Policy, asked: Sequence[Asked], seed: int, say: Say
) -> Signs:
    table, ours, theirs = evidence.table, evidence.candidate_package, evidence.champion_package
    inputs, base_inputs = evidence.inputs, evidence.base_inputs
    leaks = [one.rule.leakage for one in asked if one.rule.leakage]
    bounds = [one.rule.data for one in asked if one.rule.data]
    say(f"{evidence.model}: looking for leaks, drift and what the model relies on")
    findings = [
        *evidence.findings,
        *analyses.leakage(
            table,
            inputs,
            ours,
            theirs,
            seed=seed,
            single_feature=_least((one.single_feature for one in leaks), BOUND),
        ),
        *analyses.data(
            inputs,
            ours,
            theirs,
            base_inputs,
            seed=seed,
            missing=_least((one.missing for one in bounds), MISSING),
            outside=_least((one.range for one in bounds), RANGE),
            unseen=_least((one.unseen for one in bounds), UNSEEN),
        ),
        *analyses.drift(
            inputs,
            ours,
            base_inputs,
            seed=seed,
            alarm=_least((v for one in bounds for v in (one.drift, one.drift_base)), ALARM),
        ),
    ]
    explained = _explained(evidence, seed)
    say(f"{evidence.model}: measuring size, times and memory")
    hits = evidence.trained_on.get("candidate", 0)
    return Signs(
        fairness=tuple(_fairness(evidence, policy, asked, seed)),
        findings=tuple(findings),
        importance=explained.columns,
        unexplained=explained.why,
        explained_rows=explained.rows,
        costs=analyses.cost(ours, theirs, inputs, seed),
        overlap=hits / evidence.looked_at if evidence.looked_at else 0.0,
        looked_at=evidence.looked_at,
        compared=table.champion is not None,
    )


def _explained(evidence: Evidence, seed: int) -> analyses.Explained:
    """Importances of a package in ONNX; a declared command would be started a hundred times."""
    ours, theirs = evidence.candidate_package, evidence.champion_package
    if ours.session is None:
        return analyses.Explained((), "", 0, "the model is a declared command")
    rival = theirs if theirs is not None and theirs.session is not None else None
    return analyses.importance(evidence.table, evidence.inputs, ours, rival, seed=seed)


def _fairness(
    evidence: Evidence, policy: Policy, asked: Sequence[Asked], seed: int
) -> Iterator[Fairness]:
    """Every criterion for each sensitive column, and for those that a check names."""
    named = [
        column
        for one in asked
        if one.rule.fairness
        for column in judge_signs.columns_of(one, evidence.table, evidence.sensitive)
    ]
    confidence = max((one.confidence for one in asked if one.rule.fairness), default=0.95)
    for column in dict.fromkeys([*evidence.sensitive, *named]):
        found = stats.fairness(
            evidence.table,
            column,
            minimum_rows=policy.slices.minimum_rows,
            minimum_per_class=policy.slices.minimum_per_class,
            level=round(2 * confidence - 1, 12),
            seed=seed,
        )
        yield from (one for one in found if one.criterion in CRITERIA[evidence.task])


def _least(bounds: Iterable[float | None], usual: float) -> float:
    """The lowest bound that is asked for: analyses run once, for all checks."""
    return min((one for one in bounds if one is not None), default=usual)


# ---------------------------------------------------------------- answers


def _answers(
    evidence: Evidence, asked: Sequence[Asked], numbers: Numbers, signs: Signs
) -> Iterator[tuple[Asked, Check]]:
    for one in asked:
        if one.rule.names:
            yield one, judge_metrics.check(one, numbers, evidence.table)
        else:
            for found in judge_signs.checks(one, signs, evidence.table, evidence.sensitive):
                yield one, found


def _closed(one: Asked, found: Check, waivers: Sequence[Waiver]) -> Check:
    """The check with what a waiver says of it, and whether it alone stops the model."""
    about = [each for each in waivers if each.check in (found.id, one.name)]
    if found.state != "PASS" and (valid := [each for each in about if not each.expired]):
        first = valid[0]
        return replace(found, waived=f"{first.by}, until {first.until}: {first.why}")
    why = found.why
    if found.state != "PASS" and about:
        why += f"; the waiver by {about[0].by} expired on {about[0].until}"
    undecided = found.state == "INCONCLUSIVE" and one.on_inconclusive == "block"
    return replace(found, why=why, stops=found.blocking and (found.state == "FAIL" or undecided))


def _require(columns: Sequence[str], evidence: Evidence, policy: Policy) -> None:
    for name in columns:
        if name not in evidence.table.columns:
            known = sorted(evidence.table.columns)
            near = get_close_matches(name, known, 1, 0.4)
            raise ConfigError(
                f"slices.columns: the test set has no slice column {name!r}",
                fix=f"did you mean {near[0]!r}?"
                if near
                else f"there are: {', '.join(known) or 'none'}",
                where=policy.where_slices,
            )

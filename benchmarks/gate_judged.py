"""A table of predictions judged by a policy, and the verdict's reports written.

What `gitops gate` does once the evidence is gathered; the analyses that ask packages and raw inputs
are left out, since the peers have nothing like them.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from gitops.config import Environment
from gitops.validate import judge_metrics, policy, reports, stats, verdict
from gitops.validate.judge_metrics import Numbers
from gitops.validate.model import Judged, Slice, Table, TestSet, Verdict

METRICS = ("accuracy", "f1", "roc_auc", "log_loss", "brier")
# Each of the five must be no worse on all rows, and be shown to be worse in no slice.
POLICY = """\
version: 1
name: five
description: Five metrics on all rows and in every slice.
checks:
""" + "".join(
    f"  - {{metric: {metric}, {each}no_worse_than_champion: {{margin: 0.01}}}}\n"
    for each in ("", "each_slice: true, ")
    for metric in METRICS
)


def write_reports(table: Table, folder: Path) -> Verdict:
    """Statistics, answers, and all reports: JSON, Markdown, HTML, JUnit, SARIF, model card."""
    found = judged(table)
    reports.write([found], folder, more={"verdict.json": str(verdict.document(found))})
    return found


def judged(table: Table) -> Verdict:
    rules = policy.load(
        Environment(name="dev", branch="main", policy="five"),
        {f"{policy.FOLDER}/five.yaml": POLICY}.get,
        "0" * 40,
        first=True,
        today=date(2026, 1, 1),
    )
    asked = rules.of(table.task)
    sized = stats.slices_of(table, list(table.columns))
    each = [one.slice for one in sized if not one.why]
    measured = stats.measure(table, METRICS, [Slice(), *each], seed=1)
    found = {(one.measure.metric, one.measure.slice): one for one in measured}
    numbers = Numbers(found, each, len(sized) - len(each), compared=True)
    answers = tuple(judge_metrics.check(one, numbers, table) for one in asked)
    state, passed = verdict.answer(answers)
    every = [one.measure for one in measured]
    usual = numbers.of("roc_auc", Slice()).measure.candidate.estimate
    model = Judged("1" * 40, "2" * 40, "3" * 64)
    return verdict.sealed(
        Verdict(
            model="bench", environment="dev", task=table.task, state=state, passed=passed,
            policy=rules.name, policy_digest=rules.digest, policy_source=rules.source,
            base=("4" * 40, "5" * 40), candidate=model, champion=model,
            test_set=TestSet("6" * 64, table.rows, 0, False), notes=(), checks=answers,
            measures=tuple(one for one in every if not one.slice.cut),
            slices=tuple(one for one in every if one.slice.cut),
            worst=tuple(stats.worst_slices(table, "roc_auc", usual, seed=1)),
            fairness=(), importance=(), findings=(), costs=(), waivers=(),
            curves=tuple(stats.curves(table)), changes=(),
        )
    )  # fmt: skip

"""A model card for people and for the Hugging Face hub; it lies beside the package, never in it.

Metadata: `model-index`, huggingface.co/docs/hub/model-cards (github.com/huggingface/hub-docs,
modelcard.md). Headings after Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import yaml

from gitops.validate.model import Verdict
from gitops.validate.reports import numbers, words
from gitops.validate.reports.comment import (
    FAIR,
    METRIC,
    SLICED,
    code,
    fairness_row,
    inert,
    metric_row,
    prose,
)
from gitops.validate.reports.text import clean

_TASKS = {"binary": "tabular-classification", "multiclass": "tabular-classification"}
_SLICES = 50
_STATIC = 200_000  # characters of the package's own card


def render(verdict: Verdict, package_card: str = "") -> str:
    """The card; `package_card` is the static one of the package, about use and limits."""
    meta = yaml.safe_dump(_metadata(verdict), sort_keys=False, allow_unicode=True, width=1000)
    head = words.headline(verdict)
    usual = numbers.usual_level(verdict)
    level = f"{numbers.percent(usual)} intervals"
    lines = ["---", meta.rstrip("\n"), "---", "", f"# Model card: {code(verdict.model)}", ""]
    lines += [f"**{head.answer} for {code(verdict.environment)}**: {prose(head.why)}", ""]
    lines += [f"Judged: {prose(words.compared(verdict))}.", ""]
    rows = [metric_row(one, usual, sliced=False) for one in verdict.measures]
    lines += _table(f"Evaluation ({level})", METRIC, rows)
    slices = sorted(verdict.slices, key=words.badness)
    rows = [metric_row(one, usual, sliced=True) for one in slices[:_SLICES]]
    lines += _table(f"Slices, the worst first ({level})", SLICED, rows, len(slices) - len(rows))
    rows = [fairness_row(one, usual) for one in verdict.fairness[:_SLICES]]
    lines += _table(f"Fairness ({level})", FAIR, rows, len(verdict.fairness) - len(rows))
    lines += ["## Limits", "", *_limits(verdict, usual), ""]
    lines += ["## Proof", "", *_proof(verdict), ""]
    if package_card.strip():
        lines += [
            "## Use, inputs and limits, as the package states them",
            "",
            _static(package_card),
        ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _metadata(verdict: Verdict) -> dict[str, object]:
    task = _TASKS.get(verdict.task, "tabular-regression")
    model = clean(verdict.model)
    usual = numbers.usual_level(verdict)
    metrics = [
        {
            "type": clean(one.metric),
            "value": float(f"{one.candidate.estimate:.10g}"),
            "name": f"{clean(one.metric)} {numbers.interval(one.candidate)} at "
            f"{numbers.percent(usual)}, n = {numbers.count(one.rows)}",
        }
        for one in verdict.measures
        if numbers.interval(one.candidate) != numbers.UNDEFINED
    ]
    meta: dict[str, object] = {
        "model_name": model,
        "pipeline_tag": task,
        "tags": ["tabular", task, "gitops"],
    }
    if metrics:
        dataset = {
            "type": "test-set",
            "name": f"Test set of {model}",
            "split": "test",
            "revision": verdict.test_set.identity,
        }
        result = {"task": {"type": task}, "dataset": dataset, "metrics": metrics}
        meta["model-index"] = [{"name": model, "results": [result]}]
    return meta


def _limits(verdict: Verdict, usual: float) -> Iterable[str]:
    rows = numbers.count(verdict.test_set.rows)
    yield f"- The numbers hold for the {rows} rows of this test set."
    if verdict.test_set.excluded:
        rows = numbers.count(verdict.test_set.excluded)
        yield f"- {rows} rows were left out because a model had trained on them."
    for check in words.ordered(verdict.checks)[:_SLICES]:
        if check.state != "PASS":
            text = words.sentence(check, usual)
            yield f"- {prose(text, 1000)}"
    for one in [*verdict.notes, *verdict.findings][:_SLICES]:
        yield f"- {prose(one.text)}"
    for waiver in verdict.waivers:
        yield f"- Waiver of {code(waiver.check)} {prose(words.waiver(waiver), 1000)}"
    groups = dict.fromkeys((one.column, name) for one in verdict.fairness for name in one.left_out)
    for column, name in list(groups)[:_SLICES]:
        yield f"- {code(column)} {code(name)} has too few rows to judge fairness."


def _proof(verdict: Verdict) -> Iterable[str]:
    judged = verdict.candidate
    yield f"- Commit {code(judged.commit)}, package {code(judged.package)}"
    yield f"- Test set {code(verdict.test_set.identity)}"
    yield f"- Policy {code(verdict.policy)}, digest {code(verdict.policy_digest)}"
    yield f"- Verdict {code(verdict.digest)}"


def _table(title: str, head: Sequence[str], rows: Sequence[str], more: int = 0) -> list[str]:
    if not rows:
        return []
    right = ["---:" if name == "Rows" else "---" for name in head]
    lines = [f"## {title}", "", f"| {' | '.join(head)} |", f"| {' | '.join(right)} |", *rows, ""]
    return (
        [*lines, f"{numbers.count(more)} more are in the HTML report.", ""] if more > 0 else lines
    )


def _static(text: str) -> str:
    """The package's card, one level below ours, with no HTML that could act."""
    lines = text[:_STATIC].splitlines()
    shown = "\n".join(clean(line, 2000) if line.strip() else "" for line in lines)
    return re.sub(r"^ {0,3}(#{1,4})(?=\s)", r"##\1", inert(shown), flags=re.MULTILINE)

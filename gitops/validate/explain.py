"""`gitops gate --explain`: what a check means, how it is decided, and where that comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

from gitops import content, yamlfile
from gitops.errors import UsageError, Where
from gitops.validate.judge_words import title
from gitops.validate.policy import Asked, Policy, read_pack
from gitops.validate.policy_checks import Rule
from gitops.validate.policy_kinds import GAPS
from gitops.validate.stats import METRICS

# What each kind of check means, how it is decided, and the source.
KINDS: Mapping[str, tuple[str, ...]] = {
    "no_worse_than_champion": (
        "Non-inferiority: the candidate may be worse than the champion by the margin at most. "
        "The difference is taken on the same rows, so what makes rows hard cancels out.",
        "PASS when the lower end of the one-sided interval of the difference (up is better) is "
        "above minus the margin, FAIL when the upper end is below it, else INCONCLUSIVE, with "
        "the number of rows that would decide. Equal models fail in 5 % of cases or fewer; a "
        "plain `not lower than before` would fail half of them.",
        "Source: Wellek, Testing Statistical Hypotheses of Equivalence and Noninferiority, CRC "
        "2010; for ROC-AUC DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988).",
    ),
    "better_than_champion": (
        "Superiority: the candidate must be shown to be better than the champion by more than "
        "the gain that the policy asks for.",
        "PASS when the lower end of the one-sided interval of the difference (up is better) is "
        "above the gain, FAIL when the upper end is not above it, else INCONCLUSIVE.",
        "Source: as for no_worse_than_champion, with a margin on the other side of 0.",
    ),
    "at_least": (
        "The candidate's own value must be shown to reach the bound; there needs no champion.",
        "PASS when the lower end of its one-sided interval is not below the bound, FAIL when "
        "the upper end is below it, else INCONCLUSIVE.",
    ),
    "at_most": (
        "The candidate's own value must be shown to stay within the bound; there needs no "
        "champion.",
        "PASS when the upper end of its one-sided interval is not above the bound, FAIL when "
        "the lower end is above it, else INCONCLUSIVE.",
    ),
    "each_slice": (
        "In every slice of the slice columns that has enough rows. It FAILs where one slice is "
        "shown to break the bound, with Holm's correction: with 20 slices and equal models an "
        "uncorrected test fails 64 % of the time, this one 5 %. It PASSes when none is shown "
        "to.",
        "A slice that must be shown to be fine is written as `slice: {column: value}`.",
        "Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian "
        "Journal of Statistics 6 (1979).",
    ),
    "expression": (
        "Arithmetic over metrics. Its interval is made of those of its metrics, each at a "
        "higher confidence so that all hold together (Bonferroni), by interval arithmetic: it "
        "may be wider than need be, never narrower. A comparison needs an expression that is "
        "linear.",
    ),
    "fairness": (
        "The largest gap between the groups of a sensitive column. "
        + "; ".join(f"{name}: {text}" for name, text in GAPS.items())
        + ".",
        "PASS when the upper end of the gap's interval is within the bound, FAIL when the lower"
        " end is above it, else INCONCLUSIVE. Groups with too few rows are named and left out; "
        "with fewer than two groups it's not assessable, which is INCONCLUSIVE.",
        "Source: Hardt, Price and Srebro, Equality of Opportunity in Supervised Learning, NIPS "
        "2016; values as in fairlearn.metrics.",
    ),
    "leakage": (
        "Signs that the model is told the answer. single-feature: one column predicts the label"
        " almost alone; target-like: a column is the label under another name; id-like: a "
        "column only names rows; time-order: test rows from before the end of training, though "
        "split by time; overlap: test rows that are training rows, by keyed hashes of whole "
        "rows.",
        "Source: Kaufman, Rosset and Perlich, Leakage in Data Mining, KDD 2011.",
    ),
    "data": (
        "The rows that the model is judged on, against what it was trained on. inputs: every "
        "column is there and of its type; missing, range, unseen: shares of missing values, of "
        "numbers beyond the range of training, of categories that it hadn't; drift and drift-"
        "base: the population stability index against training, and against the base's test "
        "set, less what chance gives.",
        "Source: Yurdakul, Statistical Properties of Population Stability Index, 2018.",
    ),
    "importance": (
        "How much of the model's skill rests on each column: the loss when its values are "
        "shuffled, as a share of all columns' losses. It FAILs when a share differs from the "
        "champion's by more than the bound and the difference is more than chance.",
        "Source: Fisher, Rudin and Dominici, All Models are Wrong, but Many are Useful, JMLR 20"
        " (2019).",
    ),
    "cost": (
        "Size, times and memory of the package; candidate and champion are measured in turns, "
        "in the same run. Times and memory stay out of the verdict's digest: no two runs repeat"
        " them.",
    ),
}
_ALSO = {"no_worse": "no_worse_than_champion", "better": "better_than_champion"}


@dataclass(frozen=True)
class Explained:
    """A name, and what is to be said about it, one paragraph each."""

    name: str
    paragraphs: tuple[str, ...]


def explain(name: str, policy: Policy | None) -> Explained:
    """What a check of `policy` (or of a shipped pack), a metric, or a kind of check means.

    Raises:
        UsageError: there's nothing of that name.
    """
    asked = {one.name: one for one in policy.checks} if policy else {}
    shipped = {rule.name: rule for rule in _shipped()}
    kind = _ALSO.get(name, name)
    whole = name if name in asked or name in shipped else name.partition(":")[0]
    if whole in asked:
        one = asked[whole]
        return Explained(name, (*_settings(one), *_of(one.rule)))
    if whole in shipped:
        text = "It is a check of a shipped pack; the policy here doesn't have it." if policy else ""
        return Explained(name, (*filter(None, (text,)), *_of(shipped[whole])))
    if name in METRICS:
        return Explained(name, tuple(_metric(name)))
    if kind in KINDS:
        return Explained(name, KINDS[kind])
    known = [*asked, *shipped, *METRICS, *KINDS]
    near = get_close_matches(name, known, 1, 0.5)
    raise UsageError(
        f"there's no check, metric or kind of check {name!r}",
        fix=f"did you mean {near[0]}?"
        if near
        else f"for example {', '.join(list(asked or KINDS))}",
    )


def _settings(one: Asked) -> Iterator[str]:
    rule = one.rule
    what = f"{title(one)}. " if rule.names else ""
    if rule.slice:
        what += f"Where {', '.join(f'{c} = {v}' for c, v in rule.slice.items())}. "
    blocks = "It blocks" if rule.blocking else "It is shown only"
    undecided = "blocks too" if one.on_inconclusive == "block" else "warns"
    yield (
        f"{what}{blocks}; undecided it {undecided if rule.blocking else 'is shown'}."
        f" Confidence {one.confidence:g}. Written in {_place(one.where())}."
    )


def _place(where: Where) -> str:
    """A file of the repository with its place; of a shipped pack not where it is installed."""
    file = Path(where.file)
    return f"the pack {file.stem} of gitops" if file.is_absolute() else str(where)


def _of(rule: Rule) -> Iterator[str]:
    for name in rule.names:
        yield from _metric(name)
    kinds = [rule.subject] if not rule.names else [rule.bound]
    kinds += ["expression"] * (rule.expression is not None) + ["each_slice"] * rule.each_slice
    yield from chain.from_iterable(KINDS[kind] for kind in kinds)


def _metric(name: str) -> Iterator[str]:
    metric = METRICS[name]
    better = {True: "more is better", False: "less is better", None: "0 is best"}[metric.up]
    yield (
        f"{name}: {metric.meaning} ({better}; {metric.low:g} to {metric.high:g};"
        f" {', '.join(metric.tasks)}). As in {metric.source}."
    )


def _shipped() -> Iterator[Rule]:
    for path in sorted(content.folder("policies").glob("*.yaml")):
        yield from read_pack(yamlfile.read(path)).checks or ()

"""`python -m benchmarks.gate_coverage [SCENARIO...] [--json FILE]`: are the gate's promises kept?

From populations whose values are known far better than a sample can tell, samples are drawn and
judged. For each metric:

- how often the 95 % interval covers the truth: of the value, and of the paired difference to an
  equal and to a worse candidate (promised: 95 %);
- `block`: an equal candidate fails with a margin of 0 (promised: at most 5 %, less with a margin);
- `pass`: a candidate that is worse by exactly the margin passes (promised: at most 5 %), and one
  that is worse by twice the margin (promised: fewer).

The margin is the true difference, or half of it. All samples of a scenario are slices of one table.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.populations import SCENARIOS, Drawn, Scenario
from gitops.validate.model import Array, Column, Predictions, Slice, Table, Task
from gitops.validate.stats import METRICS, Estimated, decided, measure, names_of
from gitops.validate.stats.distribution import Distribution

BATCH = 100  # samples in one table
COVERED = (0.93, 0.97)
WRONG = 0.06  # 5 %, and two standard errors of a rate of 2,000 samples
_DULL = ("top_10",)  # of ten classes: always right
_SOME = ("quantile_loss_1", "quantile_loss_10", "quantile_loss_50", "quantile_loss_90")


def metrics_of(task: Task) -> list[str]:
    """All, but of the 99 quantile losses a few."""
    return [one for one in names_of(task) if one in _SOME or not one.startswith("quantile_loss_")]


@dataclass(frozen=True)
class Rates:
    """Shares of the samples; None: the metric has no better side.

    `truth` of the champion, `worse` by how much the worse model is so (0 or above). `value`,
    `equal`, `apart`: cover of the value, and of the difference to the equal and to the worse
    candidate. `low`, `high`: the value's truth is beyond its one-sided 95 % bound. `blocked`,
    `passed_at`, `passed_twice`: wrong answers. `blocked_at`: an equal candidate fails though
    the margin is `worse`; `passed_equal`: it passes with it. `unknown`: samples without interval.
    """

    metric: str
    truth: float
    worse: float | None
    value: float
    low: float
    high: float
    equal: float
    apart: float
    blocked: float | None
    blocked_at: float | None
    passed_equal: float | None
    passed_at: float | None
    passed_twice: float | None
    unknown: float

    @property
    def off(self) -> list[str]:
        """What isn't as promised."""
        covers = {"value": self.value, "equal": self.equal, "worse": self.apart}
        wrong = {
            "low": self.low, "high": self.high,
            "block": self.blocked, "pass": self.passed_at, "pass twice": self.passed_twice,
        }  # fmt: skip
        found = [n for n, one in covers.items() if not COVERED[0] <= one <= COVERED[1]]
        return found + [n for n, one in wrong.items() if one is not None and one > WRONG]


def rates(
    scenario: Scenario, metrics: Sequence[str], *, rows: int, seeds: int, seed: int = 1
) -> list[Rates]:
    rng = np.random.default_rng(seed)
    whole = scenario.draw(rng, scenario.population)
    known = {
        one.measure.metric: one
        for one in measure(_table(scenario, whole, whole.worse, 1), metrics, [Slice()], seed=0)
    }
    del whole
    seen: dict[str, list[list[float]]] = {name: [] for name in metrics}
    for start in range(0, seeds, BATCH):
        many = min(BATCH, seeds - start)
        drawn = scenario.draw(rng, rows * many)
        slices = [Slice((("sample", str(number)),)) for number in range(many)]
        equal, worse = (
            measure(
                _table(scenario, drawn, candidate, many),
                metrics, slices, seed=start, level=0.95, resamples=1000,
            )
            for candidate in (drawn.equal, drawn.worse)
        )  # fmt: skip
        for one, other in zip(equal, worse, strict=True):
            name = one.measure.metric
            seen[name].append(_answers(one, other, known[name]))
    return [_rates(name, known[name], np.array(seen[name])) for name in metrics]


def _answers(equal: Estimated, worse: Estimated, known: Estimated) -> list[float]:
    """Of one sample, in the order of `Rates`; NaN: not known."""
    assert known.champion is not None and known.difference is not None
    truth, apart = known.champion.value, known.difference.value
    covers = [_covers(equal.champion, truth), *_beyond(equal.champion, truth)]
    covers += [_covers(equal.difference, 0.0), _covers(worse.difference, apart)]
    if known.up is None:
        return [*covers, *[np.nan] * 5]
    margin = abs(apart)
    one, other = equal.oriented, worse.oriented
    if known.oriented is not None and known.oriented.value > 0 and other is not None:
        other = other.flipped()  # by this metric the champion is the worse one
    return [
        *covers,
        _is(one, 0.0, "FAIL"),
        _is(one, -margin, "FAIL"),
        _is(one, -margin, "PASS"),
        _is(other, -margin, "PASS"),
        _is(other, -margin / 2, "PASS"),
    ]


def _covers(side: Distribution | None, truth: float) -> float:
    if side is None or (found := side.interval(0.95)).lower is None or found.upper is None:
        return np.nan
    return found.lower <= truth <= found.upper


def _beyond(side: Distribution | None, truth: float) -> list[float]:
    """Is the truth below the lower bound, above the upper one?"""
    if side is None or (found := side.interval(0.9)).lower is None or found.upper is None:
        return [np.nan, np.nan]
    return [found.lower > truth, found.upper < truth]


def _is(side: Distribution | None, bound: float, state: str) -> float:
    return side is not None and decided(side.interval(0.9), bound, "above") == state


def _rates(name: str, known: Estimated, seen: Array) -> Rates:
    assert known.champion is not None and known.difference is not None
    unknown = float(np.isnan(seen[:, :5]).any(axis=1).mean())
    covers, wrong = np.nanmean(seen[:, :5], axis=0), seen[:, 5:].mean(axis=0)
    judged = known.up is not None
    worse = abs(known.difference.value) if judged else None
    answers = [float(one) if judged else None for one in wrong]
    value, low, high, equal, apart = map(float, covers)
    blocked, blocked_at, passed_equal, passed_at, passed_twice = answers
    return Rates(
        name, known.champion.value, worse, value, low, high, equal, apart, blocked, blocked_at,
        passed_equal, passed_at, passed_twice, unknown,
    )  # fmt: skip


def _table(scenario: Scenario, drawn: Drawn, candidate: Predictions, samples: int) -> Table:
    score = drawn.champion.score
    classes: tuple[str, ...] = () if score is None else ("0", "1")
    if score is not None and score.ndim == 2:
        classes = tuple(str(number) for number in range(score.shape[1]))
    codes = np.repeat(np.arange(samples, dtype=np.int32), len(drawn.label) // samples)
    column = Column(codes, tuple(str(number) for number in range(samples)))
    return Table(
        scenario.task, classes, drawn.label, candidate, drawn.champion, drawn.weight,
        columns={"sample": column},
    )  # fmt: skip


# ---------------------------------------------------------------- the report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate_coverage", description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=[*SCENARIOS], metavar="SCENARIO")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--metrics", help="by commas; default: all, but a few of the quantiles")
    parser.add_argument("--json", type=Path, help="write the rates there too")
    options = parser.parse_args()
    began = time.process_time()
    print(f"{options.seeds} samples of {options.rows} rows, in %; ! marks what isn't as promised\n")
    print(f"| {' | '.join(_HEADS)} |\n| {' | '.join('---' for _ in _HEADS)} |")
    every: dict[str, list[Rates]] = {}
    for name in options.scenarios:
        scenario = SCENARIOS[name]
        metrics = options.metrics.split(",") if options.metrics else metrics_of(scenario.task)
        metrics = [
            one
            for one in dict.fromkeys(metrics)
            if scenario.task in METRICS[one].tasks and one not in _DULL
        ]
        every[name] = rates(scenario, metrics, rows=options.rows, seeds=options.seeds)
        for one in every[name]:
            print(_line(name, one), flush=True)
        if options.json:
            _write(options.json, options.rows, options.seeds, every)
    print("", *_summary(every), f"{time.process_time() - began:.0f} CPU seconds", sep="\n")


def _write(path: Path, rows: int, seeds: int, every: dict[str, list[Rates]]) -> None:
    """After each scenario: the whole takes half an hour."""
    found = {name: [asdict(one) for one in each] for name, each in every.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"rows": rows, "seeds": seeds, "rates": found}
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


_HEADS = (
    "data", "metric", "truth", "worse by", "cover: value", "equal", "worse", "below low",
    "above high", "block equal", "pass at margin", "pass at twice", "equal: block", "pass",
)  # fmt: skip


def _line(name: str, one: Rates) -> str:
    shares = (
        one.value, one.equal, one.apart, one.low, one.high, one.blocked, one.passed_at,
        one.passed_twice, one.blocked_at, one.passed_equal,
    )  # fmt: skip
    marked = dict(zip(("value", "equal", "worse", "low", "high", "block", "pass", "pass twice"),
                      range(8), strict=False))  # fmt: skip
    texts = ["" if share is None else f"{100 * share:.1f}" for share in shares]
    for each in one.off:
        texts[marked[each]] += "!"
    worse = "" if one.worse is None else f"{one.worse:.4f}"
    return f"| {' | '.join([name, one.metric, f'{one.truth:.4f}', worse, *texts])} |"


def _summary(every: dict[str, list[Rates]]) -> Iterator[str]:
    """Over all data and metrics: shares that are as promised, and their extremes."""
    flat = [one for each in every.values() for one in each]
    for what in ("value", "equal", "apart"):
        found = np.array([getattr(one, what) for one in flat])
        inside = int(((found >= COVERED[0]) & (found <= COVERED[1])).sum())
        span = f"{100 * found.min():.1f} to {100 * found.max():.1f} %"
        yield f"cover, {what}: {inside} of {len(found)} within 93 to 97 %; {span}"
    for what in ("low", "high", "blocked", "passed_at", "passed_twice", "blocked_at"):
        found = np.array([one for each in flat if (one := getattr(each, what)) is not None])
        inside = int((found <= WRONG).sum())
        yield f"wrong, {what}: {inside} of {len(found)} within 6 %; up to {100 * found.max():.1f} %"


if __name__ == "__main__":
    main()

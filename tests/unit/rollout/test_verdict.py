"""Units to a verdict, and what it says."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from gitops.config.serving import Guardrails, Rollout
from gitops.rollout import Evidence, Pairs, Split, Verdict, judge, record, words
from gitops.rollout.verdict import levels

NONE = np.zeros(0)
NO_PAIRS, NO_SPLIT = Pairs(NONE, NONE), Split(NONE, NONE, NONE)
STEPS = (5, 25, 50)


def evidence(*counts: int, worse: float = 0.0, base: float = 0.8, seed: int = 1) -> Evidence:
    """`counts` units at each of the shares 5, 25 and 50 %, all labelled."""
    rng = np.random.default_rng(seed)
    share = np.repeat(np.array(STEPS[: len(counts)]) / 100, counts)
    arm = (rng.random(len(share)) < share).astype(float)
    outcome = (rng.random(len(share)) < base - worse * arm).astype(float)
    arms = {}
    for step, one in zip(STEPS, np.split(arm, np.cumsum(counts)[:-1]), strict=False):
        arms[step] = (int((1 - one).sum()), int(one.sum()))
    return Evidence(arms, 0, Split(arm, share, outcome), NO_PAIRS, int(arm.sum()))


def judged(found: Evidence, **settings: object) -> Verdict:
    rollout = Rollout.model_validate({"steps": list(STEPS), "margin": 0.05, **settings})
    return judge(found, rollout, metric="accuracy", span=(0, 1))


def test_steps_are_walked_one_after_the_other() -> None:
    for counts, step in (((0,), 0), ((199,), 0), ((200,), 1), ((200, 200), 2), ((200,) * 3, 2)):
        verdict = judged(evidence(*counts))
        assert (verdict.state, verdict.step) == ("go_on", step)
    assert judged(evidence(150)).needs is not None
    assert judged(evidence(150)).why.startswith("go on after 150 units: accuracy ")
    assert judged(evidence(0)).why == "go on after 0 units"


def test_an_equal_one_is_promoted_and_a_worse_one_rolled_back() -> None:
    good = judged(evidence(200, 200, 8000))
    assert (good.state, good.reason, good.step, good.needs) == ("promote", "not_worse", None, None)
    assert good.why.startswith("not worse in accuracy by 0.05: ")
    assert good.bounds[0].lower > -0.05
    bad = judged(evidence(200, 200, 2000, worse=0.15))
    assert (bad.state, bad.reason) == ("rollback", "worse")
    assert "\n" not in bad.why and bad.bounds[0].upper < 0


def test_a_good_one_waits_for_its_steps() -> None:
    found = evidence(1, 1, 6000, worse=-0.1)
    assert judged(found).reason == "steps"
    assert judged(found).step == 0
    assert judged(found, steps=[50]).state == "promote"


def test_worse_within_the_margin_is_worse_once_it_is_sure() -> None:
    verdict = judged(evidence(200, 200, 19_000, worse=0.1), margin=0.2, until=20_000)
    assert verdict.bounds[0].lower > -0.2
    assert (verdict.state, verdict.reason) == ("rollback", "worse")


@pytest.mark.parametrize("what", ["rollback", "promote"])
def test_undecided_is_what_the_configuration_says_and_is_named_so(what: str) -> None:
    verdict = judged(evidence(200, 200, 300), until=700, undecided=what)
    assert (verdict.state, verdict.reason) == (what, "undecided")
    assert verdict.why.startswith("undecided after 700 units")
    assert verdict.why.endswith(f"{what} as configured")


@pytest.mark.parametrize("name", ["errors", "slow"])
def test_a_broken_guardrail_rolls_back_at_once_whatever_else_is_found(name: str) -> None:
    fine = replace(evidence(200, 200, 8000), answers=1000, failed=10, slow=10)
    assert judged(fine).state == "promote"
    broken = replace(fine, failed=40) if name == "errors" else replace(fine, slow=40)
    for labels in (True, False):
        verdict = judged(broken, labels=labels)
        assert (verdict.state, verdict.reason) == ("rollback", name)
        assert "40 of 1000 answers" in verdict.why
    assert judged(broken, guardrails=Guardrails(errors=0.1, slow=0.1)).state == "promote"


def test_without_labels_counts_and_guardrails_judge() -> None:
    found = replace(evidence(200, 200, 150), split=NO_SPLIT)
    assert judged(found).step == 0
    verdict = judged(found, labels=False)
    assert (verdict.state, verdict.step, verdict.needs) == ("go_on", 2, 50)
    verdict = judged(replace(evidence(200, 200, 200), split=NO_SPLIT), labels=False)
    assert (verdict.state, verdict.reason, verdict.metric) == ("promote", "guarded", None)
    assert verdict.bounds == ()


def test_arms_without_their_shares_are_unusable() -> None:
    found = replace(evidence(200, 200, 8000), arms={50: (1500, 2500)})
    assert (judged(found).state, judged(found).reason) == ("unusable", "ratio")
    assert judged(found).why.startswith("unusable evidence")


def test_labels_that_come_for_one_arm_only_are_unusable() -> None:
    whole = evidence(200, 200, 8000)
    kept = (whole.split.challenger == 1) | (np.arange(8400) % 2 == 0)
    one = whole.split
    fewer = Split(one.challenger[kept], one.share[kept], one.outcome[kept])
    verdict = judged(replace(whole, split=fewer))
    assert (verdict.state, verdict.reason) == ("unusable", "labels")


def test_pairs_and_split_may_each_decide_at_half_the_level() -> None:
    rng = np.random.default_rng(7)
    right = (rng.random(3000) < 0.8).astype(float)
    pairs = Pairs(np.where(rng.random(3000) < 0.05, 1 - right, right), right)
    steps = {"steps": ["shadow", 5, 25, 50]}
    shadowed = replace(evidence(0), pairs=pairs, shadowed=3000)
    verdict = judged(shadowed, **steps)
    assert (verdict.state, verdict.step) == ("rollback", None)  # right answers only get lost
    fair = Pairs(np.where(rng.random(3000) < 0.05, right[::-1], right), right)
    verdict = judged(replace(shadowed, pairs=fair), **steps)
    assert (verdict.state, verdict.step) == ("go_on", 1)
    assert verdict.bounds[0].lower > -0.05
    assert verdict.needs == 600
    done = replace(evidence(200, 200, 200), pairs=fair)
    assert judged(done, **steps).state == "promote"
    assert judged(done, steps=list(STEPS)).state == "go_on"


def test_alpha_is_shared_out_in_total() -> None:
    both = levels(Rollout(steps=("shadow", 5), alpha=0.08))
    assert 2 * both.promote == pytest.approx(0.08)
    assert 2 * both.rollback + 2 * both.guard + 2 * both.ratio == pytest.approx(0.08)
    one = levels(Rollout(steps=(50,), alpha=0.08))
    assert one.promote == pytest.approx(0.08)
    assert one.rollback + 2 * one.guard + 2 * one.ratio == pytest.approx(0.08)
    none = levels(Rollout(steps=(50,), alpha=0.08, labels=False))
    assert 2 * none.guard + none.ratio == pytest.approx(0.08)


def test_outcomes_without_bounds_are_judged_asymptotically() -> None:
    whole = evidence(200, 200, 8000)
    rng = np.random.default_rng(8)
    money = replace(whole, split=replace(whole.split, outcome=rng.gamma(1, 1, 8400)))
    rollout = Rollout(steps=STEPS, margin=0.2)
    verdict = judge(money, rollout, metric="value")
    assert verdict.state == "promote"
    assert math.isfinite(verdict.bounds[0].upper)
    few = replace(evidence(90), split=replace(evidence(90).split, outcome=rng.gamma(1, 1, 90)))
    verdict = judge(few, rollout, metric="value")
    assert verdict.bounds[0].lower == -math.inf


def test_needs_names_about_what_it_takes() -> None:
    """From an estimate that happens to be the truth, the named number decides in about half."""
    small = evidence(200, 200, 600, seed=3)
    needs = judged(small).needs
    assert needs is not None
    more = [judged(evidence(200, 200, 600 + 2 * needs, seed=seed)).state for seed in range(10)]
    fewer = [judged(evidence(200, 200, 600 + needs // 8, seed=seed)).state for seed in range(10)]
    assert more.count("promote") > fewer.count("promote")


def test_the_record_is_json_and_words_are_lines() -> None:
    for verdict in (judged(evidence(0)), judged(evidence(200, 200, 8000))):
        text = json.dumps(record(verdict), allow_nan=False)
        assert json.loads(text)["state"] == verdict.state
        lines = list(words(verdict))
        assert lines[0].startswith(verdict.state.replace("_", " "))
        assert len(lines) == 4 and all("\n" not in line for line in lines)

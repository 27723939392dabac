"""What is done about a model, by what is wanted, served and under way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitops.config.serving import Rollout
from gitops.deploy import decide
from gitops.deploy.model import Release, Served, Under, plan_of, under_of
from tests.unit.deploy.releases import (
    ALONE,
    NAMES,
    NEW,
    NEWER,
    OLD,
    SERVE,
    SPLIT,
    STEPS,
    UNDER,
    decided,
    release,
    variant,
)


def test_the_first_version_is_served_at_once() -> None:
    assert decided(OLD, None).kind == "first"


def test_what_runs_as_assigned_is_left_alone() -> None:
    assert decided(OLD, ALONE).kind == "nothing"


def test_the_same_package_assigned_anew_needs_no_rollout() -> None:
    again = replace(OLD, assignment="late#production#9")
    assert decided(again, ALONE).kind == "settle"


def test_other_settings_are_taken_without_a_rollout() -> None:
    assert decided(OLD, replace(ALONE, serve={})).kind == "settle"


def test_a_new_version_goes_by_the_steps() -> None:
    assert decided(NEW, ALONE).kind == "roll_out"


@pytest.mark.parametrize(
    ("what", "policy", "held"),
    [
        (NEW, Rollout(), ""),  # the environment has no steps
        (NEW, STEPS, "complaints (hold/production/1)"),
        (release("v1.1.9", 9), STEPS, ""),
        (release("v1.2.0-rc.1", 9), STEPS, ""),
    ],
)
def test_without_steps_held_or_older_it_is_at_once(
    what: Release, policy: Rollout, held: str
) -> None:
    assert decided(what, ALONE, policy=policy, held=held).kind == "swap"


def test_versions_are_compared_as_numbers() -> None:
    assert release("v1.9.0", 1).before("late@v1.10.0")
    assert not release("v1.10.0", 1).before("late@v1.9.0")
    assert release("v1.10.0-rc.9", 1).before("late@v1.10.0-rc.10")
    assert release("v1.10.0-rc.10", 1).before("late@v1.10.0")
    assert not OLD.before(OLD.name)


def test_a_rollout_under_way_goes_on() -> None:
    assert decided(NEW, SPLIT, UNDER).kind == "go_on"
    # By the policy that it began with: another one doesn't decide in the middle.
    assert decided(NEW, SPLIT, UNDER, policy=Rollout()).kind == "go_on"
    assert decided(NEW, SPLIT, UNDER, held="a hold").kind == "go_on"


def test_interrupted_tests_are_made_again() -> None:
    assert decided(NEW, ALONE, replace(UNDER, phase="testing")).kind == "roll_out"
    assert decided(NEW, SPLIT, replace(UNDER, phase="testing")).kind == "roll_out"


def test_a_newer_version_supersedes_the_challenger() -> None:
    found = decided(NEWER, SPLIT, UNDER)
    assert (found.kind, found.gone) == ("roll_out", "superseded by late@v1.4.0")


def test_a_rollback_by_hand_ends_the_rollout() -> None:
    back = replace(OLD, assignment="late#production#9")
    found = decided(back, SPLIT, UNDER, held="complaints")
    assert (found.kind, found.gone) == ("settle", "rolled back by hand: late#production#9")


def test_our_own_rollback_keeps_the_reason_of_its_verdict() -> None:
    back = replace(OLD, assignment="late#production#9")
    undoing = replace(UNDER, phase="undoing", why="worse by 0.03")
    found = decided(back, ALONE, undoing, held="worse by 0.03")
    assert (found.kind, found.gone) == ("settle", "worse by 0.03")


def test_a_rollback_whose_push_failed_is_tried_again_and_never_rolled_out_anew() -> None:
    undoing = replace(UNDER, phase="undoing", why="worse by 0.03")
    assert decided(NEW, ALONE, undoing) == decide.Decision("undo", "worse by 0.03")


def test_killed_between_plan_and_state_the_plan_is_right() -> None:
    # Rolled back: the plan has the champion alone, the state still says `stepping`.
    assert decided(NEW, ALONE, UNDER).kind == "undo"
    # Promoted: the plan has the challenger as champion.
    assert decided(NEW, Served(variant(NEW), SERVE), UNDER).kind == "settle"


def test_a_model_that_the_environment_no_longer_has_goes() -> None:
    gone = "the environment no longer has this model"
    assert decided(None, SPLIT, UNDER) == decide.Decision("remove", gone, gone)
    assert decided(None, None).kind == "nothing"


# ---------------------------------------------------------------- the plan


def test_a_challenger_is_loaded_without_traffic_then_steps() -> None:
    loaded = decide.loaded(ALONE, variant(NEW), SERVE)
    assert (loaded.share, loaded.shadow) == (0, False)
    shares = [
        (one.share, one.shadow, one.key, one.salt)
        for one in (decide.stepped(loaded, replace(UNDER, step=at)) for at in range(3))
    ]
    assert shares == [
        (None, True, "carrier", "late#production#8"),
        (5, False, "carrier", "late#production#8"),
        (50, False, "carrier", "late#production#8"),
    ]


def test_plans_and_rollouts_come_back_as_they_were_written() -> None:
    plan = decide.with_model(None, "late", SPLIT, NAMES)
    assert plan.generation == 1
    assert plan_of(plan.as_json()) == plan
    assert under_of(UNDER.as_json()) == UNDER


def test_other_models_stay_in_the_plan() -> None:
    plan = decide.with_model(None, "late", ALONE, NAMES)
    both = decide.with_model(plan, "early", SPLIT, NAMES)
    assert (both.generation, list(both.models)) == (2, ["early", "late"])
    assert dict(decide.with_model(both, "late", None, NAMES).models) == {"early": SPLIT}


@pytest.mark.parametrize("phase", ["testing", "stepping", "undoing"])
def test_every_phase_has_words(phase: str) -> None:
    assert decide.shown(Under(NEW, variant(OLD), STEPS, phase, "t", 1))  # type: ignore[arg-type]
    assert decide.shown(UNDER) == "step 2 of 3: 5 %"

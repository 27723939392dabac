"""Numbers, somebody else's text, and drawings of characters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.validate import figures, reports
from gitops.validate.model import Finding, Interval, State, Verdict
from gitops.validate.reports import drawing, html, numbers, words
from gitops.validate.reports.text import LONG, clean, fit, width
from tests.unit.validate import verdicts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Interval(0.73123, 0.7278, 0.7346), "0.7312 [0.7278, 0.7346]"),
        (Interval(0.5, 0.45, 0.55), "0.500 [0.450, 0.550]"),
        (Interval(15345.2, 15225.0, 15465.0), "15,345 [15,225, 15,465]"),
        (Interval(-0.0, -0.001, 0.001), "0.0000 [−0.0010, 0.0010]"),
        (Interval(-0.00001, -0.01, 0.01), "0.000 [−0.010, 0.010]"),
        (Interval(1.3e-18, -0.00027, 0.00027), "0.00000 [−0.00027, 0.00027]"),
        (Interval(1.3e-18, -2e-17, 2e-17), "1.3e-18 [−2e-17, 2e-17]"),
        (Interval(0.25), "0.2500"),
        (Interval(12.0), "12"),
        (Interval(3e12, 2.9e12, 3.1e12), "3e+12 [2.9e+12, 3.1e+12]"),
        (Interval(1.0, 0.99, 1.0), "1.0000 [0.9900, 1.0000]"),
        (Interval(None), "not defined"),
        (Interval(math.nan, math.nan, math.nan), "not defined"),
        (Interval(0.5, -math.inf, math.inf), "0.5000 [−∞, ∞]"),
    ],
)
def test_an_interval_says_as_many_digits_as_its_width_supports(value: Interval, text: str) -> None:
    assert numbers.interval(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Interval(-0.004, -0.00996, 0.002), "−0.00400 [−0.00996, 0.00200]"),
        (Interval(-0.016, -0.022, -0.010001), "−0.016000 [−0.022000, −0.010001]"),
        (Interval(-0.004, -0.01, 0.002), "−0.0040 [−0.0100, 0.0020]"),
    ],
)
def test_no_end_is_rounded_onto_its_bound_or_over_it(value: Interval, text: str) -> None:
    assert numbers.interval(value, bound=-0.01) == text


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_number_in_a_sentence_stays_on_its_side_of_the_bound(value: float, bound: float) -> None:
    shown = float(figures.beside(value, bound).replace(",", "").replace("−", "-"))
    assert figures.side(shown, bound) == figures.side(value, bound)


def test_bounds_are_written_as_people_write_them() -> None:
    bounds = (0.01, 1e7, 2.5e9, 1e-7, -0.005, 0.0, 1e-12)
    shown = "0.01 10,000,000 2,500,000,000 0.0000001 −0.005 0 1e−12"
    assert " ".join(figures.plain(bound) for bound in bounds) == shown
    assert [figures.about(rows) for rows in (7, 99, 101, 31_008)] == ["7", "99", "110", "32,000"]


def test_a_difference_carries_its_sign_and_an_odd_level_its_level() -> None:
    value = Interval(0.0031, -0.0012, 0.0074, 0.95)
    assert numbers.interval(value, signed=True) == "+0.0031 [−0.0012, +0.0074]"
    assert numbers.interval(value, usual=0.9) == "0.0031 [−0.0012, 0.0074] at 95%"
    assert numbers.interval(value, usual=0.95) == "0.0031 [−0.0012, 0.0074]"


@given(st.floats(), st.floats(), st.floats())
def test_no_number_is_minus_zero_or_nan(estimate: float, lower: float, upper: float) -> None:
    for value in (Interval(estimate, lower, upper), Interval(estimate)):
        text = numbers.interval(value, signed=True)
        assert "nan" not in text
        for part in text.strip("]").replace("[", "").replace(",", "").split():
            assert part not in ("−0", "+0") and not part.startswith(("−0.0000 ", "+0.0000 "))
    assert figures.plain(-0.0) == "0"


def test_costs_are_in_units_that_can_be_read() -> None:
    assert numbers.size(1_234_567, "bytes") == "1.23 MB"
    assert numbers.size(999, "bytes") == "999 bytes"
    assert numbers.size(0.07421, "ms") == "0.0742 ms"
    assert numbers.size(0.0, "ms") == "0 ms"


@pytest.mark.parametrize("text", verdicts.HOSTILE)
def test_what_others_wrote_becomes_one_visible_line(text: str) -> None:
    shown = clean(text)
    assert shown.strip() == shown != ""
    assert len(shown) <= 2 * LONG + 1
    assert all(char.isprintable() or char in "\u200c\u200d\ufe0e\ufe0f" for char in shown)
    assert "##vso[" not in shown and not shown.startswith("::")


def test_invisible_characters_are_shown_by_their_number() -> None:
    assert clean("a\x00b") == r"a\u{0000}b"
    assert clean("\u202etxt") == r"\u{202e}txt"
    assert clean("\ud800") == r"\u{d800}"
    assert clean(" two\r\n lines\u2028here ") == "two lines here"
    assert clean("##VSO[x] ##[error]y") == r"\u{0023}#VSO[x] \u{0023}#[error]y"
    assert clean("a::b ::error::c") == r"a::b \u{003a}:error::c"
    assert clean("x" * 10_000) == "x" * (LONG // 2) + "…" + "x" * (LONG // 2 - 1)


@given(st.text(max_size=200), st.integers(3, 60))
def test_a_name_fits_its_cells_exactly(text: str, cells: int) -> None:
    assert width(fit(clean(text), cells)) == cells


def test_a_long_name_keeps_both_ends() -> None:
    villages = "the region north of the river, with all of its villages and towns " * 3
    assert clean(f"{villages}A") != clean(f"{villages}B")
    shown = fit("roc_auc no worse (carrier = AA)", 20)
    assert shown.startswith("roc_auc") and shown.endswith("= AA)") and "…" in shown


@pytest.mark.parametrize(
    ("lower", "estimate", "upper", "side"),
    [
        (0.01, 0.02, 0.03, "right"),
        (-0.0099, 0.0, 0.03, "right"),
        (-0.09, -0.08, -0.07, "left"),
        (-0.09, -0.08, -0.0101, "left"),
        (-0.0101, -0.009, 0.01, "both"),
    ],
)
def test_the_bound_is_always_in_the_middle(
    lower: float, estimate: float, upper: float, side: str
) -> None:
    check = verdicts.no_worse(verdicts.measure("roc_auc", (), 100, 0.0))
    drawn = drawing.of_check(replace(check, value=Interval(estimate, lower, upper)))
    middle = drawing.CELLS // 2
    assert len(drawn) == drawing.CELLS
    assert drawn[middle] in "┃╂"
    assert (drawn[:middle].strip() != "") == (side != "right")
    assert (set(drawn[middle + 1 :]) & set("─●├┤") != set()) == (side != "left")


def test_a_check_that_must_stay_below_passes_on_the_right_too() -> None:
    (parity,) = [check for check in verdicts.rich().checks if check.kind == "fairness"]
    assert drawing.of_check(parity).index("●") > drawing.CELLS // 2
    worse = [check for check in verdicts.failing().checks if check.kind == "fairness"]
    assert drawing.of_check(worse[0]).index("●") < drawing.CELLS // 2


@given(st.floats(), st.floats(), st.floats(), st.floats())
def test_any_number_can_be_drawn(bound: float, lower: float, value: float, upper: float) -> None:
    check = verdicts.no_worse(verdicts.measure("roc_auc", (), 100, 0.0))
    for kind in ("no_worse", "bound"):
        odd = replace(check, kind=kind, bound=bound, value=Interval(value, lower, upper))
        assert len(drawing.of_check(odd)) in (0, drawing.CELLS)
    scale = drawing.common([odd.value, Interval(0.0)], zero=lower < 0)
    assert scale is not None and math.isfinite(scale.share(value if value == value else 0))


def test_the_headline_is_the_answer_of_the_exit_code() -> None:
    assert words.headline(verdicts.better()).answer == "Go"
    assert words.headline(verdicts.failing()).answer == "No go"
    assert "and 5 more checks" in words.headline(verdicts.failing()).why
    assert words.headline(verdicts.undecided()).answer == "Undecided, so no go"
    assert words.headline(verdicts.undecided(passed=True)).answer == "Go, with open questions"
    open_ = words.headline(verdicts.undecided(passed=True)).why
    assert "“roc_auc no worse than the champion” undecided (does not block)" in open_
    assert "; and 3 more that don't pass; 1 alarm." in open_
    assert "first model" in words.headline(verdicts.first_model()).why


def test_nothing_open_is_hidden_behind_a_go() -> None:
    good = verdicts.better()
    fails = replace(good.checks[0], state="FAIL", stops=False)
    for some in (
        replace(good, checks=(replace(fails, blocking=False), *good.checks[1:])),
        replace(good, checks=(replace(fails, waived="agreed"), *good.checks[1:])),
        replace(good, findings=(Finding("drift", "alarm", "it moved"),)),
        replace(good, champion=None, checks=good.checks[-1:]),
        replace(good, notes=verdicts.rich().notes),
    ):
        assert words.headline(some).answer == "Go, with open questions"
        assert words.todo(some).startswith("decide whether what is open below is acceptable")
    assert words.todo(good).startswith("it may go on: nothing in the policy of production is")
    noted = replace(good, notes=(Finding("work-tree-dirty", "note", "not committed"),))
    assert words.headline(noted).answer == "Go"
    assert words.todo(noted).endswith("what is noted below about this judgement.")
    assert words.todo(verdicts.failing()).startswith("send it back.")
    assert words.todo(verdicts.undecided()).startswith("don't let it through as it is.")


def test_a_change_that_leaves_the_model_as_it_is_says_so() -> None:
    good = verdicts.better()
    same = replace(good, candidate=replace(good.candidate, package="9" * 64))
    assert "the package is the champion's, byte for byte" in words.headline(same).why
    assert "byte for byte" not in words.headline(good).why


@pytest.mark.parametrize("state", ["PASS", "FAIL"])
def test_an_alarm_that_a_check_tells_is_told_once(state: State) -> None:
    good, text = verdicts.better(), "the candidate was trained on 3 rows"
    told = replace(good.checks[0], state=state, why=text, stops=False)
    alarm = Finding("leakage-train-test-overlap", "alarm", text)
    assert words.alarms(replace(good, findings=(alarm,))) == [alarm]
    assert words.alarms(replace(good, findings=(alarm,), checks=(told, *good.checks))) == []


@pytest.mark.parametrize("make", [verdicts.failing, verdicts.undecided])
def test_a_no_says_who_may_overrule_it(make: Callable[[], Verdict]) -> None:
    no = make()
    assert "waived in the policy by someone who answers for it, in a" in words.todo(no)
    leads = words.todo(replace(no, waivers_by=("@ana", "@acme/ml-leads")))
    assert f"by an approver of {no.environment} (@ana, @acme/ml-leads), in a" in leads
    assert "(gitops.yaml names none)" in words.todo(replace(no, waivers_by=()))


def test_a_pass_that_its_interval_does_not_show_is_explained_and_not_drawn() -> None:
    (check,) = [one for one in verdicts.rich().checks if one.id == "no-worse-roc_auc"]
    assert words.shows_pass(check) and drawing.of_check(check)
    worst = replace(check, value=Interval(-0.02, -0.03, -0.011), why="none is shown to break it")
    shown = replace(verdicts.better(), checks=(check, worst))
    assert words.ordered(shown.checks)[0] is worst
    assert drawing.of_check(worst) == "" and not words.shows_pass(worst)
    for text in (reports.markdown([shown]), reports.terminal([shown]), html.page(shown)):
        assert text.count("none is shown to break it") == 1


def test_what_was_not_judged_counts_as_nothing() -> None:
    first = replace(verdicts.first_model(), findings=())
    assert words.headline(first).why.startswith("The only check passes; the first model")
    assert words.state(verdicts.first_model().checks[0]) == "not judged"


def test_what_blocks_comes_first_and_what_passes_last() -> None:
    checks = verdicts.failing().checks
    waived = replace(checks[0], waived="agreed", stops=False)
    advice = replace(checks[1], blocking=False, stops=False)
    order = [words.status(one) for one in words.ordered([*checks[5:7], advice, waived, *checks])]
    assert order == sorted(order, key=list(words.STATUS).index)
    assert set(order) == {"fail", "waived", "advice", "pass"}


def test_the_worst_slice_is_the_one_that_lost_most_in_the_direction_of_its_metric() -> None:
    lost = verdicts.measure("roc_auc", (("a", "1"),), 1000, -0.03)
    loss = verdicts.measure("log_loss", (("a", "2"),), 1000, -0.04)
    won = verdicts.measure("log_loss", (("a", "3"),), 1000, 0.05)
    none = replace(lost, candidate=Interval(None), difference=None)
    assert sorted([none, won, lost, loss], key=words.badness) == [loss, lost, won, none]

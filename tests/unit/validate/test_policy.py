"""Reading policies: inheritance, waivers, trust in the base only, and what is refused where."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pytest

from gitops.config import Environment
from gitops.errors import ConfigError
from gitops.validate import policy
from gitops.validate.policy import Policy

BASE = "0123456789ab" + "0" * 28
HEAD = "version: 1\nname: ours\ndescription: Ours.\n"
CHECK = "{metric: f1, at_least: 0.5}"
WAIVER = "{check: f1-at-least, by: '@org/leads', why: none yet, until: 2026-02-28}"
BLANK = "' '"


def load(
    files: Mapping[str, str],
    name: str = "ours",
    *,
    first: bool = False,
    approvers: tuple[str, ...] = (),
) -> Policy:
    """The policy `name` where the base has these packs, on 2026-02-01."""
    environment = Environment(name="production", branch="r", policy=name, approvers=approvers)
    texts = {policy.path_of(pack): text for pack, text in files.items()}
    return policy.load(environment, texts.get, BASE, first=first, today=date(2026, 2, 1))


def ours(extra: str = "", *checks: str, **others: str) -> Policy:
    return load({"ours": text(extra, *checks), **others})


def text(extra: str = "", *checks: str) -> str:
    lines = "".join(f"  - {one}\n" for one in checks)
    return f"{HEAD}{extra}\n" + (f"checks:\n{lines}" if checks else "")


def names(found: Policy) -> list[str]:
    return [one.name for one in found.checks]


# ---------------------------------------------------------------- what is read


def test_a_pack_of_the_repository() -> None:
    found = ours(
        "on_inconclusive: warn", CHECK, "{id: e, expression: roc_auc - brier, at_least: 0}"
    )
    assert names(found) == ["f1-at-least", "e"]
    assert found.source == "0123456789ab:.gitops/policies/ours.yaml"
    assert [one.on_inconclusive for one in found.checks] == ["warn", "warn"]
    assert found.checks[0].where("metric").line == 6


def test_what_a_pack_extends_comes_first_and_each_key_is_overridden_alone() -> None:
    found = ours(
        "extends: strict\nconfidence: 0.99\nslices: {minimum_rows: 7}",
        "{metric: roc_auc, task: binary, no_worse_than_champion: {margin: 0.5}}",
        CHECK,
    )
    strict = load({}, "strict")
    assert names(found) == [*names(strict), "f1-at-least"]
    margin = found.checks[0].rule.no_worse_than_champion
    assert margin is not None
    assert margin.margin == 0.5
    assert {one.confidence for one in found.checks} == {0.99}
    assert (found.on_inconclusive, found.slices.minimum_rows) == ("block", 7)


def test_a_repository_may_extend_the_shipped_pack_of_the_same_name() -> None:
    head = "version: 1\nname: strict\ndescription: x\nextends: strict\n"
    found = load({"strict": f"{head}on_inconclusive: warn"}, "strict")
    assert found.on_inconclusive == "warn"
    assert names(found) == names(load({}, "strict"))
    assert found.source.endswith("strict.yaml")


def test_nothing_can_be_put_under_a_shipped_pack() -> None:
    weak = "version: 1\nname: baseline\ndescription: x\nchecks: [{metric: f1, at_least: 0}]"
    assert load({"baseline": weak}, "strict") == load({}, "strict")


def test_the_digest_is_over_what_is_asked_and_nothing_else() -> None:
    one = ours("", CHECK)
    assert ours("# a comment", "{at_least: 0.50, metric: f1}").digest == one.digest
    others = [
        ours("", "{metric: f1, at_least: 0.51}"),
        ours("on_inconclusive: warn", CHECK),
        ours("confidence: 0.9", CHECK),
        ours("slices: {minimum_rows: 99}", CHECK),
        ours(f"waivers: [{WAIVER}]", CHECK),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 6


def test_slices_are_written_as_the_evaluation_writes_them() -> None:
    found = ours("", "{metric: f1, at_least: 0.5, slice: {a: true, b: 1.0, c: null, d: no}}")
    assert found.checks[0].rule.slice == {"a": "true", "b": "1", "c": None, "d": "no"}


def test_checks_of_other_tasks_are_left_out_and_several_may_share_a_name() -> None:
    parity = "{task: %s, fairness: {criterion: demographic_parity, at_most: 0.1}}"
    found = ours("", parity % "binary", parity % "multiclass", CHECK)
    assert [one.name for one in found.of("binary")] == ["demographic_parity", "f1-at-least"]


def test_checks_of_another_model_are_left_out() -> None:
    found = ours(
        "", "{metric: f1, at_least: 0.5, model: late}", "{metric: f1, at_least: 0.6, model: fare}"
    )
    assert [one.rule.at_least for one in found.of("binary", "fare")] == [0.6]
    with pytest.raises(ConfigError, match="no check for"):
        found.of("binary", "third")


# ---------------------------------------------------------------- no such policy


def test_without_a_policy_the_first_environment_is_judged_by_the_baseline_and_says_so() -> None:
    found = load({}, "ours", first=True)
    assert (found.name, names(found)) == ("baseline", names(load({}, "baseline")))
    assert found.notes[0].kind == "policy-missing"
    assert "no policy 'ours'" in found.notes[0].text


def test_without_a_policy_a_release_environment_is_not_judged() -> None:
    with pytest.raises(ConfigError, match="production is not judged") as caught:
        load({}, "strikt")
    assert caught.value.code == 3
    assert caught.value.fix == "did you mean strict?"


# ---------------------------------------------------------------- waivers


@pytest.mark.parametrize(("until", "expired"), [("2026-02-01", False), ("2026-01-31", True)])
def test_a_waiver_holds_until_its_last_day(until: str, expired: bool) -> None:
    found = ours(f"waivers: [{WAIVER.replace('2026-02-28', until)}]", CHECK)
    assert [one.expired for one in found.waivers] == [expired]


def test_a_waiver_may_name_one_answer_of_a_check_and_is_inherited() -> None:
    waiver = WAIVER.replace("f1-at-least", "'leakage:overlap'")
    found = ours(
        "extends: two",
        CHECK,
        two=text(f"extends: baseline\nwaivers: [{waiver}]").replace("ours", "two"),
    )
    assert found.waivers[0].check == "leakage:overlap"


def test_regulated_takes_waivers_of_approvers_only() -> None:
    own = text(f"extends: regulated\nwaivers: [{WAIVER}]", CHECK)
    taken = load({"ours": own}, approvers=("@org/leads",))
    assert taken.waivers
    assert taken.waivers_by == ("@org/leads",)
    with pytest.raises(ConfigError, match="@org/leads is no approver of production") as caught:
        load({"ours": own}, approvers=("@org/others",))
    assert caught.value.fix == "it takes one of @org/others"
    assert str(caught.value.where).endswith("ours.yaml:5:36")


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("check", "message", "fix"),
    [
        ("{metric: f2, at_least: 0}", "no such metric", "did you mean r2?"),
        ("{metric: roc_acu, at_least: 0}", "no such metric", "did you mean roc_auc?"),
        ("{metric: 3, at_least: 0}", "3, not a text", 'write "3"'),
        ("{metric: f1}", "has no bound", "exactly one of at_least"),
        ("{metric: f1, at_least: 0, at_most: 1}", "at_least and at_most", "exactly one"),
        ("{at_least: 1}", "nothing that it looks at", "exactly one of metric"),
        ("{metric: f1, at_least: '0'}", '"0"', "write a number"),
        ("{metric: f1, at_least: true}", "is true", "write a number"),
        ("{metric: f1, at_least: .nan}", "not a finite number", "write one"),
        ("{metric: f1, at_least: -.inf}", "not a finite number", "write one"),
        ("{metric: f1, at_least: 1e999}", "not a finite number", "write one"),
        ("{metric: f1, at_leest: 0}", 'unknown key "at_leest"', "did you mean at_least?"),
        ("{metric: f1, at_least: 0, task: ranking}", '"ranking"', "one of binary"),
        ("{metric: f1, at_least: 0, confidence: 1}", "less than 1", "below 1"),
        ("{metric: f1, at_least: 0, confidence: 0.05}", "0.05", "of 0.5 or more"),
        ("{metric: f1, at_least: 0, blocking: yes}", '"yes"', "true or false"),
        ("{metric: f1, at_least: 0, slice: carrier}", '"carrier"', "{column: value}"),
        ("{metric: f1, at_least: 0, slice: {a: [1]}}", "{a: [1]}", "{column: value}"),
        ("{metric: f1, at_least: 0, slice: {a: 1}, each_slice: true}", "single slice", "remove"),
        ("{metric: f1, at_least: 0, id: A b}", "an id has", 'write "auc"'),
        ("{metric: f1, no_worse_than_champion: 0.1}", "not a mapping", "{margin: ...}"),
        ("{metric: f1, no_worse_than_champion: {}}", "margin is missing", "margin: 0.01"),
        ("{metric: f1, no_worse_than_champion: {margin: -1}}", "-1", "of 0 or more"),
        ("{metric: bias, at_most: 0, task: binary}", "no metric of a binary", "regression"),
        ("{metric: bias, no_worse_than_champion: {margin: 1}}", "neither better", "bound it"),
        ("{expression: roc_auc - brier, at_least: 0}", "has no id", "add `id: ...`"),
        ("{id: e, expression: roc_auc - bier, at_least: 0}", '"bier"', "did you mean brier?"),
        ("{id: e, expression: 'open(roc_auc)', at_least: 0}", "calls 'open'", "min, max or abs"),
        ("{id: e, expression: 1/roc_auc, better_than_champion: {by: 0}}", "not linear", "at_least"),
        ("{fairness: {criterion: parity, at_most: 0.1}}", '"parity"', "demographic_parity"),
        ("{fairness: {criterion: error_rate, at_most: 0}}", "is 0", "above 0"),
        ("{fairness: {criterion: error_rate, at_most: 1}, at_least: 1}", "means nothing", "remove"),
        ("{task: regression, fairness: {criterion: equalized_odds, at_most: 1}}", "not defined",
         "error_rate"),
        ("{leakage: {}}", "asks for nothing", "single_feature"),
        ("{leakage: {target_like: false}}", "asks for nothing", "single_feature"),
        ("{leakage: {overlap: 2}}", "is 2", "of 1 or less"),
        ("{leakage: {single_feature: true}}", "is true", "above 0.5"),
        ("{data: {drfit: 1}}", 'unknown key "drfit"', "did you mean drift?"),
        ("{cost: {package_byte: {at_most: 1}}}", "unknown key", "did you mean package_bytes?"),
        ("{cost: {package_bytes: {}}}", "exactly one of", "ratio_to_champion"),
        ("3", "not a mapping", "{id: ...}"),
    ],
)  # fmt: skip
def test_a_check_is_refused_where_it_stands(check: str, message: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ours("", "{metric: accuracy, at_least: 0}", check)
    assert message in caught.value.message
    assert fix in caught.value.fix
    assert caught.value.where is not None
    assert str(caught.value.where.file) == "0123456789ab:.gitops/policies/ours.yaml"
    assert caught.value.where.line == 7


@pytest.mark.parametrize(
    ("extra", "message", "fix"),
    [
        ("on_inconclusive: pass", '"pass"', "warn, block"),
        ("on_inconclusve: warn", "unknown key", "did you mean on_inconclusive?"),
        ("extends: ../x", "is refused", "baseline"),
        ("extends: baselin", "no policy 'baselin'", "did you mean baseline?"),
        ("slices: {minimum_rows: 0}", "is 0", "of 1 or more"),
        ("slices: {minimum_rows: 1.5}", "is 1.5", "whole number"),
        ("slices: {columns: carrier}", "not a list", "[carrier]"),
        ("slices: {column: [a]}", "unknown key", "did you mean columns?"),
        (f"waivers: [{WAIVER.replace('02-28', '02-30')}]", "no day", "2026-01-31"),
        (f"waivers: [{WAIVER.replace('2026-02-28', 'never')}]", "no day", "2026-01-31"),
        (f"waivers: [{WAIVER.replace('f1-at', 'f2-at')}]", "no check", "did you mean f1-at-least?"),
        (f"waivers: [{WAIVER.replace('@org/leads', 'a b')}]", "an approver is", "@org/ml-leads"),
        (f"waivers: [{WAIVER.replace('none yet', BLANK)}]", "a reason", "write"),
        ("waivers: [{check: f1-at-least}]", "by is missing", "correct these 3 places"),
        ("waivers_by: me", '"me"', "anyone, approvers"),
        ("version: 1", "already on line 1", "keep one"),
        ("a: &a [*a]", "alias", "write the value out"),
    ],
)  # fmt: skip
def test_a_setting_is_refused_where_it_stands(extra: str, message: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ours(extra, CHECK)
    assert message in caught.value.message
    assert fix in caught.value.fix
    assert caught.value.where is not None
    assert caught.value.where.line == 4


@pytest.mark.parametrize("version", ["2", "'1'", "true", "1.0"])
def test_another_version_is_refused(version: str) -> None:
    with pytest.raises(ConfigError, match="version"):
        load({"ours": text("", CHECK).replace("version: 1", f"version: {version}")})


def test_a_pack_without_checks_is_refused() -> None:
    with pytest.raises(ConfigError, match="no checks"):
        ours()


def test_the_same_check_twice_is_refused_with_both_lines() -> None:
    with pytest.raises(ConfigError, match="'f1-at-least' is already on line 6") as caught:
        ours("", CHECK, "{metric: f1, at_least: 0.6}")
    assert caught.value.where is not None
    assert caught.value.where.line == 7


def test_a_circle_is_refused() -> None:
    two = text("extends: ours").replace("ours\nd", "two\nd")
    with pytest.raises(ConfigError, match="circle: ours -> two -> ours"):
        ours("extends: two", two=two)


def test_a_name_that_is_not_the_files_is_refused() -> None:
    with pytest.raises(ConfigError, match="in the file ours"):
        load({"ours": text("", CHECK).replace("name: ours", "name: strict")})


def test_aliases_that_expand_without_bound_are_refused() -> None:
    levels = "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(ConfigError, match="expand without bound"):
        ours(f"a: &a [x, x, x, x, x, x, x, x, x]\n{levels}", CHECK)


def test_a_metric_of_another_task_is_refused_unless_the_check_says_so() -> None:
    found = ours("", CHECK, "{metric: rmse, at_most: 3}")
    with pytest.raises(ConfigError, match="rmse is no metric of a binary model") as caught:
        found.of("binary")
    assert caught.value.fix.startswith("add `task: regression`")
    assert caught.value.where is not None
    assert caught.value.where.line == 7
    assert len(ours("", CHECK, "{metric: rmse, at_most: 3, task: regression}").of("binary")) == 1


def test_a_criterion_of_another_task_is_refused() -> None:
    found = ours("", "{fairness: {criterion: equalized_odds, at_most: 0.1}}")
    assert found.of("binary")
    with pytest.raises(ConfigError, match="not defined for a regression model"):
        found.of("regression")


def test_a_policy_that_could_not_fail_is_refused() -> None:
    found = ours("", "{metric: rmse, at_most: 3, task: regression}")
    with pytest.raises(ConfigError, match="no check for a binary model"):
        found.of("binary")

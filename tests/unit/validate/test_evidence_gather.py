"""Two commits in, one aligned table out; and everything that must not get through."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gitops import dvc, package
from gitops.errors import ConfigError, EvidenceError, GitopsError, UsageError
from gitops.validate import evidence
from gitops.validate.evidence import Evidence, sides
from gitops.validate.evidence.gather import _Home
from gitops.validate.model import Finding
from tests.unit.validate.conftest import people
from tests.unit.validate.gate_repo import GateRepo, Made, model

TASKS = ("binary", "multiclass", "regression")
Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_BASE_REF", "SYSTEM_PULLREQUEST_TARGETBRANCH"):
        monkeypatch.delenv(name, raising=False)


def start(tmp_path: Path, task: str = "binary", **options: object) -> tuple[GateRepo, Made]:
    """A champion on main, and the branch `feature`."""
    repo = GateRepo(tmp_path / "repo", task).start()
    if sensitive := options.pop("sensitive", ""):
        repo.settings(f"sensitive: [{sensitive}]")
    if options:
        found = model(tmp_path / "a", train(task), test(task), task=task, **options)  # type: ignore[arg-type]
    else:
        found = usual(tmp_path / "a", task)
    repo.built(found.folder / "package", found.evaluation)
    repo.git("switch", "-qc", "feature")
    return repo, found


USUAL: dict[tuple[str, float], Made] = {}


@pytest.fixture(scope="module", autouse=True)
def made_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    for task, ruin in (*((one, 0.0) for one in TASKS), ("binary", 0.1)):
        folder = tmp_path_factory.mktemp("usual") / "made"
        USUAL[task, ruin] = model(folder, train(task), test(task), task=task, ruin=ruin)


def usual(folder: Path, task: str = "binary", ruin: float = 0.0) -> Made:
    """A copy of what most tests judge: trained on `train()`, evaluated on `test()`."""
    shutil.copytree(USUAL[task, ruin].folder, folder)
    return Made(USUAL[task, ruin].package, folder)


def train(task: str = "binary", seed: int = 1) -> pl.DataFrame:
    return people(task, 600, seed)


def test(task: str = "binary", seed: int = 2, count: int = 200) -> pl.DataFrame:
    return people(task, count, seed)


test.__test__ = False  # type: ignore[attr-defined]


def propose(repo: GateRepo, found: Made, change: Change | None = None) -> str:
    """Commit a candidate; `change` its predictions first."""
    if change:
        path = found.evaluation / "predictions.parquet"
        change(pl.read_parquet(path)).write_parquet(path)
    return repo.built(found.folder / "package", found.evaluation)


def gather(repo: GateRepo, **options: object) -> Evidence:
    return evidence.gather(repo.root, "demo", say=lambda line: None, **options)  # type: ignore[arg-type]


def refusal(repo: GateRepo, **options: object) -> GitopsError:
    """The error of bad evidence: it has a fix, and names no temporary folder."""
    with pytest.raises(GitopsError) as caught:
        gather(repo, **options)
    assert caught.value.fix
    assert "gitops-gate-" not in str(caught.value)
    return caught.value


def kinds(found: Evidence) -> list[str]:
    return [one.kind for one in found.notes]


def text(found: Evidence, kind: str) -> str:
    (one,) = [one for one in found.notes if one.kind == kind]
    return one.text


# ---------------------------------------------------------------- the same test set


@pytest.mark.parametrize("task", TASKS)
def test_both_models_are_aligned_by_id(tmp_path: Path, task: str) -> None:
    repo, old = start(tmp_path, task)
    new = model(tmp_path / "b", train(task), test(task).reverse(), task=task, ruin=0.5)
    repo.write("src/train.py", "# better\n")
    commit = propose(repo, new)
    with gather(repo) as found:
        rows = test(task).sort("id")
        expected = [package.score(one.package, rows).frame for one in (new, old)]
        assert (found.task, found.table.rows, found.model) == (task, 200, "demo")
        assert found.candidate.commit == commit
        assert found.champion is not None
        assert found.champion.commit == found.base[0] == repo.git("rev-parse", "main")
        assert found.candidate.package == new.package.digest
        assert not found.test_set.changed
        assert found.notes == found.findings == ()
        for mine, frame in zip(
            (found.table.candidate, found.table.champion), expected, strict=True
        ):
            assert mine is not None
            if task == "regression":
                assert mine.score is None
                np.testing.assert_array_equal(mine.prediction, frame["prediction"].to_numpy())
                continue
            texts = [found.table.classes[code] for code in mine.prediction]
            assert texts == frame["prediction"].to_list()
            scores = frame.drop("prediction").to_numpy()
            assert mine.score is not None
            np.testing.assert_allclose(mine.score, scores.squeeze())
        label = rows["label"]
        if task == "regression":
            np.testing.assert_array_equal(found.table.label, label.to_numpy())
        else:
            assert [found.table.classes[code] for code in found.table.label] == label.to_list()
        region = found.table.columns["region"]
        assert [region.values[code] for code in region.codes] == rows["region"].to_list()
        assert region.codes.dtype == np.int32
        assert region.values[-1] is None
        assert found.inputs.take(np.arange(found.table.rows, dtype=np.uint32)).equals(
            rows.drop("id", "label")
        )
        chosen = np.array([7, 3, 7])
        assert found.inputs.take(chosen).equals(rows.drop("id", "label")[chosen])
        assert found.changes == ("code src/train.py: +1 -1 lines",)


def test_labels_slices_and_weights_are_the_bases(tmp_path: Path) -> None:
    """A pull request can't relabel, reweigh or cut away rows of an unchanged test set."""
    weight = pl.Series(np.linspace(1, 2, 200))
    repo, _ = start(tmp_path, weight=weight)
    new = model(tmp_path / "b", train(), test(), ruin=0.5, weight=weight, slices=("sex",))
    propose(repo, new)
    found = gather(repo)
    assert not found.test_set.changed
    assert list(found.table.columns) == ["region", "sex"]
    assert found.table.weight is not None
    np.testing.assert_array_equal(found.table.weight, weight.to_numpy())


def test_groups_and_times(tmp_path: Path) -> None:
    group = pl.Series([None if row < 2 else f"g{row % 7}" for row in range(200)])
    repo, _ = start(tmp_path, group=group, timestamp=test()["joined"])
    propose(repo, usual(tmp_path / "b", ruin=0.1))
    table = gather(repo).table
    assert table.group is not None
    assert table.time is not None
    assert len(set(table.group.tolist())) == 9  # two rows without one are groups of their own
    assert len(set(table.group[2::7].tolist())) == 1
    assert (np.diff(table.time) == 60_000_000).all()


def test_sensitive_columns_come_from_the_base(tmp_path: Path) -> None:
    repo, _ = start(tmp_path, sensitive="sex, age, member")
    repo.settings()  # which the pull request takes away
    propose(repo, usual(tmp_path / "b", ruin=0.1))
    found = gather(repo)
    assert found.sensitive == ("sex", "age", "member")
    age = found.table.columns["age"]
    quartiles = test()["age"].drop_nulls().quantile(0.25, "lower"), None
    assert age.values[0] == f"up to {quartiles[0]:.0f}"
    assert len(age.values) == 5
    assert age.values[-1] is None
    low = [code == 0 for code in age.codes]
    known = (test()["age"] <= quartiles[0]).fill_null(False).to_list()
    assert low == known
    assert found.table.columns["member"].values == ("false", "true")
    assert "demo.sensitive [sex, age, member] -> []" in text(found, "gate-settings-changed")


def test_html_in_a_category_is_data(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script> | `x` @all'
    rows = test().with_columns(region=pl.lit(evil))
    repo = GateRepo(tmp_path / "repo").start()
    old = model(tmp_path / "a", train(), rows)
    repo.built(old.folder / "package", old.evaluation)
    repo.git("switch", "-qc", "feature")
    repo.commit("Nothing")
    assert gather(repo).table.columns["region"].values == (evil,)


def test_the_same_package_is_said_to_be_the_same(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    repo.write("README.md", "words\n")
    repo.commit("Words")
    assert gather(repo).changes == ("package: the same bytes as the champion's",)


def test_a_thousand_classes_and_ten_thousand_slices(tmp_path: Path) -> None:
    label = pl.Series("label", [f"c{row % 1000:03}" for row in range(10_000)])
    many = pl.Series("region", [f"r{row:05}" for row in range(10_000)])
    rows = people(count=10_000).with_columns(label, many)
    repo = GateRepo(tmp_path / "repo", "multiclass").start()
    options = {"task": "multiclass", "features": ["income"]}
    few = rows.with_columns(pl.Series("label", [f"c{row % 3:03}" for row in range(10_000)]))
    old = model(tmp_path / "a", few, few, **options)  # type: ignore[arg-type]
    widen(old.folder, label)
    repo.built(old.folder / "package", old.evaluation)
    repo.git("switch", "-qc", "feature")
    repo.commit("Nothing")
    found = gather(repo)
    assert found.table.candidate.score is not None
    assert found.table.candidate.score.shape == (10_000, 3)
    assert (found.table.label == -1).sum() == 10_000 - 30
    assert "997" not in text(found, "unseen-class")
    assert "and 992 more" in text(found, "unseen-class")
    assert len(found.table.columns["region"].values) == 10_000


def widen(folder: Path, label: pl.Series) -> None:
    """Other labels in an evaluation that was written."""
    path = folder / "evaluation" / "predictions.parquet"
    pl.read_parquet(path).with_columns(label).write_parquet(path)


def test_a_slice_with_more_values_is_left_out_and_said(tmp_path: Path) -> None:
    rows = people(count=10_001).with_columns(region=pl.col("id"))
    repo = GateRepo(tmp_path / "repo").start()
    old = model(tmp_path / "a", train(), rows, features=["income"])
    repo.built(old.folder / "package", old.evaluation)
    repo.git("switch", "-qc", "feature")
    repo.commit("Nothing")
    found = gather(repo)
    assert list(found.table.columns) == ["sex"]
    assert "more than 10,000 values" in text(found, "slice-too-many-values")


# ---------------------------------------------------------------- another test set


@pytest.mark.parametrize("task", TASKS)
def test_a_changed_test_set_is_said_and_the_champion_scored_on_it(
    tmp_path: Path, task: str
) -> None:
    repo, old = start(tmp_path, task)
    known = train(task).head(5).with_columns(id="t-" + pl.col("id"))
    rows = pl.concat([test(task).tail(-10), test(task, seed=3, count=50), known])
    own = test(task, seed=3, count=50).head(3)
    new = model(tmp_path / "b", pl.concat([train(task, 9), own]), rows, task=task)
    propose(repo, new)
    found = gather(repo)
    assert found.test_set.changed
    assert (found.test_set.rows, found.test_set.excluded) == (237, 8)
    assert found.trained_on == {"candidate": 3, "champion": 5}
    said = text(found, "test-set-changed")
    assert "200 -> 245 rows" in said
    assert "55 rows added, 10 rows removed; 8 rows that a model" in said
    kept = rows.filter(~pl.col("id").is_in(pl.concat([known, own])["id"].implode())).sort("id")
    expected = package.score(old.package, kept).frame["prediction"].to_list()
    assert found.table.champion is not None
    got = found.table.champion.prediction
    assert (got.tolist() if task == "regression" else texts(found, got)) == expected
    assert found.inputs.take(np.arange(found.table.rows, dtype=np.uint32)).equals(
        kept.drop("id", "label")
    )
    assert found.inputs.take(np.array([0, 200], np.uint32)).equals(
        kept.drop("id", "label")[[0, 200]]
    )
    assert found.base_inputs is not None
    assert found.base_inputs.take(np.arange(200, dtype=np.uint32)).equals(
        test(task).sort("id").drop("id", "label")
    )
    (overlap,) = [one for one in found.findings if one.level == "alarm"]
    assert overlap.value == 3 / 245


def texts(found: Evidence, codes: np.ndarray) -> list[str]:
    return [found.table.classes[code] for code in codes]


def test_relabelled_rows_are_counted(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    flip = pl.when(pl.int_range(pl.len()) < 4).then(~(pl.col("label") == "true"))
    relabelled = test().with_columns(
        flip.otherwise(pl.col("label") == "true").cast(pl.String).alias("label")
    )
    propose(repo, model(tmp_path / "b", train(), relabelled))
    found = gather(repo)
    assert "4 rows relabelled" in text(found, "test-set-changed")
    assert text(found, "labels-changed").startswith("4 rows of the test set have another label")


def test_other_raw_inputs_are_another_test_set(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    propose(repo, model(tmp_path / "b", train(), test().with_columns(income=pl.col("income") * 2)))
    assert text(gather(repo), "test-set-changed").endswith("200 rows with other values of income")


def test_whatever_else_of_a_changed_test_set_changes_is_said(tmp_path: Path) -> None:
    """One row more or less must not cover new weights, other groups or slices that are gone."""
    features = ["age", "income", "region", "joined"]
    group = pl.Series([f"g{row % 20}" for row in range(200)])
    repo, _ = start(tmp_path, group=group, features=features)
    rows = test().slice(1).with_columns(sex=pl.lit("male")).drop("member")
    weight = pl.Series([1.0] * 100 + [50.0] * 99)
    columns = {"features": features, "slices": ("sex",), "weight": weight}
    propose(repo, model(tmp_path / "b", train(seed=9), rows, **columns))  # type: ignore[arg-type]
    found = gather(repo)
    said = text(found, "test-set-changed")
    assert "1 row removed" in said
    assert "99 rows weighted otherwise" in said
    assert "raw columns gone: member" in said
    assert "rows with other values of sex" in said
    said = text(found, "evaluation-columns-changed")
    assert "group is gone, slice_region is gone, slice_sex is another on" in said


def test_slices_that_a_pull_request_drops_are_named_before_they_are_gone(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    propose(repo, model(tmp_path / "b", train(), test(), slices=("sex",)))
    found = gather(repo)
    assert not found.test_set.changed
    said = text(found, "evaluation-columns-changed")
    assert "slice_region is gone; the base's hold, until this is merged" in said


def test_a_champion_whose_column_is_gone_cannot_be_scored(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    features = ["age", "region", "member"]
    new = model(tmp_path / "b", train(), test().drop("income"), features=features)
    propose(repo, new)
    error = refusal(repo)
    assert "the champion can't be scored on the changed test set" in error.message
    assert "'income'" in error.message
    assert "raw columns that the champion takes" in error.fix


def test_a_champion_with_other_features_is_scored_from_raw_columns(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    new = model(tmp_path / "b", train(), test(seed=3), features=["age", "sex"])
    propose(repo, new)
    found = gather(repo)
    assert found.test_set.changed
    assert "features added: sex" in found.changes
    assert "features removed: income, region, member, joined" in found.changes


def test_a_test_set_of_training_rows_alone_is_none(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    propose(repo, model(tmp_path / "b", train(), train().with_columns(id="x" + pl.col("id"))))
    assert refusal(repo).message.startswith("all 600 rows of the changed test set are among")


def test_training_rows_in_an_unchanged_test_set_are_found(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    leaked = pl.concat([train(), test().head(20)])
    propose(repo, model(tmp_path / "b", leaked, test()))
    found = gather(repo)
    assert found.findings == (
        Finding(
            "leakage-train-test-overlap",
            "alarm",
            "the candidate was trained on 20 rows of the test set (10.00%), or on rows with the"
            " same inputs and label",
            value=0.1,
        ),
    )
    assert found.table.rows == 200


def test_a_champion_that_has_seen_the_test_rows_is_said_first(tmp_path: Path) -> None:
    repo, _ = start(tmp_path, ruin=0.0)
    repo.git("switch", "-q", "main")
    leaked = model(tmp_path / "leaked", pl.concat([train(), test().head(20)]), test())
    propose(repo, leaked)
    repo.git("switch", "-qC", "feature", "main")
    propose(repo, model(tmp_path / "b", train(), test()))
    found = gather(repo)
    said = text(found, "leakage-train-test-overlap")
    assert said.startswith("the champion was trained on 20 rows of the test set (10.00%)")
    assert "it may look better here" in said
    assert found.findings == ()


@pytest.mark.parametrize("known", [True, False])
def test_a_class_that_is_never_predicted_is_said(tmp_path: Path, known: bool) -> None:
    """An alarm where the champion does predict it."""
    repo = GateRepo(tmp_path / "repo", "multiclass").start()
    rare = "2" if known else "rare"
    odd = test("multiclass").with_row_index("n")
    odd = odd.with_columns(
        label=pl.when(pl.col("n") < 5).then(pl.lit(rare)).otherwise(pl.col("label"))
    ).drop("n")
    rows = train("multiclass").with_row_index("n")
    few = rows.with_columns(
        label=pl.when(pl.col("n") < 2)
        .then(pl.lit(rare))
        .when(pl.col("label") == rare)
        .then(pl.lit("0"))
        .otherwise(pl.col("label"))
    ).drop("n")
    first = train("multiclass") if known else few
    old = model(tmp_path / "a", first, odd, task="multiclass")
    repo.built(old.folder / "package", old.evaluation)
    repo.git("switch", "-qc", "feature")
    propose(repo, model(tmp_path / "b", few, odd, task="multiclass", ruin=0.001))
    found = gather(repo)
    (said,) = [o for o in (*found.notes, *found.findings) if o.kind == "class-never-predicted"]
    assert said.text.startswith(f"no row is predicted {rare!r}, though ")
    if known:
        assert (said.level, said in found.findings) == ("alarm", True)
        assert said.text.endswith("; the champion predicts it")
    else:
        assert (said.level, said in found.notes) == ("note", True)
        assert said.text.endswith("though 5 have this label; nor does the champion predict it")


def test_slices_that_are_gone_are_named(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    propose(repo, model(tmp_path / "b", train(), test().filter(pl.col("region") != "east")))
    said = text(gather(repo), "evaluation-columns-changed")
    assert "slice_region has no rows any more of east" in said


# ---------------------------------------------------------------- models that don't match


def test_a_new_class_is_aligned_over_both(tmp_path: Path) -> None:
    repo = GateRepo(tmp_path / "repo", "multiclass").start()
    two = train("multiclass").filter(pl.col("label") != "2")
    old = usual(tmp_path / "a", "multiclass")
    repo.built(old.folder / "package", old.evaluation)
    repo.git("switch", "-qc", "feature")
    more = pl.concat([train("multiclass"), two.head(50).with_columns(label=pl.lit("a <b>"))])
    propose(repo, model(tmp_path / "b", more, test("multiclass"), task="multiclass"))
    found = gather(repo)
    assert found.table.classes == ("0", "1", "2", "a <b>")
    assert "new a <b>" in text(found, "classes-changed")
    assert found.table.champion is not None
    assert found.table.champion.score is not None
    assert (found.table.champion.score[:, 3] == 0).all()
    np.testing.assert_allclose(found.table.champion.score.sum(axis=1), 1, atol=1e-6)


def test_binary_models_about_other_classes_cannot_be_compared(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    other = pl.when(pl.col("label") == "true").then(pl.lit("yes")).otherwise(pl.lit("no"))
    rows, more = (one.with_columns(label=other) for one in (test(), train()))
    propose(repo, model(tmp_path / "b", more, rows))
    assert "the champion's false, true" in refusal(repo).message


def test_another_task_cannot_be_compared(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    repo = GateRepo(repo.root, "regression")
    repo.settings()
    propose(repo, usual(tmp_path / "b", "regression"))
    assert "the candidate's task is regression, the champion's binary" in refusal(repo).message


def test_the_signature_must_be_of_the_declared_task(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    propose(repo, usual(tmp_path / "b", "regression"))
    error = refusal(repo)
    assert "the task is regression, in gitops.yaml it is binary" in error.message
    assert str(error.where).endswith(":models/package/signature.json")


def test_predictions_of_another_package_are_found(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    new, forged = (
        model(tmp_path / n, train(), test(), ruin=r) for n, r in (("b", 0.0), ("c", 0.5))
    )
    repo.built(new.folder / "package", forged.evaluation)
    assert "rows have other predictions than the package gives" in refusal(repo).message


@pytest.mark.parametrize("rows", [1, 200])
def test_a_single_forged_row_is_found(tmp_path: Path, rows: int) -> None:
    repo, _ = start(tmp_path)
    new = model(tmp_path / "b", train(), test(), ruin=0.3)

    def forge(frame: pl.DataFrame) -> pl.DataFrame:
        wrong = (pl.col("label") != pl.col("prediction")) & (pl.int_range(pl.len()) < rows)
        right = pl.when(pl.col("label") == "true").then(0.99).otherwise(0.01)
        return frame.with_columns(
            score=pl.when(wrong).then(right).otherwise("score"),
            prediction=pl.when(wrong).then("label").otherwise("prediction"),
        )

    first_is_wrong = pl.read_parquet(new.evaluation / "predictions.parquet").sort(
        pl.col("label") == pl.col("prediction")
    )
    first_is_wrong.write_parquet(new.evaluation / "predictions.parquet")
    propose(repo, new, forge)
    assert "of 200 rows have other predictions than the package gives" in refusal(repo).message


def ordered_by_label(frame: pl.DataFrame) -> pl.DataFrame:
    """A change below the tolerance, by which a model that knows nothing ranks without an error."""
    nudge = pl.when(pl.col("label") == "true").then(9e-6).otherwise(0.0)
    return frame.with_columns(score=pl.col("score") + nudge)


def test_rows_of_equal_scores_are_not_put_in_order_by_a_forged_table(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    # One flag alone: two distinct scores.
    propose(repo, model(tmp_path / "b", train(), test(), features=["member"]), ordered_by_label)
    found = gather(repo)
    assert found.table.candidate.score is not None
    assert len(np.unique(found.table.candidate.score)) == 2


def test_nor_by_one_that_is_too_large_to_ask_about_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "ASKED", 150)
    repo, _ = start(tmp_path)
    propose(repo, model(tmp_path / "b", train(), test(), features=["member"]), ordered_by_label)
    assert "but rank the rows otherwise: the AUC differs by 0." in refusal(repo).message


def test_a_large_table_is_asked_about_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "ASKED", 50)
    repo, _ = start(tmp_path)
    new, forged = (
        model(tmp_path / n, train(), test(), ruin=r) for n, r in (("b", 0.0), ("c", 0.5))
    )
    propose(repo, new)
    assert gather(repo).table.rows == 200
    repo.built(new.folder / "package", forged.evaluation)
    assert "of 50 sampled rows have other predictions" in refusal(repo).message


def test_the_package_is_asked_about_the_raw_columns_of_the_base(tmp_path: Path) -> None:
    """Integers above 2^53 have a test set's identity in common, but not their categories."""
    big = 2**53

    def coded(frame: pl.DataFrame, low: int) -> pl.DataFrame:
        even = pl.int_range(pl.len()) % 2 == 0
        return frame.with_columns(region=pl.when(even).then(big + low).otherwise(big - 2))

    rows = coded(test(), 0)
    other = coded(test(), 1)
    texts = train().with_columns(region=pl.Series([str(big + 1), str(big - 2)] * 300))
    old = model(tmp_path / "a", texts, rows)
    repo = GateRepo(tmp_path / "repo").start()
    repo.built(old.folder / "package", old.evaluation)
    repo.git("switch", "-qc", "feature")
    propose(repo, model(tmp_path / "b", texts, other))
    assert "rows have other predictions than the package gives" in refusal(repo).message


def test_the_first_model_is_recorded_as_such(tmp_path: Path) -> None:
    repo = GateRepo(tmp_path / "repo").start()
    repo.git("switch", "-qc", "feature")
    propose(repo, usual(tmp_path / "a"))
    found = gather(repo)
    assert (found.champion, found.table.champion, found.champion_package) == (None, None, None)
    assert "was not built at" in text(found, "first-model")
    assert not found.test_set.changed


def test_a_renamed_model_is_a_first_one_and_the_lost_one_named(tmp_path: Path) -> None:
    repo, old = start(tmp_path)
    text_before = (repo.root / "gitops.yaml").read_text()
    repo.write("gitops.yaml", text_before.replace("  demo:", "  other:"))
    propose(repo, old)
    found = evidence.gather(repo.root, "other", say=lambda line: None)
    assert "which has demo that the candidate lacks" in text(found, "first-model")


def test_a_repository_that_takes_gitops_up(tmp_path: Path) -> None:
    repo = GateRepo(tmp_path / "repo").start()
    repo.git("rm", "-q", "gitops.yaml")
    base = repo.commit("Before gitops")
    repo.settings(
        more="environments: [{name: dev, branch: main, policy: strict}, {name: p, branch: p}]\n"
    )
    propose(repo, usual(tmp_path / "a"))
    found = gather(repo, base=base)
    assert found.environment.policy == "baseline"  # not the one that it brought itself
    assert kinds(found) == ["first-model", "gate-settings-changed"]
    assert "nothing says how p is judged" in refusal(repo, base=base, environment="p").message


# ---------------------------------------------------------------- notes


def test_what_a_pull_request_changes_about_its_own_judgement(tmp_path: Path) -> None:
    repo, old = start(tmp_path)
    repo.settings(
        more='environments: [{name: dev, branch: main, policy: loose, listen: "127.0.0.1:9999",'
        " rollout: {steps: [20], margin: 0.5}}]\n"
    )
    repo.write(".gitops/policies/loose.yaml", "version: 1\n")
    repo.write(".github/workflows/gate.yml", "on: push\n")
    repo.write("src/evaluate.py", "# kinder\n")
    repo.write("src/train.py", "# other\n")
    propose(repo, old)
    repo.write("notes.txt", "uncommitted")
    found = gather(repo)
    assert kinds(found) == [
        "gate-settings-changed",
        "policy-changed",
        "evaluation-code-changed",
        "tool-or-workflow-changed",
        "work-tree-dirty",
    ]
    assert found.notes[0].text == (
        "it changes how models are judged, in gitops.yaml: dev.policy baseline -> loose,"
        " dev.rollout.steps [] -> [20], dev.rollout.margin 0.01 -> 0.5,"
        " environment staging removed, environment production removed; here the base's"
        " still hold, but once this is merged the new ones do"
    )
    assert "src/evaluate.py" in found.notes[2].text
    assert "src/train.py" not in found.notes[2].text
    assert found.environment.policy == "baseline"
    assert evidence.text_at(repo.root, found.base[0], ".gitops/policies/loose.yaml") is None
    assert evidence.text_at(repo.root, found.candidate.commit, "src/train.py") == "# other\n"


def test_what_main_did_meanwhile_is_not_the_pull_requests(tmp_path: Path) -> None:
    repo, old = start(tmp_path)
    repo.write("src/train.py", "# other\n")
    propose(repo, old)
    repo.git("switch", "-q", "main")
    repo.write(".gitops/policies/new.yaml", "version: 1\n")
    repo.settings(more="environments: [{name: dev, branch: main, policy: strict}]\n")
    tip = repo.commit("Stricter")
    repo.git("switch", "-q", "feature")
    found = gather(repo)
    assert found.notes == ()
    assert (found.base[0], found.environment.policy) == (tip, "strict")


def test_parameters_data_and_features_that_changed(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    repo.write("params.yaml", "train: {depth: 4}\n")
    repo.write(
        "data.csv.dvc", f"outs:\n- {{md5: {'c' * 32}, size: 12, hash: md5, path: data.csv}}\n"
    )
    propose(repo, model(tmp_path / "b", train(seed=5), test(), features=["age", "sex"]))
    assert gather(repo).changes == (
        "data data.csv: aaaaaaaa -> cccccccc (9 -> 12 bytes)",
        "params.yaml: train.depth: 3 -> 4",
        "features added: sex",
        "features removed: income, region, member, joined",
    )


# ---------------------------------------------------------------- bytes


def test_objects_come_from_the_remote(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    propose(repo, usual(tmp_path / "b", ruin=0.1))
    repo.push()
    before = repo.git("status", "--porcelain")
    assert gather(repo).table.rows == 200
    assert repo.git("status", "--porcelain") == before == ""
    assert not (repo.root / "models").exists()


@pytest.mark.parametrize("name", ["model.onnx", "predictions.parquet"])
def test_an_object_altered_in_the_remote_is_refused(tmp_path: Path, name: str) -> None:
    repo, _ = start(tmp_path)
    new = usual(tmp_path / "b", ruin=0.1)
    propose(repo, new)
    repo.push()
    (victim,) = new.folder.rglob(name)
    md5 = dvc.file_md5(victim)
    stored = repo.storage / "files" / "md5" / md5[:2] / md5[2:]
    stored.write_bytes(stored.read_bytes() + b"!")
    error = refusal(repo)
    assert isinstance(error, EvidenceError)
    assert "stored bytes are not what is tracked" in error.message
    assert f"{name} (object {md5}) is corrupt in the remote" in error.message


def test_an_object_altered_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    propose(repo, usual(tmp_path / "b", ruin=0.1))
    repo.push()
    shutil.copytree(repo.storage, repo.cache.parents[1], dirs_exist_ok=True)
    for file in [one for one in repo.cache.rglob("*") if one.is_file()]:
        file.write_bytes(file.read_bytes() + b"!")
    assert gather(repo).table.rows == 200


def test_an_object_that_is_nowhere_is_named(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    propose(repo, usual(tmp_path / "b", ruin=0.1))
    repo.push()
    for file in [one for one in (repo.storage / "files").rglob("*") if one.is_file()]:
        file.unlink()
    error = refusal(repo)
    assert "models/package" in error.message
    assert "missing in the remote" in error.message
    assert error.message.startswith("the champion, demo at ")


@pytest.mark.parametrize("name", ["../../../evil", "/etc/evil", "a/../../evil", ""])
def test_a_listing_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    repo, old = start(tmp_path)
    files = {name: "0" * 32}
    md5 = dvc.listing_md5(files)
    repo.keep(md5, json.dumps([{"md5": "0" * 32, "relpath": name}], sort_keys=True).encode())
    lock = (repo.root / "dvc.lock").read_text()
    repo.write("dvc.lock", lock.replace(repo.store(old.folder / "package"), md5))
    repo.commit("Evil")
    assert "a folder's listing has" in refusal(repo).message


# ---------------------------------------------------------------- bad tables and packages


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.head(0), "there are no rows"),
        (
            lambda f: f.with_columns(score=pl.lit(float("nan"))),
            "200 rows have a score that is not finite",
        ),
        (
            lambda f: f.with_columns(score=pl.col("score").cast(pl.String)),
            "column 'score' is String",
        ),
        (
            lambda f: f.with_columns(weight=pl.lit(0.0)),
            "200 rows have a weight that is not a finite",
        ),
        (
            lambda f: f.with_columns(weight=pl.lit(-1.0)),
            "200 rows have a weight that is not a finite",
        ),
        (lambda f: pl.concat([f, f.head(1)]), "1 rows repeat the id of another"),
        (lambda f: f.tail(-1), "1 of inputs not in predictions"),
        (
            lambda f: f.with_columns(label=pl.lit("True")),
            "200 rows have the label 'True', which the model knows as 'true'",
        ),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, change: Change, message: str) -> None:
    repo, _ = start(tmp_path)
    commit = propose(repo, usual(tmp_path / "b"), change)
    error = refusal(repo)
    assert isinstance(error, EvidenceError)
    assert message in error.message
    assert str(error.where).startswith(f"{commit[:12]}:evaluation")


@pytest.mark.parametrize("name", ["predictions.parquet", "inputs.parquet"])
@pytest.mark.parametrize("cut", [20, 0.5])
def test_a_cut_off_table_is_refused(tmp_path: Path, name: str, cut: float) -> None:
    repo, _ = start(tmp_path)
    new = usual(tmp_path / "b")
    raw = (new.evaluation / name).read_bytes()
    (new.evaluation / name).write_bytes(raw[: int(len(raw) * cut if cut < 1 else cut)])
    propose(repo, new)
    error = refusal(repo)
    assert "not a Parquet file that can be read" in error.message
    assert str(error.where).endswith(f":evaluation/{name}")


def test_damage_inside_a_table_is_refused(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    new = usual(tmp_path / "b")
    path = new.evaluation / "inputs.parquet"
    raw = bytearray(path.read_bytes())
    raw[100:900] = b"\xff" * 800
    path.write_bytes(raw)
    propose(repo, new)
    assert "can't be read" in refusal(repo).message


def test_strings_where_a_model_takes_numbers(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    new = usual(tmp_path / "b")
    path = new.evaluation / "inputs.parquet"
    pl.read_parquet(path).with_columns(income=pl.lit("much")).write_parquet(path)
    propose(repo, new)
    error = refusal(repo)
    assert "column 'income': 200 values are not a number" in error.message
    assert str(error.where).endswith(":evaluation/inputs.parquet")


def test_shuffled_ids_change_nothing(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    propose(repo, model(tmp_path / "b", train(), test(), ruin=0.2))
    first = gather(repo)
    new = model(tmp_path / "c", train(), test().sample(fraction=1, shuffle=True, seed=1), ruin=0.2)
    propose(repo, new)
    second = gather(repo)
    assert first.test_set == second.test_set
    assert first.table.candidate.score is not None
    np.testing.assert_array_equal(first.table.candidate.score, second.table.candidate.score)


@pytest.mark.parametrize("name", ["model.onnx", "signature.json", "train_rows.bin"])
def test_a_damaged_package_is_refused(tmp_path: Path, name: str) -> None:
    repo, _ = start(tmp_path)
    new = usual(tmp_path / "b")
    path = new.folder / "package" / name
    path.write_bytes(path.read_bytes()[:-9])
    commit = propose(repo, new)
    assert str(refusal(repo).where).startswith(f"{commit[:12]}:models/package/{name}")


def test_an_operator_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    new = usual(tmp_path / "b")
    path = new.folder / "package" / "model.onnx"
    path.write_bytes(
        path.read_bytes().replace(b"Sigmoid", b"Sigmund").replace(b"Softmax", b"Softwax")
    )
    propose(repo, new)
    error = refusal(repo)
    assert str(error.where).endswith(":models/package/model.onnx")


def test_a_declared_command_is_run_as_of_its_commit(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    new = usual(tmp_path / "b")
    path = new.folder / "package" / "signature.json"
    signature = json.loads(path.read_text())
    words = ["python", "-m", "x", "{input}", "{output}"]
    path.write_text(json.dumps({**signature, "runtime": {"kind": "command", "command": words}}))
    (new.folder / "package" / "model.onnx").unlink()
    commit = propose(repo, new)
    assert "is a declared command, which can't be run here" in refusal(repo).message
    asked = []

    def commands(at: str, name: str) -> nullcontext[Callable[[pl.DataFrame], pl.DataFrame]]:
        asked.append((at, name))
        return nullcontext(lambda frame: package.score(new.package, frame).frame.select("score"))

    assert gather(repo, commands=commands).table.rows == 200
    assert asked == [(commit, "demo")]


# ---------------------------------------------------------------- which commits


def test_a_model_that_was_never_built(tmp_path: Path) -> None:
    repo = GateRepo(tmp_path / "repo").start()
    repo.git("switch", "-qc", "feature")
    repo.commit("Nothing")
    error = refusal(repo)
    assert "model demo was never built at" in error.message
    assert "gitops build demo" in error.fix


def test_a_stale_lock_is_no_evidence(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    repo.write("src/train.py", "# not built\n")
    commit = repo.commit("Forgot to build")
    error = refusal(repo)
    assert "package: src/train.py changed" in error.message
    assert str(error.where) == f"{commit[:12]}:dvc.lock"


def test_a_model_or_environment_that_is_not_there(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    repo.commit("Nothing")
    with pytest.raises(UsageError, match="did you mean demo"):
        evidence.gather(repo.root, "dmeo", say=lambda line: None)
    with pytest.raises(UsageError, match="did you mean staging"):
        gather(repo, environment="stagging", base="main")


def test_a_wrong_gitops_yaml_is_named_with_its_commit(tmp_path: Path) -> None:
    repo, _ = start(tmp_path)
    repo.settings("sensitive: sex")
    commit = repo.commit("Wrong")
    error = refusal(repo)
    assert isinstance(error, ConfigError)
    assert str(error.where).startswith(f"{commit[:12]}:gitops.yaml:4:")


def test_links_are_gone_after_use() -> None:
    home = _Home()
    assert home.path.is_dir()
    home.close()
    home.close()
    assert not home.path.exists()

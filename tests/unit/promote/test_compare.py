"""Two sides, and what differs."""

from __future__ import annotations

import pytest

from gitops.cli.diff import _signature
from gitops.errors import EvidenceError, UsageError
from gitops.promote import compare
from gitops.promote.closure import of as closure_of
from gitops.promote.compare import Delta, Difference
from gitops.signature import Signature
from tests.unit.promote.line import Line


def difference(line: Line, old: str, new: str, model: str | None = None) -> Difference:
    world = line.world()
    sides = [compare.resolve(line.root, world, line.config, name) for name in (old, new)]

    def signature(path: str, md5: str) -> Signature:
        return _signature(line.root, path, md5)

    return compare.difference(world, sides[0], sides[1], signature, model)


def only(found: Difference) -> Delta:
    (one,) = found.models
    return one


def test_two_environments_with_intervals_of_the_verdicts(past: Line) -> None:
    one = only(difference(past, "production", "staging"))
    assert (one.state, one.versions) == ("changed", ("v1.0.0", "v1.1.0"))
    assert one.package[0] != one.package[1]
    assert one.parameters == {"params.yaml: train.depth": (3, 4)}
    assert (one.code, one.data, one.features, one.contract) == ({}, {}, {}, {})
    assert one.unknown == ()
    numbers = {number.name: number for number in one.metrics}
    auc = numbers["roc_auc"]
    assert auc.source == "verdict"
    for value, interval in zip(auc.values, auc.intervals, strict=True):
        assert value is not None and interval is not None
        assert interval[0] < value < interval[1]
    assert auc.difference is not None
    assert auc.difference[0] == pytest.approx(auc.values[1] - auc.values[0], abs=1e-9)  # type: ignore[operator]


def test_of_a_group_of_parameters_the_keys_that_differ(past: Line) -> None:
    lock = (past.root / "dvc.lock").read_text()
    group = '"train": {{"max_iter": {}, "tree": {{"leaves": 8, "bins": {}}}, "none": {{}}}}'
    for name, values in (("Before", (96, [1, 2])), ("After", (90, [1, 3]))):
        text = lock.replace('"train.depth": 4', group.format(*values))
        assert text != lock
        past.repo.write("dvc.lock", text)
        past.repo.commit(name)
    assert only(difference(past, "HEAD~1", "HEAD")).parameters == {
        "params.yaml: train.max_iter": (96, 90),
        "params.yaml: train.tree.bins": ([1, 2], [1, 3]),
    }


def test_code_data_and_dependencies(past: Line) -> None:
    past.repo.write("src/train.py", "# one\n# two\n")
    past.repo.write("notes.txt", "beside\n")
    data = (past.root / "data.csv.dvc").read_text()
    past.repo.write("data.csv.dvc", data.replace("size: 9", "size: 10"))
    lock = 'version = 1\n[[package]]\nname = "{}"\nversion = "{}"\n'
    past.repo.write("uv.lock", lock.format("numpy", "2.0"))
    past.repo.commit("Before")
    before = past.git("rev-parse", "HEAD")
    past.repo.write("uv.lock", lock.format("numpy", "2.1") + '[[package]]\nname = "six"\n')
    past.repo.commit("After")
    found = difference(past, "dev", "HEAD")
    one = only(found)
    assert one.code == {"src/train.py": (2, 1)}
    assert [pair[1][1] for pair in one.data.values()] == [10]
    assert one.packages == {"numpy": (None, "2.1"), "six": (None, "-")}
    assert found.along == {"notes.txt": (1, 0), "uv.lock": (6, 0)}
    again = difference(past, before, "HEAD", "demo")
    assert only(again).packages == {"numpy": ("2.0", "2.1"), "six": (None, "-")}
    assert only(again).state == "equal"


def test_other_inputs_are_named(past: Line) -> None:
    import json
    import tempfile
    from pathlib import Path

    source = past.root / ".dvc" / "cache" / "files" / "md5"
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "package"
        package.mkdir()
        world = past.world()
        side = compare.resolve(past.root, world, past.config, "dev")
        md5 = closure_of(side.at, side.config, "demo").package
        for one in json.loads((source / md5[:2] / md5[2:]).read_bytes()):
            raw = (source / one["md5"][:2] / one["md5"][2:]).read_bytes()
            (package / one["relpath"]).write_bytes(raw)
        path = package / "signature.json"
        document = json.loads(path.read_text())
        gone = document["inputs"].pop(0)
        document["inputs"][0]["nullable"] = not document["inputs"][0]["nullable"]
        document["threshold"] = 0.25
        path.write_text(json.dumps(document))
        made = past.repo.store(package)
    lock = (past.root / "dvc.lock").read_text()
    past.repo.write("dvc.lock", lock.replace(md5, made))
    past.repo.commit("Other inputs")
    one = only(difference(past, "dev", "HEAD"))
    assert one.features[gone["name"]][1] is None
    assert len(one.features) == 2
    assert one.contract == {"threshold": (0.5, 0.25)}
    past.repo.write("dvc.lock", lock.replace(md5, f"{'e' * 32}.dir"))
    past.repo.commit("Nowhere")
    (why,) = only(difference(past, "dev", "HEAD")).unknown
    assert why.startswith("what demo takes: ")


def test_versions_and_what_is_none(past: Line) -> None:
    one = only(difference(past, "demo@v1.0.0", "demo@v1.1.0"))
    assert one.versions == ("v1.0.0", "v1.1.0")
    assert difference(past, "dev", "staging").models == ()
    with pytest.raises(UsageError, match="isn't registered"):
        difference(past, "demo@v7.0.0", "dev")
    with pytest.raises(UsageError, match="'nowhere' is no environment, version or commit"):
        difference(past, "nowhere", "dev")
    with pytest.raises(UsageError, match="neither side has a model 'other'"):
        difference(past, "dev", "staging", "other")
    past.git("push", "-q", "origin", ":release/staging")
    with pytest.raises(EvidenceError, match="has no branch release/staging"):
        difference(past, "dev", "staging")


def test_metrics_of_a_commit_without_a_verdict(past: Line) -> None:
    past.repo.write("metrics.json", '{"roc_auc": 0.5, "note": "text"}\n')
    side = compare.resolve(past.root, past.world(), past.config, "dev")
    md5 = closure_of(side.at, side.config, "demo").package
    lock = (past.root / "dvc.lock").read_text()
    past.repo.write("dvc.lock", lock.replace(md5, f"{'e' * 32}.dir"))
    past.repo.commit("Not judged")
    numbers = {one.name: one for one in only(difference(past, "staging", "HEAD")).metrics}
    assert numbers["roc_auc"].source == "both"
    assert (numbers["roc_auc"].values[1], numbers["roc_auc"].intervals[1]) == (0.5, None)
    assert "note" not in numbers

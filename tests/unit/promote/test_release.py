"""Which version a change makes, and what its tag carries."""

from __future__ import annotations

import json

import pytest

from gitops import contracts
from gitops.cli.hands import hands
from gitops.errors import AnswerNo, EvidenceError, UsageError, Where
from gitops.promote import register, statement
from gitops.version import Bump, Version
from tests.unit.promote.line import Line, remote_git
from tests.unit.validate import conftest as tables
from tests.unit.validate.gate_repo import Made, model


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A model of fewer features."""
    folder = tmp_path_factory.mktemp("other") / "made"
    test = tables.people(count=2000, seed=2)
    found = model(folder, tables.people(count=2000), test, features=["income", "age", "region"])
    (folder / "prepared").mkdir()
    return found


def registered(line: Line, wanted: Version | Bump | None = None) -> tuple[str, str]:
    commit = line.git("rev-parse", "HEAD")
    found = register.register(line.world(), line.config, commit, ["demo"], hands(line.root), wanted)
    return found["demo"]


def told(line: Line, tag: str) -> dict[str, object]:
    text = remote_git(line.origin, "cat-file", "-p", tag)
    return json.loads(next(one for one in text.splitlines() if one.startswith("{")))  # type: ignore[no-any-return]


def test_what_changed_gives_the_number(line: Line, good: Made, better: Made, other: Made) -> None:
    line.build(good)
    assert registered(line) == ("v1.0.0", "the first version")
    assert registered(line) == ("v1.0.0", "registered already")
    line.build(better, depth=3)  # the same recipe, another result
    assert registered(line) == ("v1.0.1", "patch: the same recipe, built again")
    line.build(good, depth=4)
    assert registered(line) == ("v1.1.0", "minor: params.yaml changed")
    line.build(other, depth=4)
    assert registered(line) == ("v2.0.0", "major: other inputs or classes")


@pytest.mark.parametrize(
    ("wanted", "number"),
    [("major", "v2.0.0"), ("patch", "v1.0.1"), (Version(3, 1, 4), "v3.1.4")],
)
def test_the_number_can_be_asked_for(
    line: Line, good: Made, better: Made, wanted: Version | Bump, number: str
) -> None:
    line.build(good)
    registered(line)
    line.build(better, depth=4)
    assert registered(line, wanted)[0] == number


def test_a_version_that_exists_is_not_given_twice(line: Line, good: Made, better: Made) -> None:
    line.build(good)
    registered(line)
    line.build(better, depth=4)
    with pytest.raises(UsageError, match=r"demo@v1\.0\.0 exists already"):
        registered(line, Version(1, 0, 0))


def test_versions_are_of_what_was_merged(line: Line, good: Made) -> None:
    line.git("switch", "-q", "-c", "feature")
    line.build(good, push=False)
    with pytest.raises(AnswerNo, match="is not on origin/main"):
        registered(line)


def test_the_tag_leads_to_everything(line: Line, good: Made) -> None:
    commit = line.build(good)
    registered(line)
    document = told(line, "demo@v1.0.0")
    contracts.validate("provenance", document, Where("tag"))
    text = json.dumps(document)
    assert commit in text
    assert line.tree("demo@v1.0.0") in text
    assert document["subject"] == [
        {"name": "demo@v1.0.0", "digest": {"sha256": good.package.digest}}
    ]
    path = document["predicate"]["gitops"]["record"]  # type: ignore[index]
    record = json.loads(remote_git(line.origin, "show", f"gitops/records:{path}"))
    contracts.validate("build", record, Where("record"))
    assert record["metrics"] == {"rows": 60, "accuracy": 0.75}


def test_another_package_than_the_one_on_record_is_refused(line: Line, good: Made) -> None:
    line.build(good)
    (record,) = (line.root / ".git" / "gitops" / "records").rglob("*.json")
    document = json.loads(record.read_text())
    for one in document["outputs"]:
        for name in one.get("files", {}):
            one["files"][name] = "0" * 64
    record.write_text(json.dumps(document))
    with pytest.raises(EvidenceError, match="isn't the one that its build record has"):
        registered(line)


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("https://github.com/org/flights.git", "git+https://github.com/org/flights.git"),
        ("git@github.com:org/flights.git", "git+ssh://git@github.com/org/flights.git"),
        ("ssh://git@host/a b", "git+ssh://git@host/a%20b"),
        ("/srv/git/flights.git", "git+file:///srv/git/flights.git"),
    ],
)
def test_a_remote_as_a_uri(url: str, uri: str) -> None:
    assert statement.repository_uri(url) == uri


def test_a_reason_that_no_tag_can_hold_is_refused() -> None:
    with pytest.raises(EvidenceError, match="more than 8,000"):
        statement.message("x", {"why": "é" * 5000})

"""gitops.yaml: what is accepted, what is refused and where, and that the schema agrees."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from gitops import config, git, yamlfile
from gitops.config.values import FreezeWindow
from gitops.errors import ConfigError, UsageError

EXAMPLE = """\
version: 1
project: flights
ci: [github, azure]
environments:                       # in the order of promotion
  - {name: dev, branch: main}
  - {name: staging, branch: release/staging}
  - name: production
    branch: release/production
    policy: strict                  # gates get harder on the way up
    approvers: ["@org/ml-leads"]
    freeze: ["Fri 16:00 - Mon 08:00 Europe/Berlin"]
storage: {remote: ../dvc-storage}   # a folder (default) | s3://... | azure://...
models:
  late:
    path: .                         # a monorepo has models/<name>
    task: binary                    # binary | multiclass | regression
    framework: sklearn
    deploy: {target: local}         # local (default) | kubernetes | azureml | iotedge
"""
MINIMAL = "version: 1\nproject: flights\nmodels: {late: {task: binary}}\n"


def load(folder: Path, text: str) -> config.Config:
    (folder / "gitops.yaml").write_text(text, encoding="utf-8")
    return config.load(folder)


def refused(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    assert caught.value.where is not None
    assert caught.value.fix
    return caught.value


def place(error: ConfigError) -> tuple[int | None, int | None]:
    assert error.where is not None
    return error.where.line, error.where.column


def test_the_example(tmp_path: Path) -> None:
    read = load(tmp_path, EXAMPLE)
    assert read.ci == ("github", "azure")
    production = read.environment("production")
    assert (production.branch, production.policy) == ("release/production", "strict")
    assert [str(window) for window in production.freeze] == ["Fri 16:00 - Mon 08:00 Europe/Berlin"]
    assert read.storage.kind == "folder"
    assert read.model() == ("late", read.models["late"])


def test_everything_else_has_a_default(tmp_path: Path) -> None:
    read = load(tmp_path, MINIMAL)
    assert read.ci == ("github",)
    assert [(each.name, each.branch, each.policy) for each in read.environments] == [
        ("dev", "main", "baseline"),
        ("staging", "release/staging", "baseline"),
        ("production", "release/production", "baseline"),
    ]
    assert read.storage.remote == "../dvc-storage"
    assert read.tool.source == "vendored"
    _, model = read.model("late")
    assert (model.path, model.framework, model.data) == (".", "sklearn", None)
    assert (model.package, model.evaluation) == ("models/package", "evaluation")
    assert (model.metrics, model.predict, model.wrap) == ("metrics.json", None, None)
    assert (model.reproduce.level, model.reproduce.tolerance) == ("bytes", 1e-6)
    assert model.deploy.target == "local"


def test_a_value_never_changes(tmp_path: Path) -> None:
    read = load(tmp_path, EXAMPLE)
    with pytest.raises(ValidationError, match="frozen"):
        read.environments[0].name = "other"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there's no gitops.yaml") as caught:
        config.load(tmp_path)
    assert "gitops new" in caught.value.fix


def test_models_and_environments_by_name(tmp_path: Path) -> None:
    two = MINIMAL.replace("}}", "}, early: {task: binary, path: models/early}}")
    read = load(tmp_path, two)
    assert read.model("early")[1].path == "models/early"
    with pytest.raises(UsageError, match="several models") as several:
        read.model()
    assert several.value.fix == "name one: late, early"
    with pytest.raises(UsageError, match="no model 'erly'") as near:
        read.model("erly")
    assert near.value.fix == "did you mean early?"
    with pytest.raises(UsageError, match="no environment 'qqq'") as far:
        read.environment("qqq")
    assert far.value.fix == "one of: dev, staging, production"


def model(extra: str) -> str:
    return f"version: 1\nproject: flights\nmodels:\n  late:\n    task: binary\n    {extra}\n"


def top(extra: str) -> str:
    return f"{MINIMAL}{extra}\n"


def environment(extra: str) -> str:
    return top(f"environments:\n  - {{name: dev, branch: main, {extra}}}")


WRAP = "wrap: {model: m.pkl, train: a.csv, test: b.csv, target: late"

# What both the loader and the schema take.
ACCEPTED = [
    EXAMPLE,
    MINIMAL,
    top("ci: []"),
    top("storage: {remote: /srv/dvc}"),
    top("storage: {remote: s3://bucket/path, endpoint: 'http://localhost:9000'}"),
    top("storage: {remote: s3://bucket}"),
    top("storage: {remote: azure://container/path, account: flightsml}"),
    top("storage: {remote: with space/and:colon, endpoint: null}"),
    top("tool: {source: index}"),
    top("environments: [{name: test, branch: feature#1/ü}]"),
    environment('approvers: ["@user", "@org/team_a", "lead@example.org"]'),
    environment('freeze: ["Mon 00:00 - Mon 23:59 UTC", "Sun 22:00 - Mon 02:00 Etc/GMT+1"]'),
    model("path: models/late"),
    model("data: data/raw flights.csv"),
    model("predict: python -m flights.predict {input} '{output}'"),
    model("reproduce: {level: predictions, tolerance: 1e-3}"),
    model("reproduce: {tolerance: 1}"),
    model("deploy: {target: iotedge}")
    + "targets: {iotedge: {hubs: {staging: flights-staging, production: flights-live}}}\n",
    model("framework: custom"),
    model(f"{WRAP}}}"),
    model(f"{WRAP}, command: make train, deps: [train.py], id: n, features: [a, b], slices: [a]}}"),
]

# What both refuse: text, line, column, what the message and the fix say.
REFUSED = [
    ("project: a\nmodels: {late: {task: binary}}", 1, 1, "version is missing", "version: 1"),
    ("version: 1\nmodels: {late: {task: binary}}", 1, 1, "project is missing", "project: flights"),
    ("version: 1\nproject: a", 1, 1, "models is missing", "add `models"),
    ("version: 1\nproject: a\nmodels: {}", 3, 9, "models is empty", "at least one"),
    ("version: 1\nproject: a\nmodels:", 3, 8, "models has no value", "give it one"),
    ("version: 1\nproject: a\nmodels: {late: {}}", 3, 16, "late.task is missing", "task: binary"),
    (MINIMAL.replace("1", '"1"'), 1, 10, 'version is "1"', "write 1 without quotes"),
    (MINIMAL.replace("1", "2"), 1, 10, "version is 2", "write 1"),
    (MINIMAL.replace("1", "true"), 1, 10, "version is true", "write 1"),
    (MINIMAL.replace("flights", "yes_or_no"), 2, 10, "single hyphens", "call it yes-or-no"),
    (MINIMAL.replace("flights", "true"), 2, 10, "true, not a text", 'write "true"'),
    (MINIMAL.replace("flights", "12"), 2, 10, "12, not a text", 'write "12"'),
    (MINIMAL.replace("flights", "a" * 33), 2, 10, "33 characters", f"call it {'a' * 32}"),
    (MINIMAL.replace("late:", "Late:"), 3, 10, '"Late" is no model name', "call it late"),
    (top("enviroments: []"), 4, 1, 'unknown key "enviroments"', "did you mean environments?"),
    (top("zzz: 1"), 4, 1, 'unknown key "zzz"', "known are version, project"),
    (top("ci: github"), 4, 5, 'ci is "github", not a list', "write [github]"),
    (top("ci: [gitub]"), 4, 6, 'ci[0] is "gitub"', "did you mean github?"),
    (top("ci: [github, github]"), 4, 5, 'ci holds "github" twice', "remove one"),
    (top("environments: []"), 4, 15, "environments is empty", "at least one"),
    (top("environments: {}"), 4, 15, "environments is {}, not a list", "write"),
    (top("environments: [dev]"), 4, 16, '"dev", not a mapping', "write {name: ...}"),
    (top("environments: [{name: dev}]"), 4, 16, "environments[0].branch is missing", "branch: "),
    (environment("brnch: x"), 5, 31, 'unknown key "brnch" in environments[0]', "mean branch?"),
    (environment("policy: Strict"), 5, 39, '"Strict" is refused', '"baseline"'),
    (environment("policy: ../x"), 5, 39, '"../x" is refused', '"baseline"'),
    (environment("approvers: [boss]"), 5, 43, '"boss" is refused', '"@org/ml-leads"'),
    (environment('approvers: ["@-x"]'), 5, 43, '"@-x" is refused', '"@org/ml-leads"'),
    (environment("approvers: [lead@localhost]"), 5, 43, "is refused", '"@org/ml-leads"'),
    (environment("freeze: [always]"), 5, 40, '"always" is no freeze window', "Europe/Berlin"),
    (environment("freeze: [Fri 24:00 - Mon 08:00 UTC]"), 5, 40, "no freeze window", "24 hours"),
    (environment("freeze: [fri 16:00 - Mon 08:00 UTC]"), 5, 40, "no freeze window", "Mon to Sun"),
    (environment("freeze: [Fri 16:00 - Mon 08:00]"), 5, 40, "no freeze window", "time zone"),
    (environment("freeze: [1]"), 5, 40, "freeze[0] is 1, not a text", 'write "1"'),
    (top("storage: ../x"), 4, 10, '"../x", not a mapping', "write {remote: ...}"),
    (top("storage: {remote: ''}"), 4, 19, "is refused", '"../dvc-storage"'),
    (top("storage: {remote: gs://bucket}"), 4, 19, 'the scheme "gs"', "s3://bucket/path or azure"),
    (top("storage: {remote: 'C:/dvc'}"), 4, 19, 'the scheme "C"', "write a folder"),
    (top("storage: {remote: host:/dvc}"), 4, 19, 'the scheme "host"', "write a folder"),
    (top("storage: {remote: ~/dvc}"), 4, 19, "only a shell knows", "write the folder out"),
    (top("storage: {remote: s3://B/x}"), 4, 19, "is refused", '"../dvc-storage"'),
    (top("storage: {remote: azure://a--b/x}"), 4, 19, "is refused", '"../dvc-storage"'),
    (top("storage: {remote: s3://b-b, endpoint: x}"), 4, 39, '"x" is refused', '"https://'),
    (top("storage: {endpoint: 'http://x'}"), 4, 21, "endpoint is for s3:// storage", "remove"),
    (top("storage: {remote: x, endpoint: 'http://x'}"), 4, 32, "for s3:// storage", "remove"),
    (top("storage: {remote: s3://b-b, account: abc}"), 4, 38, "for azure:// storage", "remove"),
    (top("storage: {remote: azure://abc, account: A-b}"), 4, 41, "3-24 lower-case", '"flightsml"'),
    (top("tool: {source: vendord}"), 4, 16, '"vendord"', "did you mean vendored?"),
    (model("task_: 1"), 6, 5, 'unknown key "task_" in models.late', "did you mean task?"),
    (model("path: ../x"), 6, 11, "inside the repository", '"."'),
    (model("path: /x"), 6, 11, "inside the repository", '"."'),
    (model("path: .git/x"), 6, 11, "inside the repository", '"."'),
    (model("path: models/late/"), 6, 11, "not the shortest form", "write models/late"),
    (model("path: models\\late"), 6, 11, "not the shortest form", "write models/late"),
    (model("data: ./a//b"), 6, 11, "not the shortest form", "write a/b"),
    (model("data: a/../../b"), 6, 11, "inside the model's folder", "data/flights.csv"),
    (model("package: ."), 6, 14, "inside the model's folder", "write"),
    (model("data: 5"), 6, 11, "data is 5, not a text", 'write "5"'),
    (model("data: [a]"), 6, 11, "data is [a], not a text", "write one text"),
    (model("framework: sklern"), 6, 16, '"sklern"', "did you mean sklearn?"),
    (model("predict: python x {input}"), 6, 14, "both {input} and {output}", "{output}"),
    (model("reproduce: {tolerance: 0}"), 6, 28, "tolerance is 0", "above 0"),
    (model("reproduce: {tolerance: true}"), 6, 28, "tolerance is true", "above 0"),
    (model("reproduce: {level: byte}"), 6, 24, '"byte"', "did you mean bytes?"),
    (model("deploy: {target: k8s}"), 6, 22, '"k8s"', "write one of local, kubernetes"),
    (model("deploy: local"), 6, 13, '"local", not a mapping', "write {target: ...}"),
    (model("wrap: {train: a, test: b, target: c}"), 6, 11, "wrap.model is missing", "data/"),
    (model(f"{WRAP}, command: ' '}}"), 6, 76, "a command is one line", "python -m train"),
    (model(f'{WRAP}, id: "a\\nb"}}'), 6, 71, "a column's name is one line", "carrier"),
    (model(f"{WRAP}, deps: [a, a]}}"), 6, 73, 'holds "a" twice', "remove one"),
]

# What only the loader can know.
LOADER_ONLY = [
    (MINIMAL.replace("flights", "sklearn"), 2, 10, "hide a dependency", "sklearn-ml"),
    (MINIMAL.replace("flights", "no"), 2, 10, "boolean", "call it no-ml"),
    (MINIMAL.replace("late:", "class:"), 3, 10, "keyword", "call it class-ml"),
    (environment("policy: strct"), 5, 39, 'no policy "strct"', "did you mean strict?"),
    (environment("policy: zzz"), 5, 39, 'no policy "zzz"', ".gitops/policies/zzz.yaml"),
    (environment("freeze: [Fri 16:00 - Mon 08:00 Europe/Berln]"), 5, 40, "Berln", "Europe/Berlin"),
    (
        environment("freeze: [Fri 16:00 - Fri 16:00 UTC]"),
        5,
        40,
        "ends where it starts",
        "other end",
    ),
    (
        top("environments: [{name: a, branch: b}, {name: a, branch: c}]"),
        *(4, 45, 'environments[1].name "a" is taken by environments[0]', "its own"),
    ),
    (
        top("environments: [{name: a, branch: b}, {name: c, branch: b}]"),
        *(4, 56, 'environments[1].branch "b" is taken by environments[0]', "its own"),
    ),
    (
        top("environments: [{name: a, branch: release}, {name: c, branch: release/c}]"),
        *(4, 62, 'cannot be beside the branch "release"', "write release-c"),
    ),
    (
        model("predict: python 'x {input} {output}"),
        6,
        14,
        "No closing quotation",
        "close the quote",
    ),
    (model("evaluation: models/package"), 6, 17, "is also models.late.package", "own"),
    (model("metrics: evaluation/m.json"), 6, 14, "lies in models.late.evaluation", "own"),
    (
        MINIMAL.replace("}}", "}, early: {task: binary, package: p, evaluation: e}}"),
        *(3, 39, "models.early.metrics: metrics.json is also models.late.metrics", "own"),
    ),
    (
        MINIMAL.replace("}}", "}, early: {task: binary, path: models/package/x}}"),
        *(3, 60, "models.early.path: models/package/x lies in models.late.package", "own"),
    ),
    (
        model("wrap: {model: m.pkl, train: a.csv, test: a.csv, target: late}"),
        *(6, 46, "test is the training table", "other rows"),
    ),
    (model(f"{WRAP}, id: late}}"), 6, 71, '"late" is already the target', "of its own"),
    (model(f"{WRAP}, id: n, group: n}}"), 6, 81, '"n" is already the id', "of its own"),
    (model(f"{WRAP}, features: [a, late]}}"), 6, 77, 'has "late", which is the target', "remove"),
]

JSON_SCHEMA = config.json_schema()
SCHEMA = Draft202012Validator(JSON_SCHEMA)


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted_by_the_loader_and_the_schema(tmp_path: Path, text: str) -> None:
    load(tmp_path, text)
    SCHEMA.validate(yamlfile.read(tmp_path / "gitops.yaml").data)


@pytest.mark.parametrize(("text", "line", "column", "message", "fix"), REFUSED + LOADER_ONLY)
def test_refused_with_place_and_fix(
    tmp_path: Path, text: str, line: int, column: int, message: str, fix: str
) -> None:
    error = refused(tmp_path, text)
    said = f"{error.message}\n{error.fix}"
    assert message in said
    assert fix in said
    assert place(error) == (line, column)


@pytest.mark.parametrize("text", [each[0] for each in REFUSED])
def test_refused_by_the_schema_too(tmp_path: Path, text: str) -> None:
    (tmp_path / "gitops.yaml").write_text(text, encoding="utf-8")
    assert not SCHEMA.is_valid(yamlfile.read(tmp_path / "gitops.yaml").data)


@pytest.mark.parametrize("text", [each[0] for each in LOADER_ONLY])
def test_the_schema_does_not_know_what_only_the_loader_can(tmp_path: Path, text: str) -> None:
    (tmp_path / "gitops.yaml").write_text(text, encoding="utf-8")
    SCHEMA.validate(yamlfile.read(tmp_path / "gitops.yaml").data)


def test_the_schema_helps_an_editor() -> None:
    schema = config.json_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "gitops.yaml"
    for part in (schema, *schema["$defs"].values()):
        assert part["description"]
        for name, field in part["properties"].items():
            # A part explains itself; a plain field has its own words.
            assert "$defs" in str(field) or field["description"], name
    assert schema["$defs"]["Environment"]["properties"]["branch"]["examples"]


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    text = (
        'version: "1"\nprojct: flights\nci: github\nenvironments:\n  - {name: dev, branch: main}\n'
        "  - {name: dev, branch: release, policy: strct}\n  - {name: x}\nmodels:\n"
        "  a: {task: binary}\n  b: {task: binry}\n  c: {task: binary, metrics: m.json}\n"
    )
    error = refused(tmp_path, text)
    assert place(error) == (1, 1)
    assert error.fix == "correct these 10 places"
    starts = [line.removeprefix(f"{tmp_path / 'gitops.yaml'}:") for line in str(error).splitlines()]
    assert [start.split(": ")[0] for start in starts] == [
        *("1:1", "1:10", "2:1", "3:5", "6:12", "6:42", "7:5", "10:13", "11:6", "11:6"),
        "  fix",
    ]


@pytest.mark.parametrize(
    "remote",
    [
        "s3://key:hunter2@bucket/path",
        "s3://hunter2@bucket/path",
        "azure://container/path?sv=2022&sig=hunter2",
        "azure://container:hunter2/path",
        "s3://bucket/path#hunter2",
        "gs://key:hunter2@bucket/path",
        "ssh://me:hunter2@host/path",
        "me:hunter2@host",
    ],
)
def test_a_secret_in_the_remote_is_refused_and_not_repeated(tmp_path: Path, remote: str) -> None:
    error = refused(tmp_path, top(f'storage: {{remote: "{remote}"}}'))
    assert "hunter2" not in str(error)
    assert place(error) == (4, 19)


def test_a_secret_in_the_endpoint_is_refused_and_not_repeated(tmp_path: Path) -> None:
    text = top("storage: {remote: s3://bucket, endpoint: 'https://me:hunter2@host'}")
    error = refused(tmp_path, text)
    assert "no secret belongs into a file in git" in str(error)
    assert "hunter2" not in str(error)


def test_a_key_twice_is_refused_before_anything_else(tmp_path: Path) -> None:
    error = refused(tmp_path, MINIMAL.replace("}}", "}, late: {task: regression}}"))
    assert "the key 'late' is already on line 3" in error.message


def test_a_policy_of_the_repository_counts(tmp_path: Path) -> None:
    text = environment("policy: ours")
    assert 'no policy "ours"' in refused(tmp_path, text).message
    (tmp_path / ".gitops" / "policies").mkdir(parents=True)
    (tmp_path / ".gitops" / "policies" / "ours.yaml").write_text("extends: baseline\n")
    assert load(tmp_path, text).environment("dev").policy == "ours"


def git_takes(branch: str) -> bool:
    command = ["git", "check-ref-format", "--branch", branch]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


BRANCHES = [
    *("main", "release/production", "a", "feature#1", "ü/日本", "a@b", "x.y", "refs/heads/x", "@x"),
    *("-x", "x-", "HEAD", ".x", "x.", "x..y", "a/.b", "a.lock", "a.lock/b", "x.lockd", "/a"),
    *("a/", "a//b", "a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a]b", "a\\b", "a@{b", "a{b"),
    *("a\x7fb", "a\tb", "a/HEAD", "a/-b", "release/@", "a;b", "$(x)", "a'b", "a\u00a0b"),
]


def loader_takes(branch: str) -> bool:
    try:
        config.Environment(name="dev", branch=branch)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("branch", BRANCHES)
def test_branches_are_those_that_git_takes(branch: str) -> None:
    assert loader_takes(branch) == git_takes(branch)
    field = JSON_SCHEMA["$defs"]["Environment"]["properties"]["branch"]
    assert Draft202012Validator(field).is_valid(branch) == git_takes(branch)


@given(st.text("a.-/@{~l", max_size=6).map(lambda text: f"x{text}".replace("l", ".lock")))
def test_any_branch_is_judged_as_git_does(branch: str) -> None:
    assert loader_takes(branch) == git_takes(branch)


@pytest.mark.parametrize("branch", ["gitops/records", "gitops", "@", "a" * 201])
def test_branches_that_only_we_refuse(branch: str) -> None:
    assert git_takes(branch)
    assert not loader_takes(branch)


BERLIN = ZoneInfo("Europe/Berlin")


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


@pytest.mark.parametrize(
    ("moment", "frozen"),
    [
        ("2024-05-03T15:59:59", False),  # a Friday
        ("2024-05-03T16:00:00", True),
        ("2024-05-04T00:00:00", True),
        ("2024-05-05T23:59:59", True),
        ("2024-05-06T07:59:59", True),
        ("2024-05-06T08:00:00", False),
        ("2024-05-08T12:00:00", False),
    ],
)
def test_a_window_over_the_end_of_the_week(moment: str, frozen: bool) -> None:
    window = FreezeWindow.parse("Fri 16:00 - Mon 08:00 Europe/Berlin")
    assert window.contains(berlin(moment)) is frozen
    assert window.contains(berlin(moment).astimezone(ZoneInfo("Asia/Tokyo"))) is frozen


def test_a_window_within_the_week() -> None:
    window = FreezeWindow.parse("Tue 09:30 - Tue 17:00 UTC")
    noon = datetime(2024, 5, 7, 12, tzinfo=ZoneInfo("UTC"))
    assert window.contains(noon)
    assert not window.contains(noon + timedelta(days=1))
    assert not window.contains(noon.replace(hour=17))
    assert window.contains(noon.replace(hour=9, minute=30))


def test_windows_go_by_the_wall_clock_when_clocks_change() -> None:
    window = FreezeWindow.parse("Sun 02:30 - Sun 04:00 Europe/Berlin")
    utc = ZoneInfo("UTC")
    # On 2024-03-31 clocks jump from 02:00 to 03:00, at 01:00 UTC: the window has one hour.
    spring = [
        datetime(2024, 3, 31, 0, 59, tzinfo=utc) + timedelta(minutes=n) for n in (0, 1, 60, 61)
    ]
    assert [window.contains(each) for each in spring] == [False, True, True, False]
    # On 2024-10-27 the hour from 02:00 comes twice: 02:30 is in the window both times.
    assert window.contains(berlin("2024-10-27T02:30:00"))
    assert not window.contains(berlin("2024-10-27T02:15:00", fold=1))
    assert window.contains(berlin("2024-10-27T02:30:00", fold=1))
    assert not window.contains(berlin("2024-10-27T04:00:00"))


def test_a_moment_without_a_zone_is_none() -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        FreezeWindow.parse("Tue 09:30 - Tue 17:00 UTC").contains(datetime(2024, 5, 7, 12))


@pytest.mark.parametrize("tolerance", [float("nan"), float("inf"), -1.0])
def test_a_tolerance_is_a_positive_number(tolerance: float) -> None:
    with pytest.raises(ValidationError, match="tolerance"):
        config.Reproduce(tolerance=tolerance)


def test_storage_kinds() -> None:
    kinds = {"../x": "folder", "s3://bucket/x": "s3", "azure://container": "azure"}
    assert {remote: config.Storage(remote=remote).kind for remote in kinds} == kinds


def test_a_config_as_json_loads_again(tmp_path: Path) -> None:
    read = load(tmp_path, EXAMPLE)
    dumped: dict[str, Any] = read.model_dump(mode="json")
    assert dumped["environments"][2]["freeze"] == ["Fri 16:00 - Mon 08:00 Europe/Berlin"]
    assert config.Config.model_validate(copy.deepcopy(dumped)) == read


def test_reading_the_configuration_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "gitops.yaml").write_text(EXAMPLE)
    code = (
        "import sys; from pathlib import Path; from gitops import config;"
        "config.load(Path(sys.argv[1]));"
        "print({'dvc', 'git', 'numpy', 'polars', 'jsonschema', 'ruamel'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], str]:
    """Commits files in a repository at `tmp_path`; the id. The work tree has none of them."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    git.init(tmp_path, "main")

    def commit(files: dict[str, bytes]) -> str:
        for name, raw in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(raw)
        made = git.commit(tmp_path, "Files")
        for name in files:
            (tmp_path / name).unlink()
        return made

    return commit


def test_the_file_of_a_commit(tmp_path: Path, committed: Callable[[dict[str, bytes]], str]) -> None:
    text = top("environments: [{name: dev, branch: main, policy: mine}]").replace(
        "task: binary", "task: binary, sensitive: [sex, 'age, years']"
    )
    files = {"gitops.yaml": text.encode(), ".gitops/policies/mine.yaml": b"version: 1\n"}
    read = config.load_at(tmp_path, committed(files))
    assert read.environment("dev").policy == "mine"
    assert read.models["late"].sensitive == ("sex", "age, years")


@pytest.mark.parametrize(
    ("raw", "place", "message"),
    [
        (top("projct: x").encode(), "gitops.yaml:4:1", "unknown key"),
        (
            top("environments: [{name: dev, branch: main, policy: mine}]").encode(),
            ":4:",
            "no policy",
        ),
        (MINIMAL.replace("binary", "binary, sensitive: [a, a]").encode(), ":3", "twice"),
        (b"project: \xff\n", "gitops.yaml:1:10", "is not UTF-8"),
    ],
)
def test_a_wrong_file_of_a_commit_is_named_with_it(
    tmp_path: Path,
    committed: Callable[[dict[str, bytes]], str],
    raw: bytes,
    place: str,
    message: str,
) -> None:
    commit = committed({"gitops.yaml": raw})
    with pytest.raises(ConfigError, match=message) as caught:
        config.load_at(tmp_path, commit)
    assert str(caught.value.where).startswith(f"{commit[:12]}:gitops.yaml:")
    assert place in str(caught.value.where)


def test_a_commit_without_the_file(
    tmp_path: Path, committed: Callable[[dict[str, bytes]], str]
) -> None:
    with pytest.raises(ConfigError, match=r"that commit has no gitops.yaml"):
        config.load_at(tmp_path, committed({"README.md": b"x"}))

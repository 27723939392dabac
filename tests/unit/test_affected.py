"""What a change touches: never is a model left out whose closure differs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from gitops import affected, config, git
from gitops.promote.closure import of as closure_of

MD5 = "0123456789abcdef0123456789abcdef"
LOCK = f"""\
schema: '2.0'
stages:
  train:
    cmd: PYTHONPATH=../../src uv run --locked --env-file ../../build.env python -m
      fleet.train
    deps:
    - path: ../../src/shared
      md5: {MD5}.dir
      size: 1
    - path: ../../data/table.csv
      md5: {MD5}
      size: 1
    params:
      ../../settings.yaml:
        seed: 1
        columns: []
        names:
        - 'yes'
        - a: b
    outs:
    - path: package
      md5: {MD5}.dir
      size: 1
"""
PIPELINE = """\
# Comments are nobody's.
stages:
  train:
    cmd: python -m train
    deps:
      - "../../src/shared"
      - ../../data/table.csv
    params: [seed]
    outs:
      - package
    metrics:
      - metrics.json:
          cache: false
"""
FILES = {
    "gitops.yaml": "version: 1\nproject: two\nmodels:\n"
    "  one: {path: models/one, task: binary}\n  other: {path: models/other, task: binary}\n",
    "models/one/dvc.lock": LOCK,
    "models/one/dvc.yaml": PIPELINE,
    "models/other/dvc.lock": LOCK.replace("../../src/shared", "src").replace("../../data/", ""),
    "models/other/dvc.yaml": PIPELINE.replace("../../src/shared", "src").replace("../../data/", ""),
    "models/other/src/train.py": "",
    "src/shared/code.py": "",
    "src/apart.py": "",
    "tests/test_code.py": "",
    "settings.yaml": "seed: 1\n",
    "uv.lock": "version = 1\n",
    ".gitops/policies/own.yaml": "extends: baseline\n",
    "data/table.csv.dvc": f"outs:\n- md5: {'a' * 32}\n  path: table.csv\n",
    "README.md": "",
}
ALL = {"one", "other"}


def commits(root: Path, *states: Mapping[str, str | None]) -> list[str]:
    """A commit for each state of files (None: deleted); each keeps what those before it have."""
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    found = []
    for files in states:
        for path, text in files.items():
            if text is None:
                (root / path).unlink()
                continue
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).unlink(missing_ok=True)
            if text.startswith("-> "):
                (root / path).symlink_to(text[3:])
            else:
                (root / path).write_text(text)
        found.append(git.commit(root, "Files"))
    return found


def touched(
    root: Path, before: Mapping[str, str | None], after: Mapping[str, str | None]
) -> set[str]:
    """The models that are said to be touched; the closures of the others are equal."""
    base, at = (git.snapshot(root, one) for one in commits(root, before, after))
    old, new = (config.load_at(root, one.commit) for one in (base, at))
    found = affected.models(base, at, old, new)
    for model in new.models.keys() - set(found):
        assert closure_of(at, new, model).digest == closure_of(base, old, model).digest
    return set(found)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("README.md", set()),
        ("tests/test_code.py", set()),
        ("docs/page.py", set()),
        ("models/one/dvc.lock", {"one"}),
        ("models/one/new.py", {"one"}),
        ("models/other/dvc.yaml", {"other"}),
        ("models/other/src/train.py", {"other"}),
        ("src/shared/code.py", {"one"}),
        ("src/shared/new.py", {"one"}),
        ("settings.yaml", ALL),  # of both
        ("data/table.csv.dvc", {"one"}),
        ("data.dvc", {"one"}),  # the folder around it
        ("src/apart.py", ALL),  # named by none: any may import it
        ("tools/helper.py", ALL),
        ("uv.lock", ALL),
        (".python-version", ALL),
        ("build.env", ALL),
        (".gitops/tool/requirements.txt", ALL),
        (".gitops/policies/own.yaml", ALL),
        (".dvc/config", ALL),
    ],
)
def test_what_a_change_touches(tmp_path: Path, path: str, wanted: set[str]) -> None:
    assert touched(tmp_path, FILES, {path: FILES.get(path, "") + "# more\n"}) == wanted


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("README.md", set()),
        ("src/shared/code.py", {"one"}),
        ("data/table.csv.dvc", {"one"}),
        ("models/other/src/train.py", {"other"}),
        ("models/one/dvc.lock", {"one"}),
        ("uv.lock", ALL),
    ],
)
def test_a_deleted_file(tmp_path: Path, path: str, wanted: set[str]) -> None:
    assert touched(tmp_path, FILES, {path: None}) == wanted


def test_a_renamed_file_is_one_less_and_one_more(tmp_path: Path) -> None:
    moved = {"models/other/src/train.py": None, "src/shared/train.py": "# moved\n"}
    assert touched(tmp_path, FILES, moved) == ALL


SETTINGS = FILES["gitops.yaml"]
STAGED = "environments: [{name: dev, branch: main%s}]\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (SETTINGS.replace("models/one, task: binary", "models/one, task: regression"), {"one"}),
        (f"# Only a comment\n{SETTINGS}", set()),
        (f"{SETTINGS}  third: {{path: models/third, task: binary}}\n", {"third"}),
        (SETTINGS.replace("  other: {path: models/other, task: binary}\n", ""), set()),
        (SETTINGS.replace("  other:", "  renamed:"), {"renamed"}),
        (SETTINGS.replace("project: two", "project: three"), ALL),
        (f"{SETTINGS}storage: {{remote: ../elsewhere}}\n", ALL),
        (SETTINGS + STAGED % "", ALL),
        (f"{SETTINGS}ci: [azure]\n", set()),
    ],
)
def test_settings(tmp_path: Path, text: str, wanted: set[str]) -> None:
    assert touched(tmp_path, FILES, {"gitops.yaml": text}) == wanted


def test_who_approves_touches_no_model(tmp_path: Path) -> None:
    before = {**FILES, "gitops.yaml": SETTINGS + STAGED % ""}
    after = {"gitops.yaml": SETTINGS + STAGED % ', approvers: ["@me"]'}
    assert touched(tmp_path, before, after) == set()


def test_settings_that_cannot_be_read_touch_all(tmp_path: Path) -> None:
    base, at = commits(tmp_path, {**FILES, "gitops.yaml": "version: 2\n"}, FILES)
    assert set(affected.between(tmp_path, base, at)) == ALL


def test_where_they_parted_counts(tmp_path: Path) -> None:
    base, at = commits(tmp_path, FILES, {"models/one/new.py": "x\n"})
    subprocess.run(["git", "checkout", "-q", base], cwd=tmp_path, check=True)
    (tmp_path / "models" / "other" / "new.py").write_text("x\n")
    theirs = git.commit(tmp_path, "Meanwhile")
    assert affected.between(tmp_path, theirs, at) == ("one",)


# ---------------------------------------------------------------- other ways to write it

ODD_LOCKS = [
    json.dumps({"stages": {"a": {"cmd": "x", "deps": [{"path": "../../src/shared"}]}}}),
    "stages:\n  a:\n    cmd: x\n    deps:\n    - path: '../../src/shared'\n",
    "stages:\n  a:\n    cmd: x\n    deps:\n    - md5: " + MD5 + "\n      path: ../../src/shared\n",
    "stages:\n  a:\n    cmd: x\n    deps: [{path: ../../src/shared}]\n",
    "stages:\n  a:\n    cmd: x\n    deps:\n    - path:\n        ../../src/shared\n",
    "stages:\n  a:\n    cmd: x\n    params: {../../src/shared/code.py: {seed: 1}}\n",
]


@pytest.mark.parametrize("lock", ODD_LOCKS)
def test_a_lock_that_dvc_did_not_write(tmp_path: Path, lock: str) -> None:
    bare = {**FILES, "models/one/dvc.yaml": "stages: {}\n", "models/one/dvc.lock": lock}
    assert "one" in touched(tmp_path / "1", bare, {"src/shared/code.py": "# more\n"})
    assert "one" not in touched(tmp_path / "2", bare, {"README.md": "more\n"})


@pytest.mark.parametrize("text", ["stages: [", "stages:\n  a: {deps: 1}\n", "<<<<<<< ours\n"])
def test_a_lock_that_cannot_be_read_touches_its_model(tmp_path: Path, text: str) -> None:
    base, at = commits(tmp_path, {**FILES, "models/one/dvc.lock": text}, {"README.md": "more\n"})
    assert affected.between(tmp_path, base, at) == ("one",)


ODD_PIPELINES = [
    "stages: {a: {cmd: x, deps: [../../src/shared], outs: [package]}}\n",
    "stages:\n  a:\n    wdir: ../..\n    cmd: x\n    deps:\n      - src/shared\n",
    "stages:\n  a:\n    cmd: x\n    deps:\n      - ../../src/shared # the code\n",
    "stages:\n  a:\n    foreach: [1, 2]\n    do:\n      cmd: x\n      deps: [../../src/shared]\n",
    "vars:\n  - ../../src/shared/code.py:key\nstages:\n  a:\n    cmd: x ${key}\n",
    "stages:\n  a:\n    cmd: >\n      long\n    deps: ['../../src/shared']\n",
]


@pytest.mark.parametrize("pipeline", ODD_PIPELINES)
def test_a_pipeline_that_never_ran_counts_as_it_is_declared(tmp_path: Path, pipeline: str) -> None:
    bare = {**FILES, "models/one/dvc.yaml": pipeline, "models/one/dvc.lock": "stages: {}\n"}
    assert "one" in touched(tmp_path / "1", bare, {"src/shared/code.py": "# more\n"})
    assert "one" not in touched(tmp_path / "2", bare, {"README.md": "more\n"})


def test_a_templated_working_folder_is_not_certain(tmp_path: Path) -> None:
    pipeline = "stages:\n  a:\n    wdir: ${where}\n    cmd: x\n    deps: [x]\n"
    files = {**FILES, "models/one/dvc.yaml": pipeline}
    assert touched(tmp_path, files, {"README.md": "more\n"}) == {"one"}


def test_without_a_pipeline_nothing_is_certain(tmp_path: Path) -> None:
    files = {**FILES, "gitops.yaml": f"{SETTINGS}  third: {{path: third, task: binary}}\n"}
    assert touched(tmp_path, files, {"README.md": "more\n"}) == {"third"}


def test_a_name_over_several_lines(tmp_path: Path) -> None:
    lock = LOCK.replace("../../src/shared", "../../src/a long\n        name")
    files = {**FILES, "models/one/dvc.lock": lock, "src/a long name/code.py": ""}
    assert "one" in touched(tmp_path, files, {"src/a long name/code.py": "# more\n"})


# ---------------------------------------------------------------- through others


def test_what_another_model_makes(tmp_path: Path) -> None:
    imports = PIPELINE.replace("../../src/shared", "../one/package")
    files = {**FILES, "models/other/dvc.yaml": imports}
    assert touched(tmp_path / "1", files, {"src/shared/code.py": "# more\n"}) == ALL
    assert touched(tmp_path / "2", files, {"models/other/x.py": "# more\n"}) == {"other"}


def test_what_a_pipeline_that_is_no_model_makes(tmp_path: Path) -> None:
    files = {
        **FILES,
        "features/dvc.yaml": "stages:\n  all:\n    cmd: x\n    deps:\n      - ../raw/table.csv\n"
        "    outs:\n      - ../shared/features.parquet\n",
        "features/dvc.lock": LOCK.replace("../../src/shared", "../raw/table.csv").replace(
            "path: package", "path: ../shared/features.parquet"
        ),
        "raw/table.csv": "a,b\n",
        "models/one/dvc.yaml": PIPELINE.replace("../../src/shared", "../../shared"),
        "models/other/dvc.yaml": PIPELINE.replace(
            "../../src/shared", "../../shared/features.parquet/part"
        ),
    }
    assert touched(tmp_path, files, {"raw/table.csv": "c,d\n"}) == {"other"} | {"one"}


def test_a_model_at_the_top_is_what_its_pipeline_names(tmp_path: Path) -> None:
    files = {
        "gitops.yaml": "version: 1\nproject: p\nmodels:\n  one: {task: binary}\n",
        "dvc.yaml": PIPELINE.replace("../../", ""),
        "dvc.lock": LOCK.replace("../../", ""),
        "src/shared/code.py": "",
    }
    for number, (path, wanted) in enumerate(
        [
            ("README.md", set()),
            ("src/shared/code.py", {"one"}),
            ("params.yaml", {"one"}),
            ("metrics.json", {"one"}),
            ("data/table.csv.dvc", {"one"}),
            ("deep/helper.py", {"one"}),
        ]
    ):
        assert touched(tmp_path / str(number), files, {path: "# more\n"}) == wanted, path


def test_what_lies_outside_of_the_repository_is_nobodys(tmp_path: Path) -> None:
    files = {
        **FILES,
        "gitops.yaml": f"{SETTINGS}  top: {{task: binary}}\n",
        "dvc.yaml": "stages:\n  a:\n    cmd: x\n    deps:\n      - settings.json\n",
        "settings.json": "1\n",
        "models/other/dvc.yaml": PIPELINE.replace("../../src/shared", "../../../elsewhere.csv"),
    }
    assert touched(tmp_path, files, {"settings.json": "2\n"}) == {"top"}


def test_symbolic_links(tmp_path: Path) -> None:
    files = {**FILES, "models/other/src/common": "-> ../../../lib", "lib/rates.csv": "1\n"}
    assert touched(tmp_path / "1", files, {"lib/rates.csv": "2\n"}) == {"other"}
    assert touched(tmp_path / "2", files, {"models/other/src/common": "-> ../../lib"}) == {"other"}
    ring = {**FILES, "models/other/src/a": "-> b", "models/other/src/b": "-> a"}
    assert touched(tmp_path / "3", ring, {"README.md": "more\n"}) == set()

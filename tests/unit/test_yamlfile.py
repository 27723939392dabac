"""YAML files: what is read and where it stands, what is refused, edits, and what we write."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gitops import yamlfile
from gitops.errors import ConfigError
from gitops.yamlfile import REMOVE, edits
from gitops.yamlfile.nodes import compose

FILE = """\
# top comment
version: 1
project:   flights   # aligned
ci: [ github,  azure ]
environments:                       # in the order of promotion
  - {name: dev, branch: main}
  - { name: staging, branch: 'release/staging' }
  # the last one
  - name: production
    branch: release/production      # protected

# where the data lives
storage: {remote: ../dvc-storage}   # a folder
models:
    late:
        path: .                     # a monorepo has models/<name>
        task: binary

# after the models

tool:
  source: 'vendored'
# the end
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(text.encode())
    return path


def refused(folder: Path, text: str | bytes) -> ConfigError:
    path = folder / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        yamlfile.read(path)
    assert caught.value.where is not None
    assert caught.value.where.file == path
    assert caught.value.fix
    return caught.value


def at(error: ConfigError) -> tuple[int | None, int | None]:
    assert error.where is not None
    return error.where.line, error.where.column


def test_read_and_where(tmp_path: Path) -> None:
    document = yamlfile.read(write(tmp_path, FILE))
    assert document.data["environments"][2] == {
        "name": "production",
        "branch": "release/production",
    }
    places: dict[tuple[tuple[str | int, ...], bool], tuple[int, int]] = {
        ((), False): (2, 1),
        (("project",), False): (3, 12),
        (("project",), True): (3, 1),
        (("ci", 1), False): (4, 16),
        (("environments", 1, "branch"), False): (7, 30),
        (("environments", 2), False): (9, 5),
        (("environments", 2, "branch"), True): (10, 5),
        (("models", "late"), True): (15, 5),
        (("models", "late", "task"), False): (17, 15),
        (("models", "late", "nothing"), False): (16, 9),  # the nearest around it
        (("environments", 7, "name"), True): (6, 3),
        (("version", "below"), False): (2, 10),
    }
    for (place, key), (line, column) in places.items():
        where = document.where(place, key=key)
        assert (where.line, where.column) == (line, column), place
        assert where.file == tmp_path / "file.yaml"


def test_where_a_key_is_that_has_the_name_of_the_one_above(tmp_path: Path) -> None:
    document = yamlfile.read(write(tmp_path, "a:\n  a: 1\n"))
    assert str(document.where(("a", "a"), key=True)).endswith(":2:3")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e-6", 1e-6),
        ("1.", 1.0),
        (".5", 0.5),
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("<<", "<<"),
        ("a # c", "a"),
        ("|\n  x\n  y\n", "x\ny\n"),
        ("ä日本", "ä日本"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    read = yamlfile.read(write(tmp_path, f"a: {text}\n")).data["a"]
    assert read == value
    assert type(read) is type(value)


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    document = yamlfile.read(write(tmp_path, "\ufeffa: 1\r\nb:\r\n  - x\r\n"))
    assert document.data == {"a": 1, "b": ["x"]}
    assert str(document.where(("b", 0))).endswith(":3:5")


def test_an_alias_repeats_a_value(tmp_path: Path) -> None:
    document = yamlfile.read(write(tmp_path, "a: &x {k: 1}\nb: *x\n"))
    assert document.data == {"a": {"k": 1}, "b": {"k": 1}}
    assert str(document.where(("b",))).endswith(":2:4")
    assert str(document.where(("b", "k"))).endswith(":1:11")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", (3, 1), "the key 'a' is already on line 1"),
        ("x: {k: 1, 'k': 2}\n", (1, 11), "the key 'k' is already on line 1"),
        ("a:\n\tb: 1\n", (2, 1), "a tab"),
        ("a:\n  - b\n \t- c: 1\n", (3, 2), "a tab"),
        ("a: @org/team\n", (1, 4), "cannot start any token: 'a: @org/team'"),
        ("a: b: c\n", (1, 5), "mapping values are not allowed"),
        ("a: [1, 2\nb: 1\n", (2, 2), "flow sequence"),
        ("a: 'x\n", (2, 1), "unexpected end of stream"),
        ("ä: 1\nb: \x01\n", (2, 4), "a control character"),
        ("a: 1\n---\nb: 2\n", (2, 1), "a second document"),
        ("- a\n", (1, 1), "not a mapping"),
        ("\n  just text\n", (2, 3), "not a mapping"),
        ("", (None, None), "empty"),
        ("# only a comment\n", (None, None), "empty"),
        ("1: a\n", (1, 1), "the key 1 is not text"),
        ("a: {true: 1}\n", (1, 5), "the key true is not text"),
        ("? [a]\n: 1\n", (1, 3), "this key is not text"),
        ("a: !!python/object:os.system {}\n", (1, 4), "the tag tag:yaml.org,2002:python"),
        ("a: .nan\n", (1, 4), ".nan is not a finite number"),
        ("a: -.INF\n", (1, 4), "-.INF is not a finite number"),
        ("a: 1e999\n", (1, 4), "1e999 is not a finite number"),
        (f"a: {'9' * 5000}\n", (1, 4), "is not a finite number"),
        ("a: *x\n", (1, 4), r"the alias \*x has no finished anchor"),
        ("a: &x [*x]\n", (1, 8), r"the alias \*x has no finished anchor"),
        ("a: " + "[" * 100_000, (1, 67), "nested deeper than 64"),
    ],
)
def test_refused_with_place_and_fix(
    tmp_path: Path, text: str, place: tuple[int | None, int | None], message: str
) -> None:
    error = refused(tmp_path, text)
    assert at(error) == place
    with pytest.raises(ConfigError, match=message):
        raise error


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "without bound" in refused(tmp_path, "\n".join(lines)).message


def test_not_utf_8(tmp_path: Path) -> None:
    error = refused(tmp_path, "a: 1\nb: ä".encode() + b"\xff\n")
    assert at(error) == (2, 5)
    assert "0xff" in error.message


def test_missing_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        yamlfile.read(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        yamlfile.read(tmp_path)


def edited(folder: Path, text: str, changes: dict[tuple[str | int, ...], object]) -> str:
    path = write(folder, text)
    assert yamlfile.edit(path, changes)
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("changes", "replaced", "by"),
    [
        ({("project",): "late"}, "flights   # aligned", "late   # aligned"),
        ({("version",): 2}, "version: 1", "version: 2"),
        ({("project",): "1"}, "project:   flights", "project:   '1'"),
        ({("ci", 2): "on"}, "azure ]", "azure, 'on' ]"),
        ({("ci",): ["azure"]}, "[ github,  azure ]", "[ azure ]"),
        ({("ci",): []}, "[ github,  azure ]", "[]"),
        ({("storage", "endpoint"): "http://x"}, "-storage}", "-storage, endpoint: 'http://x'}"),
        (
            {("environments", 1, "policy"): "strict"},
            "'release/staging' }",
            "'release/staging', policy: strict }",
        ),
        ({("environments", 0): REMOVE}, "  - {name: dev, branch: main}\n", ""),
        (
            {("environments", 2, "name"): REMOVE},
            "- name: production\n    branch:",
            "- branch:",
        ),
        (
            {("environments", 2, "branch"): REMOVE},
            "    branch: release/production      # protected\n",
            "",
        ),
        (
            {("environments", 3): {"name": "x", "branch": "y"}},
            "# protected\n",
            "# protected\n  - name: x\n    branch: y\n",
        ),
        (
            {("models", "other"): {"task": "binary", "deploy": {"target": "local"}}},
            "        task: binary\n",
            "        task: binary\n    other:\n        task: binary\n        deploy:\n"
            "            target: local\n",
        ),
        ({("models", "late", "task"): REMOVE}, "        task: binary\n", ""),
        ({("models", "late"): None}, ": .                     #", None),
        ({("tool",): REMOVE}, "tool:\n  source: 'vendored'\n", ""),
        ({("tool",): "x"}, "tool:\n  source: 'vendored'", "tool: x"),
        ({("storage",): REMOVE}, "storage: {remote: ../dvc-storage}   # a folder\n", ""),
        (
            {("storage",): {"remote": "../dvc-storage", "x": {"y": 1}}},
            "-storage}",
            "-storage, x: {y: 1}}",
        ),
        (
            {("project",): {"name": "x"}},
            "project:   flights   # aligned\n",
            "project:   # aligned\n    name: x\n",
        ),
        ({("new", "key"): 1}, "'vendored'\n", "'vendored'\nnew:\n    key: 1\n"),
        ({("environments", 0): "x"}, "- {name: dev, branch: main}", "- x"),
    ],
)
def test_an_edit_changes_only_what_is_asked_for(
    tmp_path: Path, changes: dict[tuple[str | int, ...], object], replaced: str, by: str | None
) -> None:
    assert FILE.count(replaced) == 1
    text = edited(tmp_path, FILE, changes)
    if by is None:
        assert yamlfile.read(tmp_path / "file.yaml").data["models"] == {"late": None}
        assert "# after the models" in text
    else:
        assert text == FILE.replace(replaced, by)


def test_many_changes_at_once(tmp_path: Path) -> None:
    edited(
        tmp_path,
        "a: |\n  x\n\n  y\n\n# c\nb:\n-\n- 1  # one\n- # two\n  q: 1\nc:   # none\nd: {}",
        {
            ("a",): "text",
            ("b", 0): {"k": [{"l": 1}]},
            ("b", 2, "q"): 2,
            ("c", "x"): "m\nn\n",
            ("d",): [[1], [2]],
        },
    )
    assert (tmp_path / "file.yaml").read_text() == (
        "a: text\n\n# c\nb:\n- k:\n    - l: 1\n- 1  # one\n- # two\n  q: 2\nc:   # none\n"
        "  x: |\n    m\n    n\nd:\n  - [1]\n  - [2]"
    )


def test_what_is_said_already_is_not_written_again(tmp_path: Path) -> None:
    path = write(tmp_path, FILE)
    os.utime(path, ns=(1, 1))
    changes: dict[tuple[str | int, ...], object] = {
        ("ci",): ("github", "azure"),
        ("environments", 0): {"branch": "main", "name": "dev"},
        ("nothing", "below"): REMOVE,
        ("environments", 3): REMOVE,
    }
    assert not yamlfile.edit(path, changes)
    assert path.stat().st_mtime_ns == 1


def test_windows_lines_mark_mode_and_link_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffa: 1\r\n# c\r\n")
    path.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    assert yamlfile.edit(link, {("b",): {"c": 1}})
    assert path.read_bytes() == "\ufeffa: 1\r\nb:\r\n  c: 1\r\n# c\r\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file.yaml", "link.yaml"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, FILE)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        yamlfile.edit(path, {("project",): "x"})
    assert path.read_text() == FILE
    assert [file.name for file in tmp_path.iterdir()] == ["file.yaml"]


@pytest.mark.parametrize(
    ("text", "place", "value", "message"),
    [
        ("a: &x {k: 1}\nb: *x\n", ("b", "k"), 2, "b.k cannot be changed"),
        ("a: &x {k: 1}\nb: *x\n", ("a",), 2, "a cannot be changed"),
        ("a: [1]\n", ("a", "k"), 2, r"a.k has no place here: \[1\] has no k"),
        ("a: [1]\n", ("a", 2), 2, r"a\[2\] has no place here"),
        ("a: 1\n", ("a", "k"), 2, "1 has no k"),
        ("a: 1\na: 2\n", ("a",), 2, "already on line 1"),
    ],
)
def test_an_edit_that_cannot_be_made_leaves_the_file(
    tmp_path: Path, text: str, place: tuple[str | int, ...], value: object, message: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        yamlfile.edit(path, {place: value})
    assert caught.value.fix
    assert path.read_text() == text


_TEXTS = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff\u2028\u2029"
    )
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["no", "1e-6", "0o7", "1.", "~", "", "- a", "a: b", "#", "@x", "x\ny\n", "012"]
    )
    | _TEXTS
)
_VALUES = st.recursive(
    _SCALARS,
    lambda below: (
        st.lists(below, max_size=4)
        | st.dictionaries(st.text("abcno", min_size=1, max_size=3), below, max_size=4)
    ),
    max_leaves=12,
)
_TOPS = st.dictionaries(st.sampled_from("abcd"), _VALUES, min_size=1)


@given(_TOPS)
def test_what_we_write_reads_back_the_same_for_us_and_for_others(data: dict[str, Any]) -> None:
    text = yamlfile.dump(data, "by gitops\n\ndon't edit")
    assert text.startswith("# by gitops\n#\n# don't edit\n")
    assert repr(compose(text, Path("x")).data) == repr(data)
    assert yaml.safe_load(text) == data
    assert YAML(typ="safe").load(text) == data


@given(_TOPS, _TOPS, st.booleans())
def test_an_edit_gives_what_was_asked_for_and_keeps_comments(
    old: dict[str, Any], new: dict[str, Any], flow: bool
) -> None:
    parts = [
        yaml.safe_dump({key: value}, default_flow_style=flow, sort_keys=False)
        for key, value in old.items()
    ]
    if flow:
        parts = [part.strip()[1:-1] + "\n" for part in parts]
    text = "".join(f"# above {n}\n{part}" for n, part in enumerate(parts)) + "# end\n"
    before = compose(text, Path("x")).data
    after = edits.apply(text, Path("x"), {(key,): value for key, value in new.items()})
    said = compose(after, Path("x")).data
    assert json.dumps(said, sort_keys=True) == json.dumps({**before, **new}, sort_keys=True)
    comments = [line for line in after.splitlines() if line.startswith("# above")]
    assert comments == [f"# above {n}" for n in range(len(parts))]
    assert after.rstrip().endswith("# end")


def test_dump_is_for_people(tmp_path: Path) -> None:
    data = {
        "on": {"push": {"branches": ["main"]}},
        "steps": [{"name": "x", "run": "a\nb\n"}],
        "long": ["x" * 50, "y" * 50],
        "none": [],
    }
    assert yamlfile.dump(data) == (
        "'on':\n  push:\n    branches: [main]\nsteps:\n  - name: x\n    run: |\n      a\n      b\n"
        f"long:\n  - {'x' * 50}\n  - {'y' * 50}\nnone: []\n"
    )

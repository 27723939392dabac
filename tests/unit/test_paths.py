"""Paths that must never be written, and those that must be."""

import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.errors import ConfigError, Where
from gitops.scaffold import paths


@pytest.mark.parametrize(
    "text",
    [
        "README.md",
        ".gitignore",
        ".gitops/lock.yaml",
        ".github/workflows/build.yml",
        "src/für/データ.py",
        "console.txt",
        "com10",
        "a b/c-d_e",
        "x" * 255,
    ],
)
def test_usable(text: str) -> None:
    assert paths.check(text) == PurePosixPath(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("/etc/passwd", "absolute"),
        ("a/../../b", "`..`"),
        ("./a", "`.`"),
        ("a\\b", "backslash"),
        ("C:/x", "':'"),
        ("C:x", "':'"),
        (".git::$INDEX_ALLOCATION/config", "':'"),
        ("a\0b", "U+0000"),
        ("a\nb", "U+000A"),
        ("a\x7fb", "U+007F"),
        ("a\u202egpj.exe", "U+202E"),
        (".g\u200cit/config", "U+200C"),
        ("\udce9", "U+DCE9"),
        ("a.", "ends in a dot"),
        ("a /b", "ends in a dot or a space"),
        ("CON", "device"),
        ("a/nul.txt", "device"),
        ("Aux.tar.gz", "device"),
        ("com1", "device"),
        ("LPT¹.md", "device"),
        ("con .txt", "device"),
        (".git/config", "belongs to git"),
        ("a/.GIT/hooks/x", "belongs to git"),
        ("GIT~1/x", "belongs to git"),
        ("x" * 256, "longer"),
        ("é" * 128, "longer"),
        ("what?", "'?'"),
    ],
)
def test_refused_with_the_reason_and_the_place(text: str, reason: str) -> None:
    where = Where("template/x.j2", 3)
    with pytest.raises(ConfigError) as caught:
        paths.check(text, where)
    assert reason in caught.value.message
    assert caught.value.fix
    assert caught.value.where == where


def test_a_name_makes_no_folders() -> None:
    assert paths.check_name("flights", "@{ package }@") == "flights"
    for value in ("a/b", "..", ""):
        with pytest.raises(ConfigError, match="package"):
            paths.check_name(value, "@{ package }@")


@given(st.text(max_size=12).map(lambda text: f"x/{text}"))
def test_whatever_passes_stays_inside_and_spells_itself(text: str) -> None:
    try:
        path = paths.check(text)
    except ConfigError:
        return
    top = Path("/top")
    assert (top / path).resolve().is_relative_to(top)
    assert str(path) == text
    assert ".git" not in [unicodedata.normalize("NFC", part).lower() for part in path.parts]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("README.md", "Readme.md"),
        ("src/a.py", "SRC/b.py"),
        ("caf\u00e9.txt", "cafe\u0301.txt"),
        ("stra\u00dfe", "STRASSE"),
        ("a", "a/b"),
        ("A/b", "a"),
    ],
)
def test_collisions_within_a_plan(one: str, other: str) -> None:
    with pytest.raises(ConfigError, match=r"one file|both a file and a folder"):
        paths.check_distinct([PurePosixPath(one), PurePosixPath(other)])


def test_no_collision() -> None:
    paths.check_distinct([PurePosixPath(text) for text in ("a/x", "a/y", "b/x", "ab")])


def check(target: Path, *texts: str) -> None:
    paths.check_target([PurePosixPath(text) for text in texts], target)


def test_a_target_that_is_not_there_yet(tmp_path: Path) -> None:
    check(tmp_path / "new", "a", "b/c")


def test_a_collision_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "Src").mkdir()
    check(tmp_path, "Src/a.py")
    with pytest.raises(ConfigError, match=r"'src' and 'Src' are one file"):
        check(tmp_path, "src/a.py")
    (tmp_path / "Src" / "A.py").touch()
    with pytest.raises(ConfigError, match=r"Src/A\.py"):
        check(tmp_path, "Src/a.py")
    (tmp_path / "Src" / "a.py").touch()
    check(tmp_path, "Src/a.py")


def test_a_folder_that_leads_outside(tmp_path: Path) -> None:
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    (target / "src").symlink_to(outside)
    with pytest.raises(ConfigError, match=r"leads outside, to .*outside"):
        check(target, "src/a.py")
    with pytest.raises(ConfigError, match="leads outside"):
        check(target, "src/deep/er/a.py")


def test_a_folder_that_leads_into_git(tmp_path: Path) -> None:
    (tmp_path / ".git" / "hooks").mkdir(parents=True)
    (tmp_path / "hooks").symlink_to(".git/hooks")
    with pytest.raises(ConfigError, match=r"symlink into \.git/hooks"):
        check(tmp_path, "hooks/pre-commit")


def test_a_folder_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to("missing")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("gone", "loop"):
        with pytest.raises(ConfigError, match="leads nowhere"):
            check(tmp_path, f"{name}/a")


def test_a_folder_that_leads_elsewhere_inside(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "src").symlink_to("code")
    check(tmp_path, "src/a.py", "code/b.py")
    with pytest.raises(ConfigError, match=r"two paths lead to 'code/a\.py'"):
        check(tmp_path, "src/a.py", "code/a.py")

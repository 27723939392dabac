"""The wheel holds everything, nothing else, the same bytes always, and needs no checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops import __version__

if TYPE_CHECKING:
    from tests.conftest import Build, Gitops

PROJECT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"
CONTENT = ("generators", "workflows", "policies")

pytestmark = pytest.mark.functional


def members(wheel: Path) -> dict[str, tuple[bytes, tuple[int, ...], int]]:
    with zipfile.ZipFile(wheel) as archive:
        return {
            item.filename: (archive.read(item), item.date_time, item.external_attr)
            for item in archive.infolist()
        }


def sources() -> dict[str, Path]:
    """Every file that the wheel must hold: its name there, and the file in the checkout."""
    files = {path.relative_to(PROJECT).as_posix(): path for path in (PROJECT / "gitops").rglob("*")}
    for kind in CONTENT:
        for path in (PROJECT / kind).rglob("*"):
            files[f"gitops/_content/{path.relative_to(PROJECT).as_posix()}"] = path
    files["gitops/_content/requirements/tool.txt"] = PROJECT / "requirements" / "tool.txt"
    return {name: path for name, path in files.items() if path.is_file() and path.suffix != ".pyc"}


def test_through_the_sdist_and_direct_are_the_same_bytes(build: Build, tmp_path: Path) -> None:
    through, direct = build(tmp_path / "through"), build(tmp_path / "direct", "--wheel")
    assert members(through) == members(direct)
    assert through.read_bytes() == direct.read_bytes()


def test_the_wheel_is_complete_and_holds_nothing_else(wheel: Path) -> None:
    found = {name: content for name, (content, _, _) in members(wheel).items()}
    metadata = {name for name in found if name.startswith(f"gitops_ml-{__version__}.dist-info/")}
    expected = sources()
    assert set(found) - metadata == set(expected)
    assert {name: found[name] for name in expected} == {
        name: path.read_bytes() for name, path in expected.items()
    }
    shown = {name.rpartition("/")[2] for name in metadata}
    assert shown == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE"}


def test_the_sdist_holds_what_a_build_needs_and_no_tests(build: Build, tmp_path: Path) -> None:
    with tarfile.open(build(tmp_path / "dist", "--sdist")) as archive:
        tops = {name.split("/")[1] for name in archive.getnames()}
    metadata = {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO", ".gitignore"}
    assert tops == {path.relative_to(PROJECT).parts[0] for path in sources().values()} | metadata


def test_content_folders_hold_no_python_that_runs() -> None:
    files = [path for kind in CONTENT for path in (PROJECT / kind).rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if path.suffix in (".py", ".pyc", ".pyi")] == []


def test_one_version() -> None:
    assert (
        tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"] == __version__
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (
            "tool.txt",
            [
                "--no-dev",
                "--extra",
                "s3",
                "--extra",
                "azure",
                "--extra",
                "serve",
                "--extra",
                "sql",
                "--extra",
                "infra",
            ],
        ),
        ("uv.txt", ["--only-group", "bootstrap"]),
    ],
)
def test_exported_locks_are_current(name: str, options: list[str]) -> None:
    quiet = ["--quiet", "--locked", "--offline", "--no-header", "--no-annotate"]
    command = [str(UV), "export", *quiet, "--no-emit-project", *options]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (PROJECT / "requirements" / name).read_text()
    assert text == done.stdout, "run `make lock`"
    named = [line for line in text.splitlines() if not line.startswith(" ")]
    assert [line for line in named if "==" not in line] == []


def test_works_from_another_folder_without_the_checkout(
    gitops: Gitops, installed: Path, tmp_path: Path
) -> None:
    where = "import gitops.content as c; print(c.__file__, c.root(), sep='\\n')"
    done = subprocess.run(
        [installed / "python", "-I", "-c", where], cwd=tmp_path, capture_output=True, text=True
    )
    file, root = map(Path, done.stdout.splitlines())
    assert not file.is_relative_to(PROJECT)
    assert {path.name for path in root.iterdir()} >= {"generators", "workflows", "requirements"}

    version = gitops(tmp_path, "--version")
    assert (version.code, version.out.strip()) == (0, f"gitops {__version__}")
    schema = gitops(tmp_path, "schema")
    assert schema.code == 0, schema.err
    assert "environments" in json.loads(schema.out)["properties"]
    usage = gitops(tmp_path, "--help")
    assert usage.code == 0, usage.err
    for command in ("new", "build", "verify"):
        assert command in usage.out


def test_usage_errors_and_missing_repository_have_their_own_exit_codes(
    gitops: Gitops, tmp_path: Path
) -> None:
    assert gitops(tmp_path, "no-such-command").code == 2
    lost = gitops(tmp_path, "build")
    assert lost.code == 3
    assert "git repository" in lost.err
    assert "Traceback" not in lost.err

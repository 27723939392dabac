"""`gitops predict --package`: in a model's image, without a repository or what builds need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.main import get_command

from gitops.cli import predict
from gitops.cli.app import make

PACKAGES = Path(__file__).parents[1] / "contracts" / "packages"
# `gitops`, where only what an image holds can be imported.
ALONE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        missing = ("git", "dvc", "dvc_data", "ruamel", "jinja2", "sklearn", "requests")
        if name.split(".")[0] in missing:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing())
from gitops.cli import main
main()
"""


def gitops(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ALONE, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_package_alone_predicts_a_table(tmp_path: Path, task: str) -> None:
    rows, package = PACKAGES / task / "test.csv", PACKAGES / task / "package"
    out = tmp_path / "predictions.parquet"
    done = gitops(tmp_path, "predict", str(rows), "--package", str(package), "--out", str(out))
    assert done.returncode == 0, done.stderr
    found = pl.read_parquet(out)
    assert found.height == pl.read_csv(rows).height
    assert "prediction" in found.columns


def test_a_package_names_its_model_itself(tmp_path: Path) -> None:
    done = gitops(tmp_path, "predict", "rows.csv", "late", "--package", "p")
    assert done.returncode == 2
    assert "names the model already" in done.stderr


def test_what_is_no_package_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    done = gitops(tmp_path, "predict", "rows.csv", "--package", ".")
    assert done.returncode == 3
    assert "signature.json" in done.stderr


def test_on_a_terminal_ten_columns_at_most_are_told_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = PACKAGES / "binary"
    odd = pl.read_csv(folder / "test.csv").with_columns(distance=10**6, carrier=pl.lit("none"))
    odd.write_csv(tmp_path / "rows.csv")
    monkeypatch.setattr(predict, "WARNED", 1)
    command: Any = get_command(make(["predict"]))
    words = ["predict", str(tmp_path / "rows.csv"), "--package", str(folder / "package")]
    command.main(words, standalone_mode=False)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[1].startswith("· and ") and said[1].endswith("; --json has them all")

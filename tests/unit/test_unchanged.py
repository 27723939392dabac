from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gitops.reproduce import unchanged

LOCK = """\
schema: '2.0'
stages:
  train:
    cmd: python train.py
    deps:
    - {path: data/table.csv, hash: md5, md5: 0cc175b9c0f1b6a831c399e269772661, size: 1}
    - {path: train.py, hash: md5, md5: 0cc175b9c0f1b6a831c399e269772661, size: 1}
    params:
      params.yaml: {seed: 1}
    outs:
    - {path: out, hash: md5, md5: 0cc175b9c0f1b6a831c399e269772661.dir, size: 1, nfiles: 1}
"""
OLD = 1_600_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    files = {
        "dvc.yaml": "stages:\n  train:\n    cmd: python train.py\n    deps: [data/table.csv]\n",
        "dvc.lock": LOCK,
        "data/table.csv": "a",
        "data/table.csv.dvc": "outs:\n- {path: table.csv, md5: 0cc175b9c0f1b6a831c399e269772661}\n",
        "train.py": "a",
        "params.yaml": "seed: 1\n",
        "gitops.yaml": "version: 1\n",
        "out/model": "m",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (OLD, OLD))
    return folder


def observe(root: Path) -> unchanged.State | None:
    return unchanged.observe(root, ".", ("gitops.yaml",))


def confirms(root: Path, pushed: str = "") -> bool:
    note = unchanged.recall(root / "note.json")
    return note is not None and unchanged.confirms(note, root, ("gitops.yaml",), pushed)


def remember(root: Path, pushed: str) -> None:
    state = observe(root)
    assert state is not None
    unchanged.remember(root / "note.json", unchanged.Note(".", ("late",), state, pushed))


@pytest.fixture
def remembered(root: Path) -> Path:
    remember(root, "remote")
    return root


def test_an_untouched_tree_is_confirmed(remembered: Path) -> None:
    assert confirms(remembered)
    assert confirms(remembered, "remote")


def test_another_remote_is_not(remembered: Path) -> None:
    assert not confirms(remembered, "elsewhere")


def append(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_text((root / name).read_text() + "# x\n")


@pytest.mark.parametrize(
    "change",
    [
        *[
            append(name)
            for name in (
                "dvc.yaml",
                "dvc.lock",
                "params.yaml",
                "gitops.yaml",
                "train.py",
                "data/table.csv",
                "out/model",
            )
        ],
        lambda root: (root / "out" / "new").write_text(""),
        lambda root: (root / "out" / "model").unlink(),
        lambda root: (root / "data" / "table.csv").unlink(),
        lambda root: (root / ".dvcignore").write_text("x"),
        lambda root: os.utime(root / "train.py", (OLD + 1, OLD + 1)),
        lambda root: (root / "note.json").write_text("{"),
        lambda root: (root / "note.json").unlink(),
    ],
)
def test_any_change_goes_to_dvc(remembered: Path, change: Callable[[Path], object]) -> None:
    change(remembered)
    assert not confirms(remembered)


def test_a_change_within_the_clocks_grain_is_seen(root: Path) -> None:
    (root / "train.py").write_text("b")
    stat = (root / "train.py").stat()
    remember(root, "")
    assert confirms(root)
    (root / "train.py").write_text("c")
    os.utime(root / "train.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not confirms(root)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("dvc.yaml", "stages:\n  train:\n    cmd: x\n    always_changed: true\n"),
        ("dvc.yaml", "vars: [{a: 1}]\nstages:\n  train:\n    cmd: x\n"),
        ("data/table.csv.dvc", "deps:\n- {path: s3://b/x}\nouts:\n- {path: table.csv}\n"),
    ],
)
def test_what_only_dvc_can_judge_is_left_to_dvc(root: Path, file: str, text: str) -> None:
    (root / file).write_text(text)
    assert observe(root) is None

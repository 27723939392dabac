from __future__ import annotations

from pathlib import Path

import pytest

from gitops.reproduce import fingerprint


def test_the_same_machine_and_environment_are_equal(tmp_path: Path) -> None:
    assert fingerprint.of(tmp_path).differences(fingerprint.of(tmp_path)) == ()


@pytest.mark.parametrize(
    ("file", "text", "part"),
    [
        ("uv.lock", "x", "env_lock"),
        ("build.env", "OMP_NUM_THREADS=7\n", "threads"),
        (".python-version", "3.99.1\n", "python"),
    ],
)
def test_what_decides_bytes_is_in_it(tmp_path: Path, file: str, text: str, part: str) -> None:
    before = fingerprint.of(tmp_path)
    (tmp_path / file).write_text(text)
    assert part in before.differences(fingerprint.of(tmp_path))


def test_a_chosen_kernel_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    before = fingerprint.of(tmp_path)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    assert before.differences(fingerprint.of(tmp_path)) == ("blas",)

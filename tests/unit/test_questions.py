"""What is asked on a terminal: a wrong answer is explained, and asked again."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from gitops import names
from gitops.cli import questions
from gitops.scaffold import table


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let `text` be what is typed, and then no more."""
    read, write = os.pipe()
    os.write(write, text.encode())
    os.close(write)
    monkeypatch.setattr("sys.stdin", os.fdopen(read))


def test_a_column_that_is_not_there_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_text("id,left\n1,yes\n2,no\n")
    typed(monkeypatch, "lefft\nleft\n")
    assert questions.target({}, table.read(tmp_path / "t.csv"), None, asking=True) == "left"
    said = capsys.readouterr().err
    assert "there is no column 'lefft'" in said and "did you mean 'left'?" in said


def test_a_name_that_cannot_be_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "Churn 1!\n\n")
    assert (
        questions.again("Name of the project", "churn", partial(names.check, "project")) == "churn"
    )
    assert "call it 'churn-1'" in capsys.readouterr().err


def test_an_end_of_input_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "Churn 1!\n")
    with pytest.raises(KeyboardInterrupt):
        questions.again("Name of the project", "churn", partial(names.check, "project"))
